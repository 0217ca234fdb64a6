"""Review: groups of images that look alike, one image beside another, until all is decided.

The server keeps the groups that a search found; what was decided is in the database alone. So a
reload, a kill and another browser go on where the last decision was made.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import psycopg
from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, create_model

from imgdb.database.collections import list_collections
from imgdb.database.spaces import default_distance
from imgdb.duplicates import review
from imgdb.duplicates.apply import Done, MoveToTrash, apply, restore
from imgdb.duplicates.groups import (
    OF_GROUP,
    DuplicateChoice,
    Group,
    GroupRow,
    duplicates,
    group_object,
)
from imgdb.duplicates.marks import mark_images
from imgdb.duplicates.metadata import more_metadata
from imgdb.duplicates.plan import read_plan, write_plan
from imgdb.duplicates.review import Decision, Open, Verdict
from imgdb.duplicates.trash import Trash
from imgdb.errors import PictureError, UnknownName
from imgdb.hashes.values import USUAL_RULE
from imgdb.pages.answers import SHOWN
from imgdb.pages.render import render_part
from imgdb.paths import absolute, path_text
from imgdb.serve.api import MAY_CHANGE, PROBLEMS, ImageId
from imgdb.serve.pages import LARGE, LinkedThumbnail, linked, served_page
from imgdb.serve.state import ServerState, TheState
from imgdb.workers.work import ReadMetadata

# Bytes of JSON: decisions about a group of 100,000 images.
_MAX_BODY = 8 << 20

router = APIRouter(responses=PROBLEMS, max_body_size=_MAX_BODY)

# Searches whose groups are kept: a slider makes a few.
_KEPT = 8


class Filters(BaseModel):
    """Which groups are looked at, by the names of the options of `imgdb duplicates`."""

    model_config = ConfigDict(extra="forbid")

    hash: str = USUAL_RULE
    max_distance: int | None = Field(None, ge=0, le=128)
    tier: str = "near"
    keep: str = "most-pixels"
    collection: str | None = None
    # Only groups with an image in this folder or below.
    folder: str | None = None
    # Only groups with an image whose colours are those of the keeper, or are not.
    colours: Literal["all", "same", "unlike"] = "all"

    def choice(self) -> DuplicateChoice:
        """Return the search that finds the groups."""
        return DuplicateChoice(
            space=self.hash,
            max_distance=self.max_distance,
            tier=self.tier,
            keep=self.keep,
            collection=self.collection or None,
            parts=False,
        )

    def takes(self, group: Group) -> bool:
        """Tell whether a group that was found is wanted."""
        if self.colours != "all":
            unlike = self.colours == "unlike"
            if not any(bool(one.colours_matter) == unlike for one in group.members[1:]):
                return False
        if not self.folder:
            return True
        below = path_text(absolute(self.folder)).rstrip("/") + "/"
        return any(member.path.startswith(below) for member in group.members)


class Page(Filters):
    """One page of groups; `after` is what the page before calls next."""

    after: int | None = None
    limit: int = Field(50, ge=1, le=500)


TheFilters = Annotated[Filters, Query()]


@dataclass(slots=True)
class Groups:
    """The groups of the last searches, each of one kind, those with the most bytes first.

    `searched` is how much of the search is done that runs now, from 0 to 1; None where none runs.
    """

    searched: float | None = None

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _found: dict[DuplicateChoice, list[Group]] = field(default_factory=dict)

    def find(self, state: ServerState, filters: Filters) -> list[Group]:
        """Return the groups, from the last search of this kind if there was one."""
        choice = filters.choice()
        found = self._found.get(choice)
        if found is None:
            # Searches take seconds: one at a time, and who waits for it holds no connection.
            with self._lock:
                found = self._found.get(choice)
                if found is None:
                    try:
                        found = self._found[choice] = _search(state, choice, self._watch)
                    finally:
                        self.searched = None
                    while len(self._found) > _KEPT:
                        del self._found[next(iter(self._found))]
        return [group for group in found if filters.takes(group)]

    def _watch(self, done: float) -> None:
        self.searched = done

    def forget(self) -> None:
        """Have the next request search again: files went, or came back."""
        with self._lock:
            self._found.clear()


def _search(
    state: ServerState, choice: DuplicateChoice, watching: Callable[[float], None]
) -> list[Group]:
    watching(0)
    with state.connection() as conn:
        found = duplicates(conn, choice, watching=watching)
    parts = [part for group in found for part in group.parts()]
    # What is alone of its kind is nothing to decide.
    several = [_of_its_own(part) for part in parts if len(part.members) > 1]
    return sorted(several, key=lambda part: -part.reclaimable_bytes)


def _of_its_own(part: Group) -> Group:
    freed = sum(one.freed_bytes or 0 for one in part.members)
    members = [
        replace(one, reclaimable_bytes=freed, images=len(part.members)) for one in part.members
    ]
    return replace(part, reclaimable_bytes=freed, members=members)


async def _groups(request: Request) -> Groups:
    found: Groups = request.app.state.groups
    return found


TheGroups = Annotated[Groups, Depends(_groups)]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a review is: groups with nothing left to decide, and what would be removed."""

    groups: int
    done: int
    removed_images: int
    removed_bytes: int


# -- pages -----------------------------------------------------------------------------------------


@router.get("/review", include_in_schema=False)
def review_page(state: TheState, filters: TheFilters) -> HTMLResponse:
    """Show the page, which asks for the first pair by itself."""
    with state.connection() as conn:
        collections = [collection.name for collection in list_collections(conn)]
        distance = filters.max_distance
        if distance is None:
            distance = default_distance(conn, filters.hash, filters.collection)
    return served_page(
        "review.html",
        parts=("pictures", "lens", "review"),
        here="/review",
        filters=filters,
        max_distance=distance,
        collections=collections,
        allow_changes=state.allow_changes,
        hashes=(filters.hash, *(name for name in SHOWN if name != filters.hash)),
    )


@router.get("/review/pair", include_in_schema=False)
def pair(state: TheState, found: TheGroups, filters: TheFilters) -> HTMLResponse:
    """Show the next image that is to be decided about, beside what stays."""
    groups = found.find(state, filters)
    with state.connection() as conn:
        decided = review.decisions(conn)
        left = [one for group in groups if (one := review.still_open(group, decided)) is not None]
        skipped = sum(one.verdict == Verdict.skip for one in decided.values())
        progress = _progress(conn, len(groups), len(groups) - len(left))
        sides = (left[0].left, left[0].candidates[0]) if left else ()
        raws = [one.image_id for one in sides if review.raw_beside(conn, one.path)]
    shown = render_part(
        "pair.html",
        open=left[0] if left else None,
        number=groups.index(left[0].group) + 1 if left else 0,
        proposal=_proposal(left[0]) if left else [],
        coming=[_shown(one).address for one in _coming(left)],
        progress=progress,
        skipped=skipped,
        raws=raws,
        shown=_shown,
        allow_changes=state.allow_changes,
        hashes=(filters.hash, *(name for name in SHOWN if name != filters.hash)),
    )
    return HTMLResponse(shown)


@router.get("/review/searched", include_in_schema=False)
async def search_progress(found: TheGroups) -> float | None:
    """Tell how much of the search for groups is done, from 0 to 1, while one runs."""
    return found.searched


@router.get("/basket", include_in_schema=False)
def basket_page(state: TheState) -> HTMLResponse:
    """Show what was decided to be removed, by what is kept for it."""
    with state.connection() as conn:
        groups = review.basket(conn)
    return served_page(
        "basket.html",
        parts=("pictures", "basket"),
        here="/basket",
        groups=groups,
        images=sum(len(group.removable) for group in groups),
        reclaimable_bytes=sum(group.reclaimable_bytes for group in groups),
        trash=path_text(state.trash),
        allow_changes=state.allow_changes,
    )


def _proposal(left: Open) -> list[int]:
    """Return the images that go if the proposal is accepted as it stands."""
    if left.left is not left.group.keeper:
        return []
    return [member.image_id for member in left.candidates if member.removable]


def _coming(left: Sequence[Open]) -> list[GroupRow]:
    """Return the images that will be looked at next, for a browser to fetch before."""
    if not left:
        return []
    following = [one for other in left[1:2] for one in (other.left, other.candidates[0])]
    return [*left[0].candidates[1:3], *following]


def _shown(member: GroupRow) -> LinkedThumbnail:
    return linked(member.image_id, member.width, member.height, side=LARGE)


PATHS = "SELECT image_id, path FROM imgdb.image WHERE image_id = ANY (%s)"
REMOVED = (
    "SELECT count(*), coalesce(sum(i.byte_size), 0)::bigint FROM imgdb.decision AS d"
    " JOIN imgdb.image AS i ON i.image_id = d.image_id"
    " WHERE d.verdict = 'remove' AND i.missing_since IS NULL"
)


def _progress(conn: psycopg.Connection[Any], groups: int, done: int) -> Standing:
    row = conn.execute(REMOVED).fetchone()
    assert row is not None
    return Standing(groups, done, *row)


# -- decisions -------------------------------------------------------------------------------------


class NewDecision(BaseModel):
    """A verdict about an image beside another one, which stays."""

    model_config = ConfigDict(extra="forbid")

    image_id: ImageId
    beside_id: ImageId
    verdict: Verdict


_OF_IMAGE: dict[str, Any] = {
    name: (kind, ...)
    for name, kind in {**get_type_hints(GroupRow), "sha256": str | None}.items()
    if name not in OF_GROUP
}
ImageOfGroup: Any = create_model("ImageOfGroup", **_OF_IMAGE)


class GroupOfImages(BaseModel):
    """Images that look alike, the one to keep first, and what was decided about them."""

    group_id: int
    tier: str
    diameter: int | None
    images: int
    reclaimable_bytes: int
    members: list[ImageOfGroup]
    decisions: list[Decision]


class PageOfGroups(BaseModel):
    """Groups, how many there are in all, and what the next page is asked for after."""

    groups: list[GroupOfImages]
    total: int
    next: int | None


@router.get("/api/groups", responses={200: {"model": PageOfGroups}})
def groups(
    state: TheState,
    found: TheGroups,
    filters: Annotated[Page, Query()],
) -> Response:
    """List groups of images that look alike, the most bytes first, as `imgdb duplicates` does."""
    listed = found.find(state, filters)
    with state.connection() as conn:
        decided = review.decisions(conn)
    start = 0
    if filters.after is not None:
        start = next(
            (place + 1 for place, one in enumerate(listed) if one.keeper.image_id == filters.after),
            len(listed),
        )
    page = listed[start : start + filters.limit]
    answer = {
        "groups": [
            group_object(group)
            | {
                "decisions": [
                    decided[member.image_id]
                    for member in group.members
                    if member.image_id in decided
                ]
            }
            for group in page
        ],
        "total": len(listed),
        "next": page[-1].keeper.image_id if start + filters.limit < len(listed) else None,
    }
    return JSONResponse(jsonable_encoder(answer, custom_encoder={bytes: bytes.hex}))


@router.post("/api/groups/search-again", status_code=204, dependencies=MAY_CHANGE)
def search_again(found: TheGroups) -> None:
    """Forget the groups that were found: the next request searches again."""
    found.forget()


@router.get("/api/decisions")
def list_decisions(state: TheState) -> list[Decision]:
    """List what was decided, in its order."""
    with state.connection() as conn:
        return [*review.decisions(conn).values()]


@router.post("/api/decisions", status_code=204, dependencies=MAY_CHANGE)
def add_decisions(state: TheState, new: Annotated[list[NewDecision], Body(min_length=1)]) -> None:
    """Note decisions, all of them or none."""
    with state.connection() as conn:
        review.decide(conn, [Decision(one.image_id, one.beside_id, one.verdict) for one in new])


@router.delete("/api/decisions/last", dependencies=MAY_CHANGE)
def undo(state: TheState) -> list[Decision]:
    """Take back, and return, the last decision, with what was decided together with it."""
    with state.connection() as conn:
        return review.undecide(conn)


@router.delete("/api/decisions/skipped", dependencies=MAY_CHANGE)
def ask_skipped_again(state: TheState) -> int:
    """Forget what was skipped, so that it is asked again; return how many images that were."""
    with state.connection() as conn:
        return review.ask_again(conn)


@router.delete("/api/decisions/{image_id}", dependencies=MAY_CHANGE)
def undo_one(state: TheState, image_id: ImageId) -> list[Decision]:
    """Take back, and return, what was decided about an image, if anything was."""
    with state.connection() as conn:
        return review.undecide(conn, image_id)


@dataclass(frozen=True, slots=True)
class Marked:
    """How many pairs are remembered as different."""

    pairs: int


@router.post("/api/marks", dependencies=MAY_CHANGE)
def mark_pairs(
    state: TheState,
    # Each beside each other one: a thousand are half a million pairs.
    image_ids: Annotated[list[ImageId], Body(embed=True, min_length=2, max_length=1000)],
) -> Marked:
    """Remember for good that each of several images is different from each other one."""
    with state.connection() as conn:
        return Marked(mark_images(conn, image_ids))


@dataclass(frozen=True, slots=True)
class MoreMetadata:
    """The kinds of metadata that an image has and the other one lacks, and the other way round."""

    image: Sequence[str] = ()
    beside: Sequence[str] = ()


@router.get("/api/metadata")
def compare_more(state: TheState, image_id: ImageId, beside_id: ImageId) -> MoreMetadata:
    """Say which kinds of metadata each of two files has that the other one lacks."""
    with state.connection() as conn:
        paths = dict(conn.execute(PATHS, ([image_id, beside_id],)).fetchall())
    unknown = {image_id, beside_id} - paths.keys()
    if unknown:
        raise UnknownName(f"there is no image {min(unknown)}")
    work = ReadMetadata()
    reading = [state.decoder.do_stored(work, paths[one]) for one in (image_id, beside_id)]
    try:
        a, b = (one.result() for one in reading)
    except PictureError:  # of a file that cannot be read nothing is said
        return MoreMetadata()
    return MoreMetadata(more_metadata(a, b), more_metadata(b, a))


# -- the basket ------------------------------------------------------------------------------------


@router.get("/api/plan", response_class=PlainTextResponse)
def plan(state: TheState) -> str:
    """Return what was decided as a plan, as `imgdb apply` reads it."""
    with state.connection() as conn, tempfile.TemporaryDirectory() as folder:
        return _write(conn, folder).read_text("utf-8")


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What became of each file."""

    done: list[Done]


@router.post("/api/plan/apply", dependencies=MAY_CHANGE)
def apply_plan(state: TheState, found: TheGroups) -> CarriedOut:
    """Prove every file again and move what goes to the trash; say what became of each."""
    with state.connection() as conn, tempfile.TemporaryDirectory() as folder:
        action = MoveToTrash(Trash(state.trash), with_companions=True)
        try:
            return CarriedOut([*apply(conn, read_plan(_write(conn, folder)), action)])
        finally:
            found.forget()


@router.post("/api/plan/restore", dependencies=MAY_CHANGE)
def restore_trash(state: TheState, found: TheGroups) -> CarriedOut:
    """Put everything in the trash back to where it was; say what became of each file."""
    with state.connection() as conn:
        try:
            return CarriedOut([*restore(conn, state.trash)])
        finally:
            found.forget()


def _write(conn: psycopg.Connection[Any], folder: str) -> Path:
    file = Path(folder, "plan.txt")
    write_plan(file, review.basket(conn))
    return file
