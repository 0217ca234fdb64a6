"""Text and numbers spelled for a person, wherever they are shown."""

from __future__ import annotations

import re

# Control characters, line separators, marks that reverse the writing direction, lone surrogates.
_UNPRINTABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
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


def printable(text: str) -> str:
    """Show characters that would move the cursor, break the line or turn the text as escapes."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
