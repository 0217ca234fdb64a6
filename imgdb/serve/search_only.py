"""The API over a login that may search and nothing else: searches and hashes, no page, no picture.

What the database refuses to this login, no request can get, whatever is wrong here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

import fastapi
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from imgdb.errors import UsageError
from imgdb.hashes.values import USUAL_RULE
from imgdb.search.find import Found, find_images
from imgdb.search.images import Query, query_by_hex
from imgdb.serve import api
from imgdb.serve.searching import (
    AskedHashes,
    SearchChoices,
    SearchOptions,
    asked_hashes,
    read_picture,
    rule_of,
    spelled_plus,
)
from imgdb.serve.state import ServerState, TheState
from imgdb.serve.uploads import PICTURE_BODY, uploaded

router = APIRouter(responses=api.PROBLEMS)
router.add_api_route("/hash", api.hash_picture, methods=["POST"], openapi_extra=PICTURE_BODY)


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """The matches, nearest first; without `max_distance` within what counts as alike."""

    query: AskedHashes
    hash: str
    max_distance: int | None
    matches: list[Found]


@router.post("/search", openapi_extra=PICTURE_BODY)
async def find_picture(request: Request, state: TheState, options: SearchOptions) -> FoundAnswer:
    """Find the images that look like a picture, whole or within its borders: the body is its file.

    Says where they are and how far, and nothing else.
    """
    async with uploaded(request, state) as file:
        query = await asyncio.wrap_future(read_picture(state, file, options))
    return await run_in_threadpool(_find, state, query, options.hash or USUAL_RULE, options)


@router.get("/search")
def find_hex(
    state: TheState,
    options: SearchOptions,
    hex: Annotated[
        str, fastapi.Query(description="As in a search by who may read.", max_length=100)
    ],
) -> FoundAnswer:
    """Find the images that have nearly a hash; say where they are and how far."""
    if options.any_orientation:
        raise UsageError("any_orientation takes a picture: a hash alone cannot be turned")
    digits = spelled_plus(hex) or ""
    rule = options.hash or rule_of(digits)
    return _find(state, query_by_hex(rule, digits), rule, options)


def _find(state: ServerState, query: Query, rule: str, options: SearchChoices) -> FoundAnswer:
    if options.same_colours or options.include_flat:
        raise UsageError("same_colours and include_flat need a login that may read images")
    with state.connection() as conn:
        matches = find_images(
            conn,
            query,
            space=rule,
            max_distance=options.max_distance,
            collection=options.collection,
            limit=options.limit,
        )
    return FoundAnswer(asked_hashes(query), rule, options.max_distance, matches)


@dataclass(frozen=True, slots=True)
class SearchHealth:
    """That searches work, and PostgreSQL's version."""

    status: Literal["ok"]
    server: str


@router.get("/health", name="health")
def search_health(state: TheState) -> SearchHealth:
    """Tell whether the database answers a search."""
    with state.connection() as conn:
        find_images(conn, query_by_hex("phash", "0" * 16), space="phash", limit=1)
        return SearchHealth("ok", str(conn.info.parameter_status("server_version")))
