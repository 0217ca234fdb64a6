"""Moves and renames: a file that is known keeps its row and its marks, and is not decoded again."""

import contextlib
import json
import os
import shutil
import zipfile

import psycopg
import pytest
from folders import failures, paint, picture, stored

from imgdb.duplicates.marks import marks
from imgdb.ingest import moves, run, todo
from imgdb.ingest.options import Options

COUNTS = ("added", "updated", "moved", "unchanged", "missing")


@pytest.fixture
def ingest(cli, database):
    def run(*args, code=0, jobs=1):
        result = cli("ingest", "--jobs", str(jobs), "--json", *args, dsn=database)
        assert result.code == code, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture
def forbidden(database):
    """Forbid to store a hash that was made anew, by a trigger: moves write other columns only."""

    @contextlib.contextmanager
    def hold():
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute(
                "CREATE FUNCTION public.forbid() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'decoded: %', NEW.path; END $$;"
                "CREATE TRIGGER forbid BEFORE INSERT ON imgdb.image"
                " FOR EACH ROW EXECUTE FUNCTION public.forbid()"
            )
            yield
            conn.execute("DROP FUNCTION public.forbid() CASCADE")

    return hold


@pytest.fixture
def undecoded(ingest, forbidden):
    """Ingest, and see that nothing was decoded."""

    def run(*args, **options):
        with forbidden():
            return ingest(*args, **options)

    return run


@pytest.fixture(params=[1, 1000])
def in_batches(request, database, monkeypatch):
    """Ingest in this process, in one batch, or in batches of one file."""

    def ingest(folder):
        with psycopg.connect(database, autocommit=True) as conn:
            summary = run.ingest(conn, [str(folder)], options=Options(jobs=1))
        return {name: getattr(summary, name) for name in COUNTS}

    monkeypatch.setattr(todo, "COMPARE_FILES", request.param)
    monkeypatch.setattr(run, "BATCH_ROWS", request.param)
    return ingest


def counts(summary):
    return tuple(summary[name] for name in COUNTS)


def rows(dsn, collection="default"):
    """Return image_id, SHA-256 and whether it is missing, by path."""
    with psycopg.connect(dsn) as conn:
        found = conn.execute(
            "SELECT i.path, i.image_id, i.sha256, i.missing_since IS NOT NULL"
            " FROM imgdb.image AS i JOIN imgdb.collection AS c USING (collection_id)"
            " WHERE c.name = %s",
            (collection,),
        )
        return {path: (image_id, sha256, missing) for path, image_id, sha256, missing in found}


def swap(one, two):
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


@pytest.mark.parametrize("prune", [[], ["--prune"]])
def test_a_moved_file_keeps_its_row_and_its_marks(
    cli, undecoded, ingest, database, tmp_path, prune
):
    first, second, third = paint(tmp_path / "a", 3)
    ingest(tmp_path)
    assert cli("mark", "different", first, second, dsn=database).code == 0
    before = rows(database)
    moved, renamed = tmp_path / "b" / "2024" / first.name, second.with_name("renamed.png")
    moved.parent.mkdir(parents=True)
    first.rename(moved)
    second.rename(renamed)
    assert counts(undecoded(tmp_path, *prune)) == (0, 0, 2, 1, 0)
    assert rows(database) == {
        str(moved): before[str(first)],
        str(renamed): before[str(second)],
        str(third): before[str(third)],
    }
    with psycopg.connect(database, autocommit=True) as conn:
        [mark] = marks(conn)
    assert {mark.path_a, mark.path_b} == {str(moved), str(renamed)}
    # Searches find it where it is, and a second run has nothing to do.
    assert counts(ingest(tmp_path, *prune)) == (0, 0, 0, 3, 0)
    with psycopg.connect(database) as conn:
        found = conn.execute(
            "SELECT s.path FROM imgdb.image AS i"
            " CROSS JOIN imgdb.similar_images('phash', i.phash, 0) AS s WHERE i.path = %s",
            (str(moved),),
        ).fetchall()
    assert found == [(str(moved),)]


def test_a_copy_is_no_move(ingest, database, tmp_path):
    [path] = paint(tmp_path, 1)
    ingest(tmp_path)
    before = rows(database)[str(path)]
    shutil.copy2(path, tmp_path / "copy.png")
    assert counts(ingest(tmp_path)) == (1, 0, 0, 1, 0)
    assert rows(database)[str(path)] == before
    # Not even if the first one was touched, so that only its bytes say that it is still there.
    shutil.copy2(path, tmp_path / "other.png")
    os.utime(path, (1, 1))
    assert counts(ingest(tmp_path)) == (1, 1, 0, 1, 0)
    assert rows(database)[str(path)] == before


def test_a_touched_file_is_not_decoded(undecoded, ingest, database, tmp_path):
    paths = paint(tmp_path, 2)
    ingest(tmp_path)
    before = rows(database)
    os.utime(paths[0], (1, 1))
    assert counts(undecoded(tmp_path)) == (0, 1, 0, 1, 0)
    assert rows(database) == before
    assert counts(ingest(tmp_path)) == (0, 0, 0, 2, 0)


def test_names_that_change_places(in_batches, forbidden, ingest, database, tmp_path):
    """Swaps and a ring, in one batch, and in batches of one file."""
    paths = paint(tmp_path, 6)
    # Of one size, so that only their bytes tell some of them apart.
    longest = max(path.stat().st_size for path in paths[:3])
    for number, path in enumerate(paths):
        with path.open("ab") as file:
            file.write(bytes(longest - path.stat().st_size if number < 3 else number))
        os.utime(path, (number, number))
    ingest(tmp_path)
    before = {row[:2] for row in rows(database).values()}
    content = {path: path.read_bytes() for path in paths}
    swap(paths[0], paths[1])
    swap(paths[3], paths[4])
    swap(paths[4], paths[5])
    with forbidden():
        summary = in_batches(tmp_path)
    assert summary["moved"] + summary["updated"] == 5 and summary["unchanged"] == 1
    found = rows(database)
    assert {row[:2] for row in found.values()} == before
    assert not any(missing for _, _, missing in found.values())
    assert counts(ingest(tmp_path)) == (0, 0, 0, 6, 0)
    assert {path.read_bytes() for path in paths} == set(content.values())
    again = ingest(tmp_path, "--collection", "fresh")
    assert again["added"] == 6
    fresh = rows(database, "fresh")
    assert {path: row[1] for path, row in found.items()} == {
        path: row[1] for path, row in fresh.items()
    }


def test_a_chain_over_a_file_that_is_lost(in_batches, ingest, database, tmp_path):
    first, second, third = paint(tmp_path, 3)
    ingest(tmp_path)
    before = rows(database)
    second.replace(first)
    third.replace(second)
    picture(7).save(third)
    in_batches(tmp_path)
    found = rows(database)
    fresh = ingest(tmp_path, "--collection", "fresh")
    assert fresh["added"] == 3
    # Whatever came first: each path has the bytes that are there, and no row is lost or made twice.
    assert {path: row[1] for path, row in found.items() if not row[2]} == {
        path: row[1] for path, row in rows(database, "fresh").items()
    }
    assert {row[0] for row in found.values()} >= {row[0] for row in before.values()}
    assert counts(ingest(tmp_path)) == (0, 0, 0, 3, 0)


def test_as_many_moves_as_files_are_gone(undecoded, ingest, database, tmp_path):
    """Several files of the same bytes, one of which stays and one of which is doubled."""
    first, _ = paint(tmp_path / "a", 2)
    shutil.copy2(first, first.with_name("same.png"))
    ingest(tmp_path)
    (tmp_path / "b").mkdir()
    shutil.copy2(first, tmp_path / "b" / "double.png")
    first.rename(tmp_path / "b" / first.name)
    before = rows(database)
    assert counts(ingest(tmp_path, jobs=2)) == (1, 0, 1, 2, 0)
    found = rows(database)
    # Of two files of these bytes, one that has kept its name, or the other.
    assert before[str(first)] in (
        found[str(tmp_path / "b" / first.name)],
        found[str(tmp_path / "b" / "double.png")],
    )
    assert len(found) == 4 and str(first) not in found


def test_what_may_be_on_a_disk_that_is_away_moves_last(undecoded, ingest, database, tmp_path):
    """Of two lost files of the same bytes the row of that one moves which surely is gone."""
    away, (first,) = tmp_path / "away", paint(tmp_path / "photos" / "disk", 1)
    here = tmp_path / "photos" / "here.png"
    shutil.copy2(first, here)
    ingest(here.parent)
    before = rows(database)
    first.parent.rename(away)
    first.parent.mkdir()
    # It even gets the name of the file that cannot be seen.
    renamed = here.rename(here.with_name(first.name))
    assert counts(undecoded(here.parent, "--prune", code=3)) == (0, 0, 1, 0, 0)
    after = {str(renamed): before[str(here)], str(first): before[str(first)]}
    assert rows(database) == after
    first.parent.rmdir()
    away.rename(first.parent)
    assert counts(undecoded(here.parent, "--prune")) == (0, 0, 0, 2, 0)
    assert rows(database) == after


def test_what_lacks_something_is_moved_and_read(ingest, database, tmp_path):
    first, second = paint(tmp_path, 2)
    ingest(tmp_path)
    before = rows(database)
    first.rename(tmp_path / "moved.png")
    assert counts(ingest(tmp_path, "--pdq", "--regions")) == (0, 2, 0, 0, 0)
    assert rows(database) == {
        str(tmp_path / "moved.png"): before[str(first)],
        str(second): before[str(second)],
    }
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM imgdb.image_pdq").fetchone() == (2,)
    # Having all of it, it moves with it.
    (tmp_path / "moved.png").rename(first)
    assert counts(ingest(tmp_path, "--pdq", "--regions")) == (0, 0, 1, 1, 0)
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM imgdb.image_pdq").fetchone() == (2,)


def test_of_two_rows_the_one_that_lacks_nothing_moves(undecoded, ingest, database, tmp_path):
    first, second = paint(tmp_path, 2)
    shutil.copy2(first, second)
    ingest(first, "--pdq")
    ingest(second)
    before = rows(database)[str(first)]
    first.unlink()
    moved = tmp_path / "b" / second.name
    moved.parent.mkdir()
    second.rename(moved)
    assert counts(undecoded(tmp_path, "--pdq")) == (0, 0, 1, 0, 0)
    assert rows(database)[str(moved)] == before


def test_a_moved_folder_and_what_was_missing(undecoded, ingest, database, tmp_path):
    paths = paint(tmp_path / "2024", 3)
    other = tmp_path / "other"
    paint(other, 1, first=5)
    ingest(tmp_path)
    before = rows(database)
    away = tmp_path.parent / f"away from {tmp_path.name}"
    (tmp_path / "2024").rename(away)
    assert ingest(tmp_path, "--prune")["missing"] == 3
    away.rename(other / "2024")
    assert counts(undecoded(other, "--prune")) == (0, 0, 3, 1, 0)
    assert {path: row for path, row in rows(database).items() if "2024" in path} == {
        str(other / "2024" / path.name): before[str(path)] for path in paths
    }


def test_collections_keep_their_own_rows(ingest, database, tmp_path):
    [path] = paint(tmp_path, 1)
    ingest(tmp_path)
    ingest(tmp_path, "--collection", "second")
    before = rows(database), rows(database, "second")
    path.rename(tmp_path / "moved.png")
    assert counts(ingest(tmp_path, "--collection", "second")) == (0, 0, 1, 0, 0)
    assert rows(database) == before[0]
    assert rows(database, "second") == {str(tmp_path / "moved.png"): before[1][str(path)]}


def test_a_file_that_is_taken_out_of_an_archive(undecoded, ingest, database, tmp_path):
    [path] = paint(tmp_path, 1)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.png")
    path.unlink()
    ingest(tmp_path, "--archives")
    [before] = rows(database).values()
    zipfile.ZipFile(tmp_path / "a.zip").extractall(tmp_path)
    assert counts(ingest(tmp_path, "--archives")) == (1, 0, 0, 1, 0)
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM imgdb.image WHERE path = %s", (f"{tmp_path}/a.png",))
    (tmp_path / "a.zip").rename(tmp_path / "away")
    assert counts(undecoded(tmp_path, "--archives")) == (0, 0, 1, 0, 0)
    assert rows(database) == {f"{tmp_path}/a.png": before}
    # When the archive is back it is read again.
    (tmp_path / "away").rename(tmp_path / "a.zip")
    assert counts(ingest(tmp_path, "--archives")) == (1, 0, 0, 1, 0)


def test_a_failure_at_the_new_path_is_forgotten(undecoded, ingest, database, tmp_path):
    first, second = paint(tmp_path, 2)
    first.write_bytes(first.read_bytes()[:100])
    ingest(tmp_path, code=3)
    assert failures(database) == {str(first): "truncated"}
    second.replace(first)
    assert counts(undecoded(tmp_path, "--prune")) == (0, 0, 1, 0, 0)
    assert failures(database) == {}
    # And a failure at the old one is not taken for the picture.
    second.write_bytes(first.read_bytes()[:90])
    third = first.rename(tmp_path / "third.png")
    assert counts(ingest(tmp_path, "--prune", code=3)) == (0, 0, 1, 0, 0)
    assert failures(database) == {str(second): "truncated"}
    assert stored(database) == {str(third): False}


def test_two_spellings_of_one_name(tmp_path, monkeypatch):
    """A rename from A.png to a.png, where case makes no difference: both are found."""
    old, new = tmp_path / "A.png", tmp_path / "a.png"
    picture(1).save(new)
    assert not moves._is_one_entry(str(old), str(new))
    linked = tmp_path / "link.png"
    linked.symlink_to(new)
    assert not moves._is_one_entry(str(linked), str(new))
    (tmp_path / "hard.png").hardlink_to(new)
    assert not moves._is_one_entry(str(tmp_path / "hard.png"), str(new))
    (tmp_path / "hard.png").unlink()
    status = new.stat()
    monkeypatch.setattr(os, "lstat", lambda path: status)
    assert moves._is_one_entry(str(old), str(new))
    assert not moves._is_one_entry(str(new), str(new))
    assert not moves._is_one_entry(str(tmp_path / "b" / "a.png"), str(new))
