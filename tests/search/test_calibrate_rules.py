"""`imgdb calibrate` for PDQ, searches without borders, and parts: it says what searches find."""

import json
import shutil
from pathlib import Path

import psycopg
import pytest
from PIL import Image

import imgdb
from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import bit_distance, pdq_distance
from imgdb.pictures.edits import BY_NAME, encoded
from imgdb.search.images import query_by_file
from imgdb.search.parts import region_query, sharing_parts

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
NAMES = ("bauhaus", "sunflower")
EDITS = ("crop-20", "border-5")
RULES = ("trimmed", "pdq", "phash-pdq")
ASKED = ("--edits", ",".join(EDITS), "--hashes", ",".join(RULES), "--jobs", "1")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Take two pictures, a crop of one of them, and a copy of the other."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        shutil.copy(EXAMPLES / f"{name}.jpg", folder)
    with Image.open(EXAMPLES / "sunflower.jpg") as image:
        image.crop((60, 40, 560, 420)).save(folder / "crop.png")
    shutil.copy(EXAMPLES / "bauhaus--recompressed.jpg", folder / "copy.jpg")
    return folder


def opened(path):
    with Image.open(path) as image:
        return image.convert("RGB")


@pytest.mark.slow
def test_what_is_found_is_what_searches_find(cli, database, pictures, tmp_path):
    cli("ingest", pictures, "--pdq", "--regions", "--jobs", "1", dsn=database)
    done = cli("calibrate", "--parts", *ASKED, "--json", dsn=database)
    assert done.code == 0, done.stderr
    told = json.loads(done.stdout)
    by_name = {one["hash"]: one for one in told["hashes"]}
    assert list(by_name) == list(RULES)
    paths = sorted(pictures.iterdir())
    assert told["parts"]["pictures"] == told["pictures"] == len(paths)
    stored = {path: fingerprint(path, pdq=True) for path in paths}
    seen = set()
    with imgdb.connect(database) as db:
        for place, edit in enumerate(EDITS):
            near = {rule: [] for rule in RULES}
            parts, query = [], []
            for path in paths:
                copy = tmp_path / "copy"
                copy.write_bytes(encoded(BY_NAME[edit], opened(path)))
                looks = query_by_file(copy, pdq=True).looks
                one = stored[path]
                near["trimmed"].append(
                    min(
                        bit_distance(one.phash, look.hashes.phash)
                        + bit_distance(one.dhash, look.hashes.dhash)
                        for look in looks
                    )
                )
                pdq = pdq_distance(one.pdq.pdq, looks[0].pdq)
                candidate = bit_distance(one.phash, looks[0].hashes.phash) <= 12
                near["pdq"].append(pdq)
                near["phash-pdq"].append(pdq if candidate else 256)
                found = {m.path for m in sharing_parts(db.connection, region_query(copy))}
                parts.append(str(path) in found)
                query.append(str(path) in {match.path for match in db.query(copy)})
            for rule, distances in near.items():
                curve = by_name[rule]["edits"][place]["recall"]
                shares = [sum(d <= most for d in distances) / 4 for most in range(len(curve))]
                assert curve == pytest.approx(shares, abs=1e-6), (rule, edit)
                seen.add((rule, len(curve)))
            row = told["parts"]["edits"][place]
            assert (row["edit"], row["parts"]["value"]) == (edit, sum(parts) / 4)
            assert row["query"]["value"] == sum(query) / 4
    assert seen == {("trimmed", 33), ("pdq", 97), ("phash-pdq", 97)}
    totals = [row["query"]["value"] for row in told["parts"]["edits"]]
    assert told["parts"]["query"]["value"] == pytest.approx(sum(totals) / 2, abs=1e-6)


@pytest.mark.slow
def test_wrong_images_by_parts_are_what_is_no_copy(cli, database, pictures):
    """Ask with the regions of each stored image, as the search itself does."""
    cli("ingest", pictures, "--regions", "--hashes", "phash,dhash", "--jobs", "1", dsn=database)
    shared, wrong = {}, {"usual": 0.1, "far": 0.1 / (1e15 / 4)}
    with psycopg.connect(database, autocommit=True) as conn:
        for image_id, path, width, height in conn.execute(
            "SELECT image_id, path, width, height FROM imgdb.image"
        ).fetchall():
            regions = conn.execute(
                "SELECT box_left, box_top, box_width, box_height, region_hash"
                " FROM imgdb.image_region WHERE image_id = %s ORDER BY region",
                (image_id,),
            ).fetchall()
            boxes = [side for row in regions for side in row[:4]]
            hashes = [row[4] for row in regions]
            for size, chance in wrong.items():
                found = conn.execute(
                    "SELECT m.path FROM imgdb._region_matches(%s, %s, %s::integer[], %s::bigint[],"
                    " NULL, NULL, NULL, %s, NULL, NULL) AS m WHERE m.image_id <> %s",
                    (width, height, boxes, hashes, chance, image_id),
                )
                names = {Path(other).name for (other,) in found}
                shared.setdefault(size, {})[Path(path).name] = names
    # The copy is no wrong picture; the crop is, since its hashes are others.
    assert shared["usual"] == {
        "crop.png": {"sunflower.jpg"},
        "sunflower.jpg": {"crop.png"},
        "copy.jpg": {"bauhaus.jpg"},
        "bauhaus.jpg": {"copy.jpg"},
    }
    done = cli("calibrate", "--parts", "--edits", "png", "--json", dsn=database)
    told = json.loads(done.stdout)["parts"]
    assert (told["queries"], told["wrong"]["value"]) == (4, pytest.approx(2 / 4))
    # Ten times as many images show ten times as many, of those that have the votes it takes then.
    more = cli("calibrate", "--parts", "--edits", "png", "--at", "40", "--json", dsn=database)
    assert json.loads(more.stdout)["parts"]["wrong"]["value"] == pytest.approx(10 * 2 / 4)
    wrong = sum(len(shared["far"][name]) for name in ("crop.png", "sunflower.jpg"))
    assert wrong < 2
    far = cli("calibrate", "--parts", "--edits", "png", "--at", "1e15", "--json", dsn=database)
    value = json.loads(far.stdout)["parts"]["wrong"]["value"]
    assert value == pytest.approx(1e15 / 4 * wrong / 4)


@pytest.mark.slow
def test_parts_go_by_collection_size_and_alike(cli, database, pictures):
    *others, crop = sorted(pictures.iterdir(), key=lambda path: path.name == "crop.png")
    cli("ingest", *others, "--regions", "--collection", "photos", "--jobs", "1", dsn=database)
    cli("ingest", crop, "--regions", "--jobs", "1", dsn=database)

    def asked(*options):
        done = cli("calibrate", "--parts", "--jobs", "1", *options, dsn=database)
        assert done.code == 0, done.stderr
        return done

    def parts(*options):
        return json.loads(asked("--json", *options).stdout)["parts"]

    # Of so many images chance shows some with a dozen votes, so more are asked for.
    small = ("--edits", "scale-0.25")
    assert parts(*small)["parts"]["value"] > 0
    far = parts(*small, "--at", "1e15")
    assert (far["parts"]["value"], far["query"]["value"]) == (0, 1)
    png = ("--edits", "png")
    # The crop is in another collection.
    own = parts(*png, "--collection", "photos")
    assert (own["queries"], own["wrong"]["value"]) == (3, 0)
    # Whatever shares a part is a copy now.
    assert parts(*png, "--alike", "32")["wrong"]["value"] == 0
    # All that is stored is asked with, however few pictures are edited.
    few = parts(*png, "--sample", "2")
    assert (few["pictures"], few["queries"]) == (2, 4)

    edits = ("--edits", "png,scale-0.25,flip", "--hashes", "phash")
    told = json.loads(asked(*edits, "--json").stdout)["parts"]
    shares = {row["edit"]: (row["parts"]["value"], row["query"]["value"]) for row in told["edits"]}
    total = (told["parts"]["value"], told["query"]["value"])
    # Mirrored copies do not count.
    assert shares["png"] == (1, 1) and shares["flip"] < (1, 1)
    assert total == pytest.approx(
        [(a + b) / 2 for a, b in zip(shares["png"], shares["scale-0.25"], strict=True)]
    )
    assert total[0] != total[1], "the two columns cannot be told apart"
    rows = [line.split("\t") for line in asked(*edits, "--format", "lines").stdout.splitlines()]
    listed = {(row[0], row[1]): float(row[4]) for row in rows if row[0] in ("parts", "query")}
    every = shares | {"all": total}
    assert listed == pytest.approx(
        {(name, edit): both[place] for edit, both in every.items()
         for place, name in enumerate(("parts", "query"))}, abs=1e-6,
    )  # fmt: skip
    table = asked(*edits, "--format", "table")
    _, _, shown = table.stdout.partition("by parts and by query, which unites all\n")
    found = {
        edit: percents
        for edit, *percents in (line.rsplit(maxsplit=2) for line in shown.splitlines()[1:5])
    }
    for edit, both in (shares | {"all that count": total}).items():
        assert found[edit] == [f"{100 * share:.0f}" for share in both], edit
    assert f"parts find {100 * total[0]:.0f} % of the copies" in table.stderr
    assert f"imgdb query {100 * total[1]:.0f} % in all" in table.stderr
    assert "a search for parts shows 0.5 images that are no copies" in table.stderr

    # What parts do not find is found within the default of the collection.
    whole = (*small, "--hashes", "phash+dhash", "--collection", "photos", "--at", "1e15", "--json")
    curve = json.loads(asked(*whole).stdout)["hashes"][0]["edits"][0]["recall"]
    reach = curve.index(1)
    for most in (reach - 1, reach):
        with psycopg.connect(database) as conn:
            conn.execute(
                "SELECT imgdb.set_default_max_distance('phash+dhash', %s, 'photos')", (most,)
            )
        found = json.loads(asked(*whole).stdout)["parts"]
        assert (found["parts"]["value"], found["query"]["value"]) == (0, curve[most])
    assert curve[reach - 1] < 1


def test_what_has_no_default_is_not_stored(cli, database, pictures):
    cli("ingest", pictures, "--pdq", "--jobs", "1", dsn=database)
    with psycopg.connect(database) as conn:
        before = conn.execute("SELECT * FROM imgdb.rule, imgdb.space ORDER BY 1").fetchall()
    done = cli("calibrate", *ASKED, "--format", "table", dsn=database)
    assert done.code == 0 and "parts" not in done.stdout
    for words in ("trimmed within 17", "pdq within 31", "phash-pdq within 70"):
        assert words in done.stdout
    with psycopg.connect(database) as conn:
        rows = conn.execute("SELECT * FROM imgdb.rule, imgdb.space ORDER BY 1").fetchall()
    assert rows == before
    none = cli("calibrate", "--parts", *ASKED, "--json", dsn=database)
    assert none.code == 2 and "imgdb rehash --regions" in none.stderr
