"""Who uses the server: one locked file per user, so that a killed process is not counted."""

import fcntl
import os
import tempfile
from pathlib import Path


class Users:
    """The users of one home; every method is called under the home's lock, save `forget`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: tuple[Path, int] | None = None

    def sign_in(self) -> None:
        """Count as a user until `sign_out` or until this process ends in any way."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=self._folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._own = Path(name), handle

    def sign_out(self) -> None:
        """Count no longer."""
        if self._own:
            path, handle = self._own
            self._own = None
            path.unlink(missing_ok=True)
            # Unlocked, not only closed: the child of a fork may still have the file open.
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)

    def forget(self) -> None:
        """Leave the parent's place alone, in the child of a fork."""
        if self._own:
            os.close(self._own[1])
            self._own = None

    def others(self) -> tuple[int, ...]:
        """Return the pids of the other users, and clear away the files of those who died."""
        pids = []
        for path in self._folder.glob("*"):
            if self._own and path == self._own[0]:
                continue
            if _locked(path):
                pids.append(int(path.name.partition("-")[0]))
            else:
                path.unlink(missing_ok=True)
        return tuple(sorted(pids))


def _locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            # Shared: two that look at once must not take each other for the user.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # cleared away by somebody else who looks
        return False
    return False
