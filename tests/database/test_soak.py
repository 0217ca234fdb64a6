"""All at once, for as long as is asked: writers, searches, care, changes of tables, and kills.

Every search is compared with brute force over what its own snapshot of the tables holds.
IMGDB_TEST_SOAK=15 takes 15 minutes.
"""

import collections
import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import brute_force
import psycopg
import pytest
from hash_sets import flipped
from psycopg import IsolationLevel
from spaces import Space

from imgdb.database.embedded import Server

MINUTES = float(os.environ.get("IMGDB_TEST_SOAK", "0.15"))
HELD = "SELECT hash FROM hashes UNION SELECT hash FROM parts"
MASKS = (None, [-(2**63), *(0xFFF << 12 * band for band in range(5)), 0x7 << 60])
# What a session may be told beside others: begin anew. Deadlocks are PostgreSQL's own: who changes
# a parent locks it before its partitions, who writes to a partition does it the other way round;
# and an operator locks a table before he calls imgdb, which locks the space first.
ANEW = {"40001"}
DEADLOCK = {"40P01"}
GONE = {"42P01"}  # the partition that a writer has just chosen

Connection = psycopg.Connection
Work = Callable[[Connection, random.Random], None]


class Soak:
    """A server of our own, a space that two tables feed, and threads that never rest."""

    def __init__(self, server: Server) -> None:
        self.space = Space(server.conninfo(), "soak")
        self.space.conn.execute(
            "CREATE TABLE parts (id bigserial, part integer NOT NULL, hash bigint, note text)"
            " PARTITION BY LIST (part)"
        )
        self.space.conn.execute("CREATE INDEX ON parts (hash)")
        self.space.conn.execute("CREATE TABLE parts_default PARTITION OF parts DEFAULT")
        self.space.conn.execute("SELECT imgdb.track('parts', 'hash', 'soak')")
        self.over = threading.Event()
        self.done: collections.Counter[str] = collections.Counter()
        self.backends: set[int] = set()
        self._pool = ThreadPoolExecutor(20)
        self._runs = []
        self._numbers = iter(range(1, 1_000_000))
        # Few enough to come again, and crowded, so that searches have matches.
        draw = random.Random(1)
        centres = [draw.getrandbits(64) - 2**63 for _ in range(400)]
        self.stock = [
            flipped(draw.choice(centres), frozenset(draw.sample(range(64), draw.randrange(9))))
            for _ in range(20_000)
        ]

    def add(self, name: str, work: Work, permitted: set[str] = ANEW) -> None:
        """Repeat work in a thread with a connection until the time is over."""
        draw = random.Random(f"{name} {len(self._runs)}")

        def run() -> None:
            try:
                while not self.over.is_set():
                    self._session(name, work, permitted, draw)
            except BaseException:
                self.over.set()
                raise

        self._runs.append(self._pool.submit(run))

    def _session(self, name: str, work: Work, permitted: set[str], draw: random.Random) -> None:
        """Work until the session is lost, or told something that is no error here."""
        with contextlib.suppress(Lost), lost(permitted), self.space.connect() as conn:
            conn.execute(f"SET application_name = '{name}'")
            while not self.over.is_set():
                work(conn, draw)
                self.done[name] += 1

    def wait(self, seconds: float) -> None:
        """Let all of them work so long, or until one fails; raise what it failed for."""
        self.over.wait(seconds)
        self.over.set()
        self._pool.shutdown()
        for run in self._runs:
            run.result()
        self.space.reconnect()

    def hashes(self, draw: random.Random, count: int) -> list[int]:
        return draw.choices(self.stock, k=count)

    # -- who works ------------------------------------------------------------------------------

    def write(self, conn: Connection, draw: random.Random) -> None:
        """Write to one table, by its name or by that of a partition, and keep it or not."""
        table = draw.choice(["hashes", "parts", self.some_partition(conn, draw)])
        conn.isolation_level = draw.choice(
            [IsolationLevel.READ_COMMITTED] * 4 + [IsolationLevel.REPEATABLE_READ]
        )
        part = "" if table == "hashes" else "part, "
        value = "" if table == "hashes" else f"{self.part_of(table, draw)}, "
        count = draw.choice([1, 1, 1, 5, 50, 500, 12_000 if draw.random() < 0.02 else 5])
        with conn.transaction(force_rollback=draw.random() < 0.1):
            for _ in range(draw.randrange(1, 4)):
                if draw.random() < 0.6:
                    conn.execute(
                        f"INSERT INTO {table} ({part}hash) SELECT {value} unnest(%s::bigint[])",
                        [self.hashes(draw, count)],
                    )
                else:
                    # SKIP LOCKED: updates that wait for each other's rows would rightly deadlock.
                    change = draw.choice(
                        [
                            f"UPDATE {table} SET hash = {draw.choice(self.stock)}",
                            f"UPDATE {table} SET note = 'seen'",
                            f"DELETE FROM {table}",
                            f"DELETE FROM {table}",
                        ]
                    )
                    conn.execute(
                        f"{change} WHERE id IN (SELECT id FROM {table} ORDER BY random()"
                        f" LIMIT {count} FOR UPDATE SKIP LOCKED)"
                    )

    def search(self, conn: Connection, draw: random.Random) -> None:
        """Compare with brute force over one snapshot, which is taken when no table changes."""
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            conn.execute("LOCK TABLE hashes, parts IN ACCESS SHARE MODE")
            rows = conn.execute(HELD).fetchall()
            held = brute_force.signed([value for (value,) in rows if value is not None])
            for _ in range(5):
                bits = frozenset(draw.sample(range(64), draw.randrange(6)))
                query = flipped(draw.choice(self.stock), bits)
                radius = draw.choice([0, 3, 4, 8, 12, 13, 30])
                expected = brute_force.within(held, query, radius)
                for function in ("within", "scan"):
                    found = dict(
                        conn.execute(
                            f"SELECT hash, distance FROM imgdb.{function}('soak', %s, %s)",
                            [query, radius],
                        ).fetchall()
                    )
                    lacking = expected.items() - found.items()
                    assert not lacking, (function, query, radius, lacking)
                limit = draw.choice([1, 5, 30])
                near = conn.execute(
                    "SELECT hash, distance FROM imgdb.nearest('soak', %s, %s)", [query, limit]
                ).fetchall()
                assert near == brute_force.nearest(held, query, limit, 64), (query, limit)
            queries = self.hashes(draw, 20)
            found = conn.execute(
                "SELECT query_hash, hash, distance FROM imgdb.within_any('soak', %s, 4)", [queries]
            ).fetchall()
            for query in queries:
                expected = {(query, *match) for match in brute_force.within(held, query, 4).items()}
                assert expected <= set(found)

    def compact(self, conn: Connection, draw: random.Random) -> None:
        conn.execute("CALL imgdb.compact('soak', %s)", [draw.choice([500, 5000, 200_000])])
        if draw.random() < 0.5:
            conn.execute("VACUUM imgdb.prefix_bucket, imgdb.fresh_hashes")

    def drop_stale(self, conn: Connection, draw: random.Random) -> None:
        conn.execute("SELECT imgdb.drop_stale('soak')")
        self.over.wait(draw.random())

    def operate(self, conn: Connection, draw: random.Random) -> None:
        """Change a table as people do, in one transaction with catch_up; nothing is wrong then."""
        steps = {
            "attach": 6, "detach": 4, "partition": 4, "rename": 2, "replace": 2, "exchange": 2,
            "rebuild": 2, "track_anew": 2, "blind": 4,
        }  # fmt: skip
        step = draw.choices([*steps], [*steps.values()])[0]
        if step == "rebuild":
            conn.execute("CALL imgdb.rebuild('soak', %s)", [draw.choice(MASKS)])
        else:
            with conn.transaction():
                getattr(self, step)(conn, draw)
        self.done[step] += 1
        wrong = conn.execute("SELECT * FROM imgdb.tracking_problems()").fetchall()
        assert all("left from a rebuild" in problem for _, problem in wrong), (step, wrong)

    def kill(self, conn: Connection, draw: random.Random) -> None:
        """End a session; the server recovers from what dies without a word."""
        self.over.wait(draw.uniform(0, 4))
        own = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND application_name <> 'kill'"
        )
        victims = [pid for (pid,) in conn.execute(own)]
        if draw.random() < 0.1 and victims:
            os.kill(draw.choice(victims), signal.SIGKILL)
            self.done["crash"] += 1
        elif victims:
            conn.execute("SELECT pg_terminate_backend(%s)", [draw.choice(victims)])

    # -- steps of the operator ------------------------------------------------------------------

    def some_partition(self, conn: Connection, draw: random.Random) -> str:
        rows = conn.execute(
            "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'parts'::regclass ORDER BY 1"
        ).fetchall()
        return str(draw.choice(rows)[0])

    def part_of(self, table: str, draw: random.Random) -> int:
        """Return a key that a partition takes; the parent takes any."""
        return -1 if not table[6:].isdigit() else int(table[6:])

    def attach(self, conn: Connection, draw: random.Random) -> None:
        number = next(self._numbers)
        conn.execute(f"CREATE TABLE parts_{number} (LIKE parts INCLUDING ALL)")
        conn.execute(
            f"INSERT INTO parts_{number} (part, hash) SELECT {number}, unnest(%s::bigint[])",
            [self.hashes(draw, 500)],
        )
        conn.execute(f"ALTER TABLE parts ATTACH PARTITION parts_{number} FOR VALUES IN ({number})")
        conn.execute("SELECT imgdb.catch_up('parts')")

    def partition(self, conn: Connection, draw: random.Random) -> None:
        number = next(self._numbers)
        conn.execute(f"CREATE TABLE parts_{number} PARTITION OF parts FOR VALUES IN ({number})")
        conn.execute(f"INSERT INTO parts_{number} (part, hash) VALUES ({number}, 5)")
        conn.execute("SELECT imgdb.catch_up('parts')")

    def detach(self, conn: Connection, draw: random.Random) -> None:
        name = self.some_partition(conn, draw)
        if name != "parts_default":
            conn.execute(f"ALTER TABLE parts DETACH PARTITION {name}")
            conn.execute(f"SELECT imgdb.catch_up('{name}')")
            conn.execute(f"INSERT INTO {name} (part, hash) VALUES ({name[6:]}, 6)")
            conn.execute(f"DROP TABLE {name}")

    def rename(self, conn: Connection, draw: random.Random) -> None:
        """Away and back, with a write in between."""
        conn.execute("ALTER TABLE hashes RENAME TO elsewhere")
        conn.execute("INSERT INTO elsewhere (hash) VALUES (%s)", self.hashes(draw, 1))
        conn.execute("ALTER TABLE elsewhere RENAME TO hashes")

    def replace(self, conn: Connection, draw: random.Random) -> None:
        """Put a new table in the place of the old one."""
        conn.execute("LOCK TABLE hashes IN ACCESS EXCLUSIVE MODE")
        conn.execute("CREATE TABLE made (LIKE hashes INCLUDING ALL)")
        conn.execute("INSERT INTO made SELECT * FROM hashes WHERE random() < 0.9")
        conn.execute("SELECT imgdb.track('made', 'hash', 'soak')")
        conn.execute("ALTER SEQUENCE hashes_id_seq OWNED BY made.id")
        conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
        conn.execute("DROP TABLE hashes")
        conn.execute("ALTER TABLE made RENAME TO hashes")

    def exchange(self, conn: Connection, draw: random.Random) -> None:
        """Hash anew into a column that takes the place of the old one."""
        conn.execute("ALTER TABLE parts ADD COLUMN anew bigint")
        conn.execute("UPDATE parts SET anew = hash # 1")
        conn.execute("ALTER TABLE parts DROP COLUMN hash")
        conn.execute("ALTER TABLE parts RENAME COLUMN anew TO hash")
        conn.execute("CREATE INDEX ON parts (hash)")
        conn.execute("SELECT imgdb.catch_up('parts')")

    def track_anew(self, conn: Connection, draw: random.Random) -> None:
        table = draw.choice(["hashes", "parts"])
        conn.execute(f"SELECT imgdb.untrack('{table}', 'hash')")
        conn.execute(f"SELECT imgdb.track('{table}', 'hash', 'soak')")

    def blind(self, conn: Connection, draw: random.Random) -> None:
        """Write while the triggers are off."""
        table = draw.choice(["hashes", "parts", self.some_partition(conn, draw)])
        part = "" if table == "hashes" else "part, "
        value = "" if table == "hashes" else f"{self.part_of(table, draw)}, "
        conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        conn.execute(
            f"INSERT INTO {table} ({part}hash) SELECT {value} unnest(%s::bigint[])",
            [self.hashes(draw, 100)],
        )
        conn.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        conn.execute(f"SELECT imgdb.catch_up('{table}')")


class Lost(Exception):
    """The session is over; another one goes on."""


@contextlib.contextmanager
def lost(permitted: set[str]) -> Iterator[None]:
    """Turn the end of a session, and what is permitted, into Lost."""
    try:
        yield
    except psycopg.Error as error:
        code = error.sqlstate
        if code is None and isinstance(error, psycopg.OperationalError):
            raise Lost from error
        if code is not None and (code in permitted or code.startswith("57P")):
            raise Lost from error
        raise


@pytest.fixture
def soak(home) -> Iterator[Soak]:
    server = Server(home, settings={"shared_buffers": "128MB", "deadlock_timeout": "200ms"})
    server.acquire()
    made = Soak(server)
    yield made
    made.space.conn.close()
    server.release()


@pytest.mark.slow
@pytest.mark.timeout(600 + 90 * MINUTES)
def test_soak(soak):
    for _ in range(4):
        soak.add("write", soak.write, ANEW | DEADLOCK | GONE)
    for _ in range(2):
        soak.add("search", soak.search)
    soak.add("compact", soak.compact)
    soak.add("drop_stale", soak.drop_stale, ANEW | DEADLOCK)
    soak.add("operate", soak.operate, ANEW | DEADLOCK)
    soak.add("kill", soak.kill)
    began = time.monotonic()
    soak.wait(60 * MINUTES)
    assert time.monotonic() - began >= 60 * MINUTES
    assert all(soak.done[name] for name in ("write", "search", "compact", "operate", "kill"))
    space = soak.space
    space.rebuild()
    space.tidy()
    assert space.conn.execute("SELECT * FROM imgdb.tracking_problems()").fetchall() == []
    assert space.missing() == 0
    held = {value for (value,) in space.conn.execute(HELD)} - {None}
    assert set(space.scan(0, 64)) == held
