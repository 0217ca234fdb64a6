"""`imgdb query` unites whole pictures, parts and orientations in one answer."""

import json
import shutil
from pathlib import Path

import psycopg
import pytest
from library import add
from PIL import Image, ImageOps

from imgdb.ingest.options import Options
from imgdb.ingest.run import ingest
from imgdb.search.images import query_by_file, similar
from imgdb.search.parts import region_query, sharing_parts

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
NAMES = ("bauhaus", "city-night", "sunflower")


@pytest.fixture
def db(database, tmp_path):
    """Store three pictures with their regions."""
    folder = tmp_path / "stored"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(EXAMPLES / f"{name}.jpg", folder)
    with psycopg.connect(database, autocommit=True) as conn:
        assert ingest(conn, [str(folder)], options=Options(jobs=1, regions=True)).added == 3
        yield conn


def crop(tmp_path, *, turned=False):
    file = tmp_path / "crop.png"
    with Image.open(EXAMPLES / "sunflower.jpg") as image:
        part = image.crop((100, 60, 520, 400))
    (part.rotate(-90, expand=True) if turned else part).save(file)
    return file


def found(db, file, *, any_orientation=False, **options):
    query = query_by_file(file, any_orientation=any_orientation)
    return {Path(match.path).stem: match for match in similar(db, query, **options)}


def test_a_crop_finds_what_it_was_cut_from(db, tmp_path):
    file = crop(tmp_path)
    (match,) = found(db, file).values()
    (part,) = sharing_parts(db, region_query(file))
    assert (match.path, match.relation, match.votes) == (part.path, part.relation, part.votes)
    assert match.relation == "contains"
    assert match.distance is None
    assert match.phash_distance > 8
    assert found(db, file, parts=False) == {}


def test_a_turned_crop_says_both(db, tmp_path):
    file = crop(tmp_path, turned=True)
    assert found(db, file) == {}
    (match,) = found(db, file, any_orientation=True).values()
    assert (match.relation, match.orientation) == ("contains", "90° clockwise")


def test_whole_ones_come_before_members_of_a_collage(db, tmp_path):
    with Image.open(EXAMPLES / "bauhaus.jpg") as image:
        bauhaus = image.convert("RGB")
    sheet = Image.new("RGB", (1400, 700), "white")
    for left, name in enumerate(("city-night", "sunflower")):
        with Image.open(EXAMPLES / f"{name}.jpg") as image:
            sheet.paste(ImageOps.contain(image, (690, 690)), (700 * left, 0))
    sheet.save(tmp_path / "sheet.jpg")
    matches = found(db, tmp_path / "sheet.jpg")
    assert {name: match.relation for name, match in matches.items()} == {
        "city-night": "part", "sunflower": "part",
    }  # fmt: skip
    assert [match.votes for match in matches.values()] == sorted(
        (match.votes for match in matches.values()), reverse=True
    )
    bauhaus.save(tmp_path / "again.jpg", quality=60)
    (match,) = found(db, tmp_path / "again.jpg").values()
    assert match.relation == "same"
    assert match.distance <= 4
    assert match.votes >= 3


def test_what_has_no_regions_is_found_as_a_whole(db, database, tmp_path):
    with Image.open(EXAMPLES / "bauhaus.jpg") as image:
        image.resize((40, 40)).save(tmp_path / "tiny.png")
    add(database, tmp_path / "tiny.png")
    matches = found(db, EXAMPLES / "bauhaus.jpg")
    assert {name: match.same_bytes for name, match in matches.items()} == {
        "bauhaus": True, "tiny": False,
    }  # fmt: skip
    assert (matches["tiny"].relation, matches["tiny"].votes) == ("same", None)


def test_limits_collections_and_what_is_gone(db, tmp_path):
    file = crop(tmp_path)
    assert found(db, file, limit=1).keys() == {"sunflower"}
    db.execute("UPDATE imgdb.image SET missing_since = now() WHERE path LIKE '%sunflower.jpg'")
    assert found(db, file).keys() == {"sunflower"}
    assert found(db, file, missing=False) == {}
    db.execute("INSERT INTO imgdb.collection (name) VALUES ('other')")
    assert found(db, file, collection="other") == {}


def test_the_command_shows_both_in_one_table(cli, db, database, tmp_path):
    file = crop(tmp_path)
    result = cli("query", file, "--json", dsn=database)
    assert result.code == 0, result.stderr
    (row,) = json.loads(result.stdout)
    assert (row["relation"], row["distance"]) == ("contains", None)
    header, line = cli("query", file, "--format", "table", dsn=database).stdout.splitlines()
    assert header.split()[6:9] == ["relation", "votes", "pixels"]
    assert line.split()[5] == "contains"
    assert cli("query", file, "--no-parts", "--exit-code", dsn=database).code == 1
    nearest = json.loads(cli("query", file, "--nearest", "3", "--json", dsn=database).stdout)
    assert [match["votes"] for match in nearest] == [None] * 3
    html = tmp_path / "page.html"
    assert cli("query", file, "--html", html, dsn=database).code == 0
    assert '<span class="tag">contains</span>' in html.read_text()
