"""Where the embedded server's programs come from."""

import subprocess
import sys
from pathlib import Path

import pytest
from embedded_clients import BINDIR

from imgdb.database.embedded import Server, binaries, find_bindir
from imgdb.errors import EmbeddedServerError


def programs(folder: Path, version: str) -> Path:
    """Make programs that know nothing but their version."""
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) {version}"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, place: Path) -> Path:
    """A machine without PostgreSQL; folders below the one returned are its system's places."""
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setattr(binaries, "SYSTEM_PLACES", (f"{place}/system/*/bin",))
    monkeypatch.setenv("PATH", f"{place}/path")
    return place


def test_what_the_caller_says_comes_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argument, variable = programs(place / "argument", "18.1"), programs(place / "variable", "18.1")
    monkeypatch.setenv("IMGDB_PG_BINDIR", str(variable))
    assert find_bindir(argument) == argument
    assert find_bindir() == variable
    monkeypatch.delenv("IMGDB_PG_BINDIR")
    assert find_bindir().parts[-3:] == BINDIR.parts[-3:]


def test_what_the_caller_says_must_be_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmbeddedServerError, match=r"bindir names .*, where initdb"):
        find_bindir(place)
    monkeypatch.setenv("IMGDB_PG_BINDIR", str(place))
    with pytest.raises(EmbeddedServerError, match=r"IMGDB_PG_BINDIR names .*, where initdb"):
        find_bindir()


def test_wheels_in_their_order(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "WHEELS", ("a_wheel_of_old", "wheel_one", "wheel_two"))
    monkeypatch.syspath_prepend(str(bare / "packages"))
    programs(bare / "system" / "18" / "bin", "18.9")
    two = programs(bare / "packages" / "wheel_two" / "pginstall" / "bin", "18.1")
    assert find_bindir() == two
    programs(bare / "packages" / "wheel_one" / "pginstall" / "bin", "16.1")
    newer = programs(bare / "packages" / "wheel_one" / "pginstall18" / "bin", "18.1")
    assert find_bindir() == newer


def test_the_wheel_is_never_imported(home: Path) -> None:
    script = (
        "import sys; from imgdb.database.embedded import Server; s = Server(sys.argv[1]); "
        "s.acquire(); s.release(); print([m for m in sys.modules if m in sys.argv[2:]])"
    )
    command = [sys.executable, "-c", script, str(home), *binaries.WHEELS]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_newest_of_the_system(bare: Path) -> None:
    for version in ("9.6", "13.20", "15.9", "16.10", "16.2"):
        programs(bare / "system" / version / "bin", version)
    assert find_bindir() == bare / "system" / "16.10" / "bin"
    on_path = programs(bare / "path", "17.0")
    assert find_bindir() == on_path


def test_none_found(bare: Path) -> None:
    programs(bare / "system" / "13" / "bin", "13.9")
    with pytest.raises(EmbeddedServerError, match=r"pip install .*IMGDB_PG_BINDIR.*--dsn") as said:
        Server(bare / "home").acquire()
    assert "\n" not in str(said.value)
    assert not Server(bare / "home").status().running


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo "postgres (PostgreSQL) 13.9"', "is PostgreSQL 13; imgdb needs 14 or newer"),
        ("echo libfoo.so is missing >&2; exit 127", "cannot run .*: libfoo.so is missing"),
        ("echo hello", "cannot run .*: exit 0"),
    ],
)
def test_programs_that_cannot_be_used(place: Path, script: str, said: str) -> None:
    bindir = programs(place / "bin", "18.1")
    (bindir / "postgres").write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(EmbeddedServerError, match=said):
        Server(place / "home", bindir=bindir).acquire()


def test_programs_below_a_path_that_initdb_cannot_use(place: Path) -> None:
    bindir = place / 'a "b'
    bindir.mkdir()
    for name in ("initdb", "postgres"):
        (bindir / name).symlink_to(BINDIR / name)
    with pytest.raises(EmbeddedServerError, match="its path has a quote"):
        Server(place / "home", bindir=bindir).acquire()
