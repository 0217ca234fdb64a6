"""What else people search hashes with, in process: libraries, and databases without a server.

Each takes a prepared question, so that only its search is timed, and answers in its own way;
`hashes` reads the answer, untimed.
"""

import tempfile
import time
from typing import Any, Protocol

import numpy as np

from benchmarks.dataset import Hashes

TREES = 20  # Annoy: more find more, and take longer
NEIGHBOURS = 100  # of those without a search by radius: the nearest 100, less those too far
# Where a search would take a second, or building minutes.
LARGEST = {
    "scikit-learn BallTree": 100_000,
    "USearch HNSW": 100_000,
    "Annoy": 1_000_000,
    "sqlite-vec": 1_000_000,
}


class Peer(Protocol):
    """One way to search by radius."""

    name: str
    build: dict[str, Any]

    def question(self, query: int) -> Any: ...
    def within(self, question: Any, radius: int) -> Any: ...
    def hashes(self, answer: Any) -> set[int]: ...
    def cpu(self) -> float: ...
    def close(self) -> None: ...


def packed(hashes: Hashes) -> Any:
    """Spell hashes as rows of eight bytes, first bit first."""
    return np.ascontiguousarray(hashes.astype(">i8")).view(np.uint8).reshape(-1, 8)


def bits(hashes: Hashes) -> Any:
    return np.unpackbits(packed(hashes), axis=1)


class InProcess:
    """What the libraries have in common: one thread, and row numbers for an answer."""

    name: str

    def __init__(self, hashes: Hashes) -> None:
        self._stored = hashes
        started = time.perf_counter()
        self._make(hashes)
        self.build = {"seconds": round(time.perf_counter() - started, 3)}

    def _make(self, hashes: Hashes) -> None:
        raise NotImplementedError

    def question(self, query: int) -> Any:
        return packed(np.array([query], dtype=np.int64))

    def hashes(self, answer: Any) -> set[int]:
        return set(self._stored[np.asarray(answer, dtype=np.int64)].tolist())

    def cpu(self) -> float:
        """Return the seconds that processors have spent on the search and all else here."""
        return time.process_time()

    def close(self) -> None:
        """Give the memory back with the object."""


class NumpyScan(InProcess):
    """Count the bits of all hashes, as one line of numpy."""

    name = "numpy scan"

    def _make(self, hashes: Hashes) -> None:
        self._unsigned = hashes.view(np.uint64)

    def question(self, query: int) -> Any:
        return np.int64(query).view(np.uint64)

    def within(self, question: Any, radius: int) -> Any:
        return np.flatnonzero(np.bitwise_count(self._unsigned ^ question) <= radius)

    def nearest(self, question: Any, count: int) -> Any:
        distances = np.bitwise_count(self._unsigned ^ question)
        return np.sort(np.partition(distances, count - 1)[:count])


class FaissFlat(InProcess):
    name = "FAISS IndexBinaryFlat"

    def _make(self, hashes: Hashes) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexBinaryFlat(64)
        self.index.add(packed(hashes))

    def within(self, question: Any, radius: int) -> Any:
        # FAISS gives distances below its radius.
        return self.index.range_search(question, radius + 1)[2]

    def nearest(self, question: Any, count: int) -> Any:
        return self.index.search(question, count)[0][0]


class FaissMultiHash(FaissFlat):
    """Four tables of 16 bits: exact if as many bits are flipped as a band can have to differ."""

    name = "FAISS IndexBinaryMultiHash"

    def _make(self, hashes: Hashes) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexBinaryMultiHash(64, 4, 16)
        self.index.add(packed(hashes))

    def within(self, question: Any, radius: int) -> Any:
        self.index.nflip = radius // 4
        return super().within(question, radius)


class BallTree(InProcess):
    name = "scikit-learn BallTree"

    def _make(self, hashes: Hashes) -> None:
        from sklearn.neighbors import BallTree

        self._tree = BallTree(bits(hashes), metric="hamming")

    def question(self, query: int) -> Any:
        return bits(np.array([query], dtype=np.int64))

    def within(self, question: Any, radius: int) -> Any:
        # Its distance is the share of bits that differ; 64ths are exact.
        return self._tree.query_radius(question, r=radius / 64)[0]

    def nearest(self, question: Any, count: int) -> Any:
        return np.rint(self._tree.query(question, k=count)[0][0] * 64)


class Annoy(InProcess):
    name = "Annoy"

    def _make(self, hashes: Hashes) -> None:
        from annoy import AnnoyIndex

        self._index = AnnoyIndex(64, "hamming")
        self._index.set_seed(1)
        for number, vector in enumerate(bits(hashes)):
            self._index.add_item(number, vector.tolist())
        self._index.build(TREES, n_jobs=1)

    def question(self, query: int) -> Any:
        return bits(np.array([query], dtype=np.int64))[0].tolist()

    def within(self, question: Any, radius: int) -> Any:
        found = self._index.get_nns_by_vector(question, NEIGHBOURS, include_distances=True)
        return [number for number, distance in zip(*found, strict=True) if distance <= radius]

    def nearest(self, question: Any, count: int) -> Any:
        return self._index.get_nns_by_vector(question, count, include_distances=True)[1]


class UsearchHnsw(InProcess):
    name = "USearch HNSW"

    def _make(self, hashes: Hashes) -> None:
        from usearch.index import Index

        self._index = Index(ndim=64, metric="hamming", dtype="b1")
        self._index.add(np.arange(len(hashes)), packed(hashes), threads=1)

    def question(self, query: int) -> Any:
        return super().question(query)[0]

    def within(self, question: Any, radius: int) -> Any:
        found = self._index.search(question, NEIGHBOURS, threads=1)
        return found.keys[found.distances <= radius]

    def nearest(self, question: Any, count: int) -> Any:
        return self._index.search(question, count, threads=1).distances


class DuckDb(InProcess):
    """A table in memory, and the scan that its SQL can say."""

    name = "DuckDB scan"

    def _make(self, hashes: Hashes) -> None:
        import duckdb

        self._conn = duckdb.connect(config={"threads": 1})
        # DuckDB finds the array by the name of the variable.
        self._conn.execute("CREATE TABLE photo AS SELECT column0 AS hash FROM hashes")

    def question(self, query: int) -> Any:
        return query

    def within(self, question: Any, radius: int) -> Any:
        found = "SELECT hash FROM photo WHERE bit_count(xor(hash, $1::BIGINT)) <= $2"
        return self._conn.execute(found, [question, radius]).fetchall()

    def nearest(self, question: Any, count: int) -> Any:
        found = "SELECT bit_count(xor(hash, $1::BIGINT)) AS d FROM photo ORDER BY d LIMIT $2"
        return [row[0] for row in self._conn.execute(found, [question, count]).fetchall()]

    def hashes(self, answer: Any) -> set[int]:
        return {row[0] for row in answer}

    def close(self) -> None:
        self._conn.close()


class ChDb(InProcess):
    """ClickHouse in this process: a table in memory, and the scan that its SQL can say."""

    name = "chDB scan"

    def _make(self, hashes: Hashes) -> None:
        from chdb.session import Session

        self._session = Session()
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            hashes.tofile(file)
            file.flush()
            self._session.query("CREATE TABLE photo (hash Int64) ENGINE = Memory")
            rows = f"file('{file.name}', RowBinary, 'hash Int64')"
            self._session.query(f"INSERT INTO photo SELECT hash FROM {rows}")

    def question(self, query: int) -> Any:
        return query

    def _ask(self, statement: str, dtype: str) -> Any:
        answer = self._session.query(f"{statement} SETTINGS max_threads = 1", "RowBinary")
        return np.frombuffer(answer.bytes(), dtype=dtype)

    def within(self, question: Any, radius: int) -> Any:
        distance = f"bitHammingDistance(hash, toInt64({question}))"
        return self._ask(f"SELECT hash FROM photo WHERE {distance} <= {radius}", "<i8")

    def nearest(self, question: Any, count: int) -> Any:
        distance = f"bitHammingDistance(hash, toInt64({question}))"
        return self._ask(f"SELECT {distance} AS d FROM photo ORDER BY d LIMIT {count}", "u1")

    def hashes(self, answer: Any) -> set[int]:
        return set(answer.tolist())

    def close(self) -> None:
        self._session.close()


class SqliteVec(InProcess):
    """SQLite in memory: it compares all bit vectors, and says the nearest."""

    name = "sqlite-vec"
    FOUND = "SELECT rowid, distance FROM photo WHERE bits MATCH vec_bit(?) AND k = ?"

    def _make(self, hashes: Hashes) -> None:
        import apsw  # Python's own sqlite3 often loads no extensions
        import sqlite_vec

        self._conn = apsw.Connection(":memory:")
        self._conn.enable_load_extension(True)
        self._conn.load_extension(sqlite_vec.loadable_path())
        self._conn.execute("CREATE VIRTUAL TABLE photo USING vec0(bits bit[64])")
        rows = ((number, row.tobytes()) for number, row in enumerate(packed(hashes)))
        with self._conn:
            self._conn.executemany("INSERT INTO photo (rowid, bits) VALUES (?, vec_bit(?))", rows)

    def question(self, query: int) -> Any:
        return super().question(query).tobytes()

    def within(self, question: Any, radius: int) -> Any:
        asked = (question, NEIGHBOURS, radius)
        found = self._conn.execute(self.FOUND + " AND distance <= ?", asked).fetchall()
        return [row[0] for row in found]

    def nearest(self, question: Any, count: int) -> Any:
        return [row[1] for row in self._conn.execute(self.FOUND, (question, count)).fetchall()]

    def close(self) -> None:
        self._conn.close()


LIBRARIES = (
    FaissFlat,
    FaissMultiHash,
    NumpyScan,
    DuckDb,
    ChDb,
    SqliteVec,
    UsearchHnsw,
    BallTree,
    Annoy,
)
# Those that have to build nothing large, and answer exactly: asked for the nearest, too.
OF_THE_NEAREST = (FaissFlat, NumpyScan, DuckDb, ChDb, SqliteVec, UsearchHnsw, Annoy)
