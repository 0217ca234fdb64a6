"""Measure imgdb and its peers on a private server: `python -m benchmarks.search --help`."""

import argparse
import datetime
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import circumstances, clients, loading, searches, sets
from benchmarks.dataset import UNIFORM, Dataset
from benchmarks.options import arguments
from benchmarks.progress import say
from benchmarks.results import OtherEnvironment, Results
from benchmarks.store import Store, loaded
from imgdb.database.embedded import Server

PHOTO_ROWS = 1_000_000


@contextmanager
def private_server(options: argparse.Namespace) -> Iterator[Server]:
    """Run a server in a folder of its own, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="imgdb-bench-", dir=options.home or "/var/tmp"))
    folder.chmod(0o711)  # root's server runs under another account, which must get in
    settings = dict(setting.split("=", 1) for setting in options.setting)
    try:
        with Server(folder / "s", settings=settings, durable=not options.not_durable) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wanted_parts(data: Dataset, options: argparse.Namespace) -> list[str]:
    """Choose what to ask this data set: phash in full, other photo hashes at one size `within`.

    Random hashes have no near pairs, so `pairs` takes photos where there are any.
    """
    largest = max((size for size in options.sizes if size <= PHOTO_ROWS), default=0)
    if data.kind not in (UNIFORM, "phash"):
        offered = {"within"} if data.size == largest else set()
    else:
        offered = (
            {"within", "nearest", "within_any", "load", "clients"}
            if data.size in options.sizes
            else set()
        )
        if data.size in options.sizes and (data.photo or options.photo_hashes is None):
            offered.add("pairs")
        if data.size in options.hnsw_sizes:
            offered.add("hnsw")
    return [part for part in options.only if part in offered]


def measure_store(
    server: Server, results: Results, data: Dataset, options: argparse.Namespace
) -> None:
    """Run the parts that search one data set of one size."""
    # Brute force, which tells what is right, takes its time at ten million.
    count = options.queries if data.size <= PHOTO_ROWS else options.queries // 4
    effort = searches.Effort(count, options.rounds, options.budget, options.seed)
    wanted = wanted_parts(data, options)
    if not wanted:
        return
    say(f"{data.kind}, {data.size:,} rows: loading")
    hashes = data.hashes()
    with loaded(server, f"bench_{data.kind}_{data.size}", hashes) as store:
        say(f"  tracked in {store.build['track_s']:.1f} s")
        for part in wanted:
            say(f"  {part}, {data.kind}, {data.size:,} rows")
            load_average = os.getloadavg()[0]
            found = measure_part(part, server, store, data, options, effort)
            found["load_average"] = round(load_average, 2)
            results.add(part, data.kind, data.size, found)


def measure_part(
    part: str,
    server: Server,
    store: Store,
    data: Dataset,
    options: argparse.Namespace,
    effort: searches.Effort,
) -> dict[str, Any]:
    if part == "within":
        return searches.within(store, effort, few=data.kind not in (UNIFORM, "phash"))
    if part == "nearest":
        return searches.nearest(store, effort)
    if part == "hnsw":
        return searches.hnsw(store, effort)
    if part == "within_any":
        return sets.within_any(store, rounds=3, seed=options.seed)
    if part == "clients":
        return clients.clients(store, seconds=options.client_seconds, seed=options.seed)
    if part == "pairs":
        return sets.pairs(store, limit=options.pairs_limit, seed=options.seed)
    return loading.load(server, "bench_load", store.hashes, store, effort)


def run(options: argparse.Namespace) -> None:
    with private_server(options) as server:
        found = circumstances.describe(
            server.conninfo(),
            durable=not options.not_durable,
            seed=options.seed,
            photo_file=options.photo_hashes,
        )
        started = {
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": circumstances.commit(),
            "budget_s": options.budget,
            "rounds": options.rounds,
        }
        results = Results.begin(options.result, found, started, replace=options.replace)
        if "append" in options.only:
            say(f"  append, {options.images:,} images")
            images = Dataset("images", options.images, options.seed, options.photo_hashes).images()
            kind = "photos" if options.photo_hashes else UNIFORM
            results.add(
                "append", kind, options.images, loading.append(server, "bench_append", images)
            )
        for size in sorted({*options.sizes, *options.hnsw_sizes}):
            for kind in options.data:
                if kind == UNIFORM or size <= PHOTO_ROWS:
                    data = Dataset(kind, size, options.seed, options.photo_hashes)
                    measure_store(server, results, data, options)
    say(f"done: {options.result}; `python -m benchmarks.render` renders docs/benchmarks.md")


def main() -> int:
    try:
        run(arguments())
    except OtherEnvironment as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
