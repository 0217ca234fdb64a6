"""Write the tables of outcomes anew, from a folder of fetched test pictures, and say what it took.

    PYTHONPATH=tests/support python tests/make/make_outcomes.py FOLDER [SET...]

Look at the difference before committing it: a picture that a person can see should be accepted, a
hostile file refused, and nothing else should change.
"""

import sys
from pathlib import Path

from outcomes import (
    COLLECTIONS,
    OTHER_SUFFIXES,
    PICTURE_SUFFIXES,
    SUITES,
    Outcome,
    Run,
    examine,
    files,
    prepare_all,
    write_table,
)


def tells(row: Outcome, name: str) -> bool:
    """Leave out programs and texts, and the accepted pictures of collections."""
    if row.outcome == "unknown-format":
        return Path(row.file).suffix.lower() in PICTURE_SUFFIXES | OTHER_SUFFIXES
    return name in SUITES or row.outcome != "accepted"


def main(folder: Path, names: list[str]) -> None:
    prepare_all()
    runs: list[Run] = []
    for name in names or sorted(SUITES | COLLECTIONS):
        # Each in a process of its own: its peak is what one file takes.
        found = [run for one in files(folder, name) for run in examine([one])]
        rows = [run.outcome for run in found if tells(run.outcome, name)]
        write_table(name, rows)
        accepted = sum(run.outcome.outcome == "accepted" for run in found)
        print(f"{name}: {len(found)} files, {accepted} accepted, {len(rows)} rows")
        runs += found
    for words, key in (("Slowest", lambda run: run.seconds), ("Largest", lambda run: run.peak)):
        print(f"{words}:")
        for run in sorted(runs, key=key, reverse=True)[:5]:
            row = run.outcome
            print(f"  {run.seconds:6.2f} s {run.peak:5} MiB  {row.outcome:9} {row.file}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
