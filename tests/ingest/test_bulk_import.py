"""Imports are one transaction: all of it or nothing, whoever else is at work, whatever ends it."""

import contextlib
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import psycopg
import pytest
from commands import Command
from flatness import is_flat
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from imgdb.hashes.values import ALGORITHMS, Hashes, to_hex
from imgdb.ingest.tables import importing
from imgdb.ingest.tables.bad_lines import BadLines
from imgdb.ingest.tables.importing import Imported, import_hashes

pytestmark = pytest.mark.sql

# Many hashes of one prefix in all bands but the first, where each has one of two.
CROWD = [n - (n & 1) * 2**63 for n in range(900)]


@pytest.fixture
def conn(database):
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def hashes(tmp_path):
    """A file of 900 rows, with gaps, doubles and crowds of one prefix."""
    random = np.random.default_rng(9).integers(-(2**63), 2**63 - 1, 450, dtype=np.int64).tolist()
    columns = {
        "ahash": CROWD,
        "dhash": [None] * 900,
        "phash": CROWD[:450] + random,
        "whash": [value if n % 7 else None for n, value in enumerate(random + CROWD[450:])],
    }
    lines = [
        ",".join([f"ä/{n % 30}/{n}", *("" if x is None else to_hex(x) for x in row)])
        for n, row in enumerate(zip(*columns.values(), strict=True))
    ]
    file = tmp_path / "hashes.csv"
    file.write_text("\n".join([",".join(["path", *columns]), *lines]))
    return str(file)


@pytest.fixture
def before_storing(monkeypatch):
    """Do something when all lines are read and the collection is known."""

    def arrange(race):
        value = importing.value

        def first(conn, *call):
            found = value(conn, *call)
            race()
            return found

        monkeypatch.setattr(importing, "value", first)

    return arrange


def entries(conn):
    """Return what the spaces hold, once all is in the buckets: (space, prefix, hash)."""
    conn.execute("CALL imgdb.compact()")
    return conn.execute(
        "SELECT s.name, b.prefix, unnest(b.hashes) FROM imgdb.prefix_bucket AS b"
        " JOIN imgdb.space AS s USING (space_id) ORDER BY 1, 2, 3"
    ).fetchall()


def count(conn, table="image"):
    [(found,)] = conn.execute(f"SELECT count(*) FROM imgdb.{table}").fetchall()
    return found


def nothing_is_left(conn):
    return [count(conn, table) for table in ("image", "collection", "prefix_bucket")] == [0, 0, 0]


def missing(conn):
    return [
        row
        for space in ALGORITHMS
        for row in conn.execute("SELECT * FROM imgdb.missing_hashes(%s)", [space]).fetchall()
    ]


def test_an_import_indexes_what_rebuild_would(conn, hashes):
    assert import_hashes(conn, hashes, collection="shop") == Imported(900, 0, 0)
    found = entries(conn)
    for space in ALGORITHMS:
        conn.execute("CALL imgdb.rebuild(%s)", [space])
    assert entries(conn) == found
    assert missing(conn) == []
    columns = ", ".join(f"count({name})" for name in ALGORITHMS)
    assert conn.execute(f"SELECT {columns}, count(DISTINCT path) FROM imgdb.image").fetchone() == (
        900,
        0,
        900,
        771,
        900,
    )


def test_what_is_there_already_is_updated_or_left(conn, hashes, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("path,phash\nä/0/0,00000000000000ff\nother,0000000000000001\n")
    import_hashes(conn, str(few), collection="shop")
    assert import_hashes(conn, hashes, collection="shop") == Imported(899, 1, 0)
    assert import_hashes(conn, hashes, collection="shop") == Imported(0, 0, 900)
    assert import_hashes(conn, hashes, collection="copy") == Imported(900, 0, 0)
    assert missing(conn) == []


@pytest.mark.parametrize("columns", [("ahash", "dhash"), ("phash", "whash")])
def test_pictures_of_few_bits_are_flat(conn, tmp_path, columns):
    # The first bit of a phash does not count: 5 bits with it are as flat as 4.
    words = [0, 1, 15, 31, 63, -(2**63), 15 - 2**63, 31 - 2**63, -1, 5 - 2**63, 0x5555555555555555]
    rows = list(product([None, *words], repeat=2))[1:]
    file = tmp_path / "hashes.csv"
    spelled = [["" if word is None else str(word) for word in row] for row in rows]
    lines = [f"{n:03},{first},{second}\n" for n, (first, second) in enumerate(spelled)]
    file.write_text(f"path,{','.join(columns)}\n{''.join(lines)}")
    import_hashes(conn, str(file), collection="shop")
    told = conn.execute("SELECT flat FROM imgdb.image ORDER BY path").fetchall()
    assert [flat for (flat,) in told] == [
        is_flat(Hashes(**dict(zip(columns, row, strict=True)))) for row in rows
    ]
    if "phash" in columns:
        [(flat,)] = conn.execute(
            "SELECT flat FROM imgdb.image WHERE phash = %s AND whash IS NULL", [15 - 2**63]
        )
        assert flat


# -- all or nothing ------------------------------------------------------------------------------


def test_a_path_that_comes_twice_leaves_nothing(conn, hashes):
    with Path(hashes).open("a") as file:
        file.write("\nä/7/7,,,,0000000000000001\n")
    with pytest.raises(BadLines) as error:
        import_hashes(conn, hashes, collection="shop")
    assert error.value.told == ["line 902: the path stands in line 9 already"]
    assert nothing_is_left(conn)


def test_a_bad_line_leaves_nothing(conn, hashes):
    with Path(hashes).open("a") as file:
        file.write("\nb,,,,12\nc,,,,0000000000000001\n,,,,0000000000000001")
    with pytest.raises(BadLines) as error:
        import_hashes(conn, hashes, collection="shop")
    assert error.value.told == ["line 902: whash is not 16 hex digits: '12'", "line 904: no path"]
    assert nothing_is_left(conn)


def test_what_the_server_refuses_leaves_nothing(conn, hashes):
    conn.execute("ALTER TABLE imgdb.image ADD CONSTRAINT short CHECK (length(path) < 7)")
    with pytest.raises(psycopg.errors.CheckViolation):
        import_hashes(conn, hashes, collection="shop")
    assert nothing_is_left(conn)


@contextlib.contextmanager
def buckets_locked(database):
    """Let those wait who index hashes: with rows that are stored and not committed."""
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE imgdb.fresh_hashes, imgdb.prefix_bucket IN EXCLUSIVE MODE")
        yield


@contextlib.contextmanager
def commit_delayed(database):
    """Let those wait who commit rows of imgdb.image."""
    with psycopg.connect(database) as blocker:
        blocker.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';"
            "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON imgdb.image"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
        )
        blocker.commit()
        blocker.execute("SELECT pg_advisory_xact_lock(7)")
        yield


WAITS = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = %s"
    " AND query LIKE %s"
)
OTHERS = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
# When an import is ended: who makes it wait, for what it waits then, and at which statement.
MOMENTS = {
    "lines are read": (lambda database: contextlib.nullcontext(), ("Client", "COPY pg_temp%")),
    "hashes are indexed": (buckets_locked, ("Lock", "%_store_import%")),
    "all is done, and commits": (commit_delayed, ("Lock", "COMMIT%")),
}


@pytest.mark.parametrize("how", ["killed", "interrupted"])
@pytest.mark.parametrize("when", MOMENTS)
def test_an_import_that_is_ended_leaves_nothing(cli, database, conn, tmp_path, when, how):
    random = np.random.default_rng(6).integers(0, 2**64 - 1, 2_000, dtype=np.uint64)
    lines = [f"/pictures/{n:08},{h:016x}\n" for n, h in enumerate(random.tolist())]
    file = tmp_path / "hashes.csv"
    file.write_text("".join(["path,phash\n", *lines]))
    given, lasting = file, contextlib.ExitStack()
    blocked, waits = MOMENTS[when]
    if when == "lines are read":
        given = tmp_path / "pipe"  # which does not end
        os.mkfifo(given)
        # Open for reading, too: opening does not wait then, and the pipe outlives the command.
        pipe = lasting.enter_context(given.open("r+b", buffering=0))
    with lasting, blocked(database):
        arguments = ("import", given, "--collection", "shop")
        with Command(*arguments, env={"IMGDB_DSN": database}) as command:
            if when == "lines are read":
                pipe.write(b"path,phash\n")
                for _ in range(12):  # more than any buffer on the way holds
                    pipe.write("".join(lines).encode())
            while not conn.execute(WAITS, waits).rowcount:
                assert command.process.poll() is None, command.process.communicate()
            if how == "killed":
                command.kill()
            else:
                # The first Ctrl-C is enough, though the lock is not given.
                command.signal(signal.SIGINT)
                _, told = command.process.communicate()
                assert (command.process.returncode, told) == (130, "imgdb: interrupted\n")
    while conn.execute(OTHERS).rowcount:
        pass
    if (when, how) == ("all is done, and commits", "killed"):
        # What the server was asked to commit it commits: all of it.
        assert count(conn) == len(lines)
        assert missing(conn) == []
        return
    assert nothing_is_left(conn)
    result = cli("import", file, "--collection", "shop", "--format", "json", dsn=database)
    assert (result.code, json.loads(result.stdout)["added"]) == (0, len(lines))
    assert missing(conn) == []


# -- beside others -------------------------------------------------------------------------------

MADE_FROM_A_FILE = (
    "INSERT INTO imgdb.image (collection_id, path, phash, recipe, byte_size, modified_at, sha256,"
    " format, width, height, frames)"
    " SELECT imgdb._make_collection('shop'), 'ä/7/7', 77, 'exact-1', 1, now(),"
    " sha256(''), 'PNG', 1, 1, 1"
)
IMPORTED = (
    "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
    " SELECT imgdb._make_collection('shop'), 'ä/7/7', 77, 'imported'"
)


@pytest.mark.parametrize("when", ["before rows are stored", "while they are"])
@pytest.mark.parametrize(
    ("row", "expected"),
    [(IMPORTED, Imported(899, 1, 0)), (MADE_FROM_A_FILE, Imported(899, 0, 1))],
)
def test_a_path_that_another_adds_meanwhile(
    database, conn, hashes, before_storing, row, expected, when
):
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('shop')")
    # What others commit is seen, whatever the default of the database is.
    conn.execute(
        f"ALTER DATABASE {conn.info.dbname} SET default_transaction_isolation = 'serializable'"
    )
    with (
        psycopg.connect(database, autocommit=True) as importer,
        psycopg.connect(database) as other,
        ThreadPoolExecutor() as thread,
    ):

        def commit_when_awaited():
            while not conn.execute(WAITS, ("Lock", "%_store_import%")).rowcount:
                assert importer.info.transaction_status != TransactionStatus.IDLE
            other.commit()

        def race():
            other.execute(row)
            if when == "while they are":
                thread.submit(commit_when_awaited)
            else:
                other.commit()

        before_storing(race)
        assert import_hashes(importer, hashes, collection="shop") == expected
    [(phash,)] = conn.execute("SELECT phash FROM imgdb.image WHERE path = 'ä/7/7'").fetchall()
    assert (phash == 77) == (row == MADE_FROM_A_FILE)
    assert missing(conn) == []


def test_a_collection_that_is_dropped_meanwhile_is_an_error(database, conn, hashes, before_storing):
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('shop')")
    before_storing(lambda: conn.execute("DELETE FROM imgdb.collection WHERE name = 'shop'"))
    with (
        psycopg.connect(database, autocommit=True) as importer,
        pytest.raises(psycopg.errors.ForeignKeyViolation),
    ):
        import_hashes(importer, hashes, collection="shop")
    assert nothing_is_left(conn)


def test_a_collection_cannot_go_while_its_rows_are_stored(database, conn, hashes):
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('shop')")
    with buckets_locked(database):
        arguments = ("import", hashes, "--collection", "shop")
        with Command(*arguments, env={"IMGDB_DSN": database}) as command:
            while not conn.execute(WAITS, ("Lock", "%_store_import%")).rowcount:
                assert command.process.poll() is None, command.process.communicate()
            conn.execute("SET lock_timeout = 1")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                conn.execute("DELETE FROM imgdb.collection WHERE name = 'shop'")
            conn.execute("RESET lock_timeout")
            command.kill()
    while conn.execute(OTHERS).rowcount:
        pass
    conn.execute("DELETE FROM imgdb.collection WHERE name = 'shop'")


def test_hashes_of_others_in_the_buckets_stay(conn, hashes):
    conn.execute("SELECT imgdb.create_space('other', '')")
    conn.execute("CREATE TABLE picture (hash bigint)")
    conn.execute("SELECT imgdb.track('picture', 'hash', 'other')")
    conn.execute("INSERT INTO picture VALUES (5)")
    assert import_hashes(conn, hashes, collection="shop") == Imported(900, 0, 0)
    assert missing(conn) == []
    assert conn.execute("SELECT hash FROM imgdb.within('other', 5, 0)").fetchall() == [(5,)]


OTHERWISE = {
    "a trigger": "CREATE FUNCTION alter_hash() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN new.phash := ~new.phash; RETURN new; END';"
    "CREATE TRIGGER alter_hash BEFORE INSERT ON imgdb.image"
    " FOR EACH ROW EXECUTE FUNCTION alter_hash()",
    "a rule": "CREATE RULE told AS ON INSERT TO imgdb.image DO ALSO NOTIFY told",
    "a foreign key": "CREATE TABLE known (hash bigint PRIMARY KEY);"
    "ALTER TABLE imgdb.image ADD FOREIGN KEY (dhash) REFERENCES known",
    "an untracked column": "SELECT imgdb.untrack('imgdb.image', name) FROM unnest("
    "ARRAY['ahash', 'dhash', 'phash', 'whash']) AS given (name)",
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_is_stored_is_indexed_with(conn, hashes, what):
    conn.execute(OTHERWISE[what])
    assert import_hashes(conn, hashes, collection="shop") == Imported(900, 0, 0)
    assert missing(conn) == []
    assert count(conn) == 900


@pytest.fixture
def clerk(database, conn):
    """A session of somebody who owns nothing, and may write images and collections only."""
    conn.execute("DROP ROLE IF EXISTS imgdb_clerk")
    conn.execute("CREATE ROLE imgdb_clerk; SELECT imgdb.grant_access('imgdb_clerk', 'write')")
    role = make_conninfo(database, options="-c role=imgdb_clerk")
    with psycopg.connect(role, autocommit=True) as clerk:
        yield clerk
    conn.execute("DROP OWNED BY imgdb_clerk; DROP ROLE imgdb_clerk")


def test_who_imports_needs_rights_on_images_only(clerk, conn, hashes):
    assert import_hashes(clerk, hashes, collection="shop") == Imported(900, 0, 0)
    assert missing(conn) == []


def test_rows_that_policies_hide_stay(clerk, conn, hashes):
    conn.execute(
        "INSERT INTO imgdb.image (collection_id, path, recipe)"
        " SELECT imgdb._make_collection('theirs'), 'hidden', 'imported';"
        "ALTER TABLE imgdb.image ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY ours ON imgdb.image USING (path <> 'hidden')"
    )
    assert import_hashes(clerk, hashes, collection="shop") == Imported(900, 0, 0)
    assert count(conn) == 901
    assert missing(conn) == []


def test_a_column_that_is_tracked_meanwhile_is_indexed_in_its_space(conn, hashes, before_storing):
    """Who tracks a column between the first look and the rows that come: none is missed."""

    def track():
        conn.execute("SELECT imgdb.track('imgdb.image', 'image_id', 'ids')")

    conn.execute("SELECT imgdb.create_space('ids', '')")
    before_storing(track)
    assert import_hashes(conn, hashes, collection="shop") == Imported(900, 0, 0)
    assert missing(conn) == []
    assert conn.execute("SELECT count(*) FROM imgdb.missing_hashes('ids')").fetchone() == (0,)
    [(first,)] = conn.execute("SELECT min(image_id) FROM imgdb.image").fetchall()
    assert conn.execute("SELECT hash FROM imgdb.within('ids', %s, 0)", [first]).fetchall() == [
        (first,)
    ]
