"""kill -9 in the middle of compact, rebuild and bulk load: nothing committed is lost or missed."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import brute_force
import psycopg
import pytest
from spaces import INSERT, Space

from imgdb.database.embedded import Server

THOROUGH = os.environ.get("IMGDB_TEST_PROFILE") == "thorough"
KILLS = int(os.environ.get("IMGDB_TEST_KILLS", "100" if THOROUGH else "3"))
BATCH = 500  # hashes in a transaction of the bulk load


class Victim:
    """A durable server of our own, a space on it, and whatever is killed there."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.acquire()
        self.space = Space(server.conninfo())
        self.draw = random.Random(20)

    def hashes(self, count: int) -> list[int]:
        return [self.draw.getrandbits(64) - 2**63 for _ in range(count)]

    def kill(self, work: Callable[[psycopg.Connection], None], longest: float, whom: str) -> None:
        """Kill the server or the backend at a random point of work, and recover."""
        with self.space.connect() as conn, ThreadPoolExecutor(1) as pool:
            started = pool.submit(work, conn)
            wait([started], timeout=self.draw.uniform(0, longest))
            server = self.server.status().pid
            assert server is not None
            os.kill(server if whom == "server" else conn.info.backend_pid, signal.SIGKILL)
            error = started.exception()
            assert error is None or isinstance(error, psycopg.OperationalError), error
        if whom == "server":
            self.server.release()
            self.server.acquire()
        self.space.reconnect()

    def assert_exact(self) -> None:
        """Compare with brute force over what the table holds; stale hashes may come besides."""
        hashes = brute_force.signed(self.space.held())
        assert self.space.missing() == 0
        for query in self.draw.sample(hashes.tolist(), 5):
            expected = brute_force.within(hashes, query, 12)
            assert expected.items() <= self.space.within(query, 12).items()
        sample = "SELECT mismatches FROM imgdb.check_space(%s, 5, 8)"
        assert self.space.value(sample, self.space.name) == 0

    def assert_compact(self) -> None:
        self.space.tidy()
        self.assert_exact()
        assert set(self.space.scan(0, 64)) == set(self.space.held())


@pytest.fixture
def victim(home) -> Iterator[Victim]:
    """Make it of imgdb's own server: what a kill leaves depends on no planner and no parser."""
    server = Server(home, settings={"shared_buffers": "64MB"})
    made = Victim(server)
    yield made
    made.space.conn.close()
    server.release()


@pytest.mark.parametrize(
    ("whom", "care"), [("server", "compact"), ("backend", "compact"), ("backend", "rebuild")]
)
def test_killed_while_it_compacts_or_rebuilds(victim, whom, care):
    space = victim.space
    work = lambda conn: conn.execute(f"CALL imgdb.{care}(%s)", [space.name])  # noqa: E731

    def fragment() -> None:
        hashes = victim.hashes(4_000)
        for part in range(4):
            space.copy(hashes[part::2])
        space.conn.execute("DELETE FROM hashes WHERE id % 5 = 0")

    fragment()
    began = time.monotonic()
    work(space.conn)
    longest = time.monotonic() - began
    for _ in range(KILLS):
        fragment()
        victim.kill(work, longest, whom)
        victim.assert_exact()
    victim.assert_compact()


@pytest.mark.parametrize("whom", ["server", "backend"])
def test_killed_while_it_loads(victim, whom):
    committed: list[int] = []

    def load(conn: psycopg.Connection) -> None:
        for _ in range(10):
            hashes = victim.hashes(BATCH)
            conn.execute(INSERT, [hashes])
            committed.extend(hashes)

    began = time.monotonic()
    load(victim.space.conn)
    longest = time.monotonic() - began
    for _ in range(KILLS):
        victim.kill(load, longest, whom)
        assert set(committed) <= set(victim.space.held())
        victim.assert_exact()
    victim.assert_compact()


def test_terminated_while_it_compacts(space):
    draw = random.Random(3)
    hashes = [draw.getrandbits(64) - 2**63 for _ in range(10_000)]
    for part in range(4):
        space.copy(hashes[part::2])
    space.delete(hashes[::3])
    with space.connect() as other, ThreadPoolExecutor(1) as pool:
        compacting = pool.submit(other.execute, "CALL imgdb.compact(%s)", [space.name])
        # Terminated after some batch: the rows of the table have become fewer.
        count = "SELECT count(*) FROM imgdb.prefix_bucket"
        before = space.value(count)
        while space.value(count) == before and not compacting.done():
            pass
        space.conn.execute("SELECT pg_terminate_backend(%s)", [other.info.backend_pid])
        error = compacting.exception()
        assert error is None or isinstance(error, psycopg.OperationalError)
    assert space.missing() == 0
    assert space.value("SELECT mismatches FROM imgdb.check_space(%s, 50, 4)", space.name) == 0
    space.tidy()
    assert set(space.scan(0, 64)) == set(space.held())
