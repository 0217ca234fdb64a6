"""Regions found the slow way: every box summed pixel by pixel, every number a fraction."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdb.hashes.regions import Region, RegionPlan

# Strength, x and y of the middle, side.
Extreme = tuple[int, Fraction, Fraction, Fraction]


def find(grey: Image.Image, plan: RegionPlan) -> list[Region]:
    """Do as `find_regions` for a picture that need not be shrunk, and is a multiple of 4 wide."""
    assert max(grey.size) <= plan.side and grey.width % 4 == 0 and not plan.each_octave
    pixels = [[int(value) for value in row] for row in np.asarray(grey)]
    extremes: list[Extreme] = []
    block = 1
    while 42 * block <= min(grey.size):
        extremes += octave(pixels, block)
        block *= 2
    extremes.sort(key=lambda e: (-e[0], to_part(e[3]), e[2], e[1]))
    turns: dict[tuple[int, int], int] = defaultdict(int)
    squares = []
    for _, x, y, exact_side in extremes:
        side = to_part(exact_side)
        left, top = to_part(x - side / 2), to_part(y - side / 2)
        if min(left, top) >= 0 and left + side <= grey.width and top + side <= grey.height:
            part = int(4 * x / grey.width), int(4 * y / grey.height)
            squares.append((turns[part], x, y, side, left, top))
            turns[part] += 1
    kept: list[tuple[Fraction, Fraction, Fraction, Fraction, Fraction]] = []
    for _, x, y, side, left, top in sorted(squares, key=lambda square: square[0]):
        if not any(
            4 * max(abs(x - a), abs(y - b)) < min(side, c) and 4 * max(side, c) < 5 * min(side, c)
            for a, b, c, _, _ in kept
        ):
            kept.append((x, y, side, left, top))
        if len(kept) == plan.limit:
            break
    return [region(pixels, left, top, side) for _, _, side, left, top in kept]


def octave(pixels: list[list[int]], block: int) -> Iterator[Extreme]:
    rows, columns = len(pixels) // block, len(pixels[0]) // block
    whole = np.array(pixels)[: rows * block, : columns * block]
    blocks = whole.reshape(rows, block, columns, block).sum(axis=(1, 3))
    layers = np.array(
        [
            [[strength(blocks, x, y, n, block) for x in range(columns)] for y in range(rows)]
            for n in range(2, 8)
        ]
    )
    for at, y, x in np.ndindex(4, rows - 2, columns - 2):
        around = layers[at : at + 3, y : y + 3, x : x + 3]
        below, peak, above = around[:, 1, 1].tolist()
        if peak >= 4 * 64 and peak == around.max():
            middle = [block * (Fraction(place) + Fraction(3, 2)) for place in (x, y)]
            side = side_at_top(at + 3, below, peak, above) * 6 * block
            yield peak, middle[0], middle[1], side


def strength(blocks: NDArray[np.int64], x: int, y: int, n: int, block: int) -> int:
    """Return by how much the mean of a box differs from that of the ring around it, in 64ths."""
    rows, columns = blocks.shape
    if not (2 * n <= x < columns - 2 * n and 2 * n <= y < rows - 2 * n):
        return 0
    inner = int(blocks[y - n : y + n + 1, x - n : x + n + 1].sum())
    outer = int(blocks[y - 2 * n : y + 2 * n + 1, x - 2 * n : x + 2 * n + 1].sum())
    small, large = (2 * n + 1) ** 2, (4 * n + 1) ** 2
    inside = Fraction(inner, small * block * block)
    around = Fraction(outer - inner, (large - small) * block * block)
    return abs(round((inside - around) * 64))


def side_at_top(n: int, below: int, peak: int, above: int) -> Fraction:
    curve = below - 2 * peak + above
    shift = Fraction(below - above, 2 * curve) if curve else Fraction(above - below, 2)
    shift = min(max(shift, Fraction(-1, 2)), Fraction(1, 2))
    return 2 * n + 1 + 2 * shift


def to_part(value: Fraction) -> Fraction:
    return Fraction(round(value * 16), 16)


def region(pixels: list[list[int]], left: Fraction, top: Fraction, side: Fraction) -> Region:
    """Hash 16 x 16 cells, whose pixels count by the share that lies in the cell."""
    steps = [Fraction(int(side * 16) * i // 16, 16) for i in range(17)]
    cells = np.array(
        [
            [
                int(256 * grey_of(pixels, left + a, left + b, top + c, top + d))
                for a, b in itertools.pairwise(steps)
            ]
            for c, d in itertools.pairwise(steps)
        ],
        dtype=object,
    )
    basis = np.array(
        [
            [int(np.rint(1024 * np.cos(np.pi * u * (2 * i + 1) / 32))) for i in range(16)]
            for u in range(8)
        ],
        dtype=object,
    )
    lowest = (basis @ cells @ basis.T).ravel().tolist()
    median = sorted(lowest)[31]
    number = sum(1 << (63 - i) for i, value in enumerate(lowest) if value > median)
    starts = round(left), round(top)
    ends = round(left + side), round(top + side)
    return Region(
        *starts,
        ends[0] - starts[0],
        ends[1] - starts[1],
        number - (1 << 64 if number >> 63 else 0),
    )


def grey_of(
    pixels: list[list[int]], left: Fraction, right: Fraction, top: Fraction, bottom: Fraction
) -> Fraction:
    """Sum the pixels of a rectangle, those on its edges by the share inside."""
    total = Fraction(0)
    for y in range(int(top), -int(-bottom // 1)):
        down = min(bottom, y + 1) - max(top, y)
        for x in range(int(left), -int(-right // 1)):
            total += pixels[y][x] * down * (min(right, x + 1) - max(left, x))
    return total
