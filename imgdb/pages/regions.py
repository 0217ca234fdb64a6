"""The page of `imgdb parts`: each query beside what shares a part with it, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imgdb.pages.answers import answers_page
from imgdb.search.parts import RegionMatch, RegionQuery

RELATIONS = {
    "same": "About the same frame as the query",
    "contains": "Contains the query",
    "part": "A part of the query",
    "overlaps": "Overlaps the query",
}


def regions_page(
    answers: Sequence[tuple[RegionQuery, Sequence[RegionMatch]]],
    *,
    max_distance: int | None = None,
    min_votes: int | None = None,
    collection: str | None = None,
    watching: Callable[[int], None] = lambda done: None,
) -> str:
    """Return the page for what was found; `watching` is told how many pictures are read.

    `max_distance` is what was asked for, None for the default of space `region`.
    """
    votes = [match.votes for _, matches in answers for match in matches]
    return answers_page(
        "regions.html",
        answers,
        parts=("pictures", "marks", "answers", "regions"),
        title="Pictures that share a part with",
        max_distance=max_distance,
        min_votes=min_votes,
        fewest=min(votes, default=1),
        most=max(votes, default=1),
        relations=RELATIONS,
        collection=collection,
        watching=watching,
    )
