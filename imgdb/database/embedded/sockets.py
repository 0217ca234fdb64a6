"""Where the server's socket lies: a folder that only its account can look into."""

import os
from pathlib import Path

from imgdb.database.embedded.account import Account
from imgdb.database.embedded.settings import PORT
from imgdb.errors import EmbeddedServerError

PATH_LIMIT = 103  # bytes of a socket's path: macOS has 104 with the final zero, Linux 108


class SocketFolder:
    """The folder `run` of a home, or a link of that name to one where the path cannot be used."""

    def __init__(self, home: Path, account: Account) -> None:
        self._run, self._account = home / "run", account

    def path(self) -> Path:
        """Return the folder as a client names it."""
        return self._run.readlink() if self._run.is_symlink() else self._run

    def prepare(self) -> Path:
        """Make or check the folder, before a server starts in it; return it."""
        if _usable(self._run):
            self._account.make_private(self._run)
        elif not self._linked_is_private():
            # A fresh name: in /tmp anybody could have taken one that can be guessed.
            self._run.unlink(missing_ok=True)
            parent = Path("/tmp")
            self._run.symlink_to(self._account.make_temporary(prefix="imgdb-", parent=parent))
        for leftover in self.path().glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)
        return self.path()

    def _linked_is_private(self) -> bool:
        """Tell whether the linked folder is still there and ours: /tmp is emptied at times."""
        if not self._run.is_symlink():
            return False
        try:
            self._account.check_private(self._run.readlink())
        except (OSError, EmbeddedServerError):
            return False
        return True


def _usable(folder: Path) -> bool:
    """Tell whether clients can name this folder: it is short, and libpq splits hosts at commas."""
    text = str(folder)
    too_long = len(os.fsencode(folder / f".s.PGSQL.{PORT}")) > PATH_LIMIT
    surrogates = any("\ud800" <= letter <= "\udfff" for letter in text)
    return not (too_long or surrogates or "," in text)
