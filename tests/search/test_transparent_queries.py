"""A transparent picture is found where a program without transparency laid it on black."""

import json

import pytest
from library import add, scene
from PIL import Image, ImageDraw

from imgdb.search.images import query_by_file


def cut_out(picture: Image.Image) -> Image.Image:
    """Make all but an ellipse transparent."""
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).ellipse((40, 20, 280, 220), fill=255)
    picture = picture.convert("RGBA")
    picture.putalpha(mask)
    return picture


def laid_on(paper: str, picture: Image.Image) -> Image.Image:
    sheet = Image.new("RGBA", picture.size, paper)
    sheet.alpha_composite(picture)
    return sheet.convert("RGB")


def found(cli, database, *args):
    result = cli("query", *args, "--format", "json", dsn=database)
    assert result.code == 0, result.stderr
    return {one["path"].rpartition("/")[2]: one for one in json.loads(result.stdout)}


@pytest.fixture
def cut(database, tmp_path):
    picture = cut_out(scene(1))
    picture.save(tmp_path / "cut.png")
    for paper in ("black", "white"):
        laid_on(paper, picture).save(tmp_path / f"on-{paper}.jpg", quality=95)
    add(database, tmp_path / "on-black.jpg", tmp_path / "on-white.jpg")
    return tmp_path


def test_a_cut_out_finds_its_copies_on_white_and_on_black(cli, database, cut):
    matches = found(cli, database, cut / "cut.png")
    assert matches.keys() == {"on-black.jpg", "on-white.jpg"}
    # Each is measured against what it looks like.
    for match in matches.values():
        assert max(match[f"{name}_distance"] for name in ("ahash", "dhash", "phash", "whash")) <= 4
    on_white, on_black = query_by_file(cut / "cut.png", parts=False).looks
    assert (on_white.hashes.phash ^ on_black.hashes.phash).bit_count() > 8


def test_a_turned_cut_out_says_how_it_is_turned(cli, database, cut):
    with Image.open(cut / "cut.png") as picture:
        picture.rotate(90, expand=True).save(cut / "turned.png")
    matches = found(cli, database, cut / "turned.png", "--any-orientation")
    assert {name: match["orientation"] for name, match in matches.items()} == {
        "on-black.jpg": "270° clockwise", "on-white.jpg": "270° clockwise",
    }  # fmt: skip


def test_what_is_flat_on_white_is_looked_for_on_black(cli, database, tmp_path):
    logo = cut_out(Image.new("RGB", (320, 240), "white"))
    logo.save(tmp_path / "logo.png")
    laid_on("black", logo).save(tmp_path / "on-black.png")
    Image.new("RGB", (320, 240), "white").save(tmp_path / "blank.png")
    add(database, tmp_path / "on-black.png", tmp_path / "blank.png")
    assert found(cli, database, tmp_path / "logo.png").keys() == {"on-black.png"}
    all_found = found(cli, database, tmp_path / "logo.png", "--include-flat")
    assert all_found.keys() == {"on-black.png", "blank.png"}


def test_opaque_pictures_are_asked_for_once(tmp_path):
    scene(1).save(tmp_path / "opaque.png")
    scene(1).convert("RGBA").save(tmp_path / "no-hole.png")
    palette = scene(1).quantize(16)
    palette.save(tmp_path / "palette.gif")
    for name in ("opaque.png", "no-hole.png", "palette.gif"):
        assert len(query_by_file(tmp_path / name, parts=False).looks) == 1


def test_transparent_greys_and_palettes_are_laid_on_black_too(tmp_path):
    grey = scene(1).convert("L").point(lambda value: value // 2 * 2)
    grey.save(tmp_path / "grey.png", transparency=200)
    cut_out(scene(1)).quantize(64).save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        white, black = query_by_file(tmp_path / name, parts=False).looks
        assert white.hashes != black.hashes
