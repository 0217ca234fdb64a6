"""How similar is similar enough, on one's own pictures: recall, wrong images, and a default.

Pictures of a collection are edited as people edit them, and each copy is looked for: how far is it
from its original, and how many other images are as near? docs/calibrate.md says what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.database.sessions import value
from imgdb.database.spaces import default_distance
from imgdb.errors import PictureError, UsageError
from imgdb.hashes.copies import CopyHashes
from imgdb.hashes.values import Hashes, rule_distance, rule_hashes
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.search.calibration import proposal
from imgdb.search.calibration.results import Calibration, Curve, HashFigures, Question
from imgdb.search.calibration.wrong_images import (
    LARGEST,
    Wrong,
    drawn_images,
    searched,
    wrong_images,
)
from imgdb.workers.limits import EDITING_SECONDS, WORKER_MEMORY
from imgdb.workers.stored_pictures import read_stored
from imgdb.workers.work import HashCopies

SAMPLE = "SELECT * FROM imgdb._sampled_images(%(collection)s, %(size)s, %(seed)s)"
SEARCHABLE = "SELECT * FROM imgdb._searchable_images(%(collection)s)"
SET_DEFAULT = "SELECT imgdb.set_default_max_distance(%s, max_distance => %s, collection_name => %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditingOptions:
    """How the copies are made: `memory` in bytes is for a worker, `timeout` in seconds a picture.

    A picture is written and read once for each edit, so it takes its time.
    """

    jobs: int | None = None
    max_pixels: int = MAX_PIXELS
    memory: int = WORKER_MEMORY
    timeout: float = EDITING_SECONDS


@dataclass(frozen=True, slots=True)
class Applied:
    """A default that was stored, and the one before."""

    hash: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class _Sampled:
    image_id: int
    path: str
    sha256: bytes
    ahash: int | None
    dhash: int | None
    phash: int | None
    whash: int | None


@dataclass(frozen=True, slots=True)
class _Searchable:
    images: int
    with_file: int
    ahash: int
    dhash: int
    phash: int
    whash: int
    phash_dhash: int

    def by(self, rule: str) -> int:
        """Return how many images have the hashes of a rule."""
        return int(getattr(self, "_".join(rule_hashes(rule))))


@dataclass(frozen=True, slots=True)
class Drawn:
    """The pictures that are to be edited, and how many images there are to look among."""

    searchable: _Searchable
    sampled: list[_Sampled]

    def __len__(self) -> int:
        return len(self.sampled)


# A picture as stored, and the hashes of its copies in the order of the edits.
_Measured = tuple[_Sampled, tuple[Hashes, ...]]

Connection = psycopg.Connection[Any]


def draw(conn: Connection, question: Question) -> Drawn:
    """Choose the pictures.

    UnknownName for a collection that is not there, UsageError where no image has a file.
    """
    given = {"collection": question.collection, "size": question.sample, "seed": question.seed}
    with read_only(conn):
        with conn.cursor(row_factory=class_row(_Searchable)) as cursor:
            searchable = cursor.execute(SEARCHABLE, given).fetchone()
        assert searchable is not None
        with conn.cursor(row_factory=class_row(_Sampled)) as cursor:
            sampled = cursor.execute(SAMPLE, given).fetchall()
    if not sampled:
        raise UsageError(_nothing_there(searchable, question.collection))
    return Drawn(searchable, sampled)


def calibrate(
    conn: Connection,
    question: Question,
    drawn: Drawn,
    options: EditingOptions,
    *,
    watching: Callable[[int], None] = lambda done: None,
) -> Calibration:
    """Measure the pictures that `draw` chose; the database is only read.

    The connection must be outside of a transaction: none is open while the pictures are edited.
    """
    measured, failures = _measure(drawn.sampled, question, options, watching)
    with read_only(conn):
        images = drawn_images(conn, question.collection, question.seed)
    rules = [
        rule for rule in question.rules if any(_is_known(image, rule) for image, _ in measured)
    ]
    wrong, copies = wrong_images(
        images,
        rules,
        images={rule: drawn.searchable.by(rule) for rule in rules},
        at=question.at,
        alike=question.alike,
    )
    return Calibration(
        question,
        drawn.searchable.images,
        len(measured),
        copies * drawn.searchable.images / max(len(images), 1),
        tuple(failures),
        tuple(
            _figures(
                question,
                rule,
                default_distance(conn, rule, question.collection),
                drawn.searchable.by(rule),
                [pair for pair in measured if _is_known(pair[0], rule)],
                wrong[rule],
            )
            for rule in rules
        ),
    )


def store_defaults(conn: Connection, calibration: Calibration) -> list[Applied]:
    """Store the proposals as the defaults of the collection, or of all, all or none.

    What shows more wrong images than wanted even at distance 0 keeps the default that it has.
    """
    applied = []
    collection = calibration.question.collection
    with conn.transaction():
        for figures in calibration.hashes:
            if figures.proposal.allowed is not None:
                after = figures.proposal.max_distance
                value(conn, SET_DEFAULT, figures.name, after, collection)
                applied.append(Applied(figures.name, figures.default, after))
    return applied


def _nothing_there(searchable: _Searchable, collection: str | None) -> str:
    where = "the database" if collection is None else f"collection {collection}"
    if not searchable.images:
        return f"{where} holds no picture that could be looked for; `imgdb ingest` brings some"
    return (
        f"no image in {where} has a file (hashes were imported, or the files are gone), "
        "and without pictures there is nothing to edit"
    )


def _measure(
    sampled: Sequence[_Sampled],
    question: Question,
    options: EditingOptions,
    watching: Callable[[int], None],
) -> tuple[list[_Measured], list[tuple[str, PictureError]]]:
    """Have the copies made and hashed."""
    work = HashCopies(
        max_pixels=options.max_pixels,
        memory=options.memory,
        edits=tuple(edit.name for edit in question.edits),
        algorithms=tuple(dict.fromkeys(n for rule in question.rules for n in rule_hashes(rule))),
    )
    outcomes = read_stored(
        [image.path for image in sampled],
        work,
        jobs=options.jobs,
        timeout=options.timeout,
        watching=watching,
    )
    measured: list[_Measured] = []
    failures: list[tuple[str, PictureError]] = []
    for image in sampled:
        outcome = outcomes[image.path]
        if isinstance(outcome, PictureError):
            failures.append((image.path, outcome))
        elif not isinstance(outcome, CopyHashes) or outcome.sha256 != image.sha256:
            why = PictureError("changed", "it is no longer the file that was ingested")
            failures.append((image.path, why))
        else:
            measured.append((image, outcome.hashes))
    return measured, failures


def _is_known(image: _Sampled, rule: str) -> bool:
    return all(getattr(image, name) is not None for name in rule_hashes(rule))


def _figures(
    question: Question,
    rule: str,
    default: int,
    images: int,
    measured: Sequence[_Measured],
    wrong: Wrong,
) -> HashFigures:
    curves = [
        _curve(edit.name, [_distance(pair, rule, place) for pair in measured])
        for place, edit in enumerate(question.edits)
    ]
    counted = [
        curve for curve, edit in zip(curves, question.edits, strict=True) if edit.counts
    ] or curves
    mean = np.mean([curve.found for curve in counted], axis=0)
    recall = Curve("all", len(measured), tuple(mean.tolist()))
    return HashFigures(
        name=rule,
        default=default,
        images=images,
        drawn=wrong.images,
        queries=wrong.queries,
        recall=recall,
        edits=tuple(curves),
        wrong=wrong.per_query,
        proposal=proposal.propose(
            recall.found,
            [rate.value for rate in wrong.per_query],
            target=question.recall,
            limit=question.wrong_per_query,
            largest=searched(rule),
        ),
    )


def _distance(pair: _Measured, rule: str, place: int) -> int:
    image, copies = pair
    names = rule_hashes(rule)
    apart = rule_distance(
        [getattr(image, name) for name in names],
        [getattr(copies[place], name) for name in names],
    )
    assert apart is not None
    return apart


def _curve(name: str, distances: Sequence[int]) -> Curve:
    near = np.bincount(distances, minlength=LARGEST + 1)[: LARGEST + 1].cumsum()
    return Curve(name, len(distances), tuple((near / len(distances)).tolist()))
