"""The section of docs/benchmarks.md on a space that grows, from what benchmarks.growth stored."""

import json

from benchmarks.growth import RADII, RESULT
from benchmarks.tables import milliseconds, table


def section() -> str:
    """Return the section; nothing where nothing was measured."""
    if not RESULT.exists():
        return ""
    result = json.loads(RESULT.read_text("utf-8"))
    sizes, waits = [], []
    for step in result["steps"]:
        rows = f"{step['rows'] / 1e6:.2g} M"
        searches = []
        for radius in RADII:
            times = step["searches_cpu_ms"][f"r{radius}"]
            more = times["grown"] / times["built"]
            searches.append(f"{milliseconds(times['grown'])} ({more:.2f} x)")
        sizes.append(
            [
                rows,
                f"{step['most_bytes_a_hash']:.0f}",
                f"{step['built_bytes_a_hash']:.0f}",
                *searches,
            ]
        )
        cells = [
            f"{one['cpu_mean_ms']:.2f} / {one['cpu_p99_ms']:.1f} / {one['p99_ms']:.0f}"
            for one in step["writer"].values()
        ]
        waits.append([rows, *cells])
    radii = [f"r = {radius}" for radius in RADII]
    server = result["environment"]["postgresql"].split(" on ")[0]
    return "\n\n".join(
        (
            "## A space that grows",
            "From nothing, by batches of 1,000, single rows and updates of 1,000, with two readers"
            " at work and autovacuum at its defaults. Bytes a hash: the most of each second, and of"
            " the same hashes tracked at once. Searches: processor's time in ms, and how many times"
            " that of the space built at once, in turns.",
            table(["rows", "bytes a hash", "built at once", *radii], sizes),
            "A transaction of the writer, flushes included, in ms: processor's time, mean"
            " and 99 %; and the 99 % of its wait, which on two cores is mostly a wait for readers"
            " and for other work of the machine.",
            table(["rows", "single row", "batch of 1,000", "update of 1,000"], waits),
            f"Measured at `{result['commit']}` ({server}); `python -m benchmarks.growth`.",
        )
    )
