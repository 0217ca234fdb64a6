"""Render the stored results about hashes into the tables of docs/hashes.md.

python -m benchmarks.hash_tables
"""

import json
from pathlib import Path

from benchmarks.tables import placed, table
from imgdb.hashes.values import ALGORITHMS

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "hashes.md"
GROUPS = {
    "fetched": "fetched JPEGs, 1.1 to 13 Mpx",
    "photos": "photographs, enlarged to 4 to 12 Mpx",
    "mosaics": "mosaics of photographs, 4 to 12 Mpx",
    "graphics": "flags, screenshots, text, 4 to 12 Mpx",
    "hard": "faint, blurred, dark, mirrored, on white, gradients",
}
WAYS = {
    "imagehash_four_times": "four calls of imagehash",
    "exact": "imgdb, exact",
    "scaled": "imgdb, scaled",
    "decode_exact": "decoding alone, exact",
    "decode_scaled": "decoding alone, scaled",
}


def load(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def drift_table() -> str:
    """Show pictures, full decodes, and unchanged hashes and most bits moved of each hash."""
    rows = []
    for group, words in GROUPS.items():
        found = load("scaled_drift")["groups"][group]
        row = [words, str(found["pictures"]), f"{found['decoded_in_full'] / found['pictures']:.1%}"]
        for name in ALGORITHMS:
            kept = found["with_near_ties_decoded_in_full"][name]
            trusting = found["all_reduced"][name]
            row.append(f"{kept['unchanged']:.1%}, {kept['most_bits']} ({trusting['most_bits']})")
        rows.append(row)
    return table(["JPEGs", "pictures", "decoded in full", *ALGORITHMS], rows)


def speed_table() -> str:
    """Show processor time, and how many times the plain loop's speed that is."""
    sets = load("hashing")["sets"]
    head = ["from file to hashes, processor time", *sets]
    rows = []
    for way, words in WAYS.items():
        row = [words]
        for found in sets.values():
            time = found["1 process"][way]["processor_ms"]
            times = found["times the plain loop"][way]["per processor time"]
            row.append(f"{time:.3g} ms ({times} times as fast)")
        rows.append(row)
    return table(head, rows)


def machine(name: str) -> str:
    found = load(name)["environment"]
    packages = ", ".join(f"{package} {number}" for package, number in found["packages"].items())
    return (
        f"{found['processor']}, {found['cores']} cores, {found['system']}, Python "
        f"{found['python']}, {packages}; commit {found['commit']}."
    )


def render(page: str) -> str:
    """Replace what stands between the markers of each table."""
    page = placed(page, "scaled_drift", drift_table() + "\n\n" + machine("scaled_drift"))
    return placed(page, "hashing", speed_table() + "\n\n" + machine("hashing"))


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
