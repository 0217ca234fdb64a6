"""Freeze revisions, for developers: `python tools/freeze.py initial | release`.

initial  writes 0001_initial.up.sql from sql/, until the first release has frozen it for good;
release  notes the sums of every revision file in tests/data/frozen.sha256: from then on a test
         holds them still (`sha256sum --check ../tests/data/frozen.sha256` in migrations/ does too).
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ROOT / "migrations" / "versions"
SUMS = ROOT / "tests" / "data" / "frozen.sha256"
INITIAL = VERSIONS / "0001_initial.up.sql"


def read_sums(sums: Path) -> dict[str, str]:
    """Return file name (below migrations/) to sha256 of the released revision files."""
    lines = [line.split(maxsplit=1) for line in sums.read_text("utf-8").splitlines()]
    return {name: digest for digest, name in lines}


def sums_of(versions: Path) -> dict[str, str]:
    """Return file name (below migrations/) to sha256 of all revision files that are there."""
    files = sorted(path for path in versions.glob("[0-9]*") if path.suffix in (".py", ".sql"))
    return {f"versions/{f.name}": hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def changed(frozen: dict[str, str], versions: Path) -> list[str]:
    """Name the released files that are not what they were."""
    present = sums_of(versions)
    return [name for name, digest in frozen.items() if present.get(name) != digest]


def initial() -> None:
    if f"versions/{INITIAL.name}" in read_sums(SUMS):
        sys.exit(f"{INITIAL.name} is released: write a new revision instead (CONTRIBUTING.md)")
    parts = [
        f"-- {file.name}\n\n{file.read_text('utf-8').strip()}\n"
        for file in sorted((ROOT / "sql").glob("*.sql"))
    ]
    INITIAL.write_text("\n".join(parts), "utf-8")


def release() -> None:
    if names := changed(read_sums(SUMS), VERSIONS):
        sys.exit(f"released files were changed: {', '.join(names)}")
    sums = sums_of(VERSIONS)
    SUMS.write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), "utf-8")


if __name__ == "__main__":
    commands = {"initial": initial, "release": release}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]]()
