"""Compare PDQ with the sum of two 64-bit hashes: what each finds, and shows wrongly, among tiles.

    python -m benchmarks.rules FOLDER [--tiles 100000] [--edited 300]

FOLDER holds large pictures, in folders of any depth; each scene counts once. Each is cut into
tiles of several sizes, and tiles are what is stored and looked for. Two tiles of one picture that
overlap are no wrong pictures of each other. Prints a table, for 5,000 tiles and for all.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.progress import say
from imgdb.hashes.exact import read_grey
from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.pdq import read_pdq
from imgdb.hashes.values import Pdq, bit_distance
from imgdb.pictures.edits import EDITS, encoded

# So many tiles on each side of a picture, of at least LEAST pixels; reduced to MOST.
SIDES = (5, 8, 12, 17, 22)
LEAST, MOST = 64, 160
# Within so many bits by phash, two files show one scene.
SAME_SCENE = 12
# Below this its makers do not use PDQ.
QUALITY = 50
SMALL = 5_000
QUERIES = 2_000
WRONG = 0.1
# Rule phash-pdq: what is within so many bits by phash is a candidate.
CANDIDATES = 12
LARGEST = 100
RULES = ("phash", "phash+dhash", "pdq", "phash-pdq")
SUFFIXES = {".jpg", ".png", ".webp"}

# phash, dhash and the four words of PDQ, a row for each tile.
Words = NDArray[np.uint64]
Boxes = NDArray[np.float64]


def scenes(folder: Path, rng: random.Random) -> Iterator[Image.Image]:
    seen: list[int] = []
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    for path in rng.sample(paths, len(paths)):
        try:
            with Image.open(path) as opened:
                if min(opened.size) < SIDES[0] * 2 * LEAST:
                    continue
                image = opened.convert("RGB")
        except OSError:
            continue
        phash = read_grey(image.convert("L"), ("phash",)).hashes.phash or 0
        if all(bit_distance(phash, other) > SAME_SCENE for other in seen):
            seen.append(phash)
            yield image


def tiles(image: Image.Image) -> Iterator[tuple[tuple[float, ...], Image.Image]]:
    """Cut a picture into tiles; a box says where each lies, in parts of the picture."""
    for side in SIDES:
        wide, high = image.width / side, image.height / side
        if min(wide, high) < LEAST:
            return
        size = (min(MOST, round(wide)), min(MOST, round(high)))
        for row in range(side):
            for column in range(side):
                box = (column * wide, row * high, (column + 1) * wide, (row + 1) * high)
                place = (column / side, row / side, (column + 1) / side, (row + 1) / side)
                yield place, image.resize(size, Image.Resampling.BOX, box)


def words(image: Image.Image) -> list[int] | None:
    """Hash a tile; None if there is too little to see in it."""
    pdq = read_pdq(image)
    if pdq.quality < QUALITY:
        return None
    reading = read_grey(image.convert("L"), ("phash", "dhash"))
    return None if reading.flat else joined(reading.hashes.phash, reading.hashes.dhash, pdq.pdq)


def joined(phash: int | None, dhash: int | None, pdq: Pdq) -> list[int]:
    return [word % 2**64 for word in (phash or 0, dhash or 0, *pdq)]


def copies(image: Image.Image) -> Iterator[list[int]]:
    """Hash the copies of a tile by all edits that count."""
    for edit in EDITS:
        if edit.counts:
            copy = fingerprint(encoded(edit, image), algorithms=("phash", "dhash"), pdq=True)
            assert copy.pdq is not None
            yield joined(copy.phash, copy.dhash, copy.pdq.pdq)


def apart(one: Words, others: Words) -> dict[str, NDArray[np.int64]]:
    """Return the distances by each rule; beyond LARGEST where phash-pdq has no candidate."""
    bits = np.bitwise_count(one ^ others).astype(np.int64)
    pdq = bits[..., 2:].sum(axis=-1)
    return {
        "phash": bits[..., 0],
        "phash+dhash": bits[..., 0] + bits[..., 1],
        "pdq": pdq,
        "phash-pdq": np.where(bits[..., 0] <= CANDIDATES, pdq, LARGEST + 1),
    }


def within(distances: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the distances up to 0, 1, ..., LARGEST."""
    return np.bincount(distances, minlength=LARGEST + 2)[: LARGEST + 1].cumsum()


def wrong_images(stored: Words, places: Boxes) -> dict[str, NDArray[np.float64]]:
    """Count, on average, the wrong tiles that a query shows, by distance."""
    counts = {rule: np.zeros(LARGEST + 1) for rule in RULES}
    asked = min(QUERIES, len(stored))
    for query in range(asked):
        scene, box = places[:, 0] == places[query, 0], places[query, 1:]
        overlapping = (places[:, 1:3] < box[2:]).all(axis=1) & (places[:, 3:] > box[:2]).all(axis=1)
        for rule, distances in apart(stored[query], stored[~(scene & overlapping)]).items():
            counts[rule] += within(np.minimum(distances, LARGEST + 1))
    return {rule: count / asked for rule, count in counts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--edited", type=int, default=300)
    parser.add_argument("--save", type=Path, help="also write the words of all tiles as .npy")
    told = parser.parse_args()

    rng = np.random.default_rng(13)
    found, places, edited = [], [], []
    scene = 0
    for scene, image in enumerate(scenes(told.folder, random.Random(13)), start=1):
        for place, tile in tiles(image):
            if (row := words(tile)) is not None:
                found.append(row)
                places.append((scene, *place))
                if rng.random() < 2 * told.edited / told.tiles:
                    edited.append((row, list(copies(tile))))
        say(f"{scene} scenes, {len(found):,} tiles")
        if len(found) >= told.tiles:
            break
    order = rng.permutation(len(found))[: told.tiles]
    stored, boxes = np.array(found, np.uint64)[order], np.array(places)[order]
    edited = [edited[place] for place in rng.permutation(len(edited))[: told.edited]]
    if told.save:
        np.save(told.save, stored)
    recall = {rule: np.zeros(LARGEST + 1) for rule in RULES}
    for row, of_row in edited:
        distances = apart(np.array(row, np.uint64), np.array(of_row, np.uint64))
        for rule in RULES:
            recall[rule] += within(np.minimum(distances[rule], LARGEST + 1)) / len(of_row)
    print(f"{scene} scenes, {len(stored):,} tiles, {len(edited)} of them edited\n")
    print(f"| rule | tiles | within | found | wrong | at {WRONG} wrong: within | found |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    usual = {"phash": 8, "phash+dhash": 17, "pdq": 31, "phash-pdq": 70}
    for count in dict.fromkeys((min(SMALL, len(stored)), len(stored))):
        wrong = wrong_images(stored[:count], boxes[:count])
        for rule, near in usual.items():
            share = recall[rule] / len(edited)
            most = int((wrong[rule] <= WRONG).sum()) - 1
            found_then = f"{share[most]:.1%}" if most >= 0 else "-"
            print(
                f"| {rule} | {count:,} | {near} | {share[near]:.1%} | {wrong[rule][near]:.3f}"
                f" | {most} | {found_then} |"
            )


if __name__ == "__main__":
    main()
