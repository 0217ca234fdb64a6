"""Measure how well crops and collages are found by regions, and what that costs.

    python -m benchmarks.regions PICTURES        (the folder that get_images.sh filled)

Photographs, each scene once, and graphics are ingested with --regions into a server of the run's
own. Then crops and collages of the photographs are looked for, by regions, by plain phash, and by
what `imagehash.crop_resistant_hash` makes; and photographs among collages. Recall is the share of
pairs of an edit and a photograph in it that are found; a false match is any other image. The result
goes into results/regions.json, with the machine it was measured on.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

# One thread, as in the worker processes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import psycopg
from PIL import Image

from benchmarks.crop_resistant import imagehash_hashes, segment_hashes, votes
from benchmarks.environment import environment
from benchmarks.large_jpegs import Maker
from benchmarks.progress import say
from benchmarks.region_edits import Edit, collages, crops, graphics, photographs
from imgdb import schema
from imgdb.database.compaction import compact
from imgdb.database.embedded.server import Server
from imgdb.hashes.fingerprint import fingerprint
from imgdb.ingest.options import Options
from imgdb.ingest.run import ingest
from imgdb.search.images import query_by_file, similar
from imgdb.search.parts import region_query, sharing_parts

RESULT = Path(__file__).parent / "results" / "regions.json"
VOTES = (1, 2, 3, 4)
RADIUS = 8
# imagehash calls pictures alike that have one segment within a quarter of the bits.
IMAGEHASH_BITS = 16

# What each way finds of one query: names of images.
Found = dict[str, set[str]]


class Tally:
    """Recall and false matches of each way, edit by edit."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[int]]] = defaultdict(
            lambda: defaultdict(lambda: [0, 0, 0, 0, 0])
        )

    def add(self, kind: str, expected: set[str], found: Found) -> None:
        for way, names in found.items():
            false = names - expected
            graphic = sum(name.startswith("graphic") for name in false)
            counts = (1, len(expected), len(names & expected), len(false) - graphic, graphic)
            sums = self._found[kind][way]
            sums[:] = [a + b for a, b in zip(sums, counts, strict=True)]

    def result(self) -> dict[str, Any]:
        return {
            kind: {
                way: {
                    "queries": queries,
                    "pairs": pairs,
                    "recall": round(found / pairs, 4),
                    "false_photographs_per_query": round(photographs / queries, 4),
                    "false_graphics_per_query": round(graphic / queries, 4),
                }
                for way, (queries, pairs, found, photographs, graphic) in ways.items()
            }
            for kind, ways in self._found.items()
        }


class Bench:
    """A database, the pictures in it, and what is measured."""

    def __init__(self, conn: psycopg.Connection[Any], folder: Path) -> None:
        self.conn, self.folder = conn, folder
        self.tally = Tally()
        self.times: dict[str, list[float]] = defaultdict(list)
        self.segments: dict[str, dict[str, Any]] = defaultdict(dict)

    def ingest(self, collection: str, images: Iterable[tuple[str, Image.Image]]) -> None:
        place = self.folder / collection
        place.mkdir()
        for name, image in images:
            image.save(place / f"{name}.png", compress_level=1)
            self.segments[collection][name] = segment_hashes(image)
        done = ingest(self.conn, [str(place)], options=Options(collection=collection, regions=True))
        assert done.added == len(self.segments[collection]), done
        compact(self.conn, ["phash", "region"])
        self.conn.execute("ANALYZE")

    def ask(self, collection: str, kind: str, image: Image.Image, expected: set[str]) -> None:
        """Look for a picture, saved as JPEG, in every way."""
        file = self.folder / "query.jpg"
        image.save(file, quality=80)
        query = self._timed("query_read_ms", lambda: region_query(file))
        matches = self._timed(
            "search_ms",
            lambda: sharing_parts(self.conn, query, min_votes=1, collection=collection),
        )
        self.times["query_regions"].append(len(query.regions))
        found = {
            f"regions, {least}": {Path(m.path).stem for m in matches if m.votes >= least}
            for least in VOTES
        }
        plain = similar(
            self.conn,
            query_by_file(file, parts=False),
            space="phash",
            max_distance=RADIUS,
            collection=collection,
            parts=False,
        )
        found["phash"] = {Path(match.path).stem for match in plain}
        with Image.open(file) as saved:
            own = segment_hashes(saved)
        for bits in (IMAGEHASH_BITS, RADIUS):
            found[f"segments, {bits}"] = {
                name
                for name, stored in self.segments[collection].items()
                if votes(own, stored, bits) >= 1
            }
        self.tally.add(kind, expected, found)

    def _timed(self, name: str, call: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        answer = call()
        self.times[name].append((time.perf_counter() - begun) * 1000)
        return answer


def cost(pictures: Path, folder: Path) -> dict[str, Any]:
    """Measure processor milliseconds from file to hashes, without and with regions; best of 3."""
    found = {}
    for name, size, count in (
        ("JPEG 4000x3000", (4000, 3000), 6),
        ("JPEG 1200x900", (1200, 900), 20),
    ):
        files = []
        for number, content in enumerate(Maker(pictures, 1).one_size(size, count)):
            files.append(folder / f"{number}.jpg")
            files[-1].write_bytes(content)
        found[name] = {
            "plain_ms": _processor_ms(files, fingerprint),
            "with_regions_ms": _processor_ms(files, lambda file: fingerprint(file, regions=True)),
        }
    with Image.open(files[0]) as image:
        image.load()
        for way in (segment_hashes, imagehash_hashes):
            found[name][way.__name__ + "_ms"] = _processor_ms([image], way)
    return found


def _processor_ms(items: Sequence[Any], way: Callable[[Any], object]) -> float:
    way(items[0])
    rounds = []
    for _ in range(3):
        begun = time.process_time()
        for item in items:
            way(item)
        rounds.append(time.process_time() - begun)
    return round(min(rounds) / len(items) * 1000, 2)


def storage(conn: psycopg.Connection[Any]) -> dict[str, float]:
    """Measure bytes, compacted, for each image with regions."""
    row = conn.execute(
        "SELECT (SELECT count(DISTINCT image_id) FROM imgdb.image_region),"
        " (SELECT count(*) FROM imgdb.image_region),"
        " pg_total_relation_size('imgdb.image_region'),"
        " (SELECT bytes FROM imgdb.space_statistics('region'))"
    ).fetchone()
    assert row is not None
    images, regions, table, space = row
    return {
        "images": images,
        "regions_per_image": round(regions / images, 1),
        "table_and_indexes_per_image": round(table / images),
        "space_per_image": round(space / images),
    }


def named(kind: str, images: Sequence[Image.Image]) -> list[tuple[str, Image.Image]]:
    return [(f"{kind}-{number:03}", image) for number, image in enumerate(images)]


def names(edit: Edit) -> set[str]:
    return {f"photo-{number:03}" for number in edit.shows}


def run(
    conn: psycopg.Connection[Any], pictures: Path, folder: Path, seed: int, limit: int | None
) -> dict[str, Any]:
    photos, others = photographs(pictures), graphics(pictures)
    asked = random.Random(seed).sample(range(len(photos)), min(limit or len(photos), len(photos)))
    say(f"{len(photos)} photographs, {len(others)} graphics")
    for image in photos[:2]:
        assert np.array_equal(segment_hashes(image), imagehash_hashes(image))
    bench = Bench(conn, folder)
    bench.ingest("photos", named("photo", photos) + named("graphic", others))
    rng = random.Random(seed)
    for edit in crops(photos, sorted(asked), rng):
        bench.ask("photos", edit.kind, edit.image, names(edit))
    say("crops are done")
    for side in (2, 3):
        sheets = list(collages(photos, rng, side))[: len(asked) // (side * side)]
        for sheet in sheets:
            bench.ask("photos", sheet.kind, sheet.image, names(sheet))
        collection = f"collages-{side}"
        bench.ingest(collection, named("sheet", [sheet.image for sheet in sheets]))
        for number, sheet in enumerate(sheets):
            for shown in sheet.shows:
                kind = f"photograph, stored {sheet.kind}"
                bench.ask(collection, kind, photos[shown], {f"sheet-{number:03}"})
        say(f"{sheets[0].kind}: done")
    return {
        "photographs": len(photos),
        "asked": len(asked),
        "graphics": len(others),
        "edits": bench.tally.result(),
        "median": {name: round(float(np.median(all_)), 1) for name, all_ in bench.times.items()},
        "storage": storage(conn),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--photographs", type=int, help="edit no more than so many of them")
    parser.add_argument("--home", type=Path, help="where the server's data go")
    parser.add_argument("--result", type=Path, default=RESULT)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=told.home) as made:
        folder = Path(made)
        # The server's account must get in.
        folder.chmod(0o711)
        with Server(folder / "home", durable=False) as server:
            schema.upgrade(server.conninfo("postgres"))
            with psycopg.connect(server.conninfo("postgres"), autocommit=True) as conn:
                measured = run(conn, told.pictures, folder, told.seed, told.photographs)
        say("cost")
        result = {
            "environment": environment() | {"postgresql": "embedded"},
            "seed": told.seed,
            **measured,
            "cost": cost(told.pictures, folder),
        }
    told.result.write_text(json.dumps(result, indent=2) + "\n")
    say(f"written: {told.result}")


if __name__ == "__main__":
    main()
