"""Render stored results into docs/benchmarks.md and its charts: `python -m benchmarks.render`."""

import argparse
import sys
from pathlib import Path

from benchmarks import any_size_tables, charts, growth_tables, tables
from benchmarks.results import DEFAULT, Results

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
BEGIN = "<!-- begin: rendered from benchmarks/results by python -m benchmarks.render -->"
END = "<!-- end: rendered -->"


def rendered(results: Results) -> dict[Path, str]:
    """Return the text of every file that the results make; around the markers the page stays."""
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    files = {
        DOCS / name: charts.chart(results, kind, radius)
        for name, kind, radius in charts.names(results)
    }
    sections = (tables.page(results), any_size_tables.section(), growth_tables.section())
    page = "\n\n".join(section for section in sections if section)
    files[PAGE] = f"{before}{BEGIN}\n\n{page}\n\n{END}{after}"
    return files


def unlike(results: Results) -> list[Path]:
    """List the files that are not what the results render to, and charts without results."""
    files = rendered(results)
    stale = [file for file in DOCS.glob("benchmarks-*.svg") if file not in files]
    return stale + [
        file for file, text in files.items() if not file.exists() or file.read_text("utf-8") != text
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render", description=__doc__)
    parser.add_argument("--result", type=Path, default=DEFAULT, metavar="FILE.json")
    parser.add_argument("--check", action="store_true", help="change nothing, tell what differs")
    options = parser.parse_args()
    results = Results.read(options.result)
    differing = unlike(results)
    if options.check:
        for file in differing:
            print(f"{file.name} is not what {options.result} renders to", file=sys.stderr)
        return 1 if differing else 0
    files = rendered(results)
    for file in differing:
        if file in files:
            file.write_text(files[file], "utf-8")
        else:
            file.unlink()
        print(file.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
