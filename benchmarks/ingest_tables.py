"""Render the stored results of benchmarks.ingest and benchmarks.imports into docs/ingest.md.

python -m benchmarks.ingest_tables
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import imports, ingest
from benchmarks.tables import table
from benchmarks.targets import HEAD, Target

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


def times(files: str, way: str, other: str) -> Callable[[dict[str, Any]], float]:
    def measured(found: dict[str, Any]) -> float:
        rates = found["images per second"][files]
        return float(rates[way]["rate"] / rates[other]["rate"])

    return measured


def database_share(found: dict[str, Any]) -> float:
    """Return percents."""
    return float(100 * found["images per second"]["12 Mpx"]["exact"]["database"])


TARGETS = (
    Target("12 Mpx, against the plain loop", 5, "x", times("12 Mpx", "exact", "plain loop")),
    Target("12 Mpx, scaled, against the plain loop", 20, "x",
           times("12 Mpx", "scaled", "plain loop")),
    Target("12 Mpx, scaled, against decoding only", 0.8, "x",
           times("12 Mpx", "scaled", "decode only, scaled"),
           held_back_by="single rounds differ by more than that"),
    Target("12 Mpx, part of the time in which the server works", 10, "%", database_share,
           most=True),
    Target("28x28, against the plain loop", 4, "x", times("28x28", "exact", "plain loop"),
           held_back_by="the server works for half of the time"),
)  # fmt: skip


def import_rows(found: dict[str, Any]) -> list[list[str]]:
    """Show how fast import is, and COPY alone."""
    return [
        [
            f"{int(count):,}",
            f"{rates['import']:,.0f}",
            f"{rates['copy']:,.0f}",
            f"{rates['import'] / rates['copy']:.1f} x",
        ]
        for count, rates in found["imported per second"].items()
    ]


def text(found: dict[str, Any], imported: dict[str, Any]) -> str:
    files = found["files"]
    return "\n\n".join(
        [
            f"Images a second with {found['jobs']} jobs, from the start of the command to its end,"
            " and how many times the plain loop's that is; then the share of the time in which the"
            " server worked. The plain loop is one process, as in imagehash's documentation."
            f" Medians of {found['rounds']} rounds in turns.",
            table(["", *(f"{name} ({files[name]:,} files)" for name in files)], rows(found)),
            table(HEAD, [target.cells(found) for target in TARGETS]),
            f"One connection stores {found['appended per second']:,} images a second with all four"
            " hashes.",
            measured(found),
            "`imgdb import` of CSV, path and phash, into an empty database, and in the same rounds"
            " a plain `COPY` of these lines into an empty table with the indexes of `imgdb.image`,"
            " which indexes no hash for searches; in hashes a second (medians of"
            f" {imported['rounds']} rounds in turns):",
            table(["lines", "`imgdb import`", "`COPY`", ""], import_rows(imported)),
            measured(imported),
        ]
    )


def measured(found: dict[str, Any]) -> str:
    machine = found["environment"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"Measured {found['date']} on {machine['processor']}, {machine['cores']} cores,"
        f" {machine['system']}, PostgreSQL {machine['postgresql']}, Python {machine['python']},"
        f" {packages}; commit {machine['commit']}; load average before: {found['load average']}."
    )


def render(page: str) -> str:
    """Replace what stands between the markers."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    results = (json.loads(part.RESULT.read_text()) for part in (ingest, imports))
    return f"{before}{BEGIN}\n\n{text(*results)}\n\n{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:]:
        raise SystemExit(__doc__)
    PAGE.write_text(render(PAGE.read_text()))
