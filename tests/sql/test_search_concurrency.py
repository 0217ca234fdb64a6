"""Writers, compactors and searchers at once: nobody deadlocks, and no committed hash is missed."""

import contextlib
import os
import random
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import brute_force
import psycopg
import pytest
from spaces import INSERT, Space, rebuild_here

WRITERS = 200
# Statements of each writer beside which compactors and searchers run.
ROUNDS = int(os.environ.get("IMGDB_TEST_ROUNDS", "100"))


def draw_hashes(draw: random.Random, count: int) -> list[int]:
    """Draw hashes from a small stock: many come again, and buckets crowd."""
    return [(draw.randrange(300) * 0x9E3779B97F4A7C15) % 2**64 - 2**63 for _ in range(count)]


class Crew:
    """Threads that each have a connection; the first error ends them all and is raised."""

    def __init__(self, space: Space) -> None:
        self.space, self.over = space, threading.Event()
        self._pool = ThreadPoolExecutor(WRITERS + 10)
        self._runs = []

    def add(self, work: Callable[[psycopg.Connection], None]) -> None:
        def run() -> None:
            try:
                with self.space.connect() as conn:
                    work(conn)
            except BaseException:
                self.over.set()
                raise

        self._runs.append(self._pool.submit(run))

    def until_over(self, work: Callable[[psycopg.Connection], None]) -> None:
        """Repeat work until the others are done; at least once."""

        def repeat(conn: psycopg.Connection) -> None:
            work(conn)
            while not self.over.is_set():
                work(conn)

        self.add(repeat)

    def at_work(self) -> bool:
        return not all(run.done() for run in self._runs)

    def wait(self, count: int | None = None) -> None:
        """Wait for the first `count` to end, then for all others."""
        try:
            for run in self._runs[:count]:
                run.result()
        finally:
            self.over.set()
            self._pool.shutdown()
        for run in self._runs:
            run.result()


def compactor(space: Space) -> Callable[[psycopg.Connection], None]:
    return lambda conn: conn.execute("CALL imgdb.compact(%s)", [space.name])


def keeper(space: Space) -> Callable[[psycopg.Connection], None]:
    """Compact, and drop what is stale."""

    def work(conn: psycopg.Connection) -> None:
        conn.execute("CALL imgdb.compact(%s)", [space.name])
        conn.execute("SELECT imgdb.drop_stale(%s)", [space.name])

    return work


def assert_exact(space: Space) -> None:
    """Compare with brute force over what the table holds, before and after a compact."""
    hashes = brute_force.signed(space.held())
    for _ in range(2):
        assert space.missing() == 0
        for query in (*hashes[:20].tolist(), 0, -1):
            expected = brute_force.within(hashes, query, 10)
            assert expected.items() <= space.within(query, 10).items()
        space.tidy()
    assert set(space.scan(0, 64)) == set(hashes.tolist())


def test_writers_compactors_and_searchers(space):
    crew = Crew(space)

    def write(seed: int) -> Callable[[psycopg.Connection], None]:
        def work(conn: psycopg.Connection) -> None:
            draw = random.Random(seed)
            for _ in range(ROUNDS):
                with conn.transaction(force_rollback=draw.random() < 0.2):
                    conn.execute(INSERT, [draw_hashes(draw, draw.randrange(1, 20))])
                # SKIP LOCKED: updates that wait for each other's rows would rightly deadlock.
                conn.execute(
                    "UPDATE hashes SET note = %s, hash = CASE WHEN id %% 3 = 0 THEN %s"
                    " ELSE hash END WHERE id IN (SELECT id FROM hashes ORDER BY random()"
                    " LIMIT 3 FOR UPDATE SKIP LOCKED)",
                    [str(seed), draw_hashes(draw, 1)[0]],
                )
                conn.execute(
                    "DELETE FROM hashes WHERE id IN (SELECT id FROM hashes ORDER BY random()"
                    " LIMIT 5 FOR UPDATE SKIP LOCKED)"
                )

        return work

    def search(conn: psycopg.Connection) -> None:
        """One snapshot: what the table holds is found, whatever compact has done by then."""
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            held = conn.execute("SELECT DISTINCT hash FROM hashes LIMIT 50").fetchall()
            found = conn.execute(
                "SELECT query_hash FROM imgdb.within_any(%s, %s, 0)",
                [space.name, [value for (value,) in held]],
            ).fetchall()
            assert sorted(held) == sorted(found)

    for seed in range(4):
        crew.add(write(seed))
    for _ in range(2):
        crew.until_over(keeper(space))
        crew.until_over(search)
    crew.wait(4)
    assert_exact(space)


def test_what_was_committed_is_found_by_every_later_search(space):
    """Each hash comes, is found, goes, and comes back while two compactors drop what is stale."""
    crew = Crew(space)

    def come_and_go(seed: int) -> Callable[[psycopg.Connection], None]:
        def work(conn: psycopg.Connection) -> None:
            draw = random.Random(seed)
            own = [draw.getrandbits(64) - 2**63 for _ in range(3)]
            for _ in range(ROUNDS):
                value = draw.choice(own)
                conn.execute("INSERT INTO hashes (hash) VALUES (%s)", [value])
                for radius in (0, 4, 12, 13):
                    query = "SELECT hash FROM imgdb.within(%s, %s, %s)"
                    found = conn.execute(query, [space.name, value, radius]).fetchall()
                    assert (value,) in found, (value, radius)
                conn.execute("DELETE FROM hashes WHERE hash = %s", [value])

        return work

    for seed in range(4):
        crew.add(come_and_go(seed))
    for _ in range(2):
        crew.until_over(keeper(space))
    crew.wait(4)
    space.tidy()
    assert space.buckets() == []


def test_two_hundred_writers_do_not_deadlock(space):
    crew = Crew(space)
    start = threading.Barrier(WRITERS)
    every = draw_hashes(random.Random(0), 50)

    def write(seed: int) -> Callable[[psycopg.Connection], None]:
        def work(conn: psycopg.Connection) -> None:
            draw = random.Random(seed)
            start.wait(timeout=120)
            for _ in range(3):
                with conn.transaction():
                    for _ in range(3):
                        conn.execute(INSERT, [draw.sample(every, 20)])

        return work

    for seed in range(WRITERS):
        crew.add(write(seed))
    crew.until_over(compactor(space))
    crew.wait(WRITERS)
    assert space.value("SELECT count(*) FROM hashes") == WRITERS * 3 * 3 * 20
    assert_exact(space)


@pytest.mark.parametrize("change", ["track", "rebuild", "masks"])
def test_no_row_is_missed_while_the_triggers_change(space, change):
    """Writers are at work before, while and after, in READ COMMITTED and older snapshots."""
    if change == "track":
        space.conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
        space.conn.execute("SELECT imgdb.drop_space(%s)", [space.name])
    crew = Crew(space)
    written = threading.Semaphore(0)

    def write(seed: int) -> Callable[[psycopg.Connection], None]:
        def work(conn: psycopg.Connection) -> None:
            draw = random.Random(seed)
            if seed % 2:
                conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not crew.over.is_set():
                # A snapshot from before the change is told to begin anew.
                with contextlib.suppress(psycopg.errors.SerializationFailure), conn.transaction():
                    conn.execute("SELECT 1 FROM pg_class LIMIT 1")
                    conn.execute(INSERT, [[draw.getrandbits(64) - 2**63]])
                written.release()

        return work

    def act(conn: psycopg.Connection) -> None:
        for step in range(3):
            for _ in range(30):
                assert written.acquire(timeout=60)
            if change == "track":
                if step:
                    conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
                conn.execute("SELECT imgdb.track('hashes', 'hash', %s)", [space.name])
            elif change == "rebuild":
                conn.execute("CALL imgdb.rebuild(%s)", [space.name])
            else:
                masks = [0x0101010101010101 << column for column in range(8)]
                masks[7] -= 2**64
                conn.execute(
                    "CALL imgdb.rebuild(%s, %s)", [space.name, masks[step:] + masks[:step]]
                )
        for _ in range(30):
            assert written.acquire(timeout=60)

    crew.add(act)
    for seed in range(4):
        crew.add(write(seed))
    if change != "track":
        crew.until_over(compactor(space))
    crew.wait(1)
    assert_exact(space)


@pytest.mark.parametrize("late", ["new space", "new masks"])
def test_a_writer_with_a_snapshot_from_before_is_told_to_begin_anew(space, late):
    """It cannot see where its hashes belong now: it would index them nowhere."""
    name = "late" if late == "new space" else space.name

    def write(conn: psycopg.Connection) -> None:
        conn.execute(INSERT, [[1, -1]])

    with space.connect() as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.errors.SerializationFailure), old.transaction():
            old.execute("SELECT count(*) FROM imgdb.space")
            if late == "new space":
                space.conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
                space.conn.execute("SELECT imgdb.track('hashes', 'hash', 'late')")
            else:
                space.use_masks([-(2**63), *(0xFFF << 12 * band for band in range(5)), 0x7 << 60])
            write(old)
        with old.transaction():
            write(old)
    query = "SELECT count(*) FROM imgdb.missing_hashes(%s)"
    assert space.value(query, name) == 0
    assert space.value("SELECT hash FROM imgdb.within(%s, 3, 1)", name) == 1


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
TRACK_OTHER = "SELECT imgdb.track('other', 'h', 'proof')"


def test_track_and_a_rebuild_take_turns(space):
    space.conn.execute("CREATE TABLE other (h bigint)")
    space.conn.execute("INSERT INTO other VALUES (-1)")
    crew = Crew(space)
    with space.connect() as ahead, ahead.transaction():
        ahead.execute(TRACK_OTHER)
        crew.add(lambda conn: conn.execute("CALL imgdb.rebuild(%s)", [space.name]))
        while crew.at_work() and not space.value(WAITING):
            pass
    crew.wait()
    assert space.missing() == 0
    assert space.within(-1, 0) == {-1: 0}


def test_care_that_waited_for_a_rebuild_is_done_in_the_new_space(space):
    space.insert([1, 2])
    space.flush()
    space.delete([1])
    crew = Crew(space)
    with space.connect() as ahead, ahead.transaction():
        rebuild_here(ahead, space.name)
        crew.add(lambda conn: conn.execute("SELECT imgdb.drop_stale(%s)", [space.name]))
        while crew.at_work() and not space.value(WAITING):
            pass
    crew.wait()
    assert space.scan(0, 64) == {2: 1}


def test_untrack_and_drop_space_do_not_deadlock_with_care(space):
    """Care has begun, and would wait for the table that untrack locks."""
    for value in (1, 2, 1):
        space.insert([value])
    space.delete([2])

    def remove(conn: psycopg.Connection) -> None:
        with conn.transaction():
            conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
            conn.execute("SELECT imgdb.drop_space(%s)", [space.name])

    def care(conn: psycopg.Connection) -> None:
        # The space may be gone when its turn comes.
        try:
            keeper(space)(conn)
        except psycopg.DatabaseError as error:
            assert error.sqlstate == "IM001"

    crew = Crew(space)
    with space.connect() as ahead, ahead.transaction():
        ahead.execute("SELECT imgdb._lock_space(%s::smallint, true)", [space.space_id])
        for place, work in enumerate((care, remove), 1):
            crew.add(work)
            while crew.at_work() and space.value(WAITING) < place:
                pass
    crew.wait()
    assert space.value("SELECT count(*) FROM imgdb.space WHERE name = %s", space.name) == 0


def test_a_space_that_is_being_tracked_into_is_not_dropped(space):
    space.conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
    space.conn.execute("CREATE TABLE other (h bigint)")
    crew = Crew(space)
    with space.connect() as ahead, ahead.transaction():
        ahead.execute(TRACK_OTHER)
        crew.add(lambda conn: conn.execute("SELECT imgdb.drop_space(%s)", [space.name]))
        while crew.at_work() and not space.value(WAITING):
            pass
    with pytest.raises(psycopg.Error) as caught:
        crew.wait()
    assert caught.value.sqlstate == "IM007"


def test_a_prepared_transaction_is_found_when_it_commits(space):
    if space.value("SELECT current_setting('max_prepared_transactions')") == "0":
        pytest.skip("the server takes no prepared transactions")
    with space.connect() as other:
        other.execute("BEGIN")
        other.execute(INSERT, [[5]])
        other.execute("PREPARE TRANSACTION 'imgdb'")
    space.flush()
    assert space.within(5, 0) == {}
    space.conn.execute("COMMIT PREPARED 'imgdb'")
    space.tidy()
    assert space.within(5, 0) == {5: 0}


PAGE = Path(__file__).parents[2] / "docs" / "search.md"


def test_the_recipe_of_the_page_inserts_only_what_is_unlike_all(space):
    """Search, then insert if nothing is near: by many at once, without an error."""
    found = re.search(r"### SERIALIZABLE\n.*?```sql\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    recipe = (
        found[1]
        .replace("(sku, photo_phash)\nSELECT 'CAT-2', -2011249304965596475", "(hash)\nSELECT {0}")
        .replace("-2011249304965596475", "{0}")
        .replace("shop.product AS p ON p.photo_phash", "hashes AS p ON p.hash")
        .replace("INTO shop.product", "INTO hashes")
        .replace("'product_photo'", f"'{space.name}'")
    )
    assert recipe.count("{0}") == 2
    draw = random.Random(11)
    # Each comes with 15 others within 2 bits of it.
    firsts = [draw.randrange(2**62) for _ in range(20)]
    near = [first ^ 1 << a ^ 1 << b for first in firsts for a in range(4) for b in range(4)]
    draw.shuffle(near)
    crew = Crew(space)
    for start in range(8):
        crew.add(lambda conn, start=start: [conn.execute(recipe.format(h)) for h in near[start::8]])
    crew.wait()
    kept = [one for (one,) in space.conn.execute("SELECT hash FROM hashes")]
    assert len(kept) == len(firsts)
    assert all(min((h ^ one).bit_count() for one in kept) <= 4 for h in near)
