"""A search as pages and programs ask for it: options by their names in commands, and the answer."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import fastapi
from fastapi import Depends
from psycopg import Connection
from starlette.concurrency import run_in_threadpool

from imgdb.database.images import Image, image_at
from imgdb.database.spaces import default_distance
from imgdb.errors import PictureError, UnknownName, UsageError
from imgdb.hashes.values import (
    ALGORITHMS,
    PDQ_DIGITS,
    PDQ_RULES,
    USUAL_RULE,
    Hashes,
    from_hex,
    largest_distance,
    to_hex,
)
from imgdb.pages.answers import SHOWN
from imgdb.paths import possible_spellings
from imgdb.search.images import Match, Query, query_by_hex, similar
from imgdb.serve.state import ServerState
from imgdb.serve.work import ReadQuery
from imgdb.words import printable

RULES = (USUAL_RULE, *SHOWN, *PDQ_RULES)

# More than a person looks at, and more than a program should take in at once.
MOST = 1000

Collection = Annotated[
    str | None, fastapi.Query(description="Only images of this collection.", max_length=1000)
]
Hex = Annotated[
    str | None,
    fastapi.Query(
        description="16 hex digits, 64 of PDQ; for a rule of two hashes both, joined by + (%2B).",
        max_length=100,
    ),
]
KnownPath = Annotated[
    str | None,
    fastapi.Query(description="The path or the name of an image of the database.", max_length=2600),
]
Limit = Annotated[int, fastapi.Query(ge=1, le=MOST, description="At most so many matches.")]


@dataclass(frozen=True, slots=True)
class SearchChoices:
    """How to search."""

    hash: str | None
    max_distance: int | None
    limit: int
    collection: str | None
    any_orientation: bool
    include_flat: bool
    parts: bool
    same_colours: bool


async def _options(
    hash: Annotated[
        str | None,
        fastapi.Query(
            description=f"What to search by. Default: {USUAL_RULE}, for a hash of 16 digits phash, "
            "of 64 pdq.",
            json_schema_extra={"enum": list(RULES)},
        ),
    ] = None,
    max_distance: Annotated[
        int | None,
        fastapi.Query(
            ge=0,
            le=256,
            description="The largest distance that counts as alike. Default: that of the "
            "collection, else that of the rule.",
        ),
    ] = None,
    limit: Limit = 100,
    collection: Collection = None,
    any_orientation: Annotated[
        bool, fastapi.Query(description="Also find turned and mirrored copies.")
    ] = False,
    include_flat: Annotated[
        bool, fastapi.Query(description="Also look for flat pictures, and find them.")
    ] = False,
    parts: Annotated[
        bool,
        fastapi.Query(
            description="Also look for it without its borders, and for what shares regions with it."
        ),
    ] = True,
    same_colours: Annotated[
        bool,
        fastapi.Query(
            description="Leave out images of other colours than the picture, those whose colours "
            "are not known, and those of which only a part is alike."
        ),
    ] = False,
) -> SearchChoices:
    rule = spelled_plus(hash)
    if rule is not None and rule not in RULES:
        raise UsageError(f"no such hash: {rule}; choose from {', '.join(RULES)}")
    return SearchChoices(
        rule, max_distance, limit, collection, any_orientation, include_flat, parts, same_colours
    )


SearchOptions = Annotated[SearchChoices, Depends(_options)]


@dataclass(frozen=True, slots=True)
class AskedHashes:
    """What was looked for: its hashes in hex, None where not given, and of a picture its SHA-256.

    `flat` (a solid colour, a blank page) looks like all that is flat: without `include_flat` only
    images of the same bytes match.
    """

    ahash: str | None
    dhash: str | None
    phash: str | None
    whash: str | None
    sha256: str | None
    flat: bool


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The matches, nearest first, and by which rule and distance they were found."""

    query: AskedHashes
    hash: str
    max_distance: int
    matches: list[Match]


def spelled_plus(text: str | None) -> str | None:
    """Return a value of an address in which somebody wrote + for +: there it means a space."""
    return None if text is None else text.strip().replace(" ", "+")


def rule_of(hex_digits: str) -> str:
    """Return the rule that hex digits are meant for where nobody says one."""
    *others, last = (spelled_plus(hex_digits) or "").split("+")
    if len(last) == PDQ_DIGITS:
        return "phash-pdq" if others else "pdq"
    return USUAL_RULE if others else "phash"


def usual_distance(conn: Connection[Any], rule: str, collection: str | None) -> int:
    """Return the distance that counts as alike by a rule where nobody says one."""
    return PDQ_RULES[rule] if rule in PDQ_RULES else default_distance(conn, rule, collection)


async def search_by_file(state: ServerState, file: Path, options: SearchChoices) -> SearchAnswer:
    """Search for a picture; raises PictureError."""
    query = await asyncio.wrap_future(read_picture(state, file, options))
    return await run_in_threadpool(_search, state, query, options.hash or USUAL_RULE, options)


def read_picture(state: ServerState, file: Path, options: SearchChoices) -> Future[Query]:
    """Have a picture read that is looked for; the future may have a PictureError."""
    return state.decoder.do(_reading(options), file)


@dataclass(frozen=True, slots=True)
class FoundByPath:
    """An answer to a search for `image`; `by_hashes` where its file could not be read."""

    answer: SearchAnswer
    image: Image
    by_hashes: bool


async def search_by_path(state: ServerState, path: str, options: SearchChoices) -> FoundByPath:
    """Search for what an image of the database looks like, by its file if that is there.

    No other path is looked at: UnknownName. Raises PictureError where the file is needed, and not
    there.
    """
    stored = await run_in_threadpool(_image_at, state, path, options.collection)
    rule, by_hashes = options.hash or USUAL_RULE, False
    try:
        reading = state.decoder.do_stored(_reading(options), stored.path)
        query: Query = await asyncio.wrap_future(reading)
    except PictureError as error:
        asks_pixels = options.any_orientation or options.same_colours or rule in PDQ_RULES
        if error.reason != "missing" or asks_pixels:
            raise
        query, by_hashes = _stored_query(stored), True
    answer = await run_in_threadpool(_search, state, query, rule, options)
    return FoundByPath(answer, stored, by_hashes)


def _reading(options: SearchChoices) -> ReadQuery:
    pdq = (options.hash or USUAL_RULE) in PDQ_RULES
    return ReadQuery(any_orientation=options.any_orientation, pdq=pdq, parts=options.parts)


def _image_at(state: ServerState, path: str, collection: str | None) -> Image:
    with state.connection() as conn:
        found = image_at(conn, possible_spellings(path), collection=collection)
    if found is None:
        raise UnknownName(
            f"no image has the path {printable(path)}: ingest it, or send the picture itself"
        )
    return found


def _stored_query(stored: Image) -> Query:
    found = {name: getattr(stored, name) for name in ALGORITHMS}
    hashes = Hashes(**{name: from_hex(digits) for name, digits in found.items() if digits})
    sha256 = bytes.fromhex(stored.sha256) if stored.sha256 else None
    return Query(stored.path, hashes, sha256, stored.flat)


def search_by_hex(state: ServerState, hex_digits: str, options: SearchChoices) -> SearchAnswer:
    """Search for a hash, or for those of a rule joined by +."""
    digits = spelled_plus(hex_digits) or ""
    if options.any_orientation:
        raise UsageError("any_orientation takes a picture: a hash alone cannot be turned")
    if options.same_colours:
        raise UsageError("same_colours takes a picture: a hash alone has no colours")
    rule = options.hash or rule_of(digits)
    return _search(state, query_by_hex(rule, digits), rule, options)


def _search(state: ServerState, query: Query, rule: str, options: SearchChoices) -> SearchAnswer:
    wanted = options.max_distance
    if wanted is not None and wanted > (most := largest_distance(rule)):
        raise UsageError(f"max_distance {wanted}: by {rule} it is {most} at most")
    with state.connection() as conn:
        if wanted is None:
            wanted = usual_distance(conn, rule, options.collection)
        found = similar(
            conn,
            query,
            space=rule,
            max_distance=wanted,
            collection=options.collection,
            limit=options.limit,
            include_flat=options.include_flat,
            parts=options.parts,
            same_colours=options.same_colours,
        )
    return SearchAnswer(asked_hashes(query), rule, wanted, found)


def asked_hashes(query: Query) -> AskedHashes:
    """Say what was looked for."""
    values = (getattr(query.hashes, name) for name in ALGORITHMS)
    hashes = dict(
        zip(ALGORITHMS, (one if one is None else to_hex(one) for one in values), strict=True)
    )
    sha256 = None if query.sha256 is None else query.sha256.hex()
    return AskedHashes(**hashes, sha256=sha256, flat=query.flat)
