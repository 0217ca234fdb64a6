"""Thumbnails of many images, made by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from imgdb.errors import PictureError
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.thumbnail import Thumbnail
from imgdb.workers.limits import PICTURE_SECONDS, WORKER_MEMORY
from imgdb.workers.messages import Settings
from imgdb.workers.stored_pictures import read_stored

SIDE = 320

# Few pictures may be shown in a large way; a thousand of them shall still fit into a mail.
_SIDES = ((24, 640), (120, 480))


def side_for(count: int) -> int:
    """Return how large thumbnails should be, in pixels, for a page of `count` pictures."""
    return next((side for most, side in _SIDES if count <= most), SIDE)


def thumbnails(
    paths: Iterable[str],
    *,
    side: int = SIDE,
    jobs: int | None = None,
    max_pixels: int = MAX_PIXELS,
    timeout: float = PICTURE_SECONDS,
    watching: Callable[[int], None] = lambda done: None,
) -> dict[str, Thumbnail | PictureError]:
    """Make thumbnails of at most `side` pixels for paths spelled as in `imgdb.image.path`.

    A picture that is gone, cannot be read, or takes longer than `timeout` seconds has its
    PictureError instead. `watching` is told now and then how many are done.
    """
    settings = Settings("exact", (), max_pixels, WORKER_MEMORY, thumbnail_side=side)
    made = read_stored(paths, settings, jobs=jobs, timeout=timeout, watching=watching)
    return {
        text: outcome
        for text, outcome in made.items()
        if isinstance(outcome, Thumbnail | PictureError)
    }
