"""Measure how far the hashes of one picture lie apart that is stored in many formats.

    python -m benchmarks.hopper PICTURES

PICTURES is the folder that get_images.sh filled: Pillow's test pictures hold a portrait of Grace
Hopper in nearly every format that Pillow reads. Formats that imgdb refuses are measured as well, as
Pillow decodes them. Writes the results, and the table into docs/pictures.md.
"""

import json
import sys
from pathlib import Path

from PIL import Image

from benchmarks.environment import environment
from benchmarks.hash_tables import machine
from benchmarks.tables import placed, table
from imgdb.errors import PictureError
from imgdb.hashes import exact
from imgdb.hashes.values import ALGORITHMS, Hashes, bit_distance
from imgdb.pictures import loader
from imgdb.pictures.grey import to_grey

RESULT = Path(__file__).parent / "results" / "hopper.json"
PAGE = Path(__file__).parent.parent / "docs" / "pictures.md"
REFERENCE = "hopper.ppm"
# One file of each format, and some of the ways that a format has.
NAMES = ["hopper.*", "avif/hopper.avif", "hopper_16bit.pgm", "hopper_1bit.pbm", "hopper_gray.jpg"]
NAMES += ["hopper_g4.tif", "hopper_lzw.tif", "hopper_rle8.bmp", "hopper.Lab.tif"]


def measure(path: Path, reference: Hashes) -> dict[str, object] | None:
    """Compare a file with the reference; nothing if not even Pillow can decode it."""
    try:
        picture = loader.load(path)
        grey, kind, read = picture.grey, picture.format, True
    except PictureError:
        try:
            with Image.open(path) as image:
                image.load()
                grey, kind, read = to_grey(image), str(image.format), False
        except Exception:  # whatever it is that this plugin of Pillow raises
            return None
    hashes = exact.hash_grey(grey)
    distances = [
        bit_distance(getattr(hashes, name), getattr(reference, name)) for name in ALGORITHMS
    ]
    return {"format": kind, "size": list(grey.size), "read": read, "distances": distances}


def main(pictures: Path) -> None:
    folder = next(pictures.glob("pillow-tests/pillow-*/Tests/images"))
    reference = exact.hash_grey(loader.load(folder / REFERENCE).grey)
    paths = sorted({path for name in NAMES for path in folder.glob(name)})
    found = {path.name: measure(path, reference) for path in paths}
    files = {name: row for name, row in found.items() if row is not None}
    result = {"environment": environment(("pillow", "numpy")), "files": files}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    PAGE.write_text(render(PAGE.read_text()))


def render(page: str) -> str:
    """Replace the table: what imgdb reads first, each part by its distances."""
    found = json.loads(RESULT.read_text())["files"]
    order = sorted(
        found, key=lambda name: (not found[name]["read"], found[name]["distances"], name)
    )
    rows = [
        [
            f"`{name}`",
            found[name]["format"] if found[name]["read"] else f"{found[name]['format']} (not read)",
            "{} x {}".format(*found[name]["size"]),
            *map(str, found[name]["distances"]),
        ]
        for name in order
    ]
    text = table(["file", "format", "size", *ALGORITHMS], rows) + "\n\n" + machine("hopper")
    return placed(page, "hopper", text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
