"""Imports that file their hashes by COPY, not by triggers: nothing is missed, come what may."""

import contextlib
import json
import signal
from itertools import product

import numpy as np
import psycopg
import pytest
from brute_force import signed
from catalog import fingerprint
from commands import Command
from hash_sets import CORNERS, clustered
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from servers import embedded_only

from imgdb import schema
from imgdb.database import binary_copy, buckets, compaction
from imgdb.database.buckets import Filed
from imgdb.database.embedded import Server
from imgdb.hashes.values import ALGORITHMS, to_hex
from imgdb.ingest.tables import first_import, importing
from imgdb.ingest.tables.bad_lines import BadLines
from imgdb.ingest.tables.importing import Imported, import_hashes

pytestmark = pytest.mark.sql

# Many hashes of one prefix in all bands but the first, where each has one of two.
CROWD = [n - (n & 1) * 2**63 for n in range(900)]
MASKS = {
    "usual": None,
    "16 bands": signed([0xF << 4 * band for band in range(16)]).tolist(),
    "3 bands": signed([(1 << 22) - 1, ((1 << 21) - 1) << 22, ((1 << 21) - 1) << 43]).tolist(),
}


@pytest.mark.parametrize("masks", MASKS)
@given(hashes=clustered() | st.lists(st.sampled_from(CORNERS)))
@example(hashes=CROWD + CROWD)
@example(hashes=[])
def test_rows_are_those_of_append_buckets(space, masks, hashes):
    space.clear()
    if MASKS[masks]:
        space.use_masks(MASKS[masks])
    bands = space.value("SELECT band_masks FROM imgdb.space WHERE name = %s", space.name)
    space.conn.execute(
        "SELECT imgdb._file_hashes(%s::smallint, %s::bigint[], %s::bigint[])",
        [space.space_id, bands, hashes],
    )
    expected = sorted(space.buckets())
    space.clear()
    feed = buckets.Feed("hash", space.space_id, bands)
    buckets.file(space.conn, [feed], {"hash": np.array(hashes, np.int64)})
    assert sorted(space.buckets()) == expected


def test_an_array_goes_out_in_parts(monkeypatch):
    hashes = np.random.default_rng(8).integers(-(2**63), 2**63 - 1, 5000, dtype=np.int64)
    whole = b"".join(buckets.bucket_rows(1, hashes, [-1 << 56, 0xFF]))
    monkeypatch.setattr(buckets, "_PART", 300)
    parts = list(buckets.bucket_rows(1, hashes, [-1 << 56, 0xFF]))
    assert len(parts) == 35
    assert b"".join(parts) == whole


# -- through import ------------------------------------------------------------------------------


@pytest.fixture
def conn(database):
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def filed(monkeypatch):
    """Let small files be imported as large ones are; the spaces that were filed in."""
    spaces = []
    file = buckets.file

    def note(conn, feeds, hashes):
        spaces.extend(feed.space_id for feed in feeds)
        return file(conn, feeds, hashes)

    monkeypatch.setattr(buckets, "file", note)
    monkeypatch.setattr(importing, "SMALL_FILE", 0)
    monkeypatch.setattr(importing, "available_cores", lambda: 3)
    return spaces


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
    return file


@pytest.fixture
def earlier(conn):
    """An image that is there before: what comes is not the first, and comes by three sessions."""
    conn.execute(
        "INSERT INTO imgdb.image (collection_id, path, recipe)"
        " SELECT imgdb._make_collection('earlier'), 'a', 'imported'"
    )


def bucket_rows(conn):
    return conn.execute("SELECT * FROM imgdb.prefix_bucket ORDER BY 1, 2, 3").fetchall()


def definitions(conn):
    return {name: text for name, text in fingerprint(conn).items() if not name.startswith("rows ")}


def missing(conn):
    return [
        row
        for space in ALGORITHMS
        for row in conn.execute("SELECT * FROM imgdb.missing_hashes(%s)", [space]).fetchall()
    ]


@pytest.mark.parametrize("when", ["first", "later"])
def test_an_import_files_what_rebuild_would(request, conn, filed, hashes, when):
    if when == "later":
        request.getfixturevalue("earlier")
    assert import_hashes(conn, hashes, collection="shop") == Imported(added=900)
    assert sorted(filed) == [1, 2, 3, 4]
    found = bucket_rows(conn)
    for space in ALGORITHMS:
        conn.execute("SELECT imgdb.rebuild(%s)", [space])
    assert bucket_rows(conn) == found
    assert missing(conn) == []
    columns = ", ".join(f"count({name})" for name in ALGORITHMS)
    assert conn.execute(
        f"SELECT {columns}, count(DISTINCT path) FROM imgdb.image WHERE path <> 'a'"
    ).fetchone() == (900, 0, 900, 771, 900)


ALTERED = (
    "CREATE FUNCTION alter_hash() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN new.phash := ~new.phash; RETURN new; END';"
    "CREATE TRIGGER alter_hash BEFORE INSERT ON imgdb.image"
    " FOR EACH ROW EXECUTE FUNCTION alter_hash()"
)
OTHERWISE = {
    "a trigger": ALTERED,
    "a rule": "CREATE RULE told AS ON INSERT TO imgdb.image DO ALSO NOTIFY told",
    "a foreign key": "CREATE TABLE known (hash bigint PRIMARY KEY);"
    "ALTER TABLE imgdb.image ADD FOREIGN KEY (dhash) REFERENCES known",
    "an untracked column": "SELECT imgdb.untrack('imgdb.image', name) FROM unnest("
    "ARRAY['ahash', 'dhash', 'phash', 'whash']) AS given (name)",
    "fewer rights": "CREATE ROLE imgdb_clerk; GRANT USAGE ON SCHEMA imgdb TO imgdb_clerk;"
    "GRANT ALL ON imgdb.image, imgdb.collection TO imgdb_clerk;"
    "GRANT SELECT ON ALL TABLES IN SCHEMA imgdb TO imgdb_clerk;"
    "GRANT ALL ON ALL SEQUENCES IN SCHEMA imgdb TO imgdb_clerk",
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_otherwise_the_triggers_file(database, conn, filed, hashes, what):
    if what == "fewer rights":
        conn.execute("DROP ROLE IF EXISTS imgdb_clerk")
    conn.execute(OTHERWISE[what])
    role = "-c role=imgdb_clerk" if what == "fewer rights" else ""
    try:
        with psycopg.connect(make_conninfo(database, options=role), autocommit=True) as clerk:
            assert import_hashes(clerk, hashes, collection="shop").added == 900
    finally:
        if role:
            conn.execute("DROP OWNED BY imgdb_clerk; DROP ROLE imgdb_clerk")
    assert filed == []
    assert missing(conn) == []
    [(found,)] = conn.execute("SELECT count(*) FROM imgdb.image")
    assert found == 900


def test_the_isolation_is_not_that_of_the_database(database, conn, filed, hashes):
    conn.execute(
        f"ALTER DATABASE {conn.info.dbname} SET default_transaction_isolation = 'serializable'"
    )
    with psycopg.connect(database, autocommit=True) as fresh:
        assert import_hashes(fresh, hashes, collection="shop").added == 900
    assert sorted(filed) == [1, 2, 3, 4]


def test_what_is_there_already_is_left_to_the_triggers(conn, filed, hashes, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("path,phash\nä/0/0,00000000000000ff\nother,0000000000000001\n")
    import_hashes(conn, few, collection="shop")
    assert filed == [3]
    assert import_hashes(conn, hashes, collection="shop") == Imported(899, 1, 0)
    assert import_hashes(conn, hashes, collection="shop") == Imported(0, 0, 900)
    assert import_hashes(conn, hashes, collection="copy") == Imported(900)
    assert filed[1:] == [1, 2, 3, 4]
    assert missing(conn) == []


@pytest.mark.parametrize("when", ["first", "later"])
def test_a_path_that_comes_twice_leaves_nothing(request, conn, filed, hashes, when):
    if when == "later":
        request.getfixturevalue("earlier")
    before = definitions(conn)
    with hashes.open("a") as file:
        file.write("\nä/7/7,,,,0000000000000001\n")
    with pytest.raises(BadLines) as error:
        import_hashes(conn, hashes, collection="shop")
    assert error.value.told == ["line 902: the path stands in line 9 already"]
    assert bucket_rows(conn) == []
    assert conn.execute("SELECT FROM imgdb.image WHERE path <> 'a'").fetchall() == []
    assert definitions(conn) == before


def test_a_path_that_another_adds_meanwhile_is_updated(
    database, conn, filed, hashes, earlier, monkeypatch
):
    hold = buckets.hold

    def race(conn, columns):
        with psycopg.connect(database) as other:
            other.execute(
                "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
                " SELECT imgdb._make_collection('shop'), 'ä/7/7', 77, 'imported'"
            )
        return hold(conn, columns)

    monkeypatch.setattr(buckets, "hold", race)
    assert import_hashes(conn, hashes, collection="shop") == Imported(899, 1, 0)
    assert missing(conn) == []


def test_a_collection_that_is_dropped_meanwhile_is_an_error(
    conn, filed, hashes, earlier, monkeypatch
):
    hold = buckets.hold

    def race(session, columns):
        session.execute("DELETE FROM imgdb.collection WHERE name = 'shop'")
        return hold(session, columns)

    monkeypatch.setattr(importing, "available_cores", lambda: 1)
    monkeypatch.setattr(buckets, "hold", race)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        import_hashes(conn, hashes, collection="shop")
    assert bucket_rows(conn) == []


# -- the first images of all ---------------------------------------------------------------------

MORE = (
    "CREATE INDEX image_format_idx ON imgdb.image (format) WHERE width > 7;"
    "CREATE UNIQUE INDEX image_path_idx ON imgdb.image (path, collection_id);"
    "COMMENT ON INDEX imgdb.image_format_idx IS 'It''s mine.';"
    "COMMENT ON CONSTRAINT image_collection_id_path_key ON imgdb.image IS 'Each file once.';"
    "COMMENT ON CONSTRAINT image_pkey ON imgdb.image IS 'Identity.';"
    "COMMENT ON CONSTRAINT image_region_image_id_fkey ON imgdb.image_region IS 'Its image.';"
    "CREATE INDEX image_width_idx ON imgdb.image (width) WITH (fillfactor = 70);"
    "COMMENT ON TRIGGER imgdb_insert_3_phash ON imgdb.image IS 'It files.'"
)
INDEXES = (
    "SELECT indexrelid::regclass::text, indexrelid FROM pg_index"
    " WHERE indrelid = 'imgdb.image'::regclass"
)


@pytest.fixture
def directly(monkeypatch):
    """What came straight from the file."""
    found = []
    store = first_import.store

    def note(*arguments):
        found.append(store(*arguments))
        return found[-1]

    monkeypatch.setattr(first_import, "store", note)
    return found


def test_what_is_removed_is_made_again_as_it_was(conn, filed, hashes, directly):
    conn.execute(MORE)
    before, indexes = definitions(conn), dict(conn.execute(INDEXES).fetchall())
    assert import_hashes(conn, hashes, collection="shop") == Imported(added=900)
    assert directly == [(900, Filed(True, False))]
    assert definitions(conn) == before
    # One gets no entries, and the definition of the other does not tell all.
    after = dict(conn.execute(INDEXES).fetchall())
    assert {name for name in indexes if after[name] == indexes[name]} == {
        "imgdb.image_sha256_idx",
        "imgdb.image_width_idx",
    }
    conn.execute("SET enable_seqscan = off")
    [(plan,)] = conn.execute(
        "EXPLAIN (FORMAT JSON) SELECT FROM imgdb.image WHERE phash = 5"
    ).fetchall()
    assert "image_phash_idx" in str(plan)


def test_keys_and_triggers_are_at_work_again(conn, filed, hashes):
    import_hashes(conn, hashes, collection="shop")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        conn.execute("INSERT INTO imgdb.not_duplicate VALUES (1, 2147483647)")
    late = (
        "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
        " SELECT collection_id, 'late', 77, 'imported' FROM imgdb.collection"
    )
    conn.execute(late)
    assert missing(conn) == []
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute(late)


@pytest.mark.parametrize("columns", [("ahash", "dhash"), ("phash", "whash")])
def test_the_same_pictures_are_flat_as_in_the_server(conn, filed, directly, tmp_path, columns):
    words = [0, 1, 15, 31, 63, -(2**63), -1, 5 - 2**63, 0x5555555555555555]
    rows = list(product(["", *words], repeat=2))[1:]
    file = tmp_path / "hashes.csv"
    lines = [f"{n},{first},{second}\n" for n, (first, second) in enumerate(rows)]
    file.write_text(f"path,{','.join(columns)}\n{''.join(lines)}")
    import_hashes(conn, file, collection="shop")
    assert directly == [(len(rows), Filed(True, False))]
    told = conn.execute(
        "SELECT flat, imgdb._is_flat(ahash, dhash, phash, whash) FROM imgdb.image"
    ).fetchall()
    assert set(told) == {(True, True), (False, False)}


def test_a_bad_line_leaves_nothing(conn, filed, hashes, directly):
    before = definitions(conn)
    with hashes.open("a") as file:
        file.write("\nb,,,,12\nc,,,,0000000000000001\n,,,,0000000000000001")
    with pytest.raises(BadLines) as error:
        import_hashes(conn, hashes, collection="shop")
    assert error.value.told == ["line 902: whash is not 16 hex digits: '12'", "line 904: no path"]
    assert directly == []
    assert definitions(conn) == before
    for table in ("image", "collection", "prefix_bucket"):
        assert conn.execute(f"SELECT FROM imgdb.{table}").fetchall() == []


def test_what_the_server_refuses_leaves_nothing(conn, filed, hashes, directly):
    conn.execute("ALTER TABLE imgdb.image ADD CONSTRAINT short CHECK (length(path) < 7)")
    before = definitions(conn)
    with pytest.raises(psycopg.errors.CheckViolation):
        import_hashes(conn, hashes, collection="shop")
    assert directly == []
    assert definitions(conn) == before
    for table in ("image", "collection", "prefix_bucket"):
        assert conn.execute(f"SELECT FROM imgdb.{table}").fetchall() == []


def test_the_first_images_come_beside_the_hashes_of_others(conn, filed, hashes, directly):
    conn.execute("SELECT imgdb.create_space('other', '')")
    conn.execute("CREATE TABLE picture (hash bigint)")
    conn.execute("SELECT imgdb.track('picture', 'hash', 'other')")
    conn.execute("INSERT INTO picture VALUES (5)")
    assert import_hashes(conn, hashes, collection="shop") == Imported(added=900)
    assert directly == [(900, Filed(True, False))]
    assert missing(conn) == []


@pytest.mark.parametrize("what", ["rows come", "somebody reads", "a view", "a foreign key"])
def test_otherwise_they_come_by_way_of_another_table(
    database, conn, filed, hashes, directly, what, monkeypatch
):
    hold = buckets.hold
    reader = psycopg.connect(database)

    def race(session, columns):
        found = hold(session, columns)
        if what == "rows come":
            reader.execute(
                "INSERT INTO imgdb.image (collection_id, path, recipe)"
                " SELECT imgdb._make_collection('other'), 'a', 'imported'"
                " ON CONFLICT DO NOTHING"
            )
            reader.commit()
        elif what == "somebody reads":
            reader.execute("SELECT FROM imgdb.image")
        return found

    monkeypatch.setattr(buckets, "hold", race)
    if what == "a view":
        conn.execute("CREATE VIEW shelf AS SELECT path FROM imgdb.image GROUP BY image_id")
    elif what == "a foreign key":
        conn.execute("CREATE TABLE shelf (image_id bigint REFERENCES imgdb.image)")
    indexes = conn.execute(INDEXES).fetchall()
    with reader:
        assert import_hashes(conn, hashes, collection="shop") == Imported(added=900)
    assert directly == [None]
    assert conn.execute(INDEXES).fetchall() == indexes
    assert sorted(filed) == [1, 2, 3, 4]
    assert missing(conn) == []


@pytest.fixture
def filer(database, conn):
    """A session of somebody who owns nothing, and may file but not delete."""
    if conn.info.server_version < 150000:
        pytest.skip("PostgreSQL 15 brought rights to settings")
    conn.execute("DROP ROLE IF EXISTS imgdb_filer")
    conn.execute(
        "CREATE ROLE imgdb_filer; GRANT USAGE ON SCHEMA imgdb TO imgdb_filer;"
        "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA imgdb TO imgdb_filer;"
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA imgdb TO imgdb_filer;"
        "GRANT SET ON PARAMETER session_replication_role TO imgdb_filer"
    )
    options = make_conninfo(database, options="-c role=imgdb_filer")
    with psycopg.connect(options, autocommit=True) as filer:
        yield filer
    conn.execute("DROP OWNED BY imgdb_filer; DROP ROLE imgdb_filer")


def test_who_may_file_need_not_own_the_table(filer, conn, filed, hashes, directly):
    found = import_hashes(filer, hashes, collection="shop")
    assert (found, found.filed) == (Imported(added=900), Filed(False, False))
    assert directly == [None]
    assert sorted(filed) == [1, 2, 3, 4]
    assert missing(conn) == []


def test_rows_that_are_hidden_are_not_emptied(filer, conn, filed, hashes, directly):
    tables = "image", "image_region", "not_duplicate", "prefix_bucket"
    for table in tables:
        conn.execute(f"ALTER TABLE imgdb.{table} OWNER TO imgdb_filer")
    conn.execute(
        "INSERT INTO imgdb.image (collection_id, path, recipe)"
        " SELECT imgdb._make_collection('theirs'), 'hidden', 'imported';"
        "ALTER TABLE imgdb.image ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        "CREATE POLICY ours ON imgdb.image USING (path <> 'hidden')"
    )
    try:
        assert import_hashes(filer, hashes, collection="shop") == Imported(added=900)
    finally:
        for table in tables:
            conn.execute(f"ALTER TABLE imgdb.{table} OWNER TO SESSION_USER")
    assert directly == [None]
    assert conn.execute("SELECT count(*) FROM imgdb.image").fetchone() == (901,)
    assert missing(conn) == []


def test_rows_that_an_old_snapshot_lacks_are_not_emptied(database, conn):
    with psycopg.connect(database) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM imgdb.collection")
        conn.execute(
            "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
            " SELECT imgdb._make_collection('shop'), 'a', 7, 'imported'"
        )
        assert old.execute(first_import.BEGIN, [["phash"]]).fetchone() == (None,)
        assert old.execute(buckets.EMPTY_BUCKETS).fetchone() == (False,)


def test_what_a_subscriber_would_be_told_is_not_emptied(home, filed, hashes, directly):
    replicating = {"wal_level": "logical", "max_wal_senders": "1"}
    with Server(home, settings=replicating, durable=False) as server:
        schema.upgrade(server.conninfo())
        with psycopg.connect(server.conninfo(), autocommit=True) as conn:
            assert conn.execute(buckets.EMPTY_BUCKETS).fetchone() == (False,)
            assert import_hashes(conn, hashes, collection="shop") == Imported(added=900)
            assert missing(conn) == []
    assert directly == [None]


# -- between the two commits ---------------------------------------------------------------------

HASH = 0x1234567890ABCDEF
COMPACT = "CALL imgdb.compact('phash')"
WAITING = {
    "compact": COMPACT,
    "rebuild": "SELECT imgdb.rebuild('phash')",
    "untrack": "SELECT imgdb.untrack('imgdb.image', 'phash')",
    "other bands": "UPDATE imgdb.space SET band_masks = band_masks[4:4] || band_masks[:3]"
    " WHERE name = 'phash'",
    "a trigger": ALTERED,
}


@contextlib.contextmanager
def hash_filed_first(database, conn):
    """File a hash in one transaction, and give the one that shall bring its row."""
    conn.execute("SELECT imgdb._make_collection('shop')")
    with psycopg.connect(database) as rows:
        feeds = buckets.hold(rows, ["phash"])
        buckets.file(conn, feeds, {"phash": np.array([HASH])})
        yield rows


def bring_row(rows):
    rows.execute("SET LOCAL session_replication_role = replica")
    rows.execute(
        "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
        " SELECT collection_id, 'a', %s, 'imported' FROM imgdb.collection",
        [HASH],
    )


@pytest.mark.parametrize("what", WAITING)
def test_until_the_rows_are_there_others_wait(database, conn, what):
    with hash_filed_first(database, conn) as rows:
        conn.execute("SET lock_timeout = 1")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            conn.execute(WAITING[what])
        bring_row(rows)
        rows.commit()
        conn.execute("RESET lock_timeout")
        if what != "untrack":
            conn.execute(WAITING[what])
            assert missing(conn) == []


def test_imports_do_not_wait_for_each_other(database, conn):
    with (
        hash_filed_first(database, conn) as rows,
        hash_filed_first(database, conn) as others,
    ):
        bring_row(others)
        others.commit()
        rows.rollback()
    conn.execute(COMPACT)
    assert missing(conn) == []


def test_rows_that_do_not_come_after_all_leave_stale_hashes(database, conn):
    with hash_filed_first(database, conn) as rows:
        bring_row(rows)
        rows.rollback()
    assert len(bucket_rows(conn)) == 4
    assert (
        conn.execute("SELECT * FROM imgdb.similar_images('phash', %s, 0)", [HASH]).fetchall() == []
    )
    conn.execute(COMPACT)
    assert bucket_rows(conn) == []


WAITS = "SELECT FROM pg_locks WHERE relation = 'imgdb.prefix_bucket'::regclass AND NOT granted"
OTHERS = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@embedded_only
@pytest.mark.parametrize("when", ["first", "later"])
@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_an_import_that_is_ended_leaves_nothing(request, cli, database, conn, tmp_path, when, how):
    if when == "later":
        request.getfixturevalue("earlier")
    random = np.random.default_rng(6).integers(0, 2**64 - 1, 20_000, dtype=np.uint64)
    deep = "/pictures" * 22  # few lines make a large file
    lines = [f"{deep}/{n:08},{h:016x}" for n, h in enumerate(random.tolist())]
    file = tmp_path / "hashes.csv"
    file.write_text("\n".join(["path,phash", *lines]))
    assert file.stat().st_size > importing.SMALL_FILE
    before = definitions(conn)
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE imgdb.prefix_bucket IN EXCLUSIVE MODE")
        with Command(
            "import", file, "--collection", "shop", env={"IMGDB_DSN": database}
        ) as command:
            # The rows are being stored when the hashes are to be filed.
            while not conn.execute(WAITS).rowcount:
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
    assert bucket_rows(conn) == []
    assert conn.execute("SELECT FROM imgdb.image WHERE path <> 'a'").fetchall() == []
    assert definitions(conn) == before
    result = cli("import", file, "--collection", "shop", "--format", "json", dsn=database)
    assert (result.code, json.loads(result.stdout)["added"]) == (0, len(lines))
    assert missing(conn) == []


# -- merging in the client -----------------------------------------------------------------------


def filed_twice(space, masks, hashes):
    """File hashes in small rows that overlap."""
    space.clear()
    if masks:
        space.use_masks(masks)
    bands = space.value("SELECT band_masks FROM imgdb.space WHERE name = %s", space.name)
    for part in (hashes, hashes[::2], hashes[1::3]):
        space.conn.execute(
            "SELECT imgdb._file_hashes(%s::smallint, %s::bigint[], %s::bigint[])",
            [space.space_id, bands, part],
        )


@pytest.mark.parametrize("masks", MASKS)
@given(hashes=clustered() | st.lists(st.sampled_from(CORNERS)))
@example(hashes=CROWD + CROWD)
@example(hashes=[])
def test_refiled_rows_are_those_of_compact(space, masks, hashes):
    filed_twice(space, MASKS[masks], hashes)
    assert buckets.refile(space.conn, space.name)
    found = sorted(space.buckets())
    filed_twice(space, MASKS[masks], hashes)
    space.insert(hashes)  # or they are stale, and compact drops them
    space.compact()
    assert found == sorted(space.buckets())


def test_what_others_append_meanwhile_stays(space, database):
    space.insert([1, 2])
    with psycopg.connect(database) as other:
        other.execute("INSERT INTO hashes (hash) VALUES (3), (4)")
        assert buckets.refile(space.conn, space.name)
    assert space.within(0, 4).keys() == space.scan(0, 4).keys() == {1, 2, 3, 4}


def test_two_do_not_take_at_once(space, database):
    space.insert([1, 2])
    with psycopg.connect(database) as other:
        assert sorted(buckets._take(other, space.space_id, 10)) == [1, 2]
        assert buckets._take(space.conn, space.space_id, 10) is None
        other.rollback()
    assert sorted(buckets._take(space.conn, space.space_id, 10)) == [1, 2]


def test_a_space_that_is_too_large_is_compacted(space, monkeypatch):
    filed_twice(space, None, [1, 2, 3])
    space.insert([1, 2, 3])
    before = space.buckets()
    monkeypatch.setattr(buckets, "MOST_REFILED", 2)
    assert not buckets.refile(space.conn, space.name)
    assert space.buckets() == before
    compaction.tidy(space.conn, [space.name])
    assert len(space.buckets()) < len(before)


def test_refiling_waits_for_compact_and_for_other_bands(space, database):
    with psycopg.connect(database) as other:
        other.execute("SELECT imgdb._hold_off_compact(%s::smallint)", [space.space_id])
        space.conn.execute("SET lock_timeout = 1")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            buckets.refile(space.conn, space.name)
    with psycopg.connect(database) as other:
        other.execute("SELECT * FROM imgdb._begin_merge(%s)", [space.name])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            space.conn.execute("SELECT imgdb.rebuild(%s)", [space.name])


def test_a_later_import_replaces_the_rows_of_smaller_spaces(conn, filed, hashes, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("path,phash\nfirst,0000000000000001\nsecond,0000000000000002\n")
    assert import_hashes(conn, few, collection="few").filed == Filed(True, False)
    assert import_hashes(conn, hashes, collection="shop").filed == Filed(True, True)
    assert import_hashes(conn, few, collection="other").filed == Filed(False, False)
    assert missing(conn) == []
    before = bucket_rows(conn)
    compaction.tidy(conn, ALGORITHMS)
    merged = bucket_rows(conn)
    assert len(before) > len(merged)
    for space in ALGORITHMS:
        conn.execute("SELECT imgdb.rebuild(%s)", [space])
    assert bucket_rows(conn) == merged


def test_rows_of_binary_copy_keep_their_nulls(conn):
    values = np.array([5, 6, 7])
    rows = binary_copy.numbers([(">i2", 1), (">i4", np.array([8, -1, 8])), (">i8", values)], 3)
    kept = np.ones(rows.shape, bool)
    kept[1, 6:] = False
    conn.execute("CREATE TABLE t (value bigint)")
    with conn.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        copy.write(binary_copy.HEADER + b"".join(binary_copy.parts(rows, kept)))
        copy.write(binary_copy.TRAILER)
    assert conn.execute("SELECT value FROM t").fetchall() == [(5,), (None,), (7,)]
