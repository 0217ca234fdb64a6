"""Searches for one hash: by radius and for the nearest, against everything else."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import dataset, servers
from benchmarks.contest import Contestant, hold
from benchmarks.peers import LARGEST, LIBRARIES, OF_THE_NEAREST, FaissFlat, Peer
from benchmarks.progress import say
from benchmarks.store import Store

RADII = (0, 4, 8, 10, 12, 15)
HNSW_RADII = (4, 8, 10)
EF_SEARCHES = (40, 200)
NEAREST = 10
NEAREST_FLIPS = 4


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is asked: `budget` in seconds for each peer and radius."""

    queries: int
    rounds: int
    budget: float
    seed: int

    def hold(self, contestants: Sequence[Contestant]) -> None:
        random = np.random.default_rng(self.seed)
        hold(contestants, rounds=self.rounds, budget=self.budget, random=random)


@contextmanager
def opened(makers: Sequence[Any], argument: Any) -> Iterator[list[Any]]:
    with ExitStack() as stack:
        peers = []
        for make in makers:
            peers.append(stack.enter_context(closing(make(argument))))
            if seconds := peers[-1].build.get("seconds"):
                say(f"    {peers[-1].name} built in {seconds:.1f} s")
        yield peers


def fitting(libraries: Sequence[Any], size: int) -> list[Any]:
    """Leave out those that take minutes with so many hashes."""
    return [one for one in libraries if size <= LARGEST.get(one.name, size)]


def by_radius(
    peers: Sequence[Peer], hashes: dataset.Hashes, radii: Sequence[int], effort: Effort
) -> list[dict[str, Any]]:
    """Measure every peer at every radius, and what part of the right answers it gives."""
    measures = []
    for radius in radii:
        asked = dataset.queries(hashes, effort.queries, radius, effort.seed)
        contestants = [
            Contestant(
                {"peer": peer.name, "radius": radius},
                lambda question, peer=peer, radius=radius: peer.within(question, radius),
                [peer.question(query) for query in asked],
                peer.cpu,
            )
            for peer in peers
        ]
        effort.hold(contestants)
        numbers = max((one.answers for one in contestants), key=len)
        right = {n: dataset.within(hashes, asked[n], radius) for n in numbers}
        for peer, one in zip(peers, contestants, strict=True):
            measures.append(one.labels | one.latency() | recall(peer, one, right))
            say(f"    r={radius:<2} " + described(measures[-1]))
    return measures


def recall(peer: Peer, one: Contestant, right: dict[int, set[int]]) -> dict[str, Any]:
    """Compare a peer's answers with the right ones; one that is no match at all is an error."""
    found = wanted = 0
    for number, answer in one.answers.items():
        hashes = peer.hashes(answer)
        if wrong := hashes - right[number]:
            raise AssertionError(f"{peer.name} answers {one.labels} with {len(wrong)} wrong hashes")
        found += len(hashes)
        wanted += len(right[number])
    return {
        "recall": round(found / wanted, 4) if wanted else 1.0,
        "matches_per_query": round(wanted / len(one.answers), 2),
    }


def described(measure: dict[str, Any]) -> str:
    return (
        f"{measure['peer']:<28} p50 {measure['p50_ms']:9.3f} ms  p95 {measure['p95_ms']:9.3f} ms"
        f"  recall {measure['recall']:.3f}  ({measure['asked']} asked)"
    )


def within(store: Store, effort: Effort, *, few: bool = False) -> dict[str, Any]:
    """Search by radius: imgdb against scans, pgvector's too, and libraries in this process."""
    size = len(store.hashes)
    libraries = fitting(LIBRARIES, size)
    in_server = [servers.imgdb, servers.sequential_scan, servers.lone_scan, servers.vector_exact]
    if few:
        in_server = in_server[:2]
        libraries = [FaissFlat]
    else:
        servers.make_bits(store)
    with opened(in_server, store) as asked, opened(libraries, store.hashes) as loaded:
        measures = by_radius([*asked, *loaded], store.hashes, RADII, effort)
        return {
            "measures": measures,
            "builds": {peer.name: peer.build for peer in loaded} | {"imgdb": store.build},
            "scan_workers": asked[1].workers(),
        }


def hnsw(store: Store, effort: Effort) -> dict[str, Any]:
    """Search by radius and for the nearest: imgdb against pgvector's approximate index."""
    servers.make_bits(store)
    build = servers.build_hnsw(store)
    say(f"    pgvector HNSW built in {build['seconds']:.1f} s, {build['bytes'] / 1e6:.0f} MB")
    makers = [servers.imgdb, servers.sequential_scan]
    makers += [lambda s, ef=ef: servers.vector_hnsw(s, ef) for ef in EF_SEARCHES]
    with opened(makers, store) as peers:
        return {
            "measures": by_radius(peers, store.hashes, HNSW_RADII, effort),
            "nearest": nearest_of(peers, store.hashes, effort),
            "builds": {"pgvector HNSW": build, "imgdb": store.build},
        }


def nearest(store: Store, effort: Effort) -> dict[str, Any]:
    """Search for the ten nearest."""
    libraries = fitting(OF_THE_NEAREST, len(store.hashes))
    makers = [servers.imgdb, servers.sequential_scan]
    with opened(makers, store) as asked, opened(libraries, store.hashes) as loaded:
        return {"measures": nearest_of([*asked, *loaded], store.hashes, effort)}


def nearest_of(
    peers: Sequence[Any], hashes: dataset.Hashes, effort: Effort
) -> list[dict[str, Any]]:
    """Measure the ten nearest; any of equally distant hashes is a right answer.

    Near copies and unrelated queries are told apart: an exact answer far away needs a scan.
    """
    distinct = np.unique(hashes)
    asked = dataset.queries(hashes, effort.queries, NEAREST_FLIPS, effort.seed)
    contestants = [
        Contestant(
            {"peer": peer.name, "count": NEAREST},
            lambda question, peer=peer: peer.nearest(question, NEAREST),
            [peer.question(query) for query in asked],
            peer.cpu,
        )
        for peer in peers
    ]
    effort.hold(contestants)
    measures = []
    for peer, one in zip(peers, contestants, strict=True):
        # imgdb gives each hash once; the others give each row.
        stored = distinct if peer.name == "imgdb" else hashes
        found = 0
        for number, answer in one.answers.items():
            farthest = dataset.nearest(stored, asked[number], NEAREST)[-1]
            found += sum(distance <= farthest for distance in answer)
        right = round(found / (NEAREST * len(one.answers)), 4)
        measures.append(one.labels | one.latency() | {"recall": right})
        say("    nearest " + described(measures[-1]))
    return measures
