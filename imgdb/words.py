"""Text and numbers spelled for a person, wherever they are shown."""

from __future__ import annotations

import re

# What moves the cursor, ends a line or turns the writing direction (control characters, Unicode's
# Bidi_Control and line separators), what nobody can see, so that two names look alike (spaces of no
# width), and lone surrogates. The joiners of emoji and Persian words are not among them.
UNPRINTABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff]"
)


def byte_count(count: int | None) -> str:
    """Say a number of bytes for a person: 812 B, 41 KB, 2.6 MB (powers of 1,000)."""
    if count is None:
        return ""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("KB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"
    return f"{size / 1000:.1f} TB"


def picture_size(width: int | None, height: int | None, frames: int | None) -> str:
    """Say how large a picture is: 640x480, or 640x480 x 3 for a file of three frames or pages."""
    if not width:
        return ""
    return f"{width}x{height}" + (f" x {frames:,}" if frames and frames > 1 else "")


def printable(text: str) -> str:
    """Show characters that would move the cursor, break the line or turn the text as escapes."""
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
