"""A picture in a frame finds the picture that is in the frame."""

import json

import pytest
from library import add, scene
from PIL import ImageOps

import imgdb


@pytest.fixture
def bordered(database, tmp_path):
    """Store two scenes, and write the first one in a frame."""
    for seed in (1, 2):
        scene(seed).save(tmp_path / f"scene-{seed}.png")
    add(database, tmp_path / "scene-1.png", tmp_path / "scene-2.png")
    framed = tmp_path / "framed.jpg"
    ImageOps.expand(scene(1), (40, 60), "white").save(framed)
    return framed


def test_it_is_a_part_of_the_query(cli, database, bordered):
    result = cli("query", bordered, "--json", dsn=database)
    (match,) = json.loads(result.stdout)
    assert match["path"].endswith("scene-1.png")
    assert match["relation"] == "part"
    assert match["distance"] <= 4
    table = cli("query", bordered, "--format", "table", dsn=database).stdout
    assert "relation" in table.splitlines()[0]
    assert table.splitlines()[1].split()[6] == "part"
    whole = cli("query", bordered.with_name("scene-1.png"), "--format", "table", dsn=database)
    assert "relation" not in whole.stdout


def test_whole_pictures_only(cli, database, bordered):
    result = cli("query", bordered, "--no-parts", "--exit-code", dsn=database)
    assert result.code == 1


def test_turned_and_framed(cli, database, bordered):
    turned = bordered.with_name("turned.png")
    ImageOps.expand(scene(1).rotate(90, expand=True), 50, "black").save(turned)
    (match,) = json.loads(cli("query", turned, "--any-orientation", "--json", dsn=database).stdout)
    assert (match["relation"], match["orientation"]) == ("part", "270° clockwise")


def test_from_python(database, bordered):
    with imgdb.connect(database) as db:
        assert [match.relation for match in db.query(bordered)] == ["part"]
        assert db.query(bordered, parts=False) == []
        found = db.query(bordered.with_name("scene-1.png"))
        assert [(match.relation, match.same_bytes) for match in found] == [("same", True)]
