"""The geometry of charts: scales, lines as the points of an SVG, and labels that keep apart.

The template of a page draws them, and so does `benchmarks.charts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

# Units of the viewBox; a phone shows it at three quarters of the size.
WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 54, 402, 14, 254

_LABEL_GAP = 15


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, and what is written there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Points:
    """What a line is drawn from: values, and the ends of their ranges where they are shown."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A line as SVG points, its band as a polygon, and where its name stands (right of it)."""

    name: str
    points: str
    band: str
    label_y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """All that a chart shows."""

    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


Scale = Callable[[float], float]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Return the scale that puts `low` at `start` and `high` at `end`; if equal, in the middle."""

    def scale(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(start + share * (end - start), 1)

    return scale


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Do as `linear` by the logarithms of values, all above 0."""
    place = linear(log10(low), log10(high), start, end)
    return lambda value: place(log10(value))


def decades(least: float, most: float) -> tuple[Scale, tuple[Tick, ...]]:
    """Return a logarithmic vertical scale with its ticks; what is smaller lies at its foot."""
    first, last = floor(log10(least)), max(ceil(log10(most)), floor(log10(least)) + 1)
    # The foot is zero, which no logarithm reaches: half a decade below.
    place = linear(first - 0.5, last, BOTTOM, TOP)
    powers = [Tick(place(power), f"{10.0**power:,g}") for power in range(first, last + 1)]

    def scale(value: float) -> float:
        return place(max(log10(value), first - 0.5)) if value > 0 else float(BOTTOM)

    return scale, (Tick(BOTTOM, "0"), *powers)


def chart(
    points: Sequence[Points],
    *,
    x: Scale,
    y: Scale,
    x_ticks: Sequence[Tick],
    y_ticks: Sequence[Tick],
) -> Chart:
    """Lay lines out, with their names apart from each other."""
    ends = apart([y(line.y[-1]) for line in points], foot=BOTTOM)
    lines = [
        Line(
            name=line.name,
            points=_joined(line.x, line.y, x, y),
            band=_band(line, x, y),
            label_y=end,
        )
        for line, end in zip(points, ends, strict=True)
    ]
    return Chart(tuple(x_ticks), tuple(y_ticks), tuple(lines))


def _joined(xs: Sequence[float], ys: Sequence[float], x: Scale, y: Scale) -> str:
    return " ".join(f"{x(a):g},{y(b):g}" for a, b in zip(xs, ys, strict=True))


def _band(line: Points, x: Scale, y: Scale) -> str:
    if not line.high:
        return ""
    return f"{_joined(line.x, line.high, x, y)} {_joined(line.x[::-1], line.low[::-1], x, y)}"


def apart(places: Sequence[float], *, foot: float) -> list[float]:
    """Move labels so that none covers another one: down, and then up from the foot."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + _LABEL_GAP)
    for number in reversed(order):
        moved[number] = min(moved[number], foot)
        foot = moved[number] - _LABEL_GAP
    return moved
