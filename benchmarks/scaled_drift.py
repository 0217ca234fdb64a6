"""Measure how far `--decode scaled` moves the hashes of JPEGs from those of `--decode exact`.

    python benchmarks/scaled_drift.py PICTURES [--scale 1]

PICTURES is the folder that get_images.sh filled. Its JPEGs of at least 1,024 pixels on the shorter
side are few and small, so most pictures are made from it: photographs enlarged to 4 to 12
megapixels, mosaics of photographs, graphics, and pictures that bring near ties.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from environment import environment
from large_jpegs import Maker

from imgdb.errors import PictureError
from imgdb.hashes import exact, scaled
from imgdb.hashes.values import ALGORITHMS, Hashes, bit_distance
from imgdb.pictures import loader

RESULT = Path(__file__).parent / "results" / "scaled_drift.json"
COUNTS = {"photos": 400, "mosaics": 150, "graphics": 200, "hard": 200}
SEED = 20240607


def fetched(folder: Path) -> Iterator[bytes]:
    """Give the fetched JPEGs that `scaled` would decode at reduced size."""
    for path in sorted(folder.rglob("*.j*")):
        try:
            picture = loader.load(path, decode="scaled", max_pixels=50_000_000)
        except PictureError:
            continue
        if picture.grey.size != (picture.width, picture.height):
            yield path.read_bytes()


def moved(exact: Hashes, other: Hashes) -> list[int]:
    return [bit_distance(getattr(exact, name), getattr(other, name)) for name in ALGORITHMS]


def measure(files: Iterator[bytes]) -> dict[str, object]:
    """Compare both decodes of each file, with and without the full decode at near ties."""
    kept, all_files, refused = [], [], 0
    for content in files:
        with loader.open_stream(
            BytesIO(content), byte_size=None, modified_at=datetime.now(UTC)
        ) as source:
            full = exact.hash_grey(source.picture("exact").grey)
            small = source.picture("scaled").grey
        reading = scaled.read_scaled(small)
        refused += reading is None
        all_files.append(moved(full, scaled.read_with_loose_bits(small)[0].hashes))
        kept.append(moved(full, reading.hashes) if reading else [0, 0, 0, 0])
    return {
        "pictures": len(kept),
        "decoded_in_full": refused,
        "with_near_ties_decoded_in_full": summary(np.array(kept)),
        "all_reduced": summary(np.array(all_files)),
    }


def summary(bits: np.ndarray) -> dict[str, dict[str, float]]:
    return {
        name: {
            "unchanged": round(float((column == 0).mean()), 4),
            "over_2_bits": round(float((column > 2).mean()), 4),
            "most_bits": int(column.max()),
        }
        for name, column in zip(ALGORITHMS, bits.T, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--scale", type=float, default=1, help="times the usual number of pictures")
    arguments = parser.parse_args()
    groups = {"fetched": measure(fetched(arguments.pictures))}
    for number, (group, count) in enumerate(COUNTS.items()):
        maker = Maker(arguments.pictures, SEED + number)
        groups[group] = measure(maker.make(group, round(count * arguments.scale)))
        print(group, json.dumps(groups[group]), flush=True)
    result = {"environment": environment(), "seed": SEED, "groups": groups}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
