"""A calibration as data for programs: one object, or a flat list of curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from imgdb.pictures.edits import BY_NAME
from imgdb.pictures.reasons import reason_in_words
from imgdb.search.calibration.confidence import Rate
from imgdb.search.calibration.measure import Applied
from imgdb.search.calibration.results import Calibration, Curve, HashFigures, PartsFigures

# The recalls for which the distance is told that each edit needs, in percent.
RECALLS = (90, 95, 99)

COLUMNS = (
    "hash", "edit", "max_distance", "pictures", "recall", "recall_low", "recall_high",
    "wrong", "wrong_low", "wrong_high", "precision",
)  # fmt: skip


def result_rows(calibration: Calibration) -> Iterator[tuple[object, ...]]:
    """Yield every point of every curve, under COLUMNS; `all` is the mean of edits that count.

    What is found by parts has no distance, and of `imgdb query` no wrong images were counted.
    """
    for figures in calibration.hashes:
        for curve in (figures.recall, *figures.edits):
            for distance in range(len(curve.found)):
                recall = _rounded(curve.at(distance))
                wrong = _rounded(figures.wrong_at(distance))
                yield (
                    figures.name,
                    curve.name,
                    distance,
                    curve.pictures,
                    *recall.values(),
                    *wrong.values(),
                    _round(figures.precision(distance, curve)),
                )
    if parts := calibration.parts:
        by_chance = _rounded(parts.wrong).values()
        for edit in (parts.total, *parts.edits):
            one = edit.name, None, parts.pictures
            yield ("parts", *one, *_rounded(edit.parts).values(), *by_chance, None)
            yield ("query", *one, *_rounded(edit.query).values(), *[None] * 4)


def as_object(calibration: Calibration, applied: Sequence[Applied] = ()) -> dict[str, Any]:
    """Return all that was measured, with 95 % confidence intervals."""
    question = calibration.question
    return {
        "collection": question.collection,
        "images": calibration.images,
        "pictures": calibration.pictures,
        "enough_pictures": calibration.sound,
        "copies_per_image": _round(calibration.copies),
        "failed": len(calibration.failures),
        "failures": [
            {"path": path, "reason": reason_in_words(error), "kind": error.reason}
            for path, error in calibration.failures
        ],
        "seed": question.seed,
        "recall_wanted": question.recall,
        "wrong_per_query_wanted": question.wrong_per_query,
        "alike": question.alike,
        "at": calibration.at,
        "hashes": [_hash(figures) for figures in calibration.hashes],
        "parts": calibration.parts and _parts(calibration.parts),
        "applied": [asdict(one) for one in applied],
    }


def _hash(figures: HashFigures) -> dict[str, Any]:
    proposal = figures.proposal
    return {
        "hash": figures.name,
        "images": figures.images,
        "images_drawn": figures.drawn,
        "queries": figures.queries,
        "default": _at(figures, figures.default),
        "proposal": {
            **_at(figures, proposal.max_distance),
            "reason": proposal.reason,
            "needed": proposal.needed,
            "allowed": proposal.allowed,
        },
        "distances": [_at(figures, distance) for distance in range(len(figures.wrong))],
        "edits": [_edit(figures, curve) for curve in figures.edits],
    }


def _parts(figures: PartsFigures) -> dict[str, Any]:
    return {
        "pictures": figures.pictures,
        "queries": figures.queries,
        "wrong": _rounded(figures.wrong),
        "parts": _rounded(figures.total.parts),
        "query": _rounded(figures.total.query),
        "edits": [
            {"edit": edit.name, "parts": _rounded(edit.parts), "query": _rounded(edit.query)}
            for edit in figures.edits
        ],
    }


def _at(figures: HashFigures, distance: int) -> dict[str, Any]:
    return {
        "max_distance": distance,
        "recall": _rounded(figures.recall.at(distance)),
        "wrong": _rounded(figures.wrong_at(distance)),
        "precision": _round(figures.precision(distance)),
    }


def _edit(figures: HashFigures, curve: Curve) -> dict[str, Any]:
    edit = BY_NAME[curve.name]
    return {
        "edit": edit.name,
        "what": edit.words,
        "counts": edit.counts,
        "pictures": curve.pictures,
        "at_default": _rounded(curve.at(figures.default)),
        "needs": {str(percent): curve.needs(percent / 100) for percent in RECALLS},
        "recall": [_round(found) for found in curve.found],
    }


def _rounded(rate: Rate) -> dict[str, float | None]:
    return {name: _round(value) for name, value in asdict(rate).items()}


def _round(value: float | None) -> float | None:
    """Leave out what no sample of pictures can tell."""
    return None if value is None else round(value, 6)
