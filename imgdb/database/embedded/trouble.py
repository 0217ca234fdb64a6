"""What goes wrong around a server, in words that say what to do."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from imgdb.errors import EmbeddedServerError

ADVICE = {
    "No space left on device": "free some space, or set IMGDB_HOME to a folder on another disk",
    "Disk quota exceeded": "free some space, or set IMGDB_HOME to a folder on another disk",
    "Read-only file system": "set IMGDB_HOME to a folder that can be written",
    "Permission denied": "set IMGDB_HOME to a folder of your own",
    "File name too long": "set IMGDB_HOME to a shorter path",
    "Not a directory": "set IMGDB_HOME to a folder",
    "No such file or directory": "set IMGDB_HOME to another folder",
    "Cannot allocate memory": "free some memory",
    'lock file "postmaster.pid"': "if a server that imgdb did not start runs there, stop that one",
}


def with_advice(complaint: str) -> str:
    """Return a complaint of PostgreSQL or the system with what to do about it."""
    for words, advice in ADVICE.items():
        if words in complaint:
            return f"{complaint}; {advice}"
    return complaint


def last_complaint(output: str) -> str | None:
    """Return the line in which PostgreSQL says why it gave up, without its time and pid."""
    complaints = re.findall(r"(?:PANIC|FATAL|ERROR|error): +(.+)", output)
    return complaints[-1].strip() if complaints else None


@contextlib.contextmanager
def system_errors_explained(home: Path) -> Iterator[None]:
    """Turn the system's refusals to touch files below a home into one clear line."""
    try:
        yield
    except OSError as error:
        where = error.filename or home
        complaint = with_advice(error.strerror or str(error))
        raise EmbeddedServerError(f"cannot use {where}: {complaint}") from error
