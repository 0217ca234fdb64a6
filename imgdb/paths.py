"""Spell any path of the operating system as text that PostgreSQL and a terminal can take.

A path is bytes; a `text` column holds valid UTF-8 without NUL. Paths that are printable UTF-8
without a backslash (nearly all) are spelled as they are, the rest with C-like escapes, so that
every path has exactly one spelling and every spelling gives the path back.

Everywhere in imgdb, a `path` is what the functions of `os` take, and its `spelling` is that text.
"""

import os
import re
import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from imgdb.errors import UsageError
from imgdb.words import UNPRINTABLE

# Bytes: an entry of PostgreSQL's btrees, which holds the collection as well, takes 2,704.
LONGEST = 2600

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Control characters (category Cc) are valid text, but a name with ESC or a newline in it could
# rewrite the terminal of a person who lists the database, or look like two names.
_TO_ESCAPE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\udc80-\udcff]")
_ESCAPE = re.compile(rb"\\(\\|n|x[0-9a-f]{2})")


def path_text(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    r"""Spell a path as UTF-8 text.

    A backslash becomes `\\`, a newline `\n`, each byte of another control character and each byte
    that is not UTF-8 `\xNN` (two lower-case hex digits). UsageError if no file can have it.
    """
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError as exc:
        raise UsageError(f"not a name that a file can have: {path!a}") from exc
    return _TO_ESCAPE.sub(_escape, raw.decode("utf-8", "surrogateescape"))


def is_too_long(spelling: str) -> bool:
    """Tell whether a spelling is longer than the database can index."""
    return len(spelling) > LONGEST // 4 and len(spelling.encode("utf-8", "replace")) > LONGEST


def path_from_text(spelling: str) -> str:
    """Give the path back that `path_text` spelled, as `os` functions take it (surrogateescape)."""
    path = os.fsdecode(_ESCAPE.sub(_unescape, spelling.encode("utf-8", "surrogateescape")))
    if path_text(path) != spelling:
        raise _no_spelling(spelling)
    return path


def _no_spelling(text: str) -> UsageError:
    return UsageError(f"not the spelling of a path (a backslash is written twice): {text!r}")


def plain_text(spelling: str) -> str:
    """Escape in a spelling also what would turn or break a line, for a text that people edit."""
    return UNPRINTABLE.sub(_escape, spelling)


def from_plain_text(text: str) -> str:
    """Give the spelling back that `plain_text` was given; UsageError if there is none."""
    path = os.fsdecode(_ESCAPE.sub(_unescape, text.encode("utf-8", "surrogateescape")))
    spelling = path_text(path)
    if text not in (spelling, plain_text(spelling)):
        raise _no_spelling(text)
    return spelling


def _escape(match: re.Match[str]) -> str:
    if match[0] == "\\":
        return "\\\\"
    if match[0] == "\n":
        return "\\n"
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if escape == b"n":
        return b"\n"
    return b"\\" if escape == b"\\" else bytes([int(escape[1:], 16)])


def shell_word(spelling: str) -> str:
    """Return a path, given by its spelling, as one word for bash, zsh and ksh."""
    if "\\" not in spelling:
        return shlex.quote(spelling)
    # Its escapes are those of $'...' as well.
    return "$'" + spelling.replace("'", r"\'") + "'"


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path as the caller spells it: symbolic links stay, unless `..` is in it.

    What `link/..` means, only the file system knows.
    """
    given = os.fspath(path)
    return os.path.realpath(given) if ".." in given.split(os.sep) else os.path.abspath(given)


def possible_spellings(text: str) -> list[str]:
    """Return how a path that a person typed may be spelled; nothing is looked up on the disk.

    It may be typed as imgdb spells it, or as a shell takes it: with `~`, `..`, two slashes.
    """
    whole = path_text(os.path.normpath(os.path.expanduser(text)))
    return list({text: None, whole: None}) if "\0" not in text else [whole]


def outermost(folders: Iterable[str]) -> list[str]:
    """Return the folders that are not inside another one of them, each once."""
    kept: list[str] = []
    for folder in sorted(set(folders), key=lambda path: path.split(os.sep)):
        if not kept or not is_below(folder, kept[-1]):
            kept.append(folder)
    return kept


def is_below(path: str, folder: str) -> bool:
    """Tell whether a path is in a folder or below, or is the folder; both absolute."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def modified_at(status: os.stat_result) -> datetime:
    """Give a file's time of modification as PostgreSQL stores it: UTC, whole microseconds."""
    try:
        return _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    except OverflowError:  # a clock gone wild; the year 9999 is as good as any
        return datetime.max.replace(tzinfo=UTC)
