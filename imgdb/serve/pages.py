"""Pages for people: made of the same templates as those that are sent by mail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated

import fastapi
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from imgdb.database.collections import list_collections
from imgdb.database.images import Image
from imgdb.hashes.orientations import AS_IS, by_words
from imgdb.hashes.values import PDQ_RULES, rule_hashes
from imgdb.pages.answers import SHOWN
from imgdb.pages.render import render_part, render_served
from imgdb.pictures.thumbnail import Thumbnail
from imgdb.search.images import Match, any_pdq
from imgdb.serve.searching import (
    MOST,
    RULES,
    Hex,
    KnownPath,
    SearchAnswer,
    SearchChoices,
    SearchOptions,
    rule_of,
    search_by_file,
    search_by_hex,
    search_by_path,
    usual_distance,
)
from imgdb.serve.state import ServerState, TheState
from imgdb.serve.uploads import uploaded
from imgdb.workers.thumbnails import side_for
from imgdb.workers.work import MakeThumbnails

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

# What the header of every page leads to: address, and word.
PLACES = (("/", "Find"), ("/review", "Review"), ("/basket", "Basket"), ("/api", "API"))

# Of one hash: how far the slider goes, which is how far the index reaches (docs/search.md).
FARTHEST = 12

# Sides of a picture that is looked at in full, in pixels.
LARGE = 1600

# What a picture is taken for until its size is known.
_UNKNOWN = (4, 3)


def served_page(template: str, *, parts: Sequence[str] = (), **values: object) -> HTMLResponse:
    """Return a page of a template that extends `served.html`; `here` is its address."""
    html = render_served(template, parts=("served", *parts), places=PLACES, **values)
    # The page itself says, in its head, what it may load.
    return HTMLResponse(html, headers={"Content-Security-Policy": "frame-ancestors 'none'"})


@dataclass(frozen=True, slots=True)
class LinkedThumbnail:
    """A thumbnail that the browser fetches when it is seen; `large` is the picture in full."""

    address: str
    large: str
    small_width: int
    small_height: int


def linked(image_id: int, width: int | None, height: int | None, *, side: int) -> LinkedThumbnail:
    """Return the thumbnail of an image whose file has `width` and `height`, if known."""
    wide, high = (width, height) if width and height else _UNKNOWN
    share = side / max(wide, high)
    address = f"/api/images/{image_id}/thumbnail?side="
    return LinkedThumbnail(
        f"{address}{side}",
        f"{address}{LARGE}",
        max(round(wide * share), 1),
        max(round(high * share), 1),
    )


@router.get("/")
def find(state: TheState) -> HTMLResponse:
    """Show the page to find pictures on."""
    with state.connection() as conn:
        collections = list_collections(conn)
        rules = [one for one in RULES if one not in PDQ_RULES or any_pdq(conn)]
    return served_page(
        "find.html",
        parts=("pictures", "lens", "answers", "find"),
        here="/",
        rules=rules,
        collections=collections,
        images=sum(one.images for one in collections),
    )


@router.get("/api")
def describe(request: Request) -> HTMLResponse:
    """Show what programs can ask, as /api/openapi.json says it."""
    described = request.app.openapi()
    endpoints = [
        {"method": method.upper(), "path": path, **about}
        for path, methods in described["paths"].items()
        for method, about in methods.items()
    ]
    origin = str(request.base_url).rstrip("/")
    return served_page("api.html", parts=("api",), here="/api", endpoints=endpoints, origin=origin)


@router.post("/find")
async def find_by_picture(
    request: Request,
    state: TheState,
    options: SearchOptions,
    name: Annotated[str, fastapi.Query(max_length=1000)] = "picture",
) -> HTMLResponse:
    """Show what looks like the picture in the body, as a part of the page."""
    rule = options.hash or RULES[0]
    usual, wide = await run_in_threadpool(_to_the_end, state, options, rule)
    async with uploaded(request, state) as file:
        preview = asyncio.wrap_future(state.decoder.do(MakeThumbnails(side=LARGE), file))
        answer, shown = await asyncio.gather(search_by_file(state, file, wide), preview)
    return _found(answer, options, usual, name, _uploaded(shown))


@router.get("/find")
async def find_stored(
    state: TheState, options: SearchOptions, hex: Hex = None, path: KnownPath = None
) -> HTMLResponse:
    """Show what has nearly a hash, or looks like a stored image, as a part of the page."""
    if path is None:
        rule = options.hash or rule_of(hex or "")
        usual, wide = await run_in_threadpool(_to_the_end, state, options, rule)
        answer = await run_in_threadpool(search_by_hex, state, hex or "", wide)
        return _found(answer, options, usual, hex or "", None)
    usual, wide = await run_in_threadpool(_to_the_end, state, options, options.hash or RULES[0])
    found = await search_by_path(state, path, wide)
    shown = None if found.by_hashes else _of_image(found.image)
    return _found(found.answer, options, usual, found.image.path, shown, stored=found.by_hashes)


def _to_the_end(state: ServerState, options: SearchChoices, rule: str) -> tuple[int, SearchChoices]:
    """Return the usual distance of a rule, and how to search to the end of the slider."""
    with state.connection() as conn:
        usual = usual_distance(conn, rule, options.collection)
    end = usual if rule in PDQ_RULES else max(usual, FARTHEST * len(rule_hashes(rule)))
    return usual, replace(options, hash=rule, max_distance=end, limit=MOST)


def _found(
    answer: SearchAnswer,
    options: SearchChoices,
    usual: int,
    name: str,
    shown: Mapping[str, object] | None,
    *,
    stored: bool = False,
) -> HTMLResponse:
    side = side_for(len(answer.matches))
    # Who finds the candidates does not matter to who looks at them.
    rule = "pdq" if answer.hash in PDQ_RULES else answer.hash
    html = render_part(
        "query.html",
        layout="bare.html",
        answers=[
            {
                "query": {"name": name, "thumbnail": shown, "images": ()},
                "matches": [_card(match, side) for match in answer.matches],
            }
        ],
        hashes=(rule, *(one for one in SHOWN if one != rule)),
        collection=options.collection,
        usual=usual,
        farthest=answer.max_distance,
        total=len(answer.matches),
        more=len(answer.matches) == MOST,
        flat=answer.query.flat and not options.include_flat,
        stored=stored,
    )
    return HTMLResponse(html)


def _uploaded(shown: Thumbnail) -> dict[str, object]:
    """Return what is known of a picture in a body: not when its file was changed."""
    names = ("address", "small_width", "small_height", "width", "height", "frames", "byte_size")
    return {name: getattr(shown, name) for name in (*names, "format")} | {"modified_at": None}


def _of_image(image: Image) -> dict[str, object]:
    """Return what is known of an image of the database, as of a picture in a body."""
    thumbnail = linked(image.image_id, image.width, image.height, side=LARGE)
    return asdict(image) | asdict(thumbnail)


def _card(match: Match, side: int) -> dict[str, object]:
    return {
        "match": match,
        "thumbnail": linked(match.image_id, match.width, match.height, side=side),
        # What turns the query back, to lie over the match.
        "turn": by_words(match.orientation or AS_IS.words).inverse(),
    }
