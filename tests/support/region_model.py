"""What `imgdb parts` should answer, pair by pair, for regions that lie in lists."""

import bisect
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imgdb.hashes.regions import Region

SCALES = [2.0 ** ((third - 24) / 3) for third in range(49)]


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture: its size and its regions."""

    width: int
    height: int
    regions: Sequence[Region]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the query would lie in the image if two regions show the same thing."""

    asked: int
    stored: int
    scale: float
    x: float
    y: float
    sizes: tuple[int, int]


def votes(query: Shown, image: Shown, max_distance: int) -> tuple[int, list[Place]]:
    """Return the most votes of any cell, and the pairs that lie in it."""
    cells: dict[tuple[int, float, float], list[Place]] = defaultdict(list)
    here, there = (
        np.array([found.hash for found in shown.regions], np.int64) for shown in (query, image)
    )
    near = np.bitwise_count((here[:, None] ^ there).view(np.uint64)) <= max_distance
    for a, s in np.argwhere(near).tolist():
        place = placed(query, a, query.regions[a], s, image.regions[s])
        bucket = bisect.bisect_right(SCALES, place.scale)
        for at in (bucket, bucket + 1):
            step = 0.15 * max(query.width, query.height) * SCALES[min(max(at, 1), 49) - 1]
            for x in (0, 1):
                for y in (0, 1):
                    cell = (at, math.floor(place.x / step) + x, math.floor(place.y / step) + y)
                    cells[cell].append(place)
    if not cells:
        return 0, []
    counts = {
        cell: min(len({p.asked for p in places}), len({p.stored for p in places}))
        for cell, places in cells.items()
    }
    best = min(cells, key=lambda cell: (-counts[cell], cell))
    return counts[best], cells[best]


def placed(query: Shown, a: int, asked: Region, s: int, stored: Region) -> Place:
    sizes = asked.width + asked.height, stored.width + stored.height
    scale = sizes[1] / sizes[0]
    from_middle_x = asked.left + asked.width / 2 - query.width / 2
    from_middle_y = asked.top + asked.height / 2 - query.height / 2
    x = stored.left + stored.width / 2 - scale * from_middle_x
    y = stored.top + stored.height / 2 - scale * from_middle_y
    return Place(a, s, scale, x, y, sizes)


def frame(query: Shown, places: Sequence[Place]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the query in the image."""
    scale = sum(p.sizes[1] for p in places) / sum(p.sizes[0] for p in places)
    x = sum(p.x for p in places) / len(places)
    y = sum(p.y for p in places) / len(places)
    across, down = scale * query.width / 2, scale * query.height / 2
    return x - across, y - down, x + across, y + down


def relation(image: Shown, lies: tuple[float, float, float, float]) -> str:
    left, top, right, bottom = lies
    slack_x = max(image.width, right - left) / 20
    slack_y = max(image.height, bottom - top) / 20
    holds = left >= -slack_x and right <= image.width + slack_x
    holds &= top >= -slack_y and bottom <= image.height + slack_y
    held = left <= slack_x and right >= image.width - slack_x
    held &= top <= slack_y and bottom >= image.height - slack_y
    return {(1, 1): "same", (1, 0): "contains", (0, 1): "part", (0, 0): "overlaps"}[holds, held]


def answer(
    query: Shown, images: Mapping[str, Shown], max_distance: int, min_votes: int
) -> list[tuple[str, int, str]]:
    """Return path, votes and relation of each match, in order."""
    found = []
    for path, image in images.items():
        count, places = votes(query, image, max_distance)
        if count >= min_votes:
            found.append((path, count, relation(image, frame(query, places))))
    return sorted(found, key=lambda match: (-match[1], match[0]))
