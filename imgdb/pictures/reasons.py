"""Say in one word and one line why a file cannot be hashed, for every exception."""

import contextlib
import errno
import re
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from imgdb.errors import PictureError

REASONS = {
    "missing": "there is no such file (any more)",
    "denied": "no permission to read it",
    "not-a-file": "a folder, FIFO, socket or device, not a regular file",
    "empty": "the file has no bytes",
    "unknown-format": "not a picture in any format that imgdb knows",
    "unsupported-format": "a format that imgdb knows, but does not read",
    "too-large": "it has more pixels than --max-pixels allows",
    "truncated": "the file ends before the picture does",
    "broken": "the file is damaged, or of a kind that the decoder does not know",
    "encrypted": "it is encrypted",
    "bomb": "it unpacks to far more than pictures do",
    "changed": "the file changed while it was read",
    "no-memory": "decoding needs more memory than a worker may have",
    "timeout": "decoding takes longer than a worker may take",
    "crashed": "the decoder crashed on it",
    "long-path": "its path is longer than the 2,600 bytes that the database can index",
    "io-error": "the disk or the network failed while reading it",
}

_BY_ERRNO = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ENAMETOOLONG: "missing",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ELOOP: "not-a-file",
    errno.ENXIO: "not-a-file",
    errno.ENODEV: "not-a-file",
    errno.ENOMEM: "no-memory",
}

# Pillow says so in many ways, in exceptions of many classes.
_ENDS = re.compile(
    r"truncated|not enough (image )?data|EOF|Expected to read|premature|end[- ]of[- ]file|"
    r"buffer is not large enough|unexpected end",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"decoder \S+ not available|support not installed|unsupported|not supported|"
    r"unknown (pixel )?mode|unknown compression|cannot handle \d+-bit",
    re.IGNORECASE,
)
_LONGEST_DETAIL = 200


def reason_in_words(error: PictureError) -> str:
    """Say for a person why a file cannot be hashed."""
    words = REASONS.get(error.reason, error.reason)
    return f"{words} ({error.detail})" if error.detail else words


@contextlib.contextmanager
def picture_errors(format_name: str = "") -> Iterator[None]:
    """Turn everything that reading and decoding raise into a PictureError."""
    try:
        yield
    except PictureError:
        raise
    except Exception as exc:  # Pillow documents no exceptions and raises a dozen classes of them
        reason = _reason(exc)
        raise PictureError(reason, _detail(exc, reason, format_name)) from exc


def _reason(exc: Exception) -> str:
    if isinstance(exc, Image.DecompressionBombError):
        return "too-large"
    if isinstance(exc, MemoryError):
        return "no-memory"
    if isinstance(exc, OSError) and exc.errno is not None:
        return _BY_ERRNO.get(exc.errno, "io-error")
    words = str(exc)
    if isinstance(exc, EOFError) or _ENDS.search(words):
        return "truncated"
    return "unsupported-format" if _UNSUPPORTED.search(words) else "broken"


def _detail(exc: Exception, reason: str, format_name: str) -> str:
    if isinstance(exc, OSError) and exc.errno is not None:
        return str(exc.strerror)
    if reason == "too-large":
        number = re.search(r"\d+", str(exc))
        words = f"{number[0]} pixels" if number else ""
    elif reason == "no-memory":
        words = ""
    elif isinstance(exc, UnidentifiedImageError):
        words = "the header makes no sense"
    else:
        words = " ".join(str(exc).split()) or type(exc).__name__
    detail = ": ".join(part for part in (format_name, words) if part)
    return detail if len(detail) <= _LONGEST_DETAIL else f"{detail[: _LONGEST_DETAIL - 3]}..."
