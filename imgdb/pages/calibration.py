"""The page of a calibration: the answer in words, the curves behind it, and every edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgdb.hashes.copies import SIDE
from imgdb.pages import charts, render
from imgdb.pages.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Points, Tick
from imgdb.pictures.edits import BY_NAME
from imgdb.search.calibration.confidence import Rate
from imgdb.search.calibration.measure import Applied
from imgdb.search.calibration.results import ENOUGH_PICTURES, Calibration, HashFigures
from imgdb.search.calibration.rules import largest, searched

# The distances that the tables have a column for, by the largest one that is looked at.
_TOLD = {
    32: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32),
    96: (0, 8, 16, 24, 31, 40, 48, 56, 64, 70, 80, 96),
}


@dataclass(frozen=True, slots=True)
class _EditRow:
    name: str
    words: str
    counts: bool
    found: tuple[tuple[int, str], ...]
    needs: int | None


def page(calibration: Calibration, applied: Sequence[Applied] = ()) -> str:
    """Return the page; it holds no picture and no path."""
    hashes = calibration.hashes
    return render.render_page(
        "calibrate.html",
        parts=("calibrate",),
        calibration=calibration,
        applied={one.hash: one for one in applied},
        verdicts=[(figures, _verdict(figures)) for figures in hashes],
        wrong_in_words=wrong_in_words,
        recall=_recall_chart(hashes),
        wrong=_wrong_chart(calibration),
        precision=_precision_chart(hashes),
        limit_y=_wrong_scale(calibration)[0](calibration.question.wrong_per_query),
        box={"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        size=(charts.WIDTH, charts.HEIGHT),
        step=(RIGHT - LEFT) / _furthest(hashes),
        tables=[(f, _TOLD[largest(f.name)], _edit_rows(f)) for f in hashes],
        largest=_furthest(hashes),
        searched=searched,
        side=f"{SIDE:,}",
        enough=ENOUGH_PICTURES,
        curves=[_curve(figures) for figures in hashes],
        start=hashes[0].proposal.max_distance,
    )


def wrong_in_words(rate: Rate) -> str:
    """Say for a person how many wrong images a search shows."""
    if rate.value >= 9.5:
        return f"{rate.value:,.0f} images in every search"
    if rate.value >= 0.95:
        few = f"{rate.value:.1f}".removesuffix(".0")
        return f"{few} {'image' if few == '1' else 'images'} in every search"
    if rate.value:
        return f"one image in {_searches(rate.value)}"
    if rate.high > 0.95:
        return f"none seen; {rate.high:,.1f} in every search at most"
    return f"none seen; one in {_searches(rate.high)} at most"


def _searches(per_search: float) -> str:
    count = 1 / per_search
    return f"{count:,.0f} searches" if count >= 9.5 else f"{count:.2g} searches"


def _verdict(figures: HashFigures) -> str:
    now, then = figures.default, figures.proposal.max_distance
    if now == then:
        return "keep"
    return "raise" if then > now else "lower"


def _furthest(hashes: Sequence[HashFigures]) -> int:
    return max(largest(figures.name) for figures in hashes)


def _distance_axis(hashes: Sequence[HashFigures]) -> tuple[charts.Scale, list[Tick]]:
    most = _furthest(hashes)
    x = charts.linear(0, most, LEFT, RIGHT)
    return x, [Tick(x(distance), str(distance)) for distance in range(0, most + 1, most // 8)]


def _recall_chart(hashes: Sequence[HashFigures]) -> Chart:
    x, x_ticks = _distance_axis(hashes)
    y = charts.linear(0, 1, BOTTOM, TOP)
    lines = []
    for figures in hashes:
        rates = [figures.recall.at(distance) for distance in range(len(figures.wrong))]
        lines.append(_line(figures.name, rates))
    return charts.chart(lines, x=x, y=y, x_ticks=x_ticks, y_ticks=_percents(y))


def _wrong_scale(calibration: Calibration) -> tuple[charts.Scale, tuple[Tick, ...]]:
    every = [rate.value for figures in calibration.hashes for rate in figures.wrong]
    limit = calibration.question.wrong_per_query or 0.1
    least = max(min([limit / 10, *(value for value in every if value)]), 1e-3)
    return charts.decades(least, max(*every, 10 * limit))


def _wrong_chart(calibration: Calibration) -> Chart:
    x, x_ticks = _distance_axis(calibration.hashes)
    y, y_ticks = _wrong_scale(calibration)
    lines = [_line(figures.name, figures.wrong) for figures in calibration.hashes]
    return charts.chart(lines, x=x, y=y, x_ticks=x_ticks, y_ticks=y_ticks)


def _precision_chart(hashes: Sequence[HashFigures]) -> Chart:
    x = charts.linear(0, 1, LEFT, RIGHT)
    y = charts.linear(0, 1, BOTTOM, TOP)
    lines = [
        Points(
            figures.name,
            figures.recall.found,
            [_precision(figures, distance) for distance in range(len(figures.wrong))],
        )
        for figures in hashes
    ]
    x_ticks = [Tick(x(part / 4), f"{part * 25} %") for part in range(5)]
    return charts.chart(lines, x=x, y=y, x_ticks=x_ticks, y_ticks=_percents(y))


def _percents(y: charts.Scale) -> list[Tick]:
    return [Tick(y(part / 4), f"{part * 25} %") for part in range(5)]


def _line(name: str, rates: Sequence[Rate]) -> Points:
    return Points(
        name,
        range(len(rates)),
        [rate.value for rate in rates],
        [rate.low for rate in rates],
        [rate.high for rate in rates],
    )


def _precision(figures: HashFigures, distance: int) -> float:
    found = figures.precision(distance)
    return 1.0 if found is None else found


def _curve(figures: HashFigures) -> dict[str, object]:
    """Return what the script shows for a distance that somebody points at."""
    distances = range(len(figures.wrong))
    return {
        "hash": figures.name,
        "found": [_numbers(figures.recall.at(distance)) for distance in distances],
        "wrong": [_numbers(figures.wrong_at(distance)) for distance in distances],
        "words": [wrong_in_words(figures.wrong_at(distance)) for distance in distances],
        "right": [round(_precision(figures, distance), 4) for distance in distances],
    }


def _numbers(rate: Rate) -> list[float]:
    return [round(value, 5) for value in (rate.value, rate.low, rate.high)]


def _edit_rows(figures: HashFigures) -> list[_EditRow]:
    return [
        _EditRow(
            name=curve.name,
            words=BY_NAME[curve.name].words,
            counts=BY_NAME[curve.name].counts,
            found=tuple(_cell(curve.found[distance]) for distance in _TOLD[largest(figures.name)]),
            needs=curve.needs(0.95),
        )
        for curve in figures.edits
    ]


def _cell(found: float) -> tuple[int, str]:
    """Return a step of colour, 0 to 10, and the percentage; only all is 100, only none is 0."""
    percent = round(100 * found)
    if 0 < found < 1:
        percent = min(max(percent, 1), 99)
    return percent // 10, str(percent)
