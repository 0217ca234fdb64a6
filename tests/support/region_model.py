"""What `imgdb parts` should answer, pair by pair, for regions that lie in lists."""

import bisect
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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


def alike(query: Shown, image: Shown, max_distance: int) -> list[tuple[int, int]]:
    """Return the pairs of regions that are alike, by their places."""
    here, there = (
        np.array([found.hash for found in shown.regions], np.int64) for shown in (query, image)
    )
    near = np.bitwise_count((here[:, None] ^ there).view(np.uint64)) <= max_distance
    return [(a, s) for a, s in np.argwhere(near).tolist()]


def votes(
    query: Shown,
    image: Shown,
    max_distance: int,
    needed: float = 1,
    weights: Mapping[int, float] | None = None,
) -> tuple[int, list[Place]]:
    """Return the most votes of any cell with votes enough, and the pairs that lie in it."""
    cells: dict[tuple[int, float, float], list[Place]] = defaultdict(list)
    for a, s in alike(query, image, max_distance):
        place = placed(query, a, query.regions[a], s, image.regions[s])
        bucket = bisect.bisect_right(SCALES, place.scale)
        for at in (bucket, bucket + 1):
            step = 0.15 * max(query.width, query.height) * SCALES[min(max(at, 1), 49) - 1]
            for x in (0, 1):
                for y in (0, 1):
                    cell = (at, math.floor(place.x / step) + x, math.floor(place.y / step) + y)
                    cells[cell].append(place)
    counts = {
        cell: min(len({p.asked for p in places}), len({p.stored for p in places}))
        for cell, places in cells.items()
    }
    weight = {
        cell: sum(weights[p.asked] if weights else 1 for p in places) / len(places)
        for cell, places in cells.items()
    }
    enough = [cell for cell in cells if counts[cell] * weight[cell] >= needed]
    if not enough:
        return 0, []
    best = min(enough, key=lambda cell: (-counts[cell], cell))
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


def chance(
    query: Shown, images: Iterable[Shown], max_distance: int, wrong_per_query: float
) -> tuple[float, dict[int, float]]:
    """Return the votes that an image needs, and what a vote of each region of the query counts."""
    shared = [{a for a, _ in alike(query, image, max_distance)} for image in images]
    needed = 1 + math.log(max(sum(map(bool, shared)), 1) / wrong_per_query) / math.log(20)
    held = {a: sum(a in some for some in shared) for some in shared for a in some}
    weights = {
        a: min(1, math.log((len(shared) + 1000) / max(count - 1, 1)) / math.log(20))
        for a, count in held.items()
    }
    return max(needed, 2), weights


def answer(
    query: Shown,
    images: Mapping[str, Shown],
    max_distance: int,
    min_votes: int | None,
    wrong_per_query: float = 0.1,
) -> list[tuple[str, int, str]]:
    """Return path, votes and relation of each match, in order."""
    needed: float
    weights: Mapping[int, float] | None
    if min_votes is None:
        needed, weights = chance(query, images.values(), max_distance, wrong_per_query)
    else:
        needed, weights = min_votes, None
    found = []
    for path, image in images.items():
        count, places = votes(query, image, max_distance, needed, weights)
        if count:
            found.append((path, count, relation(image, frame(query, places))))
    return sorted(found, key=lambda match: (-match[1], match[0]))
