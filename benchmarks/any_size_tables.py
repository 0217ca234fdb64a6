"""The section of docs/benchmarks.md on spaces of any size, from what benchmarks.any_size stored."""

import json
from typing import Any

from benchmarks.any_size import CARE, RESULT
from benchmarks.tables import milliseconds, table

STEPS = ("track", "vacuum", *CARE)


def section() -> str:
    """Return the section; nothing where nothing was measured."""
    if not RESULT.exists():
        return ""
    runs = sorted(json.loads(RESULT.read_text("utf-8")), key=lambda run: (run["rows"], run["data"]))
    versions = {(run["commit"], run["environment"]["postgresql"].split(" on ")[0]) for run in runs}
    return "\n\n".join(
        (
            "## Spaces of any size",
            "One space, tracked from a table at once. Processor's time of the backend, in ms, and"
            " in brackets how many times FAISS flat's that is, one thread, in turns; medians of"
            " queries that are asked once each. The machine did much other work, which makes all"
            " of these longer: the ratios count.",
            searches(runs),
            "What a space asks for: seconds of processor's time, then the private memory of the"
            " backend and its temporary files, both at their most. `append`: the writer's time for"
            " a hash, in batches of 1,000, flushes included.",
            care(runs),
            "Measured at "
            + ", ".join(f"`{commit}` ({server})" for commit, server in sorted(versions))
            + "; `python -m benchmarks.any_size`.",
        )
    )


def named(run: dict[str, Any]) -> str:
    return f"{run['rows'] / 1e6:g} M {run['data']}, {run['built']['bands']} bands"


def searches(runs: list[dict[str, Any]]) -> str:
    radii = [measure["radius"] for measure in runs[0]["searches"] if "radius" in measure]
    rows = []
    for run in runs:
        cells = [named(run), f"{run['built']['bytes_a_hash']:.0f}"]
        for measure in run["searches"]:
            if "radius" in measure:
                ours, theirs = measure["imgdb_cpu_ms"], measure["faiss_cpu_ms"]
                cells.append(f"{milliseconds(ours)} ({ours / theirs:.2g} x)")
            else:
                cells.append(milliseconds(measure["nearest_cpu_ms"]))
        rows.append(cells)
    return table(
        ["space", "bytes a hash", *(f"r = {radius}" for radius in radii), "nearest 10"], rows
    )


def care(runs: list[dict[str, Any]]) -> str:
    rows = []
    for name in STEPS:
        steps = [run["steps"].get(name) for run in runs]
        if any(steps):
            rows.append([f"`{name}`", *(spent(step) for step in steps)])
    rows.append(["append", *(f"{run['append']['cpu_us_a_hash']:.0f} us" for run in runs)])
    return table(["", *(named(run) for run in runs)], rows)


def spent(step: dict[str, Any] | None) -> str:
    if step is None:
        return ""
    memory = f"{step['private_mb']} MB"
    if step["temporary_mb"]:
        memory += f", {step['temporary_mb']:,} MB"
    return f"{step['cpu_s']:.0f} s; {memory}"
