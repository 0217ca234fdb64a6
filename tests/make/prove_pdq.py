"""Compare imgdb's PDQ with pdqhash on many pictures, and write the test vectors with --write.

    python tests/make/prove_pdq.py FOLDER... [--write]

pdqhash (0.2.8) binds Meta's own C++ code; PyPI has its source only, so it is no dependency:
`pip install pdqhash`. Without --write every picture of the folders is hashed twice, also turned to
grey; with it, FOLDER is not needed, and tests/data/pdq.json is written anew.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from imgdb.errors import PictureError
from imgdb.hashes.pdq import PdqReading, read_pdq
from imgdb.hashes.values import pdq_from_hex, pdq_to_hex
from imgdb.pictures.loader import open_source

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "data" / "pdq.json"
# Relative to the repository: tiny and hard ones, and photographs and paintings.
PICTURES = ("vectors", "examples/images", "examples/query.jpg")


def by_pdqhash(luma: Image.Image) -> PdqReading:
    import pdqhash

    bits, quality = pdqhash.compute(np.asarray(luma.convert("RGB")))
    return PdqReading(pdq_from_hex(np.packbits(bits.astype(np.uint8)).tobytes().hex()), quality)


def pictures(folders: list[Path]) -> Iterator[tuple[Path, Image.Image]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.is_file():
                try:
                    with open_source(path) as source:
                        luma = source.picture(max_pixels=50_000_000, luma=True).luma
                except PictureError:
                    continue
                assert luma is not None
                yield path, luma


def write() -> None:
    found = [
        {
            "file": path.relative_to(ROOT).as_posix(),
            "pdq": pdq_to_hex(read.pdq),
            "quality": read.quality,
        }
        for path, luma in pictures([ROOT / name for name in PICTURES])
        for read in [by_pdqhash(luma)]
    ]
    lines = ",\n".join("  " + json.dumps(vector) for vector in found)
    VECTORS.write_text(f"[\n{lines}\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write:
        write()
        return
    compared = different = 0
    for path, luma in pictures(options.folders):
        for one in {luma.mode: luma, "L": luma.convert("L")}.values():
            compared += 1
            if read_pdq(one) != by_pdqhash(one):
                different += 1
                print(path, one.size, one.mode)
    print(f"{compared:,} pictures compared, {different:,} differ")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
