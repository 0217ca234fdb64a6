"""The API for programs: the names are those of what commands print as JSON (docs/output.md)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import fastapi
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from imgdb import schema
from imgdb.database.collections import Collection, list_collections
from imgdb.database.images import (
    Image,
    image,
    newest_image,
    remove_image,
    remove_image_by_id,
)
from imgdb.errors import UsageError
from imgdb.hashes.fingerprint import Fingerprint
from imgdb.hashes.values import ALGORITHMS, pdq_to_hex, to_hex
from imgdb.ingest.store import store_one
from imgdb.pictures.thumbnail import Thumbnail
from imgdb.search.parts import RegionMatch, RegionQuery, sharing_parts
from imgdb.serve import searching
from imgdb.serve.problems import PROBLEM, RequestRefused
from imgdb.serve.searching import (
    SearchAnswer,
    SearchOptions,
    search_by_file,
    search_by_hex,
    search_by_path,
)
from imgdb.serve.state import ServerState, TheState
from imgdb.serve.uploads import BINARY, PICTURE_BODY, uploaded
from imgdb.serve.work import ReadRegions
from imgdb.workers.work import HashFiles, MakeThumbnails

# The largest side of a picture that is handed out, in pixels.
LARGEST_SIDE = 2560


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """Why a request failed; where a picture cannot be read, a word of docs/pictures.md says why."""

    type: str
    title: str
    status: int
    detail: str
    reason: str | None = None


_PROBLEM: dict[str, Any] = {
    "description": "A problem, as RFC 9457 has it",
    "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    "model": ProblemDetails,
}
PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": _PROBLEM, "5XX": _PROBLEM}

router = APIRouter(responses=PROBLEMS)


async def _may_change(state: TheState) -> None:
    if not state.allow_changes:
        raise RequestRefused(
            HTTPStatus.FORBIDDEN, "nothing can be changed: imgdb serve runs without --allow-changes"
        )


# For every endpoint that writes: the body is not even read where it may not.
MAY_CHANGE = [Depends(_may_change)]


# -- search ---------------------------------------------------------------------------------------


@router.post("/search", openapi_extra=PICTURE_BODY)
async def search_picture(request: Request, state: TheState, options: SearchOptions) -> SearchAnswer:
    """Find the images that look like a picture: the body is its file."""
    async with uploaded(request, state) as file:
        return await search_by_file(state, file, options)


@router.get("/search")
async def search_stored(
    state: TheState,
    options: SearchOptions,
    hex: searching.Hex = None,
    path: searching.KnownPath = None,
) -> SearchAnswer:
    """Find the images that have nearly a hash, or look like an image of the database."""
    if (hex is None) == (path is None):
        raise UsageError("give either hex or path")
    if path is not None:
        return (await search_by_path(state, path, options)).answer
    return await run_in_threadpool(search_by_hex, state, hex or "", options)


@router.post("/parts", openapi_extra=PICTURE_BODY)
async def parts(
    request: Request,
    state: TheState,
    max_distance: Annotated[int | None, fastapi.Query(ge=0, le=64)] = None,
    min_votes: Annotated[
        int | None,
        fastapi.Query(
            ge=1, description="Default: so many that chance shows 0.1 images in a search."
        ),
    ] = None,
    limit: searching.Limit = 100,
    collection: searching.Collection = None,
) -> list[RegionMatch]:
    """Find the images that share a part with a picture: crops, collages."""
    async with uploaded(request, state) as file:
        query: RegionQuery = await asyncio.wrap_future(state.decoder.do(ReadRegions(), file))

    def find() -> list[RegionMatch]:
        with state.connection() as conn:
            return sharing_parts(
                conn,
                query,
                max_distance=max_distance,
                min_votes=min_votes,
                limit=limit,
                collection=collection,
            )

    return await run_in_threadpool(find)


# -- pictures -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HashesOfPicture:
    """The hashes of a picture in hex and as the bigint that is stored; PDQ where asked for."""

    ahash: str
    dhash: str
    phash: str
    whash: str
    ahash_bigint: int
    dhash_bigint: int
    phash_bigint: int
    whash_bigint: int
    flat: bool
    pdq: str | None
    pdq_quality: int | None


@router.post("/hash", openapi_extra=PICTURE_BODY)
async def hash_picture(
    request: Request, state: TheState, pdq: Annotated[bool, fastapi.Query()] = False
) -> HashesOfPicture:
    """Make the hashes of a picture; nothing is stored."""
    made = await _fingerprint(request, state, HashFiles(pdq=pdq))
    hashes: dict[str, Any] = {name: getattr(made, name) for name in ALGORITHMS}
    spelled: dict[str, Any] = {name: to_hex(value) for name, value in hashes.items()}
    return HashesOfPicture(
        **spelled,
        **{f"{name}_bigint": value for name, value in hashes.items()},
        flat=made.flat,
        pdq=pdq_to_hex(made.pdq.pdq) if made.pdq else None,
        pdq_quality=made.pdq.quality if made.pdq else None,
    )


async def _fingerprint(request: Request, state: ServerState, work: HashFiles) -> Fingerprint:
    async with uploaded(request, state) as file:
        made: Fingerprint = await asyncio.wrap_future(state.decoder.do(work, file))
        return made


NameOfImage = Annotated[
    str,
    fastapi.Query(
        description="A name of yours for the picture; no absolute path.", max_length=2600
    ),
]
InCollection = Annotated[str, fastapi.Query(description="The collection.", max_length=1000)]


@router.post(
    "/images",
    status_code=201,
    responses={200: {"model": Image, "description": "It replaced what had the name"}},
    dependencies=MAY_CHANGE,
    openapi_extra=PICTURE_BODY,
)
async def add_image(
    request: Request,
    response: Response,
    state: TheState,
    id: NameOfImage,
    collection: InCollection = "default",
    regions: Annotated[bool, fastapi.Query(description="Also find its regions.")] = False,
    pdq: Annotated[bool, fastapi.Query(description="Also make its PDQ.")] = False,
) -> Image:
    """Store the hashes of a picture under a name of yours; its file is not kept.

    What has the name already is replaced (status 200 instead of 201).
    """
    _check_name(id)
    made = await _fingerprint(request, state, HashFiles(regions=regions, pdq=pdq))

    def store() -> tuple[Image, bool]:
        with state.connection() as conn:
            image_id, stored = store_one(conn, collection, id, made)
            return image(conn, image_id), bool(stored.added)

    stored, added = await run_in_threadpool(store)
    if not added:
        response.status_code = HTTPStatus.OK
    return stored


# What a bigint of the database holds.
ImageId = Annotated[int, Field(ge=0, lt=1 << 63)]


@dataclass(frozen=True, slots=True)
class Removed:
    """The image that is gone."""

    image_id: int


@router.delete("/images", dependencies=MAY_CHANGE)
def forget_image(state: TheState, id: NameOfImage, collection: InCollection = "default") -> Removed:
    """Forget a picture that was stored by its name."""
    _check_name(id)
    with state.connection() as conn:
        return Removed(remove_image(conn, id, collection))


@router.delete("/images/{image_id}", dependencies=MAY_CHANGE)
def forget_image_by_id(state: TheState, image_id: ImageId) -> Removed:
    """Forget an image: its row goes, its file stays."""
    with state.connection() as conn:
        remove_image_by_id(conn, image_id)
    return Removed(image_id)


def _check_name(name: str) -> None:
    # Of an absolute path there is a file, which a thumbnail would show.
    if name.startswith("/"):
        raise UsageError("an absolute path is the name of a file: give another name")


@router.get("/images/{image_id}")
def show_image(state: TheState, image_id: ImageId) -> Image:
    """Tell what is known of an image."""
    with state.connection() as conn:
        return image(conn, image_id)


@router.get(
    "/images/{image_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/*": {"schema": BINARY}}, "description": "The picture"}},
)
async def thumbnail(
    state: TheState,
    image_id: ImageId,
    side: Annotated[
        int, fastapi.Query(ge=16, le=LARGEST_SIDE, description="Of the longer side, in pixels.")
    ] = 320,
) -> Response:
    """Show an image, upright and made small, as its file is now."""
    found = await run_in_threadpool(show_image, state, image_id)
    made: Thumbnail = await asyncio.wrap_future(
        state.decoder.do_stored(MakeThumbnails(side=side), found.path)
    )
    return Response(made.content, media_type=made.media_type)


# -- the database ---------------------------------------------------------------------------------


@router.get("/collections")
def show_collections(state: TheState) -> list[Collection]:
    """List the collections by name."""
    with state.connection() as conn:
        return list_collections(conn)


@dataclass(frozen=True, slots=True)
class Health:
    """That searches work: the schema's revision, PostgreSQL's version, and the newest image."""

    status: Literal["ok"]
    schema: str
    server: str
    newest_image: datetime | None
    allow_changes: bool


@router.get("/health")
def health(state: TheState) -> Health:
    """Tell whether the database answers, and how new what it knows is."""
    with state.connection() as conn:
        return Health(
            status="ok",
            schema=str(schema.current_revision(conn)),
            server=str(conn.info.parameter_status("server_version")),
            newest_image=newest_image(conn),
            allow_changes=state.allow_changes,
        )
