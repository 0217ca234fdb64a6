"""What a calibration asks and answers: recall and wrong images by distance, and a proposal."""

from __future__ import annotations

from dataclasses import dataclass

from imgdb.errors import PictureError, UsageError
from imgdb.pictures.edits import EDITS, Edit
from imgdb.search.calibration import confidence
from imgdb.search.calibration.confidence import Rate
from imgdb.search.calibration.proposal import Proposal
from imgdb.search.calibration.rules import RULES

# Below this the numbers say little: if the true share is 90 %, 30 pictures say 74 to 97 %.
ENOUGH_PICTURES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to measure, and by what to choose.

    `recall` is the share of copies that should be found, `wrong_per_query` how many wrong images a
    search may show on average. Images within `alike` bits of a picture in all hashes are taken for
    copies of it. `at` is how many images the collection will have, None is as many as there are.
    With `parts` also measure what searches for parts find, which takes minutes.
    """

    collection: str | None = None
    sample: int = 100
    seed: int = 0
    rules: tuple[str, ...] = RULES
    edits: tuple[Edit, ...] = EDITS
    recall: float = 0.95
    wrong_per_query: float = 0.1
    alike: int = 8
    at: int | None = None
    parts: bool = False

    def __post_init__(self) -> None:
        if unknown := [rule for rule in self.rules if rule not in RULES]:
            raise UsageError(f"no such hash: {unknown[0]}; choose from {', '.join(RULES)}")
        if not self.rules:
            raise UsageError("no hash is chosen; choose from " + ", ".join(RULES))


@dataclass(frozen=True, slots=True)
class Curve:
    """The share of copies that are found within each distance, from 0 on."""

    name: str
    pictures: int
    found: tuple[float, ...]

    def at(self, max_distance: int) -> Rate:
        """Return the recall within a distance; beyond the largest it is taken for that of it."""
        return confidence.share(self.found[min(max_distance, len(self.found) - 1)], self.pictures)

    def needs(self, recall: float) -> int | None:
        """Return the smallest distance that finds so large a share; None beyond the largest."""
        return next((d for d, found in enumerate(self.found) if found >= recall), None)


@dataclass(frozen=True, slots=True)
class HashFigures:
    """What was measured of one rule.

    `recall` is that of all edits that count, each alike. `wrong` is how many wrong images one
    search shows, by distance, as `queries` searches among `drawn` of all `images` tell.
    """

    name: str
    default: int
    images: int
    drawn: int
    queries: int
    recall: Curve
    edits: tuple[Curve, ...]
    wrong: tuple[Rate, ...]
    proposal: Proposal

    def wrong_at(self, max_distance: int) -> Rate:
        """Return the wrong images of one search; beyond the largest at least those of it."""
        return self.wrong[min(max_distance, len(self.wrong) - 1)]

    def precision(self, max_distance: int, curve: Curve | None = None) -> float | None:
        """Return how much of what a search for a copy shows is right, if there is one original."""
        right = (curve or self.recall).at(max_distance).value
        shown = right + self.wrong_at(max_distance).value
        return right / shown if shown else None


@dataclass(frozen=True, slots=True)
class PartsOfEdit:
    """The shares of the copies of an edit that are found by their parts, and by `imgdb query`."""

    name: str
    parts: Rate
    query: Rate


@dataclass(frozen=True, slots=True)
class PartsFigures:
    """What searches for parts find, with the votes that keep chance away.

    `total` is that of all edits that count, each alike. `imgdb query` unites parts with what is
    near as a whole, or without its borders, within the default. `wrong` is how many images one
    search for parts shows that are no copies, as `queries` stored images tell.
    """

    pictures: int
    queries: int
    wrong: Rate
    total: PartsOfEdit
    edits: tuple[PartsOfEdit, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The answer: `pictures` were measured, `failures` (path, why) could not be read.

    On average `copies` other images are copies of one, and not wrong.
    """

    question: Question
    images: int
    pictures: int
    copies: float
    failures: tuple[tuple[str, PictureError], ...]
    hashes: tuple[HashFigures, ...]
    parts: PartsFigures | None = None

    @property
    def at(self) -> int:
        """Among how many images the wrong ones are."""
        return self.question.at or self.images

    @property
    def best(self) -> HashFigures:
        """Return what finds most within its proposal; what shows too many wrong ones comes last."""
        return max(
            self.hashes,
            key=lambda one: (
                one.proposal.allowed is not None,
                one.recall.at(one.proposal.max_distance).value,
            ),
        )

    @property
    def sound(self) -> bool:
        """Whether there were pictures enough to say something."""
        return self.pictures >= ENOUGH_PICTURES
