"""Which distance to propose: as large as is useful, and no larger than wrong images allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """What kept the proposal from being larger."""

    recall = "recall"
    wrong = "wrong"
    search = "search"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A default for a hash.

    `needed` is the smallest distance that reaches the wanted recall, `allowed` the largest one with
    no more wrong images than the limit; None if there is no such distance.
    """

    max_distance: int
    reason: Reason
    needed: int | None
    allowed: int | None


def propose(
    recall: Sequence[float],
    wrong: Sequence[float],
    *,
    target: float,
    limit: float,
    largest: int,
) -> Proposal:
    """Choose from two curves over the distances 0, 1, 2, ...; neither curve may fall.

    The choice is the smallest of `needed`, `allowed` and `largest` (up to which searches are
    quick), or a smaller distance that finds as much. It is 0 if even distance 0 has too many wrong
    images: equal hashes are alike, whatever is proposed.
    """
    needed = next((d for d, found in enumerate(recall) if found >= target), None)
    allowed = next((d - 1 for d, found in enumerate(wrong) if found > limit), None)
    if allowed is None:
        allowed = len(recall) - 1
    bound = min(max(allowed, 0), largest)
    if needed is not None and needed <= bound:
        chosen, reason = needed, Reason.recall
    else:
        chosen, reason = bound, Reason.search if bound < allowed else Reason.wrong
    return Proposal(
        next(d for d, found in enumerate(recall) if found == recall[chosen]),
        reason,
        needed,
        allowed if allowed >= 0 else None,
    )
