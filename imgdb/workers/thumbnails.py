"""Thumbnails of many images, made by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from imgdb.errors import PictureError
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.thumbnail import Thumbnail
from imgdb.workers.limits import PICTURE_SECONDS
from imgdb.workers.stored_pictures import read_stored
from imgdb.workers.work import MakeThumbnails

SIDE = 320

# Few pictures may be shown large; a thousand of them must still fit into a mail.
_SIDES = ((24, 640), (120, 480))


def side_for(count: int) -> int:
    """Return how large thumbnails should be, in pixels, for a page of `count` pictures."""
    return next((side for most, side in _SIDES if count <= most), SIDE)


def thumbnails(
    spellings: Iterable[str],
    *,
    side: int = SIDE,
    jobs: int | None = None,
    max_pixels: int = MAX_PIXELS,
    timeout: float = PICTURE_SECONDS,
    watching: Callable[[int], None] = lambda done: None,
) -> dict[str, Thumbnail | PictureError]:
    """Make thumbnails of at most `side` pixels, by the spellings of paths (`imgdb.image.path`).

    A picture that is gone, cannot be read, or takes longer than `timeout` seconds has its
    PictureError instead. `watching` is told now and then how many are done.
    """
    work = MakeThumbnails(side=side, max_pixels=max_pixels)
    made = read_stored(spellings, work, jobs=jobs, timeout=timeout, watching=watching)
    return {
        spelling: outcome
        for spelling, outcome in made.items()
        if isinstance(outcome, Thumbnail | PictureError)
    }
