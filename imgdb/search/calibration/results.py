"""What a calibration asks and answers: recall and false matches by distance, and a proposal."""

from __future__ import annotations

from dataclasses import dataclass

from imgdb.errors import PictureError
from imgdb.hashes.values import check_algorithms
from imgdb.pictures.edits import EDITS, Edit
from imgdb.search.calibration import confidence
from imgdb.search.calibration.confidence import Rate
from imgdb.search.calibration.false_matches import LARGEST
from imgdb.search.calibration.proposal import Proposal

# In the order in which people should think of them.
HASHES = ("phash", "dhash", "whash", "ahash")

# Below this the numbers say little: if the true share is 90 %, 30 pictures say 74 to 97 %.
ENOUGH_PICTURES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to measure, and by what to choose.

    `recall` is the share of copies that should be found, `false_matches` how many wrong images a
    search may show on average. Images within `alike` bits of a picture in all hashes are taken for
    copies of it. False matches are those among `among` images, None is as many as there are.
    """

    collection: str | None = None
    sample: int = 100
    seed: int = 0
    hashes: tuple[str, ...] = HASHES
    edits: tuple[Edit, ...] = EDITS
    recall: float = 0.95
    false_matches: float = 0.1
    alike: int = 8
    among: int | None = None

    def __post_init__(self) -> None:
        check_algorithms(self.hashes)


@dataclass(frozen=True, slots=True)
class Curve:
    """The share of copies that are found within each distance, 0 to LARGEST."""

    name: str
    pictures: int
    found: tuple[float, ...]

    def at(self, max_distance: int) -> Rate:
        """Return the recall within a distance; beyond LARGEST it is taken for that of LARGEST."""
        return confidence.share(self.found[min(max_distance, LARGEST)], self.pictures)

    def needs(self, recall: float) -> int | None:
        """Return the smallest distance that finds so large a share; None beyond LARGEST."""
        return next((d for d, found in enumerate(self.found) if found >= recall), None)


@dataclass(frozen=True, slots=True)
class HashFigures:
    """What was measured of one hash.

    `recall` is that of all edits that count, each alike. `false_matches` are those of one search by
    distance, measured in `images`; beyond SEARCHED they are estimated from `drawn` of these.
    """

    name: str
    default: int
    images: int
    drawn: int
    recall: Curve
    edits: tuple[Curve, ...]
    false_matches: tuple[Rate, ...]
    proposal: Proposal

    def false_at(self, max_distance: int) -> Rate:
        """Return the false matches of one search; beyond LARGEST at least those of LARGEST."""
        return self.false_matches[min(max_distance, LARGEST)]

    def precision(self, max_distance: int, curve: Curve | None = None) -> float | None:
        """Return how much of what a search for a copy shows is right, if there is one original."""
        right = (curve or self.recall).at(max_distance).value
        shown = right + self.false_at(max_distance).value
        return right / shown if shown else None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The answer: `pictures` were measured, `failures` (path, why) could not be read.

    `copies` times an image of the collection is a copy of a picture, and no false match.
    """

    question: Question
    images: int
    pictures: int
    copies: int
    failures: tuple[tuple[str, PictureError], ...]
    hashes: tuple[HashFigures, ...]

    @property
    def among(self) -> int:
        """Among how many images the false matches are."""
        return self.question.among or self.images

    @property
    def sound(self) -> bool:
        """Whether there were pictures enough to say something."""
        return self.pictures >= ENOUGH_PICTURES
