"""`imgdb query --hash pdq` and `--hash phash-pdq`, from files, hex and Python."""

import json
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from library import scene, shelf
from PIL import ImageOps

import imgdb
from imgdb.hashes.pdq import read_pdq
from imgdb.hashes.values import PDQ_RULES, bit_distance, pdq_distance, pdq_to_hex, to_hex

FOUND = (
    "SELECT path, distance, query_number, same_bytes, images FROM imgdb._found_by_pdq("
    "%(rule)s, %(words)s::bigint[], %(phashes)s::bigint[], %(sha256)s, %(distance)s,"
    " %(collection)s, %(limit)s, %(flood)s, %(flat)s, true)"
)


@pytest.fixture
def folder(tmp_path):
    return shelf(tmp_path / "shelf")


@pytest.fixture
def filled(database, folder):
    with imgdb.connect(database) as db:
        for file in sorted(folder.iterdir()):
            db.add(file, pdq=file.name != "lake-soft.png")
    return database


def matches(cli, *args, **options):
    result = cli("query", *args, "--json", **options)
    assert (result.code, result.stderr) == (0, ""), result
    return [(Path(one["path"]).name, one["distance"]) for one in json.loads(result.stdout)]


@pytest.mark.parametrize("rule", PDQ_RULES)
def test_a_picture_is_found_by_pdq(cli, filled, folder, rule):
    asked = read_pdq(scene(1)).pdq
    far = pdq_distance(asked, imgdb.fingerprint(folder / "lake-small.jpg", pdq=True).pdq.pdq)
    assert 31 < far <= 70  # it is near enough to be decided, not to be found
    wanted = [("lake-copy.png", 0), ("lake.png", 0), ("lake-small.jpg", far)]
    usual = wanted[:2] if rule == "pdq" else wanted
    assert matches(cli, folder / "lake.png", "--hash", rule, dsn=filled) == usual
    hexed = pdq_to_hex(asked)
    if rule != "pdq":
        hexed = f"{to_hex(imgdb.hash(scene(1)).phash)}+{hexed}"
    assert matches(cli, "--hex", hexed, dsn=filled) == usual
    for most, found in ((far, wanted), (far - 1, wanted[:2])):
        asked = (folder / "lake.png", "--hash", rule, "--max-distance", str(most))
        assert matches(cli, *asked, dsn=filled) == found
    with imgdb.connect(filled) as db:
        found = db.query(scene(1), hash=rule)
        assert [(Path(one.path).name, one.distance) for one in found] == usual
        turned = ImageOps.mirror(scene(1)).rotate(90, expand=True)
        assert db.query(turned, hash=rule) == []
        found = db.query(turned, hash=rule, any_orientation=True)
        assert [(Path(one.path).name, one.distance) for one in found] == usual
        assert {one.orientation for one in found} == {"mirrored, 270° clockwise"}


def test_the_nearest_by_pdq(cli, filled, folder):
    found = matches(cli, folder / "lake.png", "--hash", "pdq", "--nearest", "4", dsn=filled)
    assert [name for name, _ in found[:3]] == ["lake-copy.png", "lake.png", "lake-small.jpg"]
    assert found[3][0] == "hill.png" and found[3][1] > 70


def test_phash_finds_what_pdq_decides(filled):
    """A candidate must be within 12 by phash, however near it is by PDQ."""
    lake = imgdb.hash(scene(1).resize((200, 150))).phash
    picture = scene(1).resize((200, 150))
    with psycopg.connect(filled) as conn, imgdb.connect(filled) as db:
        db.add(scene(1), id="other", collection="other", pdq=True)
        for turned, found in ((12, ["other"]), (13, [])):
            conn.execute(
                "UPDATE imgdb.image SET phash = %s WHERE path = 'other'",
                [lake ^ ((1 << turned) - 1)],
            )
            conn.commit()
            assert [
                m.path for m in db.query(picture, hash="phash-pdq", collection="other")
            ] == found


def test_without_pdq_hashes_it_says_how_to_make_them(cli, database, folder):
    with imgdb.connect(database) as db:
        db.add(folder / "hill.png")
    told = cli("query", folder / "lake.png", "--hash", "pdq", dsn=database)
    assert "imgdb ingest --pdq makes them" in told.stderr
    # The very file is found all the same, and nothing is to be advised.
    assert matches(cli, folder / "hill.png", "--hash", "pdq", dsn=database) == [("hill.png", None)]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--hex", "0" * 63), "16 hex digits"),
        (("--hex", "g" * 64), "64 hex digits"),
        (("--hex", "0" * 16, "--hash", "pdq"), "64 hex digits"),
        (("--hex", "0" * 64, "--hash", "phash-pdq"), "joined by +"),
        (("--hex", "0" * 16 + "+" + "0" * 64, "--hash", "pdq"), "pdq takes 64 hex digits"),
        (("--hex", "0" * 64, "--hash", "phash"), "16 hex digits"),
        (("--hex", "0" * 16, "--hash", "phash", "--max-distance", "65"), "64 at most"),
        (("--hex", "0" * 64, "--max-distance", "257"), "256"),
    ],
)
def test_wrong_usage_of_pdq(cli, args, words):
    result = cli("query", *args)
    assert (result.code, result.stdout) == (2, "")
    assert words in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_page_shows_distances_by_pdq(cli, filled, folder, tmp_path):
    page = tmp_path / "page.html"
    asked = (folder / "lake.png", "--hash", "phash-pdq", "--html", page)
    assert cli("query", *asked, dsn=filled).code == 0
    text = page.read_text("utf-8")
    assert 'data-measure="pdq"' in text and text.count('data-pdq="0"') == 2


def test_a_table_names_pdq(cli, filled, folder):
    for rule in PDQ_RULES:
        asked = (folder / "lake.png", "--hash", rule, "--format", "table")
        head = cli("query", *asked, dsn=filled, env={"COLUMNS": "200"}).stdout.splitlines()[0]
        assert head.split()[:6] == ["path", "pdq", "phash", "dhash", "whash", "ahash"]


small_words = st.tuples(*[st.integers(0, 3)] * 4)
rows = st.tuples(small_words, st.integers(0, 1 << 14), st.booleans(), st.integers(0, 2))


@given(
    st.lists(rows, max_size=8),
    st.lists(st.tuples(small_words, st.integers(0, 1 << 14)), min_size=1, max_size=2),
    st.sampled_from([*PDQ_RULES]),
    st.sampled_from([None, 0, 1, 3]),
    st.booleans(),
)
def test_searches_by_pdq_are_brute_force(conn, stored, asked, rule, distance, include_flat):
    """Files of the same bytes first, whatever their hashes; then all that are near enough."""
    with conn.transaction(force_rollback=True):
        conn.execute("INSERT INTO imgdb.collection (collection_id, name) VALUES (-1, 'pdq')")
        for number, (words, phash, flat, bytes_of) in enumerate(stored):
            conn.execute(
                "INSERT INTO imgdb.image (image_id, collection_id, path, phash, flat, recipe,"
                " sha256, byte_size, modified_at, format, width, height, frames) VALUES"
                " (%s, -1, %s, %s, %s, 'x', sha256(%s::bytea), 1, now(), 'PNG', 1, 1, 1)",
                [-1 - number, f"{number}", phash, flat, str(bytes_of)],
            )
            conn.execute(
                "INSERT INTO imgdb.image_pdq VALUES (%s, %s, %s, %s, %s, NULL, 'x')",
                [-1 - number, *words],
            )
        most = PDQ_RULES[rule] if distance is None else distance
        expected = []
        for number, (words, phash, flat, bytes_of) in enumerate(stored):
            near = [
                (pdq_distance(words, query), place)
                for place, (query, query_phash) in enumerate(asked, 1)
                if rule == "pdq" or bit_distance(phash, query_phash) <= 12
            ]
            if bytes_of == 0:
                expected.append((False, pdq_distance(words, asked[0][0]), f"{number}", 1))
            elif near and min(near)[0] <= most and (include_flat or not flat):
                expected.append((True, min(near)[0], f"{number}", min(near)[1]))
        arguments = {
            "rule": rule,
            "words": [word for words, _ in asked for word in words],
            "phashes": [phash for _, phash in asked],
            "sha256": conn.execute("SELECT sha256('0')").fetchone()[0],
            "distance": distance,
            "collection": "pdq",
            "limit": None,
            "flood": None,
            "flat": include_flat,
        }
        found = conn.execute(FOUND, arguments).fetchall()
        assert [(not same, far, path, place) for path, far, place, same, _ in found] == sorted(
            expected
        )


def test_what_is_marked_as_different_is_no_answer_and_floods_are_one_row(filled, folder):
    lake = imgdb.fingerprint(folder / "lake.png", pdq=True)
    arguments = {
        "rule": "pdq", "words": list(lake.pdq.pdq), "phashes": [lake.phash], "sha256": None,
        "distance": 70, "collection": None, "limit": None, "flood": 1, "flat": False,
    }  # fmt: skip
    with psycopg.connect(filled) as conn:
        found = conn.execute(FOUND, arguments).fetchall()
        assert [(Path(row[0]).name, row[4]) for row in found] == [
            ("lake-copy.png", 2),
            ("lake-small.jpg", 1),
        ]
        ids = dict(conn.execute("SELECT substring(path FROM '[^/]*$'), image_id FROM imgdb.image"))
        for copy in ("lake.png", "lake-copy.png"):
            pair = sorted((ids[copy], ids["lake-small.jpg"]))
            conn.execute("INSERT INTO imgdb.not_duplicate VALUES (%s, %s)", pair)
        found = conn.execute(FOUND, arguments).fetchall()
        assert [Path(row[0]).name for row in found] == ["lake-copy.png"]
