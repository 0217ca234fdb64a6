"""Render the stored results of benchmarks.ingest into docs/ingest.md.

python -m benchmarks.ingest_tables
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.ingest import RESULT

PAGE = Path(__file__).parents[1] / "docs" / "ingest.md"
BEGIN = "<!-- begin: rendered from benchmarks/results by python -m benchmarks.ingest_tables -->"
END = "<!-- end: rendered -->"

Rates = dict[str, dict[str, float]]

WAYS = {
    "plain loop": "four calls of imagehash, in a loop",
    "decode only, exact": "decoding only, exact",
    "decode only, scaled": "decoding only, scaled",
    "exact": "**`imgdb ingest`**",
    "scaled": "**`imgdb ingest --decode scaled`**",
}


def rows(found: dict[str, Any]) -> list[list[str]]:
    """Show images a second, how many times the plain loop's that is, and the database's share."""
    sets: dict[str, Rates] = found["images per second"]
    lines = []
    for way, words in WAYS.items():
        line = [words]
        for rates in sets.values():
            rate = rates[way]["rate"]
            cell = f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
            if way != "plain loop":
                cell += f" ({rate / rates['plain loop']['rate']:.1f} x)"
            if "database" in rates[way]:
                cell += f"; {rates[way]['database']:.1%}"
            line.append(cell)
        lines.append(line)
    return lines


def targets(found: dict[str, Any]) -> list[list[str]]:
    """Hold the figures against what was wanted."""
    large, tiny = (found["images per second"][name] for name in ("12 Mpx", "28x28"))

    def times(rates: Rates, way: str, other: str) -> float:
        return rates[way]["rate"] / rates[other]["rate"]

    wanted = [
        ("12 Mpx, against the plain loop", times(large, "exact", "plain loop"), 5, "x"),
        ("12 Mpx, scaled, against the plain loop", times(large, "scaled", "plain loop"), 20, "x"),
        (
            "12 Mpx, scaled, against decoding only",
            times(large, "scaled", "decode only, scaled"),
            0.8,
            "x",
        ),
        ("28x28, against the plain loop", times(tiny, "exact", "plain loop"), 4, "x"),
        ("hashes imported a second", found["imported per second"], 200_000, ""),
    ]
    lines = [
        [words, f"at least {least:,g} {unit}".strip(), f"{figure:,.3g} {unit}".strip(),
         "met" if figure >= least else f"missed by {1 - figure / least:.0%}"]
        if figure < 1000
        else [words, f"at least {least:,}", f"{figure:,}",
              "met" if figure >= least else f"missed by {1 - figure / least:.0%}"]
        for words, figure, least, unit in wanted
    ]  # fmt: skip
    share = large["exact"]["database"]
    lines.append(
        ["12 Mpx, share of the time that the server works", "under 10 %", f"{share:.1%}",
         "met" if share < 0.1 else "missed"]
    )  # fmt: skip
    return lines


def table(head: list[str], lines: list[list[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ruler, *lines])


def text(found: dict[str, Any]) -> str:
    machine = found["environment"]
    files = found["files"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return "\n\n".join(
        [
            f"Images a second with {found['jobs']} jobs, from the start of the command to its end,"
            " and how many times the plain loop's that is; then the share of the time in which the"
            " server worked. The plain loop is one process, as in imagehash's documentation. Best"
            f" of {found['rounds']} rounds in turns.",
            table(["", *(f"{name} ({files[name]:,} files)" for name in files)], rows(found)),
            table(["target", "wanted", "measured", ""], targets(found)),
            f"`imgdb import` of {found['rows']:,} lines of CSV, path and phash, ran at"
            f" {found['imported per second']:,} hashes a second; one connection stores"
            f" {found['appended per second']:,} images a second with all four hashes.",
            f"Measured {found['date']} on {machine['processor']}, {machine['cores']} cores,"
            f" {machine['system']}, PostgreSQL {machine['postgresql']}, Python"
            f" {machine['python']}, {packages}; commit {machine['commit']}; load average before:"
            f" {found['load average']}.",
        ]
    )


def render(page: str) -> str:
    """Replace what stands between the markers; nothing where no result is stored."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    told = text(json.loads(RESULT.read_text())) if RESULT.exists() else "No result is stored."
    return f"{before}{BEGIN}\n\n{told}\n\n{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:]:
        raise SystemExit(__doc__)
    PAGE.write_text(render(PAGE.read_text()))
