"""Plans: what is written reads back, and what was edited or damaged is refused line by line."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from imgdb.duplicates.groups import Group, GroupRow
from imgdb.duplicates.plan import PlannedFile, UnknownPlan, read_plan, write_plan
from imgdb.errors import UsageError
from imgdb.paths import plain_text

NAMES = (
    "/a/plain.jpg",
    "/a/with  two spaces .jpg ",
    "/a/# keep  remove.jpg",
    "/a/back\\\\slash\\n\\xff.jpg",
    "/a/ünïcode \N{RIGHT-TO-LEFT OVERRIDE}gpj.jpg",
)


def member(path, *, keeper=False, removable=True, pixels=100, number=1):
    return GroupRow(
        group_id=1, tier="near", diameter=4, images=2, reclaimable_bytes=10, path=path,
        keeper=keeper, removable=removable and not keeper, distance=0 if keeper else 4,
        ahash_distance=0, dhash_distance=0, phash_distance=0, whash_distance=0, same_bytes=False,
        collection="default", image_id=number, width=pixels, height=100, frames=1,
        byte_size=10 + number, format="PNG", modified_at=datetime.now(UTC),
        sha256=bytes([number]) * 32,
    )  # fmt: skip


def group(*members):
    return Group(1, "near", 4, 10, list(members))


@pytest.fixture
def plan(tmp_path):
    """Write a plan of one group: the first name is kept, the others go."""
    path = tmp_path / "plan.txt"
    members = [member(name, keeper=name == NAMES[0], number=n) for n, name in enumerate(NAMES, 1)]
    assert write_plan(path, [group(*members)]) == len(NAMES) - 1
    return path


def edit(plan, pattern, replacement):
    text = plan.read_text("utf-8")
    assert re.search(pattern, text, re.MULTILINE)
    plan.write_text(re.sub(pattern, replacement, text, flags=re.MULTILINE), "utf-8")
    return read_plan(plan)


def test_what_is_written_reads_back(plan):
    read = read_plan(plan)
    assert read.refused == []
    (found,) = read.groups
    (keeper,) = found.keep
    assert (keeper.path, keeper.sha256, keeper.byte_size) == (NAMES[0], b"\1" * 32, 11)
    assert [entry.path for entry in found.remove] == list(NAMES[1:])
    lines = plan.read_text("utf-8").split("\n")
    assert all(lines[entry.line - 1].endswith(plain_text(entry.path)) for entry in found.remove)


def test_no_name_turns_a_line_or_ends_one(tmp_path):
    """Each character that does so to an editor or a terminal, in names of all kinds of lines."""
    signs = "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068"
    signs += "\u2069\ufeff"
    names = [f"/a/{number}{sign}gpj.jpg" for number, sign in enumerate(signs)]
    stays, *others = [member(name, number=n) for n, name in enumerate(names, 1)]
    kept = member(f"/a/kept{signs}", keeper=True, number=99)
    path = tmp_path / "plan.txt"
    write_plan(path, [group(kept, replace(stays, removable=False), *others)])
    text = path.read_text("utf-8")
    assert text.isascii() and r"/a/10\xe2\x80\xaegpj.jpg" in text
    (found,) = read_plan(path).groups
    assert [entry.path for entry in (*found.keep, *found.remove)] == [kept.path, *names[1:]]
    # A plan of somebody who wrote the name as it is means the same file.
    path.write_text(text.replace(r"10\xe2\x80\xaeg", "10\u202eg"), "utf-8")
    assert read_plan(path).groups == [found]


def test_a_plan_is_there_as_a_whole_or_not_at_all(tmp_path):
    """Also one of whose names an error of ours, or a full disk, makes an end."""
    good, bad = member("/a", keeper=True), replace(member("/b"), sha256=None)
    with pytest.raises(AssertionError):
        write_plan(tmp_path / "plan.txt", [group(good, bad)])
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_an_editor_may_change_line_ends_and_add_a_mark(plan, end):
    before = read_plan(plan)
    text = plan.read_text("utf-8")
    plan.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", end).encode())
    assert read_plan(plan) == before


def test_what_stays_is_not_in_the_plan(tmp_path):
    kept, stays = member("/a", keeper=True), member("/z.zip!/b", removable=False)
    path = tmp_path / "plan.txt"
    assert write_plan(path, [group(kept, stays)]) == 0
    assert read_plan(path).groups == []
    larger = member("/c", pixels=101)
    write_plan(tmp_path / "other", [group(kept, stays, larger)])
    text = (tmp_path / "other").read_text("utf-8")
    assert "# stays /z.zip!/b\n" in text
    assert "more pixels than what is kept:\nremove" in text
    assert [e.path for e in read_plan(tmp_path / "other").groups[0].remove] == ["/c"]


def test_a_plan_is_never_written_over(plan):
    before = plan.read_bytes()
    with pytest.raises(UsageError, match="already"):
        write_plan(plan, [])
    assert plan.read_bytes() == before


def test_a_file_is_kept_by_its_word_or_without_its_line(plan):
    (found,) = edit(plan, r"^remove(.*two spaces)", r"keep\1").groups
    assert [entry.path for entry in found.keep] == list(NAMES[:2])
    (found,) = edit(plan, r"^remove.*slash.*\n", "").groups
    assert [entry.path for entry in found.remove] == [NAMES[2], NAMES[4]]
    (found,) = edit(plan, r"^remove(.*keep  remove)", r"#remove\1").groups
    assert [entry.path for entry in found.remove] == [NAMES[4]]


@pytest.mark.parametrize(
    ("pattern", "replacement", "reason"),
    [
        (r"^remove(?=.*slash)", "remov", "cannot be read"),
        (r"^(remove +)\w(?=.*slash)", r"\1", "cannot be read"),
        (r"^(remove +)(\w{64})(?=.*slash)", r"\1\2f", "cannot be read"),
        (r"^(remove +\w+ +)\d+(?=.*slash)", r"\1many", "cannot be read"),
        (r"(?<= )/a(?=/back)", "a", "cannot be read"),
        (r"(?<= )/a(?=/back)", "/a/../b", "shortest"),
        (r"(?<= )/a(?=/back)", "/a/", "shortest"),
        (r"(?<= )/a(?=/back)", r"/a\\x00", "no file can have"),
        (r"\\\\slash", r"\\slash", "path cannot be read"),
    ],
)
def test_a_damaged_line_is_refused_alone(plan, pattern, replacement, reason):
    read = edit(plan, pattern, replacement)
    (refusal,) = read.refused
    assert reason in refusal.reason
    assert "slash" in plan.read_text("utf-8").split("\n")[refusal.line - 1]
    assert [entry.path for entry in read.groups[0].remove] == [NAMES[1], NAMES[2], NAMES[4]]


def test_a_plan_that_was_cut_off(plan):
    whole = read_plan(plan).groups[0].remove
    content = plan.read_bytes()
    for end in range(content.rindex(b"remove"), len(content) - 1):
        plan.write_bytes(content[:end])
        read = read_plan(plan)
        # Either the line is refused, or what is left of it names another file, of no such bytes.
        (last,) = read.refused or read.groups[0].remove[len(whole) - 1 :] or [None]
        assert last is None or last.line == whole[-1].line
        assert read.groups[0].remove[: len(whole) - 1] == whole[:-1]
        if isinstance(last, PlannedFile):
            assert last.path != whole[-1].path and last.sha256 == whole[-1].sha256


def test_without_a_kept_file_nothing_goes(plan):
    read = edit(plan, r"^keep", "#keep")
    assert read.groups == []
    assert {refusal.reason for refusal in read.refused} == {"no file of its group is kept"}
    assert len(read.refused) == len(NAMES) - 1


def test_an_empty_line_ends_a_group(plan):
    read = edit(plan, r"^(?=remove.*slash)", "\n")
    assert [entry.path for entry in read.groups[0].remove] == list(NAMES[1:3])
    assert len(read.refused) == 2


def test_what_is_kept_anywhere_is_not_removed(tmp_path):
    path = tmp_path / "plan.txt"
    a, b, c = (member(f"/{name}", number=n) for n, name in enumerate("abc", 1))
    kept = [member(f"/{name}", keeper=True, number=n) for n, name in enumerate("abc", 1)]
    write_plan(path, [group(kept[0], b), group(kept[1], c), group(kept[0], c)])
    read = read_plan(path)
    assert [[entry.path for entry in found.remove] for found in read.groups] == [[], ["/c"], []]
    assert [(r.path, r.reason.partition(" ")[2].partition(" ")[2]) for r in read.refused] == [
        ("/b", "says to keep it"),
        ("/c", "removes it already"),
    ]
    assert a not in kept


@pytest.mark.parametrize("text", ["", "hello\n", "# imgdb-plan 1\n", "imgdb-plan one\n", "\0\xff"])
def test_what_is_no_plan(tmp_path, text):
    path = tmp_path / "plan.txt"
    path.write_text(text, "latin-1")
    with pytest.raises(UnknownPlan, match="is no plan"):
        read_plan(path)


def test_a_plan_of_a_newer_format(plan):
    with pytest.raises(UnknownPlan, match="format 2, this imgdb knows 1"):
        edit(plan, r"^imgdb-plan 1$", "imgdb-plan 2")
