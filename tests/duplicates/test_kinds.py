"""Files that are no copies of each other, though their first pictures look alike: files of several
frames or pages, and a raw beside its JPEG.
"""

import json
import os

import psycopg
import pytest
from library import add, scene
from pictures import encode
from PIL import Image
from raw_files import dng

from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.plan import read_plan, write_plan

SIZE = (360, 240)
COVER, INSIDE, OTHER = (scene(seed, SIZE) for seed in (1, 2, 3))


def pages(*further: Image.Image, format: str = "TIFF", **options: object) -> bytes:
    return encode(COVER, format, save_all=True, append_images=list(further), **options)


# A still, and two files of other frames that begin with it.
FRAMES = {
    "TIFF": ("bmp", encode(COVER, "BMP"), "tif", pages(INSIDE), pages(OTHER)),
    "GIF": (
        "gif",
        encode(COVER, "GIF"),
        "gif",
        pages(INSIDE, format="GIF"),
        pages(OTHER, format="GIF"),
    ),
    "WEBP": (
        "png",
        encode(COVER, "PNG"),
        "webp",
        pages(INSIDE, format="WEBP", lossless=True),
        pages(OTHER, format="WEBP", lossless=True),
    ),
    "PNG": (
        "bmp",
        encode(COVER, "BMP"),
        "png",
        pages(INSIDE, format="PNG"),
        pages(OTHER, format="PNG"),
    ),
}


def found(database, **choice):
    with psycopg.connect(database, autocommit=True) as conn:
        return duplicates(conn, DuplicateChoice(**choice))


def names(members):
    return {member.path.rpartition("/")[2] for member in members}


@pytest.mark.parametrize("kind", FRAMES)
def test_files_of_other_frames_are_kept(database, tmp_path, kind):
    still_suffix, still, suffix, monday, tuesday = FRAMES[kind]
    files = {f"a.{still_suffix}": still, f"monday.{suffix}": monday, f"tuesday.{suffix}": tuesday}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    add(database, *sorted(tmp_path.iterdir()))
    (group,) = found(database)
    assert (group.tier, group.removable) == ("near", [])
    assert [member.frames for member in group.members] == [2, 2, 1]
    assert all(member.keeper for member in group.members)
    assert found(database, tier="same-picture") == []


def test_copies_of_stills_and_of_files_of_frames_go_all_the_same(database, tmp_path):
    large = encode(COVER.resize((720, 480)), "JPEG", quality=95)
    files = {"large.jpg": large, "small.png": encode(COVER, "PNG")}
    for name in ("monday", "monday-copy", "tuesday"):
        files[f"{name}.tif"] = pages(OTHER if name == "tuesday" else INSIDE)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    add(database, *sorted(tmp_path.iterdir()))
    (group,) = found(database)
    # More frames come before more pixels.
    assert (group.keeper.frames, group.keeper.width) == (2, 360)
    assert names(group.removable) == {"small.png", "monday-copy.tif"}
    kept = {one.keeper.path.rpartition("/")[2]: names(one.removable) for one in group.parts()}
    assert kept == {
        "monday.tif": {"monday-copy.tif"}, "tuesday.tif": set(), "large.jpg": {"small.png"},
    }  # fmt: skip
    plan = tmp_path / "plan.txt"
    assert write_plan(plan, [group]) == 2
    # What goes is only safe beside the kept file of its own kind.
    planned = read_plan(plan).groups
    assert [(names(one.keep), names(one.remove)) for one in planned] == [
        ({"monday.tif"}, {"monday-copy.tif"}),
        ({"large.jpg"}, {"small.png"}),
    ]
    assert "has 2 frames or pages" in plan.read_text()


def test_frames_are_shown(cli, database, tmp_path):
    (tmp_path / "monday.tif").write_bytes(pages(INSIDE, OTHER))
    (tmp_path / "cover.bmp").write_bytes(encode(COVER, "BMP"))
    cli("ingest", tmp_path, "--jobs", "1", dsn=database)
    for command in (("query", tmp_path / "cover.bmp"), ("duplicates",)):
        table = cli(*command, "--format", "table", dsn=database).stdout
        assert "360x240 x 3" in table and "360x240 x 1" not in table
        csv = cli(*command, "--format", "csv", dsn=database).stdout
        assert "frames" in csv.splitlines()[0].split(",")
        page = tmp_path / f"{command[0]}.html"
        cli(*command, "--html", page, dsn=database)
        assert "<span>3 frames</span>" in page.read_text()
    matches = json.loads(cli("query", tmp_path / "cover.bmp", "--json", dsn=database).stdout)
    assert {match["path"].rpartition("/")[2]: match["frames"] for match in matches} == {
        "cover.bmp": 1, "monday.tif": 3,
    }  # fmt: skip


def test_files_of_other_frames_are_not_the_same_pixels(cli, tmp_path):
    for name, further in (("a", [INSIDE]), ("b", [OTHER]), ("copy", [INSIDE])):
        (tmp_path / f"{name}.tif").write_bytes(pages(*further))
    (tmp_path / "cover.bmp").write_bytes(encode(COVER, "BMP"))

    def compared(*names):
        files = [tmp_path / name for name in names]
        return json.loads(cli("compare", *files, "--format", "json", dsn="host=/nowhere").stdout)

    other, still = compared("a.tif", "b.tif"), compared("a.tif", "cover.bmp")
    assert (other["same_pixels"], other["a_frames"], other["b_frames"]) == (False, 2, 2)
    assert (still["same_pixels"], still["a_frames"], still["b_frames"]) == (False, 2, 1)
    assert compared("a.tif", "copy.tif")["same_pixels"]
    words = cli("compare", tmp_path / "a.tif", tmp_path / "b.tif", "--format", "table").stdout
    assert words.endswith("different: 2 and 2 frames, of which only the first two were compared\n")
    assert not other["alike"] and not still["alike"] and other["phash_distance"] == 0


@pytest.fixture
def shots(database, tmp_path):
    """Two raws of one shot, its JPEG, and a small copy of that."""
    pytest.importorskip("rawpy")
    jpeg = encode(COVER.resize((1200, 800)), "JPEG", quality=95)
    for name, content in {
        "IMG_1.DNG": dng(COVER, jpeg=jpeg),
        "IMG_1-again.DNG": dng(COVER, jpeg=jpeg),
        "IMG_1.JPG": jpeg,
        "small.jpg": encode(COVER, "JPEG", quality=60),
    }.items():
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (1e9, 1e9))
    add(database, *sorted(tmp_path.iterdir()))
    return tmp_path


def test_a_raw_and_its_jpeg_are_a_pair(database, shots):
    (group,) = found(database)
    kept = {one.keeper.path.rpartition("/")[2]: names(one.removable) for one in group.parts()}
    assert kept == {"IMG_1.JPG": {"small.jpg"}, "IMG_1-again.DNG": {"IMG_1.DNG"}}
    second = group.parts()[1]
    # The keeper of the raws is measured against the first one, its copies against it.
    assert second.keeper.phash_distance is not None and second.keeper.phash_distance <= 8
    assert [member.phash_distance for member in second.members[1:]] == [0]


def test_a_raw_and_its_jpeg_are_copies_if_asked(database, shots):
    (group,) = found(database, raw_copies=True)
    assert names([group.keeper]) == {"IMG_1.JPG"}
    assert names(group.removable) == {"IMG_1-again.DNG", "IMG_1.DNG", "small.jpg"}


def test_a_pair_is_shown_as_one(cli, database, shots):
    table = cli("duplicates", "--format", "table", dsn=database).stdout
    assert table.count("keep, raw") == 1
    assert sum(line.rstrip().endswith(" keep") for line in table.splitlines()) == 1
    (group,) = json.loads(cli("duplicates", "--format", "json", dsn=database).stdout)
    assert [(m["format"], m["keeper"], m["removable"]) for m in group["members"]] == [
        ("JPEG", True, False),
        ("JPEG", False, True),
        ("RAW", True, False),
        ("RAW", False, True),
    ]
    page = shots / "page.html"
    cli("duplicates", "--html", page, dsn=database)
    assert page.read_text().count('<span class="tag kept">kept</span><span class="tag">raw') == 1
    (one,) = json.loads(cli("duplicates", "--raw-copies", "--json", dsn=database).stdout)
    assert [member["keeper"] for member in one["members"]].count(True) == 1
