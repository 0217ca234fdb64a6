"""The page of `imgdb query`: each query beside its matches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imgdb.hashes.orientations import AS_IS, by_words
from imgdb.hashes.values import PDQ_RULES
from imgdb.pages.answers import SHOWN, answers_page
from imgdb.search.images import Match, Query


def query_page(
    answers: Sequence[tuple[Query, Sequence[Match]]],
    *,
    hash: str,
    max_distance: int | None = None,
    collection: str | None = None,
    watching: Callable[[int], None] = lambda done: None,
) -> str:
    """Return the page for what was found by a rule; `watching` is told how many pictures are read.

    `max_distance` is what was asked for, None for the default.
    """
    if hash in PDQ_RULES:  # who finds the candidates does not matter to who looks at them
        hash = "pdq"
    farthest = [match.distance for _, matches in answers for match in matches]
    return answers_page(
        "query.html",
        answers,
        parts=("pictures", "lens", "marks", "answers", "query"),
        title="Pictures like",
        # What turns the query back, to lie over the match.
        described=lambda match: {"turn": by_words(match.orientation or AS_IS.words).inverse()},
        max_distance=max_distance,
        farthest=max((bits for bits in farthest if bits is not None), default=0),
        hashes=(hash, *(name for name in SHOWN if name != hash)),
        collection=collection,
        watching=watching,
    )
