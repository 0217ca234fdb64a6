"""The page of `imgdb hubs`: one picture of each hash that floods searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imgdb.pages import render
from imgdb.search.hubs import Hub
from imgdb.workers.thumbnails import side_for, thumbnails


def hubs_page(
    hubs: Sequence[Hub],
    *,
    hash: str,
    max_distance: int,
    flood: int,
    collection: str | None = None,
    watching: Callable[[int], None] = lambda done: None,
) -> str:
    """Return the page for what was found; `watching` is told how many pictures are read."""
    made = thumbnails((hub.path for hub in hubs), side=side_for(len(hubs)), watching=watching)
    return render.render_page(
        "hubs.html",
        parts=("pictures",),
        hash=hash,
        max_distance=max_distance,
        flood=flood,
        collection=collection,
        hubs=[{"hub": hub, "hex": hub.hex, "thumbnail": made[hub.path]} for hub in hubs],
    )
