"""What else people search hashes with, in process: FAISS, scikit-learn's BallTree, Annoy.

Each takes a prepared question, so that only its search is timed, and answers in its own way;
`hashes` reads the answer, untimed.
"""

import time
from typing import Any, Protocol

import numpy as np

from benchmarks.dataset import Hashes

TREES = 20  # Annoy: more find more, and take longer
NEIGHBOURS = 100  # Annoy has no search by radius: the nearest 100, less those too far
# Where a search would take a second, or building minutes.
LARGEST = {"scikit-learn BallTree": 100_000, "Annoy": 1_000_000}


class Peer(Protocol):
    """One way to search by radius."""

    name: str
    build: dict[str, Any]

    def question(self, query: int) -> Any: ...
    def within(self, question: Any, radius: int) -> Any: ...
    def hashes(self, answer: Any) -> set[int]: ...
    def close(self) -> None: ...


def packed(hashes: Hashes) -> Any:
    """Spell hashes as rows of eight bytes, first bit first."""
    return np.ascontiguousarray(hashes.astype(">i8")).view(np.uint8).reshape(-1, 8)


def bits(hashes: Hashes) -> Any:
    return np.unpackbits(packed(hashes), axis=1)


class InProcess:
    """What the libraries have in common: they answer with row numbers."""

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

    def close(self) -> None:
        """Give the memory back with the object."""


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


LIBRARIES = (FaissFlat, FaissMultiHash, BallTree, Annoy)
