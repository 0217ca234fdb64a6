"""What compact merges, drops and keeps, and that killing it loses nothing."""

import random

import brute_force
import psycopg
import pytest
from psycopg import sql
from servers import embedded_only

pytestmark = pytest.mark.sql

TOASTED = (
    "SELECT coalesce(pg_relation_size(nullif(reltoastrelid, 0)), 0) FROM pg_class"
    " WHERE oid = 'imgdb.prefix_bucket'::regclass"
)


def rows_needed(space):
    """Return how many rows of 200 the space's distinct (prefix, hash) pairs need."""
    buckets = {}
    for prefix, hashes in space.buckets():
        buckets.setdefault(prefix, set()).update(hashes)
    return sum(-(-len(hashes) // 200) for hashes in buckets.values())


def assert_compact(space):
    """Each prefix holds each hash once, in as few rows as can be; nothing is fresh or stale."""
    assert space.value("SELECT count(*) FROM imgdb.fresh_hashes") == 0
    seen = set()
    for prefix, hashes in space.buckets():
        assert 1 <= len(hashes) <= 200
        assert seen.isdisjoint((prefix, value) for value in hashes)
        seen.update((prefix, value) for value in hashes)
    assert len(space.buckets()) == rows_needed(space)
    assert {value for _, value in seen} == set(space.held())
    assert space.missing() == 0


def in_rows(space, *parts):
    """Put each list of hashes into rows of its own."""
    masks = space.value("SELECT band_masks FROM imgdb.space WHERE name = %s", space.name)
    for hashes in parts:
        space.copy(hashes)
        space.conn.execute("TRUNCATE imgdb.fresh_hashes")
        signed = [value - 2**64 if value >= 2**63 else value for value in hashes]
        pairs = [(value & mask, value) for value in signed for mask in masks]
        space.conn.execute(
            "SELECT imgdb._add_rows(%s::smallint, %s, %s)",
            [space.space_id, [pair[0] for pair in pairs], signed and [pair[1] for pair in pairs]],
        )


def test_rows_of_a_prefix_are_merged_and_doubles_dropped(space):
    in_rows(space, *([value] for value in [*range(30)] * 3))
    assert len(space.buckets()) > 200
    space.compact()
    assert_compact(space)
    before = space.buckets()
    space.compact()
    assert space.buckets() == before


@pytest.mark.parametrize("batch_size", [0, 1, 2, 3])
def test_no_prefix_is_passed_over_between_batches(space, batch_size):
    """Of prefixes p and p + 1 one is the last of a batch and the other the first of the next."""
    in_rows(space, *([value] for value in [*range(64), *range(64)]))
    assert {4, 5} < {prefix for prefix, _ in space.buckets()}
    space.conn.execute("CALL imgdb.compact(%s, %s)", [space.name, batch_size])
    assert_compact(space)


def test_hashes_that_no_row_holds_are_dropped(space):
    space.copy(range(1000))
    space.delete(range(0, 1000, 3))
    space.tidy()
    space.compact()  # what is left of several rows may fit into fewer
    assert_compact(space)
    space.delete(space.held())
    space.tidy()
    assert space.buckets() == []


def test_dropping_hashes_makes_no_row_anew(space):
    """What is left of a row stays on its page, and where all is gone the row goes."""
    rows = "SELECT array_agg(format('%%s %%s', prefix, part)) FROM imgdb.prefix_bucket"
    draw = random.Random(3)
    crowd = {draw.getrandbits(64) & 0x003F003F003F003F for _ in range(1000)}
    alone = {draw.getrandbits(63) for _ in range(300)}
    space.copy(crowd | alone)
    space.flush()
    before = space.value(rows)
    gone = [*sorted(crowd)[::10], *sorted(alone)[::2]]
    space.delete(gone)
    assert space.drop_stale() == len(gone)
    assert {value for _, row in space.buckets() for value in row} == set(space.held())
    assert space.missing() == 0
    assert set(space.value(rows)) < set(before)


def test_a_hash_stays_while_any_tracked_column_holds_it(space):
    space.conn.execute("CREATE TABLE other (h bigint)")
    space.conn.execute("SELECT imgdb.track('other', 'h', %s)", [space.name])
    space.copy([1, 2])
    space.conn.execute("INSERT INTO other VALUES (2), (3)")
    space.conn.execute("TRUNCATE hashes")
    space.tidy()
    assert space.within(2, 1) == {2: 0, 3: 1}
    space.conn.execute("DROP TABLE other")
    space.tidy()
    assert space.buckets() == []
    tracked = "SELECT count(*) FROM imgdb.tracked_column JOIN imgdb.space USING (space_id)"
    assert space.value(f"{tracked} WHERE name = %s", space.name) == 1


def test_a_hash_that_comes_back_in_between_stays(space):
    """What was stale when it was looked for is held again when it is removed."""
    space.copy(range(100))
    space.compact()
    space.delete(range(100))
    space.insert([7])
    space.conn.execute("TRUNCATE imgdb.fresh_hashes")
    with space.conn.transaction():
        space.conn.execute("SELECT imgdb._claim_space(%s)", [space.name])
        space.conn.execute("SELECT imgdb._lock_claimed(%s::smallint)", [space.space_id])
        dropped = space.value(
            "SELECT imgdb._drop_if_stale(%s::smallint, 'SELECT hash FROM public.hashes', %s)",
            space.space_id,
            list(range(100)),
        )
    assert dropped == 99
    assert space.within(7, 0) == {7: 0}
    space.compact()
    assert_compact(space)


def test_another_space_is_left_alone(space):
    space.conn.execute("CREATE TABLE other (h bigint)")
    space.conn.execute("SELECT imgdb.track('other', 'h', 'second')")
    for value in (1, 2):
        space.conn.execute("INSERT INTO other VALUES (%s)", [value])
        space.insert([value])
    count = "SELECT count(*) FROM imgdb.prefix_bucket WHERE space_id <> %s"
    before = space.value(count, space.space_id)
    space.compact()
    assert space.value(count, space.space_id) == before


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_any_default_isolation_will_do(space, level):
    space.conn.execute(sql.SQL("SET default_transaction_isolation = {}").format(level))
    for value in range(20):
        space.insert([value])
    space.compact()
    assert_compact(space)


def test_it_cannot_run_inside_a_transaction_and_changes_nothing_there(space):
    for _ in range(2):
        space.insert([1])
    before = space.buckets()
    with pytest.raises(psycopg.errors.InvalidTransactionTermination), space.conn.transaction():
        space.compact()
    assert space.buckets() == before


def test_what_a_killed_compact_left_is_done_by_the_next(space):
    draw = random.Random(5)
    hashes = [draw.getrandbits(64) - 2**63 for _ in range(500)]
    in_rows(space, *(hashes[part::2] for part in range(4)))
    space.compact_half()
    sampled = space.conn.execute("SELECT * FROM imgdb.check_space(%s, 500, 4)", [space.name])
    assert sampled.fetchone()[1] == 0
    space.compact()
    assert_compact(space)


@pytest.mark.parametrize(
    ("hashes", "what"),
    [
        ("SELECT 7 FROM generate_series(1, 20000)", "equal hashes"),
        ("SELECT i FROM generate_series(0, 19999) AS i", "hashes that share prefixes"),
    ],
    ids=["equal", "near"],
)
def test_no_row_outgrows_its_page(space, hashes, what):
    space.conn.execute(f"INSERT INTO hashes (hash) {hashes}")
    space.flush()
    for _ in range(2):
        assert max(len(found) for _, found in space.buckets()) <= 200, what
        assert space.value(TOASTED) == 0
        assert len(space.buckets()) == rows_needed(space)
        assert space.within(7, 0) == {7: 0}
        space.compact()


def test_flushes_fill_the_last_row_of_a_prefix(space):
    """All hashes have one prefix in the fourth band."""
    mask = space.value("SELECT band_masks[4] FROM imgdb.space WHERE name = %s", space.name)
    bits = [bit for bit in range(64) if not mask >> bit & 1][:8]
    hashes = [
        sum((number >> place & 1) << bit for place, bit in enumerate(bits)) for number in range(201)
    ]
    filled = []
    for first, end in ((0, 150), (150, 200), (100, 201)):
        space.insert(hashes[first:end])
        space.flush()
        filled.append(
            sorted(len(row) for prefix, row in space.buckets() if row[0] & mask == prefix)
        )
        assert space.missing() == 0
    assert filled == [[150], [200], [1, 200]]
    assert rows_needed(space) == len(space.buckets())


def test_equal_prefixes(space):
    """20,000 hashes that differ in two bands only: the buckets of the others are long."""
    mask = 0xAA005500AA005500
    bits = [bit for bit in range(64) if not mask >> bit & 1][:15]
    hashes = {
        sum((number >> place & 1) << bit for place, bit in enumerate(bits))
        for number in range(20_000)
    }
    space.copy(hashes)
    space.look_up()
    assert max(len(found) for _, found in space.buckets()) <= 200
    every = brute_force.signed(list(hashes))
    for query in list(hashes)[:3]:
        assert space.within(query, 2) == brute_force.within(every, query, 2)


@embedded_only
def test_more_hashes_in_a_statement_than_an_array_part_holds(space):
    """Parts of a thousand hashes, not of a million: no test waits for 1.2 million rows."""
    defined = space.value("SELECT pg_get_functiondef('imgdb._append_hashes'::regproc)")
    assert defined.count("= 1000000 ") == 1
    space.conn.execute(defined.replace("= 1000000 ", "= 1000 ").encode())
    space.conn.execute(
        "INSERT INTO hashes (hash) SELECT ('x' || left(md5(i::text), 16))::bit(64)::bigint"
        " FROM generate_series(1, 1200) AS i"
    )
    space.flush()
    (rows,) = space.conn.execute(
        "SELECT max(cardinality(hashes)), sum(cardinality(hashes)),"
        " (SELECT count(DISTINCT hash) FROM hashes) FROM imgdb.prefix_bucket WHERE space_id = %s",
        [space.space_id],
    )
    longest, indexed, distinct = rows
    assert longest <= 200
    assert indexed == 4 * distinct
