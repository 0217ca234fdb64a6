"""Render the stored results of benchmarks.serve into docs/serve.md.

python -m benchmarks.serve_tables
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.ingest_tables import END, measured
from benchmarks.serve import RESULT, RULES
from benchmarks.tables import milliseconds, table

PAGE = Path(__file__).parents[1] / "docs" / "serve.md"
BEGIN = "<!-- begin: rendered from benchmarks/results by python -m benchmarks.serve_tables -->"

BODIES = {"hash": "`GET /api/search?hex=`", "upload": "`POST /api/search`"}
HEAD = ("", "clients", "searches/s", "with FAISS", "part", "p50, p99 in ms", "with FAISS")


def rows(measures: list[dict[str, Any]]) -> list[list[str]]:
    """Show imgdb beside FAISS, and the part of its rate that imgdb has."""
    cases: dict[tuple[str, str, int], dict[str, dict[str, Any]]] = {}
    for one in measures:
        cases.setdefault((one["body"], one["rule"], one["clients"]), {})[one["system"]] = one
    lines = []
    for (body, rule, clients), of in cases.items():
        both = of["imgdb"], of["FAISS"]
        ours, theirs = (one["searches_per_s"] for one in both)
        times = [f"{milliseconds(one['p50_ms'])}, {milliseconds(one['p99_ms'])}" for one in both]
        kind = f"{BODIES[body]}, {rule} within {RULES[rule]}"
        lines.append(
            [kind, str(clients), f"{ours:.3g}", f"{theirs:.3g}", f"{ours / theirs:.0%}", *times]
        )
    return lines


def text(found: dict[str, Any]) -> str:
    data = "hashes of photographs" if found["photo_hashes_sha256"] else "random hashes"
    return "\n\n".join(
        [
            f"{found['rows']:,} images ({data}), asked by clients on the same"
            f" {found['environment']['cores']} cores, each over one connection and without a"
            " pause. Beside it the same server with FAISS in the place of the database: a flat"
            " index of all hashes in its memory, which shows the limit. A picture is a JPEG of"
            f" 800 x 600. Medians of {found['rounds']} rounds in turns, {found['seconds']:g}"
            " seconds for each; other work on the machine makes all of it slower, so the parts"
            f" count. Before, both gave the same {found['compared matches']:,} matches in the"
            " same order.",
            table(HEAD, rows(found["measures"])),
            measured(found),
        ]
    )


def render(page: str) -> str:
    """Replace what stands between the markers."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{text(json.loads(RESULT.read_text('utf-8')))}\n\n{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:]:
        raise SystemExit(__doc__)
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
