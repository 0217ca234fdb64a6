"""Freeze the open revision, for a release: `python tools/freeze.py`.

Notes the sums of all revision files in tests/data/frozen.sha256: from then on a test holds them
still (`sha256sum --check ../tests/data/frozen.sha256` in migrations/ does too). Before that, the
one revision without sums is open: it is edited in place.
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ROOT / "migrations" / "versions"
SUMS = ROOT / "tests" / "data" / "frozen.sha256"


def read_sums(sums: Path) -> dict[str, str]:
    """Return file name (below migrations/) to sha256 of the frozen revision files."""
    lines = [line.split(maxsplit=1) for line in sums.read_text("utf-8").splitlines()]
    return {name: digest for digest, name in lines}


def sums_of(versions: Path) -> dict[str, str]:
    """Return file name (below migrations/) to sha256 of all revision files that are there."""
    files = sorted(path for path in versions.glob("[0-9]*") if path.suffix in (".py", ".sql"))
    return {f"versions/{f.name}": hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def changed(frozen: dict[str, str], versions: Path) -> list[str]:
    """Name the frozen files that are not what they were."""
    present = sums_of(versions)
    return [name for name, digest in frozen.items() if present.get(name) != digest]


def open_revisions(frozen: dict[str, str], versions: Path) -> set[str]:
    """Name the revisions of which a file is not frozen."""
    return {Path(name).name.split(".")[0] for name in sums_of(versions) if name not in frozen}


def main() -> None:
    """Note the sums, unless what was noted before has changed."""
    if names := changed(read_sums(SUMS), VERSIONS):
        sys.exit(f"frozen files were changed: {', '.join(names)}; change the open revision")
    sums = sums_of(VERSIONS)
    SUMS.write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), "utf-8")


if __name__ == "__main__":
    main()
