"""`ingest --regions` and `imgdb parts`: crops and collages of the example pictures."""

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import psycopg
import pytest
from library import blank
from PIL import Image

from imgdb.errors import UsageError
from imgdb.hashes.regions import RECIPE
from imgdb.ingest.options import Options
from imgdb.ingest.run import ingest
from imgdb.search.parts import WRONG_PER_QUERY, RegionMatch, region_query, sharing_parts

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
NAMES = ("bauhaus", "city-night", "sunflower")


@pytest.fixture
def folder(tmp_path):
    """Copy some of the examples, and add a blank page and a tiny picture."""
    made = tmp_path / "pictures"
    made.mkdir()
    for name in NAMES:
        shutil.copy(EXAMPLES / f"{name}.jpg", made)
    blank().save(made / "blank.png")
    Image.open(EXAMPLES / "bauhaus.jpg").resize((40, 40)).save(made / "tiny.png")
    return made


@pytest.fixture
def db(database):
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def run(db):
    """Ingest, and give how many files were added, updated, unchanged, failed."""

    def ingest_with(path, **options):
        done = ingest(db, [str(path)], options=Options(jobs=1, **options))
        return done.added, done.updated, done.unchanged, done.failed

    return ingest_with


def regions_of(db):
    return dict(
        db.execute(
            "SELECT regexp_replace(i.path, '.*/', ''), count(r.image_id) FROM imgdb.image AS i"
            " LEFT JOIN imgdb.image_region AS r USING (image_id) GROUP BY i.path"
        ).fetchall()
    )


def search(db, file, **options):
    return {Path(m.path).stem: m for m in sharing_parts(db, region_query(file), **options)}


def box(match):
    return match.box_left, match.box_top, match.box_width, match.box_height


def query_box(match):
    return match.query_left, match.query_top, match.query_box_width, match.query_box_height


def test_crops_and_collages_are_found_from_both_sides(db, run, folder, tmp_path):
    assert run(folder, regions=True) == (5, 0, 0, 0)
    part = (100, 60, 520, 400)
    with Image.open(folder / "sunflower.jpg") as image:
        image.crop(part).save(tmp_path / "crop.jpg", quality=75)
    sheet = Image.new("RGB", (960, 660), "white")
    for place, name in enumerate(NAMES):
        with Image.open(folder / f"{name}.jpg") as image:
            sheet.paste(image.resize((450, 300)), (20 + place % 2 * 470, 20 + place // 2 * 320))
    sheet.save(tmp_path / "sheet.jpg", quality=80)

    found = search(db, tmp_path / "crop.jpg")
    assert list(found) == ["sunflower"]
    assert (found["sunflower"].relation, found["sunflower"].regions) == ("contains", 64)
    assert box(found["sunflower"]) == pytest.approx((100, 60, 420, 340), abs=20)
    assert query_box(found["sunflower"]) == pytest.approx((0, 0, 420, 340), abs=20)

    found = search(db, tmp_path / "sheet.jpg")
    assert {name: match.relation for name, match in found.items()} == dict.fromkeys(NAMES, "part")
    assert query_box(found["city-night"]) == pytest.approx((490, 20, 450, 300), abs=25)

    for file in ("crop.jpg", "sheet.jpg"):
        assert run(tmp_path / file, regions=True) == (1, 0, 0, 0)
    found = search(db, folder / "sunflower.jpg", min_votes=2)
    relations = {name: match.relation for name, match in found.items()}
    assert relations == {"sunflower": "same", "crop": "part", "sheet": "contains"}
    assert found["sunflower"].same_bytes and not found["crop"].same_bytes
    assert query_box(found["crop"]) == pytest.approx((100, 60, 420, 340), abs=20)


def test_regions_are_made_once_and_follow_their_file(cli, database, db, run, folder):
    assert run(folder) == (5, 0, 0, 0)
    assert sum(regions_of(db).values()) == 0
    # Asked for later, of files that are known.
    assert run(folder, regions=True) == (0, 5, 0, 0)
    assert regions_of(db) == {**{f"{n}.jpg": 64 for n in NAMES}, "blank.png": 0, "tiny.png": 0}
    assert set(db.execute("SELECT region_recipe FROM imgdb.image")) == {(RECIPE,)}
    assert run(folder, regions=True) == (0, 0, 5, 0)
    # Hashes of another recipe are made anew without regions, which are of the same bytes.
    db.execute("UPDATE imgdb.image SET recipe = 'older'")
    assert cli("rehash", "-j", "1", dsn=database).code == 0
    assert sum(regions_of(db).values()) == 3 * 64
    # Regions of another recipe are made anew.
    db.execute("UPDATE imgdb.image SET region_recipe = 'older' WHERE path ~ 'sunflower'")
    db.execute("DELETE FROM imgdb.image_region WHERE region > 9")
    assert run(folder, regions=True) == (0, 1, 4, 0)
    assert regions_of(db)["sunflower.jpg"] == 64
    # A changed file, with and without regions.
    shutil.copy(EXAMPLES / "bauhaus--cropped.jpg", folder / "sunflower.jpg")
    assert run(folder, regions=True) == (0, 1, 4, 0)
    assert set(search(db, folder / "bauhaus.jpg")) == {"bauhaus", "sunflower"}
    shutil.copy(EXAMPLES / "city-night.jpg", folder / "sunflower.jpg")
    assert run(folder) == (0, 1, 4, 0)
    assert regions_of(db)["sunflower.jpg"] == 0


def test_an_archive_is_read_again_for_regions(db, run, folder, tmp_path):
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for file in sorted(folder.iterdir()):
            made.write(file, file.name)
    assert run(archive, archives=True) == (5, 0, 0, 0)
    assert run(archive, archives=True, regions=True) == (0, 5, 0, 0)
    assert regions_of(db)["sunflower.jpg"] == 64
    assert run(archive, archives=True, regions=True) == (0, 0, 5, 0)


def test_what_the_command_prints(cli, database, folder):
    def show(*files, form="json"):
        args = ("parts", *files, "--format", form)
        return cli(*args, dsn=database, cwd=folder, env={"COLUMNS": "120"})

    assert cli("ingest", folder, "-j", "1", dsn=database).code == 0
    nothing = show("bauhaus.jpg")
    columns = {"query", *RegionMatch.__dataclass_fields__}
    empty = dict.fromkeys(columns) | {"query": "bauhaus.jpg"}
    assert (nothing.code, json.loads(nothing.stdout)) == (0, [empty])
    assert "no match" in nothing.stderr and "imgdb ingest --regions" in nothing.stderr

    assert cli("ingest", folder, "--regions", "-j", "1", dsn=database).code == 0
    found = json.loads(show("bauhaus.jpg").stdout)
    assert [set(match) for match in found] == [columns]
    rows = list(csv.DictReader(io.StringIO(show("bauhaus.jpg", form="csv").stdout)))
    assert [(row["relation"], row["votes"]) for row in rows] == [("same", str(found[0]["votes"]))]

    # A file that was cut off meanwhile: the image is missing, the query fails.
    content = (folder / "sunflower.jpg").read_bytes()
    (folder / "sunflower.jpg").write_bytes(content[: len(content) // 2])
    broken = cli("ingest", folder, "--regions", "-j", "1", dsn=database)
    assert broken.code == 3
    table = show(EXAMPLES / "sunflower.jpg", form="table").stdout.splitlines()
    assert table[0].split() == ["path", "votes", "regions", "relation", "there", "here", "note"]
    assert len(table) == 2 and "same bytes, missing" in table[1]
    several = show("sunflower.jpg", "bauhaus.jpg", "blank.png", "tiny.png")
    assert several.code == 3
    found = json.loads(several.stdout)
    assert {match["query"]: match["path"] is not None for match in found} == {
        "bauhaus.jpg": True,
        "blank.png": False,
        "tiny.png": False,
    }
    for said in ("sunflower.jpg: ", "blank.png has no regions", "tiny.png has no regions"):
        assert said in several.stderr


def test_a_page_and_the_same_rows(cli, database, folder, tmp_path):
    """The page says of each match what the rows say; --show draws nothing into a pipe."""
    with Image.open(folder / "sunflower.jpg") as image:
        image.crop((100, 60, 520, 400)).save(tmp_path / "crop.jpg", quality=75)
    assert cli("ingest", folder, "--regions", "-j", "1", dsn=database).code == 0
    args = ("parts", "crop.jpg", folder / "blank.png", "--json")
    plain = cli(*args, dsn=database, cwd=tmp_path)
    shown = cli(*args, "--show", "--html", "out.html", dsn=database, cwd=tmp_path)
    assert (shown.code, shown.stdout) == (0, plain.stdout)
    assert "kitty" in shown.stderr and "the page is in out.html" in shown.stderr
    page = (tmp_path / "out.html").read_text("utf-8")
    found, blank = json.loads(plain.stdout)
    assert (blank["query"], blank["path"]) == (str(folder / "blank.png"), None)
    left, top, width, height = (found[f"box_{side}"] for side in ("left", "top", "width", "height"))
    assert page.count('<li class="card match"') == 1
    assert "Pictures that share a part with 2 others" in page
    assert f'data-votes="{found["votes"]}"' in page
    assert f"M{left} {top}h{width}v{height}h-{width}z" in page
    assert f"<dd>{width}x{height}+{left}+{top}</dd>" in page
    assert "Contains the query" in page
    # Refused before any picture is read.
    for refused in (("--html", tmp_path), ("--open",)):
        done = cli("parts", tmp_path / "none.jpg", *refused, dsn=database)
        assert (done.code, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    "option",
    [
        ("--hex", "0" * 16),
        ("--hash", "dhash"),
        ("--include-flat",),
        ("--any-orientation",),
        ("--flood", "0"),
    ],
    ids=" ".join,
)
def test_what_is_for_whole_pictures_only(cli, option):
    result = cli("parts", "x.jpg", *option)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"imgdb: No such option: {option[0]}")


def test_votes_are_for_parts_only(cli):
    result = cli("query", "x.jpg", "--min-votes", "2")
    assert result.stderr.startswith("imgdb: No such option: --min-votes")


def test_the_help_tells_the_default_of_votes(cli):
    assert f"default: {WRONG_PER_QUERY}" in cli("parts", "--help").stdout


def test_regions_need_the_full_picture():
    with pytest.raises(UsageError, match="--regions takes full pictures"):
        Options(regions=True, decode="scaled")
