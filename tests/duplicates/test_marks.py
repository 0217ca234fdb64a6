"""`imgdb mark`: what was said to be different stays so, until it is another picture."""

import csv
import io
import os
import shutil
from pathlib import Path

import psycopg
import pytest
from library import add, scene, shelf

from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.marks import mark_different, marks, take_back
from imgdb.errors import UnknownName, UsageError
from imgdb.ingest.options import Options
from imgdb.ingest.run import ingest
from imgdb.search.images import query_by_file, similar
from imgdb.stopping import Stopping


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(shelf(tmp_path / "shelf"))
    return tmp_path / "shelf"


@pytest.fixture
def conn(database, folder):
    add(database, *sorted(folder.iterdir()))
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def marked(conn):
    return {frozenset((Path(mark.path_a).name, Path(mark.path_b).name)) for mark in marks(conn)}


def grouped(conn):
    return [
        {Path(m.path).name for m in group.members} for group in duplicates(conn, DuplicateChoice())
    ]


def found(conn, file):
    return {Path(match.path).name for match in similar(conn, query_by_file(file))}


LAKES = ("lake.png", "lake-copy.png", "lake-soft.png", "lake-small.jpg")


def test_marked_images_are_not_shown_as_alike(conn, folder):
    assert mark_different(conn, ["lake-soft.png", "lake-small.jpg"]) == 1
    assert "lake-small.jpg" not in found(conn, folder / "lake-soft.png")
    # Both are like the others still, which keeps them in one group.
    assert grouped(conn) == [set(LAKES)]
    assert mark_different(conn, list(LAKES)) == 5
    assert grouped(conn) == [] and found(conn, folder / "lake-soft.png") == {"lake-soft.png"}
    assert len(marked(conn)) == 6


def test_it_is_taken_back(conn):
    mark_different(conn, list(LAKES))
    assert take_back(conn, ["lake.png", "lake-copy.png", "lake-soft.png"]) == 3
    assert all("lake-small.jpg" in pair for pair in marked(conn))
    assert take_back(conn, ["lake-small.jpg"]) == 3
    assert marked(conn) == set() and grouped(conn) == [set(LAKES)]
    assert take_back(conn, ["lake-small.jpg"]) == 0


def test_saying_it_twice_says_it_once(conn):
    assert mark_different(conn, ["lake.png", "lake-soft.png"]) == 1
    assert mark_different(conn, ["lake-soft.png", "./lake.png"]) == 0


def test_a_path_is_known_as_the_system_or_the_database_spells_it(conn, database, folder):
    odd = os.fsdecode(os.fsencode(folder) + b"/odd\n\xff.png")
    shutil.copy(folder / "lake.png", odd)
    add(database, Path(odd))
    assert mark_different(conn, [odd, "lake.png"]) == 1
    assert mark_different(conn, [f"{folder}/odd\\n\\xff.png", str(folder / "lake.png")]) == 0


def test_a_mark_holds_in_every_collection_of_the_file(conn, database, folder):
    mark_different(conn, ["lake.png", "lake-soft.png"])
    add(database, folder / "lake.png", folder / "lake-soft.png", collection="other")
    with psycopg.connect(database, autocommit=True) as other:
        assert duplicates(other, DuplicateChoice(collection="other")) == []
        # Said anew, it is said of all of them.
        assert mark_different(conn, ["lake.png", "lake-soft.png"]) == 3
        assert take_back(conn, ["lake.png"], collection="other") == 2


def test_imported_names_may_mean_several_things(conn):
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a'), ('b')")
    conn.execute(
        "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
        " SELECT collection_id, path, 1, 'imported' FROM imgdb.collection,"
        " unnest(ARRAY['SKU-1', 'SKU-2']) AS path WHERE name IN ('a', 'b')"
    )
    with pytest.raises(UsageError, match=r"SKU-1 is in several collections \(a, b\)"):
        mark_different(conn, ["SKU-1", "SKU-2"])
    assert mark_different(conn, ["SKU-1", "SKU-2"], collection="a") == 1
    with pytest.raises(UnknownName, match=r"not in collection a: lake\.png"):
        mark_different(conn, ["SKU-1", "lake.png"], collection="a")


def run(conn, folder):
    with Stopping() as stopping:
        return ingest(conn, [str(folder)], options=Options(jobs=1), stopping=stopping)


def test_a_mark_ends_when_the_picture_is_another_one(conn, folder):
    mark_different(conn, ["lake.png", "lake-soft.png"])
    mark_different(conn, ["hill.png", "lake-copy.png"])
    # The same picture in other bytes: somebody edited its tags.
    with (folder / "lake.png").open("ab") as file:
        file.write(b"a comment")
    assert run(conn, folder).updated == 1
    assert len(marked(conn)) == 2
    # Hashed again by other rules, it is the same picture, too.
    conn.execute("UPDATE imgdb.image SET phash = phash # 1, recipe = 'scaled-1'")
    assert len(marked(conn)) == 2
    scene(5).save(folder / "lake-soft.png")
    assert run(conn, folder).updated >= 1
    assert marked(conn) == {frozenset(("hill.png", "lake-copy.png"))}


def test_a_file_that_was_away_is_marked_still(conn, folder):
    mark_different(conn, ["lake.png", "lake-soft.png"])
    conn.execute("UPDATE imgdb.image SET missing_since = now()")
    conn.execute("UPDATE imgdb.image SET missing_since = NULL")
    assert len(marked(conn)) == 1


def test_the_command(conn, database, cli, folder):
    def mark(*args):
        return cli("mark", *args, dsn=database, cwd=folder)

    done = mark("different", "lake.png", "lake-copy.png", "lake-soft.png")
    assert (done.code, done.stdout, done.stderr) == (0, "", "imgdb: 3 pairs marked\n")
    listed = mark("--list", "--format", "csv").stdout
    read = list(csv.DictReader(io.StringIO(listed, newline="")))
    assert len(read) == 3
    assert set(read[0]) == {"path_a", "collection_a", "path_b", "collection_b", "marked_at"}
    assert mark("forget", "lake.png", "lake-copy.png").stderr == "imgdb: 1 pair forgotten\n"
    unknown = mark("different", "lake.png", "nosuch.png")
    assert (unknown.code, len(unknown.stderr.splitlines())) == (2, 1)
    assert "nosuch.png" in unknown.stderr


@pytest.mark.parametrize(
    "args", [("different", "a.png"), ("--list", "forget", "a.png"), ("--collection", "a")]
)
def test_wrong_usage(cli, args):
    result = cli("mark", *args, dsn="host=nosuch.invalid")
    assert (result.code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
