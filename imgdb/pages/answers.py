"""What the pages of searches share: each query beside its matches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imgdb.errors import PictureError
from imgdb.pages import render
from imgdb.pictures.thumbnail import Thumbnail
from imgdb.search.images import Match, Query
from imgdb.search.parts import RegionMatch, RegionQuery
from imgdb.workers.thumbnails import side_for, thumbnails

# The distances of a match in the order in which people should look at them.
SHOWN = ("phash", "dhash", "whash", "ahash")

Found = TypeVar("Found", bound=Match | RegionMatch)
Shown = Thumbnail | PictureError


@dataclass(frozen=True, slots=True)
class _Query:
    """A query as the page shows it; `images` are the paths of those that are this very file."""

    name: str
    thumbnail: Shown | None
    images: Sequence[str]


def answers_page(
    template: str,
    answers: Sequence[tuple[Query | RegionQuery, Sequence[Found]]],
    *,
    parts: Sequence[str],
    title: str,
    watching: Callable[[int], None],
    described: Callable[[Found], Mapping[str, object]] = lambda match: {},
    **values: object,
) -> str:
    """Return the page of a template that extends `answers.html`.

    `title` goes before the name of the query, `described` adds to what the template is told of a
    match, and `watching` is told how many pictures are read.
    """
    paths = [match.path for _, matches in answers for match in matches]
    files = [query.name for query, _ in answers if query.sha256 is not None]
    made = thumbnails([*files, *paths], side=side_for(len(set(paths))), watching=watching)
    return render.render_page(
        template,
        parts=parts,
        title=f"{title} {_names(answers)}",
        total=len(paths),
        answers=[
            {
                "query": _shown(query, matches, made),
                "matches": [
                    {"match": match, "thumbnail": made[match.path], **described(match)}
                    for match in matches
                ],
            }
            for query, matches in answers
        ],
        **values,
    )


def _shown(
    query: Query | RegionQuery, matches: Sequence[Found], made: Mapping[str, Shown]
) -> _Query:
    if query.sha256 is None:
        return _Query(query.name, None, ())
    images = [match.path for match in matches if match.same_bytes]
    return _Query(query.name, made[query.name], images)


def _names(answers: Sequence[tuple[Query | RegionQuery, Sequence[Found]]]) -> str:
    if len(answers) == 1:
        return answers[0][0].name.rpartition("/")[2]
    return f"{len(answers)} others"
