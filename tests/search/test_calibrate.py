"""`imgdb calibrate`: what it says is so, it says it again, and it changes nothing unasked."""

import csv
import io
import json
import zipfile
from pathlib import Path

import psycopg
import pytest
from folders import paint, picture, row_versions

from imgdb.hashes.copies import hash_copies
from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import bit_distance
from imgdb.pictures import loader

EDITS = ("jpeg-30", "crop-10", "border-5", "flip")
HASHES = ("phash", "dhash")
RULES = ("phash+dhash", *HASHES)
FEW = ("--edits", ",".join(EDITS), "--hashes", ",".join(RULES), "--jobs", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Paint 30 pictures, two of them copies of others, and one blank page."""
    made = tmp_path_factory.mktemp("pictures")
    paint(made, 30)
    picture(3).save(made / "copy.jpg", quality=60)
    picture(4).resize((120, 90)).save(made / "larger.png")
    picture(0).point(lambda value: 200).save(made / "blank.png")
    return made


@pytest.fixture
def imgdb(cli, database):
    def run(*args, code=0, **options):
        result = cli(*args, dsn=database, **options)
        assert result.code == code, result.stderr
        return result

    return run


def calibrate(imgdb, *args, **options):
    return json.loads(imgdb("calibrate", *FEW, "--format", "json", *args, **options).stdout)


def defaults(database):
    with psycopg.connect(database) as conn:
        question = "SELECT imgdb._default_distance(%s, %s)"
        return {
            (rule, where): conn.execute(question, (rule, where)).fetchone()[0]
            for rule in RULES
            for where in (None, "mine")
        }


def assert_same_curves(told, rows):
    """Compare the object of one run with the rows of another."""
    assert len(rows) == len(RULES) * (1 + len(EDITS)) * 33
    by_place = {(row["hash"], row["edit"], int(row["max_distance"])): row for row in rows}
    for figures in told["hashes"]:
        for point in figures["distances"]:
            row = by_place[figures["hash"], "all", point["max_distance"]]
            assert float(row["recall"]) == point["recall"]["value"]
            assert float(row["recall_low"]) == point["recall"]["low"]
            assert float(row["wrong_high"]) == point["wrong"]["high"]
        for edit in figures["edits"]:
            for radius, share in enumerate(edit["recall"]):
                row = by_place[figures["hash"], edit["edit"], radius]
                assert float(row["recall"]) == share


def copies_of(path):
    with loader.open_source(path) as source:
        return [copy.hashes for copy in hash_copies(source, EDITS, HASHES).copies]


def test_figures_are_those_of_brute_force_and_come_again(imgdb, database, folder):
    imgdb("ingest", folder, "--jobs", "1")
    before, unset = row_versions(database), defaults(database)
    found = calibrate(imgdb, "--sample", "40")
    again = imgdb("calibrate", *FEW, "--sample", "40", "--format", "csv").stdout
    assert_same_curves(found, list(csv.DictReader(io.StringIO(again))))
    assert row_versions(database) == before
    assert defaults(database) == unset

    stored = {path: fingerprint(path) for path in folder.iterdir() if path.stem != "blank"}
    assert (found["images"], found["pictures"], found["failed"]) == (32, 32, 0)
    assert found["enough_pictures"] and found["applied"] == []
    copies = {path: copies_of(path) for path in stored}

    def alike(one, other):
        names = ("ahash", "dhash", "phash", "whash")
        return max(bit_distance(getattr(one, n), getattr(other, n)) for n in names) <= 8

    def apart(rule, one, other):
        return sum(bit_distance(getattr(one, n), getattr(other, n)) for n in rule.split("+"))

    pairs = [(a, b) for a in stored for b in stored if a != b and alike(stored[a], stored[b])]
    assert len(pairs) >= 4
    assert found["copies_per_image"] == pytest.approx(len(pairs) / len(stored), abs=1e-6)
    for figures in found["hashes"]:
        name = figures["hash"]
        for place, edit in enumerate(figures["edits"]):
            away = [apart(name, stored[p], copies[p][place]) for p in stored]
            shares = [sum(bits <= radius for bits in away) / len(away) for radius in range(33)]
            assert edit["edit"] == EDITS[place]
            assert edit["recall"] == pytest.approx(shares, abs=1e-6)
            assert edit["at_default"]["value"] == pytest.approx(
                shares[figures["default"]["max_distance"]], abs=1e-6
            )
            assert edit["needs"]["90"] == next((r for r in range(33) if shares[r] >= 0.9), None)
        wrong = [
            apart(name, stored[path], stored[other])
            for path in stored
            for other in stored
            if other != path and (path, other) not in pairs
        ]
        counted = [[e["recall"] for e in figures["edits"] if e["counts"]]]
        assert [edit["counts"] for edit in figures["edits"]] == [True, True, True, False]
        for point in figures["distances"]:
            radius = point["max_distance"]
            false = sum(bits <= radius for bits in wrong) / len(stored)
            recall = sum(shares[radius] for shares in counted[0]) / 3
            assert point["wrong"]["value"] == pytest.approx(false, abs=1e-6)
            assert point["recall"]["value"] == pytest.approx(recall, abs=2e-6)
            if recall:
                assert point["precision"] == pytest.approx(recall / (recall + false), abs=1e-5)
            for rate in (point["recall"], point["wrong"]):
                assert rate["low"] <= rate["value"] <= rate["high"]
        default = unset[name, None]
        assert figures["default"] == figures["distances"][default]
        proposal = figures["proposal"]
        assert proposal["wrong"]["value"] <= 0.1 or proposal["max_distance"] == 0


def test_apply(imgdb, database, folder, tmp_path):
    imgdb("ingest", folder, "--collection", "mine", "--jobs", "1")
    asked = ("--sample", "3", "--at", "3.2e3", "--collection", "mine", "--apply")
    few = imgdb("calibrate", *FEW, *asked, "--format", "table", code=1)
    assert "3 pictures are too few to rely on" in few.stderr
    assert "nothing was stored" in few.stderr
    assert "edited 3 of 32 images, 4 ways each" in few.stderr
    lines = [line.split() for line in few.stdout.splitlines() if line]
    assert [line[0] for line in lines if line[0] in EDITS] == list(EDITS)
    assert [line[0] for line in lines if line[0] in RULES] == list(RULES)
    assert "Wrong images that one search shows among 3,200" in few.stdout
    unset = defaults(database)

    before = row_versions(database)
    page = tmp_path / "page.html"
    mine = (*FEW, "--apply", "--recall", "20", "--collection", "mine")
    applied = imgdb("calibrate", *mine, "--html", page, "--format", "json")
    after = json.loads(applied.stdout)
    chosen = {h["hash"]: h["proposal"]["max_distance"] for h in after["hashes"]}
    assert any(value != unset[name, None] for name, value in chosen.items())
    assert after["applied"] == [
        {"hash": name, "before": unset[name, None], "after": value}
        for name, value in chosen.items()
    ]
    told = f"phash: default of mine {unset['phash', None]} -> {chosen['phash']}: "
    assert told in applied.stderr
    # It is the default of this collection, and of no other.
    stored = {(name, "mine"): value for name, value in chosen.items()}
    assert defaults(database) == {**unset, **stored}
    assert row_versions(database) == before, "the defaults, and nothing else"
    assert "stored as the default" in page.read_text("utf-8")

    # From now on a search that names no distance takes it.
    copy = tmp_path / "copy.png"
    picture(5).crop((0, 0, 60, 45)).save(copy)
    name = next(name for name in RULES if chosen[name] != unset[name, None])
    plain = imgdb("query", copy, "--hash", name, "--collection", "mine", "--format", "json").stdout
    given = ("--max-distance", str(chosen[name]), "--json")
    told = imgdb("query", copy, "--hash", name, *given).stdout
    assert json.loads(plain) == json.loads(told)


def test_a_default_that_shows_too_many_is_not_stored(imgdb, database, folder):
    """Among so many even equal hashes would show more wrong images than are wanted."""
    imgdb("ingest", folder, "--jobs", "1")
    with psycopg.connect(database) as conn:
        # Pictures that are unlike by every hash but one.
        conn.execute("UPDATE imgdb.image SET dhash = 5 WHERE NOT flat")
    unset = defaults(database)
    asked = (*FEW, "--at", "1e6", "--apply", "--format", "json")
    found = imgdb("calibrate", *asked)
    told = json.loads(found.stdout)
    assert "dhash" not in {one["hash"] for one in told["applied"]}
    assert f"dhash: default stays {unset['dhash', None]}: even equal hashes show" in found.stderr
    assert defaults(database)["dhash", None] == unset["dhash", None]


def test_files_that_are_gone(imgdb, tmp_path):
    """What cannot be read is left out; what is no longer what was ingested, too."""
    paths = paint(tmp_path / "p", 6)
    with zipfile.ZipFile(tmp_path / "p" / "more.zip", "w") as archive:
        for number in range(20, 23):
            content = io.BytesIO()
            picture(number).save(content, "PNG")
            archive.writestr(f"in/{number}.png", content.getvalue())
    imgdb("ingest", tmp_path / "p", "--archives", "--jobs", "1")
    paths[0].unlink()
    picture(99).save(paths[1])
    paths[2].write_bytes(b"\x89PNG\r\n\x1a\n")
    found = imgdb("calibrate", *FEW, "--format", "json", code=3)
    told = json.loads(found.stdout)
    assert (told["pictures"], told["failed"]) == (6, 3)
    assert {Path(f["path"]).name: f["kind"] for f in told["failures"]} == {
        "0000.png": "missing",
        "0001.png": "changed",
        "0002.png": "truncated",
    }
    assert "0001.png" in found.stderr and "no longer the file that was ingested" in found.stderr
    assert {edit["pictures"] for figures in told["hashes"] for edit in figures["edits"]} == {6}
    for path in (*paths[1:], tmp_path / "p" / "more.zip"):
        path.unlink()
    page = tmp_path / "page.html"
    nothing = imgdb("calibrate", *FEW, "--html", page, "--format", "json", code=1)
    assert json.loads(nothing.stdout)["hashes"] == []
    assert not page.exists()


def test_nothing_to_edit(imgdb, tmp_path):
    assert "holds no picture" in imgdb("calibrate", code=2).stderr
    assert "there is no collection" in imgdb("calibrate", "--collection", "none", code=2).stderr
    table = tmp_path / "hashes.csv"
    table.write_text("path,phash\na.jpg,e4169b69c6c63ac5\nb.jpg,e4169b69c6c63ac6\n")
    imgdb("import", table, "--collection", "bare")
    bare = imgdb("calibrate", "--collection", "bare", code=2)
    assert "collection bare" in bare.stderr and "hashes were imported" in bare.stderr


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--edits", "sepia"), "no such edit: sepia"),
        (("--hashes", "xhash"), "no such hash: xhash"),
        (("--open",), "give --html FILE"),
        (("--sample", "0"), "--sample"),
    ],
)
def test_wrong_usage(cli, wrong, words):
    """Nobody need have a database to be told."""
    result = cli("calibrate", *wrong, dsn="host=/nowhere")
    assert result.code == 2
    assert words in result.stderr
