"""Write tests/data/regions.json: the regions of shipped pictures. Its values are for ever.

python tests/make/make_region_vectors.py
"""

import json
from pathlib import Path

from imgdb.hashes.regions import ASKED, STORED, find_regions
from imgdb.hashes.values import to_hex
from imgdb.pictures import loader

ROOT = Path(__file__).parents[2]
VECTORS = Path(__file__).parents[1] / "data" / "regions.json"
# PNGs alone: what a JPEG decodes to is a matter of its decoder.
PICTURES = (
    "examples/images/bauhaus--resized.png",
    "examples/images/cat-in-the-window--resized.png",
    "examples/images/page-of-text--resized.png",
    "examples/images/sunflower--resized.png",
    "vectors/turned-tiles.png",
    "vectors/white.png",
)
PLANS = {"stored": STORED, "asked": ASKED}


def regions_of(picture: str, plan: str) -> list[list[object]]:
    grey = loader.load(ROOT / picture).grey
    return [[*found.box, to_hex(found.hash)] for found in find_regions(grey, PLANS[plan])]


if __name__ == "__main__":
    found = {name: {plan: regions_of(name, plan) for plan in PLANS} for name in PICTURES}
    lines = json.dumps(found, indent=0).replace(",\n", ", ").replace("[\n", "[").replace("\n]", "]")
    VECTORS.write_text(lines.replace("], [", "],\n[").replace("], ", "],\n") + "\n")
