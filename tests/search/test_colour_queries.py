"""Searches and colours: how far those of a match are apart, and `--same-colours`."""

import json
from pathlib import Path

import psycopg
import pytest
from library import add, scene
from pictures import encode, same_light
from PIL import Image, ImageDraw, ImageEnhance

import imgdb
from examples import turn
from imgdb.hashes.orientations import ORIENTATIONS
from imgdb.pages.query import query_page
from imgdb.search.images import query_by_file, similar


def muted(seed: int = 1) -> Image.Image:
    """Paint a picture whose hues can be turned without leaving what RGB can show."""
    return ImageEnhance.Color(scene(seed)).enhance(0.3)


@pytest.fixture
def shop(database, tmp_path):
    """A picture in two colours, each also in small, and its grey copy."""
    red, blue = muted(), same_light(muted(), 120)
    for name, picture in {
        "red": red,
        "red_small": red.resize((160, 120)),
        "blue": blue,
        "blue_small": blue.resize((160, 120)),
        "grey": red.convert("L"),
    }.items():
        (tmp_path / f"{name}.png").write_bytes(encode(picture, "PNG"))
    add(database, *sorted(tmp_path.iterdir()))
    return tmp_path


def found(cli, *args, dsn):
    rows = json.loads(cli("query", *args, "--json", dsn=dsn).stdout)
    return {Path(row["path"]).stem: row for row in rows if row["path"]}


def test_every_match_says_how_far_its_colours_are(cli, database, shop):
    rows = found(cli, shop / "red.png", dsn=database)
    assert {name: row["same_colours"] for name, row in rows.items()} == {
        "red": True, "red_small": True, "blue": False, "blue_small": False, "grey": False,
    }  # fmt: skip
    assert rows["red_small"]["colour_difference"] < 1 < 3 < rows["blue"]["colour_difference"]
    table = cli("query", shop / "red.png", "--format", "table", dsn=database).stdout
    (blue,) = (line for line in table.splitlines() if "blue.png" in line)
    assert f" {rows['blue']['colour_difference']} " in blue and blue.endswith("other colours")


def test_the_page_says_how_far_colours_are(database, shop):
    with psycopg.connect(database, autocommit=True) as conn:
        query = query_by_file(shop / "red.png")
        matches = similar(conn, query)
    (blue,) = (match for match in matches if match.path.endswith("blue.png"))
    shown = query_page([(query, matches)], hash="phash+dhash")
    assert f"Other colours: {blue.colour_difference} apart" in shown


def test_same_colours_leaves_out_the_others(cli, database, shop):
    only = ("--same-colours",)
    assert set(found(cli, shop / "red.png", *only, dsn=database)) == {"red", "red_small"}
    assert set(found(cli, shop / "blue_small.png", *only, dsn=database)) == {"blue", "blue_small"}
    assert set(found(cli, shop / "grey.png", *only, dsn=database)) == {"grey"}
    # What is left out counts for no limit, and stands for nobody.
    (shop / "blue_again.png").write_bytes(encode(same_light(muted(), 120), "PNG"))
    for limit in (("--limit", "2"), ("--nearest", "2"), ("--flood", "1")):
        rows = found(cli, shop / "blue_again.png", *only, *limit, dsn=database)
        assert set(rows) == {"blue", "blue_small"}
    with imgdb.connect(database) as opened:
        matches = opened.query(shop / "red.png", same_colours=True)
    assert {Path(match.path).stem for match in matches} == {"red", "red_small"}


def test_what_has_no_colours_is_left_out_but_for_the_same_bytes(cli, database, shop):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE imgdb.image SET colours = NULL")
    assert set(found(cli, shop / "red.png", "--same-colours", dsn=database)) == {"red"}
    rows = found(cli, shop / "red.png", dsn=database)
    assert {(row["colour_difference"], row["same_colours"]) for row in rows.values()} == {
        (None, None)
    }
    table = cli("query", shop / "red.png", "--format", "table", dsn=database).stdout
    assert "colours" not in table.splitlines()[0]


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda one: one.words)
def test_colours_are_those_of_the_picture_turned_back(cli, database, tmp_path, orientation):
    add_one = tmp_path / "stored.png"
    add_one.write_bytes(encode(muted(4), "PNG"))
    add(database, add_one)
    asked = tmp_path / "asked.png"
    asked.write_bytes(encode(turn(muted(4), orientation), "PNG"))
    rows = found(cli, asked, "--any-orientation", "--same-colours", dsn=database)
    assert rows["stored"]["orientation"] == orientation.words
    assert rows["stored"]["colour_difference"] < 0.5


def test_a_cut_out_has_the_colours_of_the_paper_that_it_was_laid_on(cli, database, tmp_path):
    mask = Image.new("L", (320, 240))
    ImageDraw.Draw(mask).ellipse((40, 30, 280, 210), fill=255)
    cut, black = muted(5).convert("RGBA"), Image.new("RGB", (320, 240))
    cut.putalpha(mask)
    black.paste(muted(5), mask=mask)
    (tmp_path / "black.png").write_bytes(encode(black, "PNG"))
    (tmp_path / "cut.png").write_bytes(encode(cut, "PNG"))
    add(database, tmp_path / "black.png")
    rows = found(cli, tmp_path / "cut.png", "--same-colours", dsn=database)
    assert rows["black"]["colour_difference"] < 0.5


def test_a_hash_alone_has_no_colours(cli, database):
    result = cli("query", "--hex", "0123456789abcdef", "--same-colours", dsn=database)
    assert (result.code, result.stdout) == (2, "")
    assert "takes a picture" in result.stderr
