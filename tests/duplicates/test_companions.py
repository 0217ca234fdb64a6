"""What belongs to a picture by its name is told, and goes and comes back with it, or not at all."""

import itertools
import json
import os
import signal
from pathlib import Path

import psycopg
import pytest
from forked import run_command
from library import add, scene
from PIL import Image

from imgdb.duplicates import restoring, trash
from imgdb.duplicates.apply import FileOutcome, MoveToTrash, apply, restore
from imgdb.duplicates.companions import NamesIn, is_named_after, others_of_stem, shares_stem
from imgdb.duplicates.folders import Refused
from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.plan import read_plan, write_plan
from imgdb.duplicates.trash import Trash

NAMED = {
    "IMG_1.JPG": [
        "IMG_1.JPG.xmp", "IMG_1.jpg.XMP", "IMG_1.JPG.json", "IMG_1.JPG.supplemental-metadata.json",
        "IMG_1.JPG.supplemental-me.json", "IMG_1.JPG.s.json", "IMG_1.JPG.dop", "IMG_1.JPG.out.pp3",
    ],
    "IMG_1(2).JPG": ["IMG_1.JPG(2).json", "IMG_1.JPG.supplemental-metadata(2).json",
                     "IMG_1(2).JPG.xmp"],
}  # fmt: skip
OF_OTHERS = [
    "IMG_1.JPG", "IMG_11.JPG.xmp", "IMG_1.JPG.png", "IMG_1.JPG.png.xmp", "IMG_1.JPG.txt",
    "IMG_1.JPG(3).json", "IMG_1.JPGxmp", "IMG_1.xmp", "AIMG_1.JPG.xmp", "IMG_1.JPG.",
]  # fmt: skip


def test_names_that_say_whose_they_are():
    for picture, names in NAMED.items():
        for other, name in itertools.product(
            NAMED, [*itertools.chain(*NAMED.values()), *OF_OTHERS]
        ):
            if other == picture:
                assert is_named_after(name, picture) is (name in names), (name, picture)
    assert shares_stem("IMG_1.MOV", "IMG_1.JPG") and shares_stem("img_1.thm", "IMG_1.heic")
    assert not shares_stem("IMG_1.JPG.MOV", "IMG_1.JPG") and not shares_stem("IMG_1", "IMG_1.JPG")
    assert not shares_stem("IMG_1.PNG", "IMG_1.JPG") and not shares_stem("IMG_1.CR2", "IMG_1.JPG")
    names = ["IMG_1.JPG", "img_1.cr2", "IMG_1.MOV", "IMG_1.docx", "IMG_2.CR2", "IMG_1"]
    assert others_of_stem("IMG_1.JPG", names) == ["img_1.cr2", "IMG_1.docx", "IMG_1"]


def test_a_folder_is_looked_up_and_not_searched(tmp_path):
    """Names are found by their beginnings: as if each had been compared with each picture."""
    names = {*itertools.chain(*NAMED.values()), *OF_OTHERS, "a.b(1)(2).JPG.xmp", "ﬁ.JPG.xmp"}
    for name in names:
        (tmp_path / name).touch()
    there = NamesIn(str(tmp_path))
    for picture in (*NAMED, *names, "FI.jpg", "a.b(1)(2).JPG"):
        expected = {name for name in names if is_named_after(name, picture)}
        assert there.named_after(picture) == expected, picture


class Library:
    """Two folders with the same picture, each with its companions; that in b may go."""

    def __init__(self, dsn, root):
        self.dsn, self.root = dsn, root
        self.a, self.b, self.trash = root / "a", root / "bb", root / "trash"
        for folder in (self.a, self.b):
            folder.mkdir()
            scene(1).save(folder / "IMG_1.PNG")
            for name in ("IMG_1.MOV", "IMG_1.xmp", "IMG_1.PNG.json", "IMG_2.xmp", "notes.txt"):
                (folder / name).write_text(f"{folder.name} {name}")
        self.conn = psycopg.connect(dsn, autocommit=True)

    def planned(self, *more):
        add(self.dsn, self.a / "IMG_1.PNG", self.b / "IMG_1.PNG", *more)
        return self.plan_again()

    def plan_again(self):
        (self.root / "plan").unlink(missing_ok=True)
        write_plan(self.root / "plan", duplicates(self.conn, DuplicateChoice(keep="shortest-path")))
        self.before = self.contents()
        return read_plan(self.root / "plan")

    def contents(self, *, trash=False):
        folders = [self.trash] if trash else [self.a, self.b]
        return {
            str(path.relative_to(self.trash if trash else "/")): path.read_bytes()
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and path.name != "imgdb-trash.jsonl"
        }

    def run(self, plan=None, **named):
        action = MoveToTrash(Trash(self.trash), with_companions=True)
        plan = plan or read_plan(self.root / "plan")
        return {Path(one.path).name: one for one in apply(self.conn, plan, action, **named)}

    def check_nothing_lost(self):
        everything = self.contents(trash=True) | self.contents()
        assert everything.items() >= self.before.items()


TOGETHER = {"IMG_1.PNG", "IMG_1.MOV", "IMG_1.xmp", "IMG_1.PNG.json"}


@pytest.fixture
def here(database, tmp_path):
    made = Library(database, tmp_path)
    yield made
    made.conn.close()


def outcomes(done):
    return {one.outcome for one in done.values()}


def test_companions_go_and_come_back_with_their_picture(here):
    (group,) = here.planned().groups
    assert {Path(one.path).name for one in group.remove[0].companions} == TOGETHER - {"IMG_1.PNG"}
    foreseen = here.run(dry_run=True)
    assert set(foreseen) == TOGETHER and outcomes(foreseen) == {FileOutcome.would_move}
    assert here.contents() == here.before
    done = here.run()
    assert set(done) == TOGETHER and outcomes(done) == {FileOutcome.moved}
    assert {path.name for path in here.b.iterdir()} == {"IMG_2.xmp", "notes.txt"}
    moved = {str(here.b / name)[1:] for name in TOGETHER}
    assert here.contents(trash=True) == {name: here.before[name] for name in moved}
    assert outcomes(here.run()) == {FileOutcome.done_before}
    back = [*restore(here.conn, here.trash)]
    assert {Path(one.path).name for one in back} == TOGETHER
    assert here.contents() == here.before and here.contents(trash=True) == {}


def test_without_the_option_they_stay_and_that_is_told(here, cli):
    here.planned()
    result = cli("apply", here.root / "plan", "--trash", here.trash, dsn=here.dsn)
    assert result.code == 0
    assert "imgdb: 3 files that belong to them stay where they are" in result.stderr
    assert {path.name for path in here.b.iterdir()} == (TOGETHER - {"IMG_1.PNG"}) | {
        "IMG_2.xmp", "notes.txt"
    }  # fmt: skip
    # Asked for them later, the command says that it is too late.
    done = here.run()
    assert done.pop("IMG_1.PNG").outcome is FileOutcome.done_before
    assert {one.reason for one in done.values()} == {f"{here.b}/IMG_1.PNG went before, without it"}


def test_only_the_trash_takes_companions(here, cli):
    here.planned()
    result = cli("apply", here.root / "plan", "--delete", "--with-companions", dsn=here.dsn)
    assert result.code == 2 and "--with-companions needs --trash" in result.stderr
    assert here.contents() == here.before


def test_they_are_told_by_json_table_and_page(here, cli):
    here.planned()
    page = here.root / "page.html"
    shown = cli("duplicates", "--html", page, "--format", "table", dsn=here.dsn)
    assert "with 3 more" in shown.stdout
    assert "Belongs to it:" in page.read_text() and "IMG_1.PNG.json" in page.read_text()


@pytest.mark.parametrize("other", ["IMG_1.CR2", "img_1.png", "IMG_1.docx"])
def test_what_belongs_to_another_one_that_stays_is_never_taken(here, other):
    (here.b / other).write_bytes(b"something else")
    here.planned()
    text = (here.root / "plan").read_text()
    assert f"# stays, since it belongs to others, too: {here.b}/IMG_1.xmp\n" in text
    done = here.run()
    assert set(done) == {"IMG_1.PNG", "IMG_1.PNG.json"}  # named after this very picture
    assert (here.b / "IMG_1.MOV").exists() and (here.b / "IMG_1.xmp").exists()


def test_another_one_that_comes_after_the_plan_keeps_all(here):
    here.planned()
    (here.b / "IMG_1.CR2").write_bytes(b"something else")
    before = here.contents()
    for dry_run in (True, False):
        (done,) = here.run(dry_run=dry_run).values()
        assert (done.outcome, done.reason) == (
            FileOutcome.refused,
            "its companions belong to IMG_1.CR2 as well, which stays",
        )
    assert here.contents() == before


def test_of_two_pictures_that_go_the_last_one_takes_what_they_share(here):
    """A PNG and its BMP of one shot, both of which are elsewhere, too."""
    scene(1).save(here.b / "IMG_1.BMP")
    (group,) = here.planned(here.b / "IMG_1.BMP").groups
    first, last = group.remove
    assert {Path(one.path).name for one in last.companions} >= {"IMG_1.MOV", "IMG_1.xmp"}
    assert not {Path(one.path).suffix for one in first.companions} & {".MOV", ".xmp"}
    assert outcomes(here.run(dry_run=True)) == {FileOutcome.would_move}
    # The first one is refused, so it stays, and so does what belongs to both.
    Path(first.path).write_bytes(b"changed")
    done = here.run()
    assert outcomes(done) == {FileOutcome.refused}
    assert "as well, which stays" in done[Path(last.path).name].reason


def changed(here):
    (here.b / "IMG_1.xmp").write_text("edited since")


def same_size(here):
    path = here.b / "IMG_1.xmp"
    path.write_text(path.read_text().upper())
    os.utime(path, (1, 1))


def gone(here):
    (here.b / "IMG_1.xmp").unlink()


def link(here):
    (here.b / "IMG_1.xmp").rename(here.root / "real")
    (here.b / "IMG_1.xmp").symlink_to(here.root / "real")


def folder(here):
    (here.b / "IMG_1.xmp").unlink()
    (here.b / "IMG_1.xmp").mkdir()


@pytest.mark.parametrize("change", [changed, same_size, gone, link, folder])
def test_all_or_none_of_them_go(here, change):
    here.planned()
    change(here)
    before = here.contents()
    for dry_run in (True, False):
        (done,) = here.run(dry_run=dry_run).values()
        assert done.outcome is FileOutcome.refused
        assert done.reason.startswith(f"its companion {here.b}/IMG_1.xmp: it ")
    assert here.contents() == before and not here.trash.exists()


@pytest.mark.parametrize("failing", range(4))
@pytest.mark.parametrize("step", ["put", "remove"])
def test_what_fails_half_way_is_undone(here, monkeypatch, step, failing):
    here.planned()
    inner, calls = getattr(trash, step), itertools.count()

    def fail(*args):
        if next(calls) == failing:
            raise Refused("no room here")
        return inner(*args)

    monkeypatch.setattr(trash, step, fail)
    (done,) = here.run().values()
    assert (done.outcome, done.reason) == (FileOutcome.refused, "no room here")
    assert here.contents() == here.before and here.contents(trash=True) == {}


@pytest.mark.parametrize("failing", range(4))
@pytest.mark.parametrize("step", ["put", "in the way"])
def test_all_or_none_of_them_come_back(here, monkeypatch, step, failing):
    here.planned()
    here.run()
    trashed = here.contents(trash=True)
    if step == "put":
        inner, calls = restoring.put, itertools.count()

        def fail(*args):
            if next(calls) == failing:
                raise Refused("no room here")
            return inner(*args)

        monkeypatch.setattr(restoring, "put", fail)
    else:
        (here.b / sorted(TOGETHER)[failing]).write_text("another one")
    before = here.contents()
    (done,) = restore(here.conn, here.trash)
    assert done.outcome is FileOutcome.refused
    assert done.reason.endswith("no room here" if step == "put" else "another file at its place")
    assert here.contents() == before and here.contents(trash=True) == trashed


def test_nothing_goes_for_a_file_that_comes_to_its_place_in_the_trash(here, monkeypatch):
    """Another program writes there between the look and the link."""
    here.planned()
    inner = trash.append_record

    def append_record(opened, taken):
        inner(opened, taken)
        place = here.trash / taken.companions[0].trashed
        place.parent.mkdir(parents=True)
        place.write_bytes(b"of somebody else")

    monkeypatch.setattr(trash, "append_record", append_record)
    (done,) = here.run().values()
    assert (done.outcome, done.reason) == (
        FileOutcome.refused, "it cannot be put into the trash: file exists"
    )  # fmt: skip
    assert here.contents() == here.before
    assert [*here.contents(trash=True).values()] == [b"of somebody else"]


def test_a_line_belongs_to_the_picture_before_it(here):
    here.planned()
    text = (here.root / "plan").read_text()
    lines = text.splitlines(keepends=True)

    def read(*changed):
        (here.root / "plan").write_text("".join(changed))
        return read_plan(here.root / "plan")

    kept = [line.replace("remove ", "keep   ", 1) for line in lines]
    assert read(*kept).refused == []  # a picture that stays keeps what it has
    for gone in ("remove", ("remove", "keep")):
        orphans = [line for line in lines if not line.startswith(gone)]
        assert [one.reason for one in read(*orphans).refused] == [
            "it belongs to no file on a line before it"
        ] * 3
    foreign = [line.replace("/IMG_1.MOV", "/IMG_2.xmp") for line in lines]
    assert [one.reason for one in read(*foreign).refused] == [
        "it belongs to no file on a line before it"
    ]
    damaged = [line.replace("with  ", "with x", 1) for line in lines]
    assert {one.reason for one in read(*damaged).refused} == {
        "the line cannot be read: not `with`, bytes, time, path"
    }


# -- metadata --------------------------------------------------------------------------------------


def test_a_file_that_says_more_than_the_kept_one_is_told(here, cli):
    """The larger copy came from a messenger, which cut everything off."""
    exif = Image.Exif()
    exif[0x4746] = 5
    exif.get_ifd(0x8769)[36867] = "2024:02:29 12:30:00"
    scene(1).save(here.a / "large.jpg", quality=95)
    scene(1).resize((160, 120)).save(here.b / "small.jpg", exif=exif)
    (here.a / "broken.jpg").write_bytes((here.a / "large.jpg").read_bytes())
    add(here.dsn, *(here.a / name for name in ("large.jpg", "broken.jpg")), here.b / "small.jpg")
    (here.a / "broken.jpg").write_bytes(b"no picture any more")  # nothing is said of it
    page = here.root / "page.html"
    asked = cli(
        "duplicates", "--plan", here.root / "plan", "--html", page, "--format", "json", dsn=here.dsn
    )
    (group,) = json.loads(asked.stdout)
    found = {Path(one["path"]).name: one["more_metadata"] for one in group["members"]}
    assert found == {"large.jpg": [], "broken.jpg": [], "small.jpg": ["date taken", "rating"]}
    text = (here.root / "plan").read_text()
    warning = "# The next one has what the kept file has not: date taken, rating:\nremove"
    assert text.count(warning) == text.count("has what the kept") == 1
    assert "The kept one has not: date taken, rating" in page.read_text()
    plain = json.loads(cli("duplicates", "--format", "json", dsn=here.dsn).stdout)
    assert {str(one["more_metadata"]) for one in plain[0]["members"]} == {"[]"}  # not compared


# -- killed half-way ------------------------------------------------------------------------------

# The real command, which kills itself at one of the steps that it takes.
KILL = """
import importlib, os, signal, sys
from imgdb.cli import main

module, name, number = sys.argv[1:4]
owner, calls = importlib.import_module(f"imgdb.duplicates.{module}"), []
inner = getattr(owner, name)

def outer(*args, **named):
    calls.append(name)
    if len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(*args, **named)

setattr(owner, name, outer)
sys.argv[1:] = sys.argv[4:]
main()
"""

APPLY = [("trash", "append_record", 1)]
APPLY += [("trash", step, number) for step in ("put", "remove") for number in (1, 2, 3, 4)]
APPLY += [("apply", "_note", 1), ("apply", "_note", 2)]
RESTORE = [("restoring", step, number) for step in ("put", "remove") for number in (1, 2, 3, 4)]
RESTORE += [("apply", "_note", 1), ("apply", "_note", 2)]


def kill(here, step, *command):
    code, _, stderr = run_command(
        [*map(str, step), *map(str, command)],
        code=KILL,
        env={**os.environ, "IMGDB_DSN": here.dsn},
        timeout=60,
    )
    assert code == -signal.SIGKILL, stderr


@pytest.mark.parametrize("step", APPLY, ids=lambda step: "-".join(map(str, step)))
def test_killed_while_they_go_the_next_run_does_the_rest(here, step):
    here.planned()
    kill(here, step, "apply", here.root / "plan", "--trash", here.trash, "--with-companions")
    here.check_nothing_lost()
    done = here.run()
    assert set(done) == TOGETHER
    assert outcomes(done) <= {FileOutcome.moved, FileOutcome.done_before}
    assert {path.name for path in here.b.iterdir()} == {"IMG_2.xmp", "notes.txt"}
    here.check_nothing_lost()
    assert len(here.contents(trash=True)) == len(TOGETHER)
    [*restore(here.conn, here.trash)]
    assert here.contents() == here.before and here.contents(trash=True) == {}


@pytest.mark.parametrize("step", APPLY[:7:3], ids=lambda step: "-".join(map(str, step)))
def test_killed_while_they_go_all_can_come_back(here, step):
    here.planned()
    kill(here, step, "apply", here.root / "plan", "--trash", here.trash, "--with-companions")
    [*restore(here.conn, here.trash)]
    assert here.contents() == here.before and here.contents(trash=True) == {}


@pytest.mark.parametrize("step", RESTORE, ids=lambda step: "-".join(map(str, step)))
def test_killed_while_they_come_back_the_next_run_does_the_rest(here, step):
    here.planned()
    here.run()
    kill(here, step, "restore", here.trash)
    here.check_nothing_lost()
    [*restore(here.conn, here.trash)]
    assert here.contents() == here.before and here.contents(trash=True) == {}
