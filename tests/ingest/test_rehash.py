"""`imgdb rehash`: the hashes again, from the files, and a second run for what is left."""

import json
import signal
import sys
import zipfile

import psycopg
import pytest
from commands import Command
from folders import paint, picture, row_versions

from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.regions import RECIPE as REGION_RECIPE


@pytest.fixture
def imgdb(cli, database):
    def run(*args, code=0):
        result = cli(*args, "--jobs", "1", "--format", "json", dsn=database)
        assert result.code == code, result.stderr
        return json.loads(result.stdout), result.stderr

    return run


def recipes(dsn):
    with psycopg.connect(dsn) as conn:
        return dict(conn.execute("SELECT path, recipe FROM imgdb.image").fetchall())


def set_recipe(dsn, recipe, where="true"):
    with psycopg.connect(dsn) as conn:
        conn.execute(f"UPDATE imgdb.image SET recipe = %s, phash = 1 WHERE {where}", (recipe,))


def test_another_recipe(imgdb, database, tmp_path):
    paths = paint(tmp_path, 4)
    imgdb("ingest", tmp_path)
    before = row_versions(database)
    assert imgdb("rehash")[0]["updated"] == 0
    assert row_versions(database) == before
    set_recipe(database, "exact-0", f"path <> '{paths[0]}'")
    set_recipe(database, "exact-00", f"path = '{paths[1]}'")
    _, said = imgdb("ingest", tmp_path)
    assert "3 unchanged files have hashes of another recipe, or no colours; imgdb rehash" in said
    assert imgdb("rehash", "--recipe", "exact-00")[0]["updated"] == 1
    assert imgdb("rehash")[0]["updated"] == 2
    assert set(recipes(database).values()) == {"exact-1"}
    with psycopg.connect(database) as conn:
        for path, phash in conn.execute("SELECT path, phash FROM imgdb.image"):
            assert phash == fingerprint(path).phash


def test_colours_that_an_older_imgdb_did_not_measure(imgdb, database, tmp_path):
    paths = paint(tmp_path, 2)
    imgdb("ingest", tmp_path)
    with psycopg.connect(database) as conn:
        conn.execute("UPDATE imgdb.image SET colours = NULL WHERE path = %s", (str(paths[0]),))
    _, said = imgdb("ingest", tmp_path)
    assert "1 unchanged files have hashes of another recipe, or no colours" in said
    assert imgdb("rehash")[0]["updated"] == 1
    assert imgdb("rehash")[0]["updated"] == 0
    with psycopg.connect(database) as conn:
        for path, colours in conn.execute("SELECT path, colours FROM imgdb.image"):
            assert colours == fingerprint(path).colours


def test_hashes_that_were_left_out(imgdb, database, tmp_path):
    paint(tmp_path, 2)
    imgdb("ingest", tmp_path, "--hashes", "phash")
    assert imgdb("rehash", "--hashes", "phash,dhash")[0]["updated"] == 2
    assert imgdb("rehash", "--hashes", "phash,dhash")[0]["updated"] == 0


def test_regions_and_pdq_of_what_has_none(imgdb, database, tmp_path):
    paths = paint(tmp_path, 2)
    imgdb("ingest", paths[0], "--pdq")
    imgdb("ingest", paths[1])

    def known():
        with psycopg.connect(database) as conn:
            return conn.execute(
                "SELECT region_recipe, count(p.image_id) FROM imgdb.image"
                " LEFT JOIN imgdb.image_pdq AS p USING (image_id) GROUP BY 1"
            ).fetchall()

    assert known() == [(None, 1)]
    # What is not asked for is neither made nor missed.
    assert imgdb("rehash")[0]["updated"] == 0
    assert imgdb("rehash", "--pdq")[0]["updated"] == 1
    assert known() == [(None, 2)]
    assert imgdb("rehash", "--regions", "--pdq")[0]["updated"] == 2
    assert known() == [(REGION_RECIPE, 2)]
    assert imgdb("rehash", "--regions", "--pdq")[0]["updated"] == 0


def test_before_a_time(imgdb, tmp_path):
    paint(tmp_path, 2)
    imgdb("ingest", tmp_path)
    assert imgdb("rehash", "--before", "2020-01-01")[0]["updated"] == 0
    assert imgdb("rehash", "--before", "2100-01-01")[0]["updated"] == 2


def test_files_that_are_gone_or_broken_keep_or_lose_their_row(imgdb, database, tmp_path):
    gone, broken, _ = paint(tmp_path, 3)
    imgdb("ingest", tmp_path)
    set_recipe(database, "exact-0")
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:200])
    summary, _ = imgdb("rehash", code=3)
    assert (summary["updated"], summary["failed"]) == (1, 2)
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT path, recipe, missing_since IS NULL FROM imgdb.image ORDER BY path"
        ).fetchall()
    assert [row[1:] for row in rows] == [("exact-0", True), ("exact-0", False), ("exact-1", True)]


def test_collections_and_archives(imgdb, database, tmp_path):
    [path] = paint(tmp_path / "a", 1)
    (tmp_path / "b").mkdir()
    with zipfile.ZipFile(tmp_path / "b" / "some.zip", "w") as archive:
        archive.write(path, "1.png")
        picture(2).save(tmp_path / "2.png")
        archive.write(tmp_path / "2.png", "2.png")
    imgdb("ingest", tmp_path / "a", "--collection", "a")
    imgdb("ingest", tmp_path / "b", "--collection", "b", "--archives")
    set_recipe(database, "exact-0")
    assert imgdb("rehash", "--collection", "b")[0]["updated"] == 2
    assert sorted(recipes(database).values()) == ["exact-0", "exact-1", "exact-1"]
    assert imgdb("rehash")[0]["updated"] == 1


def test_an_unknown_collection(cli, database):
    result = cli("rehash", "--collection", "gone", dsn=database)
    assert (result.code, result.stderr.count("\n")) == (2, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_interrupted_run_goes_on_where_it_stopped(imgdb, database, tmp_path):
    paint(tmp_path, 200)
    imgdb("ingest", tmp_path)
    set_recipe(database, "exact-0")
    with Command("rehash", "--jobs", "1", env={"IMGDB_DSN": database}) as command:
        while "exact-1" not in recipes(database).values():
            assert command.process.poll() is None
        command.signal(signal.SIGINT)
        code, _, _ = command.end()
    done = list(recipes(database).values()).count("exact-1")
    assert (code, imgdb("rehash")[0]["updated"]) == (130, 200 - done)
