"""check, rebuild and compact: they find damage, mend it, and keep searches right."""

import json
import random

import psycopg
import pytest
from hash_sets import flipped
from servers import embedded_only

from imgdb.database import compaction
from imgdb.hashes.values import ALGORITHMS

pytestmark = pytest.mark.sql

SPACES = sorted([*ALGORITHMS, "pdq", "region"])

# Only 16 bits vary, so that prefixes are few and each statement brings some more of their hashes.
FILL = (
    "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
    " SELECT c.collection_id, %(batch)s || '/' || n, hashint8extended(n, %(batch)s)"
    " & x'1100110011001111'::bit(64)::bigint, 'exact-1'"
    " FROM imgdb.collection AS c, generate_series(1, 30) AS n WHERE c.name = 'default'"
)


@pytest.fixture
def fragmented(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SELECT imgdb._make_collection('default')")
        for batch in range(40):
            conn.execute(FILL, {"batch": batch})
            # Rows of each statement, as a load beside a flush leaves them.
            conn.execute(
                "WITH gone AS (DELETE FROM imgdb.fresh_hashes RETURNING space_id, hashes),"
                " entry AS (SELECT g.space_id, h & m AS prefix, h FROM gone AS g"
                " JOIN imgdb.space USING (space_id), unnest(g.hashes) AS h,"
                " unnest(band_masks) AS m)"
                " SELECT imgdb._add_rows(space_id, array_agg(prefix), array_agg(h))"
                " FROM entry GROUP BY space_id"
            )
        yield database, conn


def checks(cli, database, *args):
    result = cli("space", "check", *args, "--format", "json", dsn=database)
    return result, {row.pop("space"): row for row in json.loads(result.stdout)}


def test_a_sound_database_passes(cli, fragmented):
    result, found = checks(cli, fragmented[0], "--samples", "20")
    assert (result.code, result.stderr) == (0, "")
    assert [*found] == SPACES
    assert found["phash"] == {"sampled": 20, "mismatches": 0, "missing": 0, "sound": True}
    assert found["ahash"]["sampled"] == 0


def test_damage_is_found_and_mended(cli, fragmented):
    database, conn = fragmented
    conn.execute("DELETE FROM imgdb.prefix_bucket WHERE prefix & 1024 = 0")
    result, found = checks(cli, database, "phash")
    assert result.code == 1
    assert result.stderr == (
        "imgdb: space phash is damaged: mend it with imgdb space check --mend phash, or imgdb "
        "space rebuild phash\n"
    )
    assert not found["phash"]["sound"] and found["phash"]["missing"] > 0
    mended, found = checks(cli, database, "phash", "--mend")
    assert mended.code == 0 and found["phash"]["sound"]
    assert "missing hashes in phash" in mended.stderr
    conn.execute("DELETE FROM imgdb.prefix_bucket WHERE prefix & 1024 = 0")
    rebuilt = cli("space", "rebuild", "phash", dsn=database)
    assert (rebuilt.code, rebuilt.stdout) == (0, "")
    assert rebuilt.stderr.startswith("imgdb: space phash rebuilt in ")
    assert checks(cli, database, "phash")[0].code == 0


@embedded_only
def test_every_table_is_mended(cli, space):
    space.conn.execute("CREATE TABLE p (id integer, h bigint) PARTITION BY LIST (id)")
    for number in range(3):
        space.conn.execute(f"CREATE TABLE p{number} PARTITION OF p FOR VALUES IN ({number})")
    space.conn.execute("SELECT imgdb.track('p', 'h', %s)", [space.name])
    space.conn.execute("ALTER TABLE p DETACH PARTITION p0")
    space.conn.execute("ALTER TABLE p1 DISABLE TRIGGER USER")
    space.conn.execute("INSERT INTO p1 VALUES (1, 1)")
    result, found = checks(cli, space.conninfo)
    assert (result.code, found["proof"]["missing"]) == (1, 1)
    assert "public.p0 has trigger imgdb_insert, which nothing asks for" in result.stderr
    assert "public.p1 has no update trigger that is on and up to date" in result.stderr
    result, found = checks(cli, space.conninfo, "--mend")
    assert (result.code, result.stderr) == (0, "imgdb: indexed 1 missing hashes in proof\n")
    space.conn.execute("INSERT INTO p0 VALUES (0, 0)")
    assert checks(cli, space.conninfo)[0].code == 0


@pytest.mark.parametrize("band", range(4))
def test_one_hash_gone_from_one_band_is_found(space, band):
    """Each neighbour differs from the hash in all bands but one, by which alone it is found."""
    masks = space.value("SELECT band_masks FROM imgdb.space WHERE name = %s", space.name)
    bits = [[bit for bit in range(64) if mask >> bit & 1] for mask in masks]
    lost = 0x0123456789ABCDEF
    draw = random.Random(band)
    neighbours = [
        flipped(lost, frozenset(draw.choice(other) for other in bits if other is not one))
        for one in bits
        for _ in range(100)
    ]
    space.copy([lost, *neighbours])
    space.compact()
    space.look_up()
    gone = space.conn.execute(
        "UPDATE imgdb.prefix_bucket SET hashes = array_remove(hashes, %(hash)s)"
        " WHERE space_id = %(space)s AND prefix = %(hash)s & %(mask)s::bigint",
        {"hash": lost, "space": space.space_id, "mask": masks[band]},
    )
    assert gone.rowcount == 1
    missing = space.conn.execute("SELECT * FROM imgdb.missing_hashes(%s)", [space.name])
    assert missing.fetchall() == [(lost, band)]
    sampled, mismatches = space.conn.execute(
        "SELECT * FROM imgdb.check_space(%s, 1000, 3)", [space.name]
    ).fetchone()
    assert sampled >= len(set(neighbours))
    assert mismatches > 0


@embedded_only
@pytest.mark.parametrize("args", [(), ("phash",), ("--full",), ("phash", "--full")])
def test_compact_makes_the_space_smaller_and_keeps_it_sound(cli, fragmented, args):
    database, conn = fragmented
    conn.execute("DELETE FROM imgdb.image WHERE image_id % 3 = 0")
    hashes = {value for (value,) in conn.execute("SELECT DISTINCT phash FROM imgdb.image")}
    result = cli("space", "compact", *args, "--format", "json", dsn=database)
    assert result.code == 0
    found = {row["space"]: row for row in json.loads(result.stdout)}
    assert [*found] == (["phash"] if "phash" in args else SPACES)
    assert found["phash"]["rows_after"] < found["phash"]["rows_before"]
    statistics = compaction.space_statistics(conn, "phash")
    assert (statistics.fragmentation, statistics.distinct_hashes) == (1, len(hashes))
    assert checks(cli, database, "phash")[0].code == 0


def test_alone_compact_gives_the_room_back(cli, fragmented):
    database, conn = fragmented
    size = "SELECT pg_relation_size('imgdb.prefix_bucket')"
    fresh = conn.execute(size).fetchone()
    # This connection might want to search: it would have to wait.
    assert cli("space", "compact", dsn=database).code == 0
    assert conn.execute(size).fetchone() >= fresh
    conn.close()
    assert cli("space", "compact", dsn=database).code == 0
    with psycopg.connect(database) as other:
        assert other.execute(size).fetchone() < fresh


@embedded_only
def test_small_and_compact_spaces_are_not_worth_compacting(fragmented):
    _, conn = fragmented
    assert compaction.fragmented(conn) == []
    assert compaction.fragmented(conn, least_rows=1000) == ["phash"]
    compaction.compact(conn, ["phash"])
    assert compaction.fragmented(conn, least_rows=1000) == []


@embedded_only
def test_a_large_import_leaves_the_space_compact(cli, database, tmp_path):
    # 12 bits of each band vary: the second import meets nearly all prefixes of the first.
    for part in range(2):
        numbers = range(15_000 * part, 15_000 * (part + 1))
        rows = "".join(f"{n},{n * 0x9E3779B97F4A7C15 & 0x7777777777777777:016x}\n" for n in numbers)
        (tmp_path / "hashes.csv").write_text(f"id,phash\n{rows}")
        result = cli("import", tmp_path / "hashes.csv", "--collection", "shop", dsn=database)
        assert result.code == 0, result
    with psycopg.connect(database) as conn:
        found = compaction.space_statistics(conn, "phash")
    assert found.fragmentation < compaction.WORTH_COMPACTING_FRAGMENTATION


def test_a_vacuum_that_is_not_permitted_is_told(cli, fragmented):
    database, conn = fragmented
    conn.execute(
        "CREATE ROLE keeper; SELECT imgdb.grant_access('keeper', 'read');"
        "SELECT imgdb.grant_access('keeper', 'maintain'), imgdb.grant_access('keeper', 'keep')"
    )
    try:
        result = cli("space", "compact", "phash", dsn=f"{database} options='-c role=keeper'")
        assert result.code == 0, result
        assert "skipping" in result.stderr and "prefix_bucket" in result.stderr
    finally:
        conn.execute("DROP OWNED BY keeper; DROP ROLE keeper")


@embedded_only
@pytest.mark.parametrize("command", ["check", "rebuild", "compact", "stats"])
def test_unknown_space(cli, database, command):
    result = cli("space", command, "nosuch", dsn=database)
    assert (result.code, result.stdout) == (2, "")
    assert 'no space "nosuch"' in result.stderr


@embedded_only
def test_tables_for_people(cli, fragmented):
    table = cli("space", "compact", "phash", "--format", "table", dsn=fragmented[0]).stdout
    assert " -> " in table.splitlines()[1]
    table = cli("space", "check", "--format", "table", dsn=fragmented[0]).stdout
    assert table.splitlines()[0].split() == [
        "space", "sampled", "mismatches", "missing", "sound"
    ]  # fmt: skip
