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
from imgdb.hashes.copies import Copy, CopyHashes
from imgdb.hashes.values import (
    ALGORITHMS,
    PDQ_CANDIDATES,
    PDQ_RULES,
    USUAL_RULE,
    Hashes,
    pdq_distance,
    rule_distance,
)
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.search.calibration import proposal
from imgdb.search.calibration.parts import measure_parts
from imgdb.search.calibration.results import Calibration, Curve, HashFigures, Question
from imgdb.search.calibration.rules import (
    TRIMMED,
    has_default,
    hashes_of,
    largest,
    searched,
)
from imgdb.search.calibration.wrong_images import (
    StoredHashes,
    Wrong,
    drawn_images,
    wrong_images,
    wrong_when_trimmed,
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
    pdq: list[int] | None
    has_regions: bool

    @property
    def hashes(self) -> Hashes:
        return Hashes(self.ahash, self.dhash, self.phash, self.whash)


@dataclass(frozen=True, slots=True)
class _Searchable:
    images: int
    with_file: int
    ahash: int
    dhash: int
    phash: int
    whash: int
    pdq: int
    phash_dhash: int
    phash_pdq: int
    regions: int

    def by(self, rule: str) -> int:
        """Return how many images have the hashes of a rule."""
        return int(getattr(self, "_".join(hashes_of(rule))))


@dataclass(frozen=True, slots=True)
class Drawn:
    """The pictures that are to be edited, and how many images there are to look among."""

    searchable: _Searchable
    sampled: list[_Sampled]

    def __len__(self) -> int:
        return len(self.sampled)


# A picture as stored, and its copies in the order of the edits.
_Measured = tuple[_Sampled, tuple[Copy, ...]]

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
    if question.parts and not searchable.regions:
        raise UsageError("no image has regions to look for; `imgdb rehash --regions` finds them")
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
    wrong, copies = _wrong(images, rules, question, drawn.searchable, measured)
    parts = None
    if question.parts:
        parts = measure_parts(
            conn,
            question,
            drawn.searchable.regions,
            [
                (image.image_id, copies, _found_without_parts(conn, question, image, copies))
                for image, copies in measured
                if image.has_regions
            ],
            watching=lambda done: watching(len(drawn) + done),
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
                _default(conn, rule, question.collection),
                drawn.searchable.by(rule),
                [pair for pair in measured if _is_known(pair[0], rule)],
                wrong[rule],
            )
            for rule in rules
        ),
        parts,
    )


def store_defaults(conn: Connection, calibration: Calibration) -> list[Applied]:
    """Store the proposals as the defaults of the collection, or of all, all or none.

    What shows more wrong images than wanted even at distance 0 keeps the default that it has.
    """
    applied = []
    collection = calibration.question.collection
    with conn.transaction():
        for figures in calibration.hashes:
            if has_default(figures.name) and figures.proposal.allowed is not None:
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
    names = {n for rule in question.rules for n in hashes_of(rule)}
    if question.parts:
        names.update(hashes_of(USUAL_RULE))
    work = HashCopies(
        max_pixels=options.max_pixels,
        memory=options.memory,
        edits=tuple(edit.name for edit in question.edits),
        algorithms=tuple(n for n in ALGORITHMS if n in names),
        pdq="pdq" in names and any(image.pdq is not None for image in sampled),
        regions=question.parts,
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
            measured.append((image, outcome.copies))
    return measured, failures


def _is_known(image: _Sampled, rule: str) -> bool:
    return all(getattr(image, name) is not None for name in hashes_of(rule))


def _default(conn: Connection, rule: str, collection: str | None) -> int:
    if rule in PDQ_RULES:
        return PDQ_RULES[rule]
    return default_distance(conn, USUAL_RULE if rule == TRIMMED else rule, collection)


def _wrong(
    images: StoredHashes,
    rules: Sequence[str],
    question: Question,
    searchable: _Searchable,
    measured: Sequence[_Measured],
) -> tuple[dict[str, Wrong], float]:
    """Count the wrong images by each rule, and the copies of an image."""
    whole = dict.fromkeys(USUAL_RULE if rule == TRIMMED else rule for rule in rules)
    wrong, copies = wrong_images(
        images,
        [*whole],
        images={rule: searchable.by(rule) for rule in whole},
        at=question.at,
        alike=question.alike,
    )
    if TRIMMED in rules:
        wrong[TRIMMED] = wrong_when_trimmed(
            images,
            wrong[USUAL_RULE],
            [
                (image.hashes, [(copy.hashes, copy.trimmed) for copy in _counted(question, made)])
                for image, made in measured
                if _is_known(image, TRIMMED)
            ],
            images=searchable.by(USUAL_RULE),
            at=question.at,
            alike=question.alike,
        )
    return wrong, copies


def _counted(question: Question, copies: Sequence[Copy]) -> list[Copy]:
    """Return the copies by edits that count; all, if none does."""
    some = [copy for copy, edit in zip(copies, question.edits, strict=True) if edit.counts]
    return some or list(copies)


def _found_without_parts(
    conn: Connection, question: Question, image: _Sampled, copies: Sequence[Copy]
) -> list[bool]:
    """Tell which copies `imgdb query` finds within the default, whole or without borders."""
    if not _is_known(image, TRIMMED):
        return [False] * len(copies)
    most = _default(conn, TRIMMED, question.collection)
    return [_distance(image, copy, TRIMMED) <= most for copy in copies]


def _figures(
    question: Question,
    rule: str,
    default: int,
    images: int,
    measured: Sequence[_Measured],
    wrong: Wrong,
) -> HashFigures:
    curves = [
        _curve(
            edit.name, rule, [_distance(image, copies[place], rule) for image, copies in measured]
        )
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


def _distance(image: _Sampled, copy: Copy, rule: str) -> int:
    """Return how far a copy is from the picture as stored, by a rule that both have hashes for."""
    if rule in PDQ_RULES:
        assert image.pdq is not None and copy.pdq is not None
        first, second, third, fourth = image.pdq
        near = rule == "pdq" or _distance(image, copy, "phash") <= PDQ_CANDIDATES
        return pdq_distance((first, second, third, fourth), copy.pdq) if near else largest(rule) + 1
    names = hashes_of(rule)
    looks = (copy.hashes, *copy.trimmed) if rule == TRIMMED else (copy.hashes,)
    stored = [getattr(image, name) for name in names]
    apart = (rule_distance(stored, [getattr(look, name) for name in names]) for look in looks)
    return min(distance for distance in apart if distance is not None)


def _curve(name: str, rule: str, distances: Sequence[int]) -> Curve:
    most = largest(rule)
    near = np.bincount(distances, minlength=most + 1)[: most + 1].cumsum()
    return Curve(name, len(distances), tuple((near / len(distances)).tolist()))
