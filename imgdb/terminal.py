"""Pictures in a terminal that can draw them: kitty, iTerm2, and all that know sixel."""

from __future__ import annotations

import logging
import os
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any

from imgdb.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from imgdb.pictures.thumbnail import Thumbnail

# Cells.
_WIDTH = 30

WORDS = "pictures are drawn by terminals with kitty's protocol or sixel only (kitty, iTerm2, ...)"


class Canvas:
    """A terminal that draws pictures."""

    def __init__(self, kind: Any, console: Console) -> None:
        self._kind = kind
        self._console = console

    def draw(self, thumbnail: Thumbnail) -> None:
        """Draw a picture, and go to the line below."""
        self._console.print(self._kind(BytesIO(thumbnail.content), width=_WIDTH, height="auto"))


def canvas() -> Canvas | None:
    """Return the terminal that stdout is; None where it is none, or cannot draw.

    It is asked what it can, so stdin must be it as well. UsageError where the library is missing.
    """
    if not (sys.stdout.isatty() and sys.stdin.isatty()) or os.environ.get("TERM") == "dumb":
        return None
    try:
        # A terminal that does not say how large its letters are is no matter for a warning.
        logging.getLogger("textual_image").addHandler(logging.NullHandler())
        from textual_image.renderable import Image, SixelImage, TGPImage
    except ImportError:
        raise UsageError("--show needs textual-image: pip install 'imgdb[show]'") from None
    if not issubclass(Image, SixelImage | TGPImage):
        return None
    from rich.console import Console

    return Canvas(Image, Console(highlight=False))
