"""Sessions end anywhere in whatever writes buckets: each hash is in one place, and is found."""

import contextlib
import itertools
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import brute_force
import psycopg
import pytest
from places import assert_each_in_one_place
from psycopg import IsolationLevel
from servers import embedded_only
from spaces import INSERT, Space, rebuild_here

# What an end leaves depends on no planner and no parser.
pytestmark = embedded_only

THOROUGH = os.environ.get("IMGDB_TEST_PROFILE") == "thorough"
KILLS = int(os.environ.get("IMGDB_TEST_KILLS", "100" if THOROUGH else "12"))
TABLES = ("space", "probe", "space_state", "prefix_bucket", "fresh_hashes", "tracked_column")

# After each statement that writes a table of imgdb, the session counts; at one count it ends.
STRIKE = """
CREATE FUNCTION public.strike() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_catalog.current_setting('strike.at', true) > '' THEN
        PERFORM pg_catalog.set_config('strike.at',
            (pg_catalog.current_setting('strike.at')::integer - 1)::text, false);
        IF pg_catalog.current_setting('strike.at') = '0' THEN
            PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
            PERFORM pg_catalog.pg_sleep(60);
        END IF;
    END IF;
    RETURN NULL;
END
$$
"""


@contextlib.contextmanager
def snapshot(space: Space):
    """Give a connection whose transaction sees what is there now."""
    with space.connect() as conn:
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        with conn.transaction():
            conn.execute("SELECT 1 FROM hashes LIMIT 1")
            yield conn


def assert_whole(space: Space) -> None:
    """Assert that what the table holds is in one place each and is found by all that search."""
    with snapshot(space) as conn:
        held = assert_each_in_one_place(conn, space.name)
    assert space.missing() == 0
    hashes = brute_force.signed(list(held))
    for query in (*sorted(held)[:2], 0):
        expected = brute_force.within(hashes, query, 9)
        for found in (space.within(query, 9), space.scan(query, 9)):
            assert expected.items() <= found.items()


class Source:
    """Hashes that come once only, near each other, so that buckets have several."""

    def __init__(self) -> None:
        self.draw = random.Random(7)
        self.given: set[int] = set()

    def next(self, count: int) -> list[int]:
        fresh: set[int] = set()
        while len(fresh) < count:
            value = sum(1 << bit for bit in self.draw.sample(range(63), self.draw.randrange(2, 9)))
            if value not in self.given:
                fresh.add(value)
                self.given.add(value)
        return sorted(fresh)


def insert_and_flush(source: Source) -> Callable[[Space, psycopg.Connection], None]:
    return lambda space, conn: conn.execute(INSERT, [source.next(250)])


def load(source: Source) -> Callable[[Space, psycopg.Connection], None]:
    return lambda space, conn: conn.execute(INSERT, [source.next(10_000)])


def call(statement: str) -> Callable[[Source], Callable[[Space, psycopg.Connection], None]]:
    return lambda source: lambda space, conn: conn.execute(statement, [space.name])


WORKS = {
    "insert that flushes": insert_and_flush,
    "load": load,
    "compact": call("CALL imgdb.compact(%s, 100)"),
    "drop_stale": call("SELECT imgdb.drop_stale(%s)"),
    "rebuild": call("CALL imgdb.rebuild(%s)"),
    "catch_up": call("SELECT imgdb.catch_up('hashes') WHERE %s <> ''"),
}


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS)
def test_ended_after_each_statement(space, work):
    """No matter where: nothing is lost, and the next one finishes what was begun."""
    source = Source()
    do = WORKS[work](source)
    space.conn.execute(STRIKE)
    for table in TABLES:
        space.conn.execute(
            f"CREATE TRIGGER strike AFTER INSERT OR UPDATE OR DELETE ON imgdb.{table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION public.strike()"
        )
    # Buckets of several rows, stale hashes among them, and a fresh level with more than one flush
    # takes.
    for _ in range(3):
        space.insert(source.next(300))
        space.flush()
    space.conn.execute("DELETE FROM hashes WHERE id % 5 = 0")
    for _ in range(3):
        with snapshot(space), space.conn.transaction():
            space.conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            space.insert(source.next(400))
    if work == "catch_up":
        space.conn.execute("ALTER TABLE hashes DISABLE TRIGGER USER")
        space.insert(source.next(50))
        space.conn.execute("ALTER TABLE hashes ENABLE TRIGGER USER")
    kills = 0
    for step in itertools.count(1):
        with space.connect() as conn:
            conn.execute("SELECT set_config('strike.at', %s, false)", [str(step)])
            try:
                do(space, conn)
                break
            except psycopg.OperationalError:
                kills += 1
        if work != "catch_up":
            assert_whole(space)
    assert kills >= 2
    assert_whole(space)
    space.tidy()
    assert set(space.scan(0, 64)) == set(space.held())


def test_old_snapshots_see_each_hash_in_one_place(space):
    """Each of them is as old as a step, and is asked when all steps are done."""
    source = Source()
    seen: list[tuple[psycopg.Connection, set[int]]] = []
    with contextlib.ExitStack() as opened:

        def look() -> None:
            seen.append((opened.enter_context(snapshot(space)), set(space.held())))

        for step in (
            lambda: space.insert(source.next(150)),
            lambda: space.flush(),
            lambda: space.insert(source.next(450)),
            lambda: space.flush(200),
            lambda: space.flush(),
            lambda: space.conn.execute("DELETE FROM hashes WHERE id % 3 = 0"),
            lambda: space.drop_stale(),
            lambda: space.insert(source.next(1200)),
            lambda: space.insert(source.next(200)),
            lambda: space.compact(),
        ):
            step()
            look()
        for conn, held in seen:
            assert assert_each_in_one_place(conn, space.name) == held
            for query in sorted(held)[:3]:
                rows = conn.execute(
                    "SELECT hash, distance FROM imgdb.within(%s, %s, 8)", [space.name, query]
                ).fetchall()
                expected = brute_force.within(brute_force.signed(list(held)), query, 8)
                assert expected.items() <= dict(rows).items()
                assert len(dict(rows)) == len(rows)
    assert_whole(space)


def test_savepoints_take_a_flush_back(space):
    """What a flush moved in a savepoint is where it was, and can be flushed once more."""
    source = Source()
    space.insert(source.next(900))
    with space.connect() as conn, conn.transaction():
        with conn.transaction(force_rollback=True):
            conn.execute(INSERT, [source.next(250)])
            conn.execute("SELECT imgdb._flush(%s::smallint, 100000, true)", [space.space_id])
            assert_each_in_one_place(conn, space.name)
        assert len(assert_each_in_one_place(conn, space.name)) == 900
        conn.execute(INSERT, [source.next(250)])
        assert len(assert_each_in_one_place(conn, space.name)) == 1150
    assert_whole(space)


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_a_writer_with_an_old_snapshot_leaves_the_buckets_alone(space, level):
    """Others flush what it cannot see; it writes nothing that could fail, and loses nothing."""
    source = Source()
    space.insert(source.next(900))
    with space.connect() as old:
        old.isolation_level = level
        with old.transaction():
            old.execute("SELECT count(*) FROM hashes")
            space.flush()
            before = space.buckets()
            old.execute(INSERT, [source.next(1200)])
            assert len(assert_each_in_one_place(old, space.name)) == 2100
        assert space.buckets() == before
    assert_whole(space)


@pytest.mark.slow
def test_kills_lose_nothing(space):
    """Writers of all kinds, care and searchers at work; one after the other is ended."""
    over = threading.Event()
    acknowledged: set[int] = set()
    pids: dict[int, int] = {}
    stock = Source()
    lock = threading.Lock()

    def draw(count: int) -> list[int]:
        with lock:
            return stock.next(count)

    def write(conn: psycopg.Connection, random_one: random.Random) -> None:
        values, rolled_back = draw(random_one.choice([1, 1, 5, 220])), draw(3)
        with conn.transaction():
            if random_one.random() < 0.5:
                conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            conn.execute(INSERT, [values[:1]])
            with contextlib.suppress(ZeroDivisionError), conn.transaction():
                conn.execute(INSERT, [rolled_back])
                raise ZeroDivisionError
            conn.execute(INSERT, [values[1:]])
        acknowledged.update(values)

    def care(conn: psycopg.Connection, random_one: random.Random) -> None:
        conn.execute(
            random_one.choice(["CALL imgdb.compact(%s)", "CALL imgdb.rebuild(%s)"]), [space.name]
        )

    def look(conn: psycopg.Connection, random_one: random.Random) -> None:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert_each_in_one_place(conn, space.name)

    def run(number: int, work: Callable[[psycopg.Connection, random.Random], None]) -> None:
        random_one = random.Random(number)
        while not over.is_set():
            # Of two rebuilds the later goes on; a snapshot from before one cannot write any more.
            retry = (psycopg.OperationalError, psycopg.errors.SerializationFailure)
            with contextlib.suppress(*retry), space.connect() as conn:
                pids[number] = conn.info.backend_pid
                while not over.is_set():
                    work(conn, random_one)

    works = [write, write, write, care, care, look]
    choose = random.Random(5)
    with ThreadPoolExecutor(len(works)) as pool:
        try:
            runs = [pool.submit(run, *one) for one in enumerate(works)]
            for _ in range(KILLS):
                reached = len(acknowledged)
                while len(acknowledged) < reached + 20 or len(pids) < len(works):
                    if any(one.done() for one in runs):
                        break
                victim = pids[choose.randrange(5)]
                space.conn.execute("SELECT pg_terminate_backend(%s)", [victim])
        finally:
            over.set()
    for one in runs:
        one.result()
    assert acknowledged <= set(space.held())
    assert_whole(space)
    space.tidy()
    assert set(space.scan(0, 64)) == set(space.held())


def test_of_two_rebuilds_the_later_one_goes_on(space):
    source = Source()
    space.insert(source.next(300))
    begin = "SELECT imgdb._begin_rebuild(%s, NULL)"
    first, second = space.value(begin, space.name), space.value(begin, space.name)
    for step in ("_fill_shadow", "_end_rebuild"):
        with pytest.raises(psycopg.errors.SerializationFailure):
            space.conn.execute(f"SELECT imgdb.{step}(%s, %s::smallint)", [space.name, first])
    for step in ("_fill_shadow", "_end_rebuild"):
        space.conn.execute(f"SELECT imgdb.{step}(%s, %s::smallint)", [space.name, second])
    with pytest.raises(psycopg.errors.SerializationFailure):
        space.conn.execute("SELECT imgdb._end_rebuild(%s, %s::smallint)", [space.name, first])
    assert_whole(space)


def test_a_claim_that_waited_for_a_rebuild_takes_the_new_space(space):
    with space.connect() as other, ThreadPoolExecutor(1) as pool:
        with space.conn.transaction():
            rebuild_here(space.conn, space.name)
            waits = pool.submit(other.execute, "SELECT imgdb.drop_stale(%s)", [space.name])
            blocked = "SELECT %s = ANY (pg_blocking_pids(%s))"
            ends = space.conn.info.backend_pid, other.info.backend_pid
            while not space.value(blocked, *ends):
                pass
        waits.result()


@pytest.mark.parametrize("band", range(4))
@pytest.mark.parametrize("count", [1, 10_000])
def test_a_hash_that_some_bands_lack_is_put_into_them_when_it_comes_again(space, band, count):
    """A rebuild may leave that of a row that goes while it reads the table band by band."""
    values = Source().next(count)
    space.insert(values)
    space.flush()
    space.conn.execute(
        "DELETE FROM imgdb.prefix_bucket AS b USING imgdb.space AS s WHERE s.name = %s"
        " AND b.space_id = s.space_id AND b.prefix <> 0 AND b.prefix & s.band_masks[%s] = b.prefix",
        [space.name, band + 1],
    )
    space.insert(values)
    space.flush()
    assert space.missing() == 0
