"""The operating-system account that the server runs as, and what is done in its name."""

import contextlib
import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgdb.errors import EmbeddedServerError

# Tried in this order where root asks for a server; `_postgres` is macOS's.
FALLBACK_ACCOUNTS = ("imgdb", "postgres", "_postgres", "nobody")

# All else of the caller's environment stays out of the server: PG* and LC_* would change it, and
# what is secret there would become readable for another account.
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine; `dropped` where we are root and become this user to run programs."""

    name: str
    uid: int
    gid: int
    dropped: bool

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path = Path("/"),
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program as this account, out of reach of the terminal's Ctrl-C."""
        if self.dropped:
            options.update(user=self.uid, group=self.gid, extra_groups=[])
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**kept, "LC_ALL": "C", "HOME": str(cwd), **(environment or {})},
            umask=0o077,
            text=True,
            errors="replace",
            start_new_session=True,
            check=False,
            **options,
        )

    def can_enter(self, directory: Path) -> bool:
        """Tell whether this account may pass through a directory."""
        if not self.dropped:
            return True  # our own attempts say more, in the system's words
        shell = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]
        return self.run(shell, stderr=subprocess.DEVNULL).returncode == 0

    def require_entry(self, directory: Path) -> None:
        """Raise where the server could not pass through a directory to its data."""
        if not self.can_enter(directory):
            raise EmbeddedServerError(
                f"{directory} cannot be entered by {self.name}, who runs the server for root: "
                "set IMGDB_HOME to a folder outside private ones, such as /var/lib/imgdb"
            )

    def make_private(self, directory: Path) -> None:
        """Make a directory that only this account can look into, or check that it is one."""
        if not directory.exists():
            made = self.make_temporary(prefix=f".{directory.name}-", parent=directory.parent)
            made.rename(directory)
        self.check_private(directory)

    def check_private(self, directory: Path) -> None:
        """Raise unless this account alone owns and can look into a directory (no link to one)."""
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.uid:
            raise EmbeddedServerError(
                f"{directory} belongs to {user_name(found.st_uid)}, not to {self.name}: "
                f"move it away, or set IMGDB_HOME to another folder"
            )
        if found.st_mode & 0o077:
            raise EmbeddedServerError(
                f"{directory} is open to other users: close it with chmod 700 {directory}"
            )

    def make_temporary(self, *, prefix: str, parent: Path) -> Path:
        """Make a private directory under a name that nobody could have taken before."""
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        if self.dropped:
            os.chown(made, self.uid, self.gid)
        return made

    def write(self, path: Path, text: str) -> None:
        """Replace a file in one of this account's directories.

        The directory is the account's, so root must never follow a link that lies there.
        """
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            if self.dropped:
                os.fchown(handle, self.uid, self.gid)
            file.write(text)


def make_reachable(directory: Path) -> None:
    """Make a directory and its missing parents, passable for other accounts under any umask."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            path.chmod(0o755)


def user_name(uid: int) -> str:
    """Return the name of a user, or `uid N` where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def choose_account(wanted: str | None, data: Path) -> Account:
    """Choose who runs the server: the caller, or as root (PostgreSQL refuses root) another."""
    if os.geteuid() != 0:
        return _own_account(wanted)
    names = [wanted or os.environ.get("IMGDB_PG_ACCOUNT") or "", *FALLBACK_ACCOUNTS]
    if data.exists() and data.stat().st_uid != 0:
        owner = user_name(data.stat().st_uid)
        if wanted and wanted != owner:
            raise EmbeddedServerError(f"{data} belongs to {owner}, not to {wanted}")
        names = [owner]
    elif names[0]:
        names = names[:1]
    for name in filter(None, names):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid == 0:
                raise EmbeddedServerError("PostgreSQL does not run as root: name another account")
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, dropped=True)
    raise EmbeddedServerError(
        f"root needs another account to run PostgreSQL as, and there is no {' or '.join(names)}: "
        "make one (useradd --system imgdb) or name one in IMGDB_PG_ACCOUNT"
    )


def _own_account(wanted: str | None) -> Account:
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        # As with `docker run --user 12345`: initdb and peer authentication need the name.
        raise EmbeddedServerError(
            f"uid {uid} has no name on this machine, which PostgreSQL needs: "
            "add it to /etc/passwd, or use a database of your own with --dsn"
        ) from None
    if wanted and wanted != entry.pw_name:
        raise EmbeddedServerError(f"only root can run the server as {wanted}")
    return Account(entry.pw_name, uid, os.getegid(), dropped=False)
