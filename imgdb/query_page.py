"""The page of `imgdb query`: each query beside its matches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imgdb import report
from imgdb.errors import PictureError
from imgdb.hashing import ALGORITHMS
from imgdb.orientations import AS_IS, by_words
from imgdb.search import Match, Query
from imgdb.thumbnail import Thumbnail
from imgdb.thumbnails import side_for, thumbnails

PARTS = ("pictures", "lens", "marks", "query")

Answer = tuple[Query, Sequence[Match]]
Shown = Thumbnail | PictureError


@dataclass(frozen=True, slots=True)
class _Query:
    """A query as the page shows it; `images` are the paths of those that are this very file."""

    name: str
    thumbnail: Shown | None
    images: Sequence[str]


def query_page(
    answers: Sequence[Answer],
    *,
    hash: str,
    max_distance: int | None = None,
    collection: str | None = None,
    watching: Callable[[int], None] = lambda done: None,
) -> str:
    """Return the page for what was found by a hash; `watching` is told how many pictures are read.

    `max_distance` is what was asked for, None for the default of the space.
    """
    paths = [match.path for _, matches in answers for match in matches]
    files = [query.name for query, _ in answers if query.sha256 is not None]
    made = thumbnails([*files, *paths], side=side_for(len(set(paths))), watching=watching)
    farthest = [getattr(match, f"{hash}_distance") for _, matches in answers for match in matches]
    return report.render(
        "query.html",
        parts=PARTS,
        title=_title(answers),
        total=len(paths),
        max_distance=max_distance,
        farthest=max((bits for bits in farthest if bits is not None), default=0),
        hashes=(hash, *(name for name in ALGORITHMS if name != hash)),
        collection=collection,
        answers=[
            {
                "query": _shown(query, matches, made),
                "matches": [_found(match, made) for match in matches],
            }
            for query, matches in answers
        ],
    )


def _found(match: Match, made: Mapping[str, Shown]) -> dict[str, object]:
    return {
        "match": match,
        "thumbnail": made[match.path],
        # What turns the query back, to lie over the match.
        "turn": by_words(match.orientation or AS_IS.words).inverse(),
    }


def _shown(query: Query, matches: Sequence[Match], made: Mapping[str, Shown]) -> _Query:
    if query.sha256 is None:
        return _Query(query.name, None, ())
    images = [match.path for match in matches if match.same_bytes]
    return _Query(query.name, made[query.name], images)


def _title(answers: Sequence[Answer]) -> str:
    if len(answers) == 1:
        return f"Pictures like {answers[0][0].name.rpartition('/')[2]}"
    return f"Pictures like {len(answers)} others"
