"""`imgdb serve` with FAISS in the place of its search: `python -m benchmarks.serve_faiss serve`.

Only for benchmarks.serve, which names the hashes by IMGDB_BENCH_HASHES.
"""

import os
from collections.abc import Iterable

import faiss
import numpy as np

from benchmarks.serve import RULES
from imgdb.cli import main
from imgdb.hashes.values import from_bigint, rule_hashes
from imgdb.search.images import Match, Query
from imgdb.serve import searching
from imgdb.serve.searching import SearchAnswer, SearchChoices
from imgdb.serve.state import ServerState


class Stored:
    """All hashes, in an index for each rule: distances are sums, as those of imgdb are."""

    def __init__(self, file: str, rules: Iterable[str]) -> None:
        with np.load(file) as hashes:
            self.rows = hashes["rows"]
            self.indexes = {}
            for rule in rules:
                names = rule_hashes(rule)
                self.indexes[rule] = faiss.IndexBinaryFlat(64 * len(names))
                self.indexes[rule].add(codes([hashes[name] for name in names]))

    def search(
        self, state: ServerState, query: Query, rule: str, options: SearchChoices
    ) -> SearchAnswer:
        """Do what `searching._search` does."""
        assert len(query.looks) <= 1 and options.max_distance is not None
        asked = [from_bigint(getattr(query.hashes, name)) for name in rule_hashes(rule)]
        code = codes([np.array([one], dtype=np.uint64) for one in asked])
        _, distances, places = self.indexes[rule].range_search(code, options.max_distance + 1)
        nearest = np.argsort(distances, kind="stable")[: options.limit]
        rows = self.rows[places[nearest]]
        found = [
            match(*one) for one in zip(rows.tolist(), distances[nearest].tolist(), strict=True)
        ]
        return SearchAnswer(searching.asked_hashes(query), rule, options.max_distance, found)


def codes(hashes: list[np.ndarray]) -> np.ndarray:
    """Return the bytes of one or two hashes a row."""
    return np.ascontiguousarray(np.stack(hashes, axis=1)).view(np.uint8)


def match(row: int, distance: float) -> Match:
    return Match(
        path=f"{row:09}", distance=int(distance), ahash_distance=None, dhash_distance=None,
        phash_distance=None, whash_distance=None, orientation=None, relation="same", votes=None,
        same_bytes=False, images=1, collection="default", image_id=row, width=None, height=None,
        frames=None, byte_size=None, format=None, modified_at=None, missing_since=None,
    )  # fmt: skip


if __name__ == "__main__":
    faiss.omp_set_num_threads(1)  # requests have threads of their own
    searching._search = Stored(os.environ["IMGDB_BENCH_HASHES"], RULES).search
    main()
