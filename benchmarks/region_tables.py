"""Render the stored results about regions into the tables of docs/regions.md.

python -m benchmarks.region_tables
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.tables import placed, table

ROOT = Path(__file__).parent
PAGE = ROOT.parent / "docs" / "regions.md"
WAYS = {
    "regions, 3": "`--min-votes 3`",
    "regions, 2": "`--min-votes 2`",
    "phash": "phash at 8",
    "segments, 16": "segments at 16",
    "segments, 8": "segments at 8",
}


def render(page: str, result: dict[str, Any]) -> str:
    """Replace what stands between the markers."""
    text = f"{_recall(result)}\n\n{_cost(result)}\n\n{_machine(result)}"
    return placed(page, "regions", text)


def _recall(result: dict[str, Any]) -> str:
    """Show the share that is found, and the false matches per query among photographs."""
    rows = []
    for kind, ways in result["edits"].items():
        cells = [f"{one['recall']:.0%}, {_false(one):.2g}" for one in (ways[way] for way in WAYS)]
        rows.append([kind, str(ways["phash"]["pairs"]), *cells])
    return table(["looked for", "pairs", *WAYS.values()], rows)


def _false(one: dict[str, float]) -> float:
    return one["false_photographs_per_query"] + one["false_graphics_per_query"]


def _cost(result: dict[str, Any]) -> str:
    rows = [
        [name, f"{cost['plain_ms']:.3g} ms", f"{cost['with_regions_ms']:.3g} ms"]
        for name, cost in result["cost"].items()
    ]
    head = ["from file to hashes, processor time", "without", "with regions"]
    stored, median = result["storage"], result["median"]
    taken = stored["table_and_indexes_per_image"] + stored["space_per_image"]
    own = next(cost for cost in result["cost"].values() if "imagehash_hashes_ms" in cost)
    words = [
        f"An image takes {stored['regions_per_image']:g} regions",
        f"and {taken / 1000:.1f} KB in the database.",
        f"A search takes {median['search_ms']:.0f} ms",
        f"for {median['query_regions']:.0f} regions,",
        f"after {median['query_read_ms']:.0f} ms to read the query (medians).",
        f"`imagehash.crop_resistant_hash` takes {own['imagehash_hashes_ms']:,.0f} ms",
        "for one of the smaller pictures, the same segments by scipy",
        f"{own['segment_hashes_ms']:.0f} ms.",
    ]
    return table(head, rows) + "\n\n" + " ".join(words)


def _machine(result: dict[str, Any]) -> str:
    found = result["environment"]
    packages = ", ".join(f"{package} {number}" for package, number in found["packages"].items())
    return (
        f"{result['photographs']} photographs and {result['graphics']} graphics in the database,"
        f" {result['asked']} of the photographs edited, seed {result['seed']}."
        f" {found['processor']}, {found['cores']} cores, Python {found['python']}, {packages};"
        f" commit {found['commit']}."
    )


if __name__ == "__main__":
    stored = json.loads((ROOT / "results" / "regions.json").read_text())
    PAGE.write_text(render(PAGE.read_text(), stored))
