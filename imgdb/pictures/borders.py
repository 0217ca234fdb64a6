"""Cut off what stands around a picture: bars, frames, text above it, a screen's controls."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# A line whose grey levels are this near each other is paper; so near to it, and JPEG's noise.
_FLAT, _NEAR = 4, 12
# The share of its pixels that a line of plain paper has, and one with text or controls on it.
_PLAIN, _WRITTEN = 0.97, 0.5
_PAPERS = 4
# What is left is a picture, not a stripe: so many pixels, and this share of each side.
_LEAST_SIDE, _LEAST_SHARE = 32, 0.2
# Pixels of a line that are looked at.
_LOOKED_AT = 512

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]


def borders(grey: Image.Image) -> list[Box]:
    """Return what a picture of mode "L" is within its plain borders, and within written ones.

    Where writing is cut off, too, edges of the picture itself may go with it: so these are two
    guesses.
    """
    boxes = dict.fromkeys(_box(np.asarray(grey), share) for share in (_PLAIN, _WRITTEN))
    return [box for box in boxes if box is not None]


def _box(pixels: Pixels, share: float) -> Box | None:
    height, width = pixels.shape
    left, top, right, bottom = 0, 0, width, height
    # A bar may hide that there is a frame within it, so both directions take turns.
    for _ in range(2):
        top, bottom = _picture(pixels[:, left:right], top, bottom, share)
        left, right = _picture(pixels[top:bottom].T, left, right, share)
    box = left, top, right, bottom
    kept = (right - left, width), (bottom - top, height)
    if box == (0, 0, width, height) or any(
        side < max(_LEAST_SIDE, _LEAST_SHARE * whole) for side, whole in kept
    ):
        return None
    return box


def _picture(lines: Pixels, first: int, end: int, share: float) -> tuple[int, int]:
    """Return the longest run of lines that have less than a share of paper."""
    seen = lines[first:end, :: max(1, lines.shape[1] // _LOOKED_AT)].astype(np.int16)
    papers = _papers(seen)
    is_paper = np.zeros(len(seen) + 2, np.bool_)
    is_paper[[0, -1]] = True
    for paper in papers:
        is_paper[1:-1] |= np.mean(np.abs(seen - paper) <= _NEAR, axis=1) >= share
    edges = np.flatnonzero(is_paper)
    runs = np.diff(edges)
    longest = int(np.argmax(runs))
    if not papers or runs[longest] == 1:
        return first, end
    return first + int(edges[longest]), first + int(edges[longest + 1]) - 1


def _papers(lines: NDArray[np.int16]) -> list[int]:
    """Return the grey levels of plain lines, the most usual first; none if no edge is plain."""
    if not len(_plain(lines[[0, -1]])):
        return []
    papers: list[int] = []
    values, counts = np.unique(_plain(lines), return_counts=True)
    for value in values[np.argsort(-counts, kind="stable")].tolist():
        if all(abs(value - paper) > _NEAR for paper in papers):
            papers.append(round(value))
    return papers[:_PAPERS]


def _plain(lines: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return the grey level of each line that has but one."""
    levels: NDArray[np.float64] = np.median(lines, axis=1)
    is_plain = np.mean(np.abs(lines - levels[:, None]) <= _FLAT, axis=1) >= _PLAIN
    plain: NDArray[np.float64] = levels[is_plain]
    return plain
