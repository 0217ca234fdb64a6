"""Which images are connected by matches: found in this process's memory, 150 bytes an image.

An image has a place in arrays. Images of equal hashes are a class: nobody compares ten thousand
copies of one placeholder with each other, but each with a few that stand for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from imgdb.database.columns import copied_columns
from imgdb.hashes.near import NearHashes, distances, lone_searches, products, ranges
from imgdb.hashes.values import PDQ_CANDIDATES, PDQ_RULES, rule_hashes

if TYPE_CHECKING:
    import psycopg
    from numpy.typing import NDArray

    from imgdb.duplicates.groups import DuplicateChoice
    from imgdb.duplicates.parts import PartPair

    Places = NDArray[np.intp]
    Hashes = NDArray[np.uint64]

COMPARED = (
    "SELECT * FROM imgdb._compared_images(space_name => %(space)s, tier_name => %(tier)s,"
    " collection_name => %(collection)s, against_name => %(against)s,"
    " other_folders => %(other_folders)s, least_bytes => %(least_bytes)s,"
    " least_pixels => %(least_pixels)s)"
)
PDQ = (
    "SELECT p.image_id, p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4 FROM imgdb.image_pdq AS p"
    " JOIN imgdb.image AS i ON i.image_id = p.image_id WHERE NOT i.flat ORDER BY p.image_id"
)
SAME_PICTURES = "SELECT imgdb._same_pictures(of_images => %s, of_keys => %s)"

# Columns of what is fetched, and their types; then those that are smaller in memory.
COLUMNS = {
    "image_id": np.int64, "hash": np.int64, "second": np.int64, "known": np.int32,
    "content": np.int32, "side": np.int32, "folder": np.int32,
}  # fmt: skip
KEPT = {"known": np.int8, "side": np.int8}
PDQ_COLUMNS = dict.fromkeys(("image_id", "pdq_1", "pdq_2", "pdq_3", "pdq_4"), np.int64)

# Images whose colours are compared in one call, at least: those of a key are not split.
BATCH = 20_000

# Told how much of the work is done, from 0 to 1.
Watching = Callable[[float], None]


@dataclass(slots=True)
class Compared:
    """The images that are compared, in the order of their image_id."""

    image_ids: NDArray[np.int64]
    hashes: Hashes
    seconds: Hashes
    # Bit 1 if the hash is known, 2 if the second one is.
    known: NDArray[np.int8]
    # One number for all files of the same bytes, 0 without a file.
    contents: NDArray[np.int32]
    # The words of PDQ hashes, where the rule is one of PDQ_RULES: else none.
    pdq: tuple[Hashes, ...]
    # None if it does not matter.
    sides: NDArray[np.int8] | None
    folders: NDArray[np.int32] | None

    def only(self, image_ids: NDArray[np.int64], left_out: Iterable[int]) -> Compared:
        """Return those among some images that are not left out."""
        keep = np.isin(self.image_ids, np.setdiff1d(image_ids, [*left_out]))
        return replace(
            self,
            image_ids=self.image_ids[keep],
            hashes=self.hashes[keep],
            seconds=self.seconds[keep],
            known=self.known[keep],
            contents=self.contents[keep],
            pdq=tuple(word[keep] for word in self.pdq),
            sides=None if self.sides is None else self.sides[keep],
            folders=None if self.folders is None else self.folders[keep],
        )


def _places(images: Compared, pairs: Sequence[tuple[int, int]]) -> tuple[Places, Places]:
    """Return where the images of pairs are, without those of which one is not compared."""
    a, b, _ = _found(images, np.array(pairs, dtype=np.int64).reshape(-1, 2))
    return a, b


def _found(images: Compared, pairs: NDArray[np.int64]) -> tuple[Places, Places, NDArray[np.bool_]]:
    """Return where the images of pairs are, and of which pairs both are compared."""
    found = np.searchsorted(images.image_ids, pairs)
    known = (np.append(images.image_ids, -1)[found] == pairs).all(axis=1)
    a, b = found[known].T
    return a, b, known


def compared_images(conn: psycopg.Connection[Any], choice: DuplicateChoice) -> Compared:
    """Fetch the images that are compared."""
    columns = copied_columns(conn, COMPARED, COLUMNS, asdict(choice), kept=KEPT)
    found = Compared(
        image_ids=columns["image_id"],
        hashes=columns["hash"].view(np.uint64),
        seconds=columns["second"].view(np.uint64),
        known=columns["known"],
        contents=columns["content"],
        pdq=(),
        sides=columns["side"] if choice.against is not None else None,
        folders=columns["folder"] if choice.other_folders else None,
    )
    if choice.tier == "near" and choice.space in PDQ_RULES:
        image_ids, *words = copied_columns(conn, PDQ, PDQ_COLUMNS).values()
        _, there, places = np.intersect1d(
            found.image_ids, image_ids, assume_unique=True, return_indices=True
        )
        found.pdq = tuple(np.zeros(len(found.known), dtype=np.uint64) for _ in words)
        for kept, word in zip(found.pdq, words, strict=True):
            kept[there] = word[places].view(np.uint64)
        # By phash-pdq a phash is needed as well.
        known = found.known[there] if choice.space != "pdq" else 1
        found.known[:] = 0
        found.known[there] = known
    return found


def _by_colours(conn: psycopg.Connection[Any], images: Compared) -> Compared:
    """Give those of equal hashes that also have equal colours one key, and no key to others."""
    images = replace(images, known=images.known.copy(), hashes=images.hashes.copy())
    order = np.flatnonzero(images.known & 1)
    order = order[np.argsort(images.hashes[order], kind="stable")]
    begins, sizes = _runs(images.hashes[order])
    images.known[order] = 0
    several = sizes > 1
    for chosen in _batches(begins[several], sizes[several]):
        some = order[chosen]
        arguments = (images.image_ids[some].tolist(), images.hashes[some].view(np.int64).tolist())
        (keys,) = conn.execute(SAME_PICTURES, arguments).fetchone() or ([],)
        kept = [(place, key) for place, key in zip(some, keys, strict=True) if key is not None]
        if kept:
            places, values = np.array(kept, dtype=np.int64).T
            images.known[places] = 1
            images.hashes[places] = values.view(np.uint64)
    return images


def _runs(values: NDArray[Any]) -> tuple[Places, Places]:
    """Return where the runs of equal values begin, and how long they are."""
    if not len(values):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    begins = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    return begins, np.diff(begins, append=len(values))


def _batches(begins: Places, sizes: Places) -> Iterator[Places]:
    """Yield the places of whole runs, about BATCH at a time."""
    ends = np.flatnonzero(np.diff(np.cumsum(sizes) // BATCH, append=-1)) + 1
    for first, end in pairwise([0, *ends.tolist()]):
        yield ranges(begins[first:end], sizes[first:end])


class Trees:
    """Union-find: trees of places, one for all that are connected."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def roots(self, places: Places) -> Places:
        """Return the least place of each one's tree."""
        roots = self._parents[places]
        while True:
            above = self._parents[roots]
            if np.array_equal(above, roots):
                break
            roots = above
        self._parents[places] = roots
        return roots

    def unite(self, a: Places, b: Places) -> None:
        """Connect each of some places with another one."""
        while len(a):
            a, b = self.roots(a), self.roots(b)
            apart = a != b
            a, b = a[apart], b[apart]
            # Of several parents for one root one wins; the next round looks at the others.
            self._parents[np.maximum(a, b)] = np.minimum(a, b)


class Matches:
    """What may connect two images, beside their hashes: sides, folders, and marks."""

    def __init__(self, images: Compared, different: Sequence[tuple[int, int]]) -> None:
        self._images = images
        a, b = _places(images, different)
        self._different = np.unique(self._codes(a, b))
        self.marked = np.zeros(len(images.image_ids), dtype=bool)
        self.marked[a] = self.marked[b] = True

    def _codes(self, a: Places, b: Places) -> NDArray[np.int64]:
        return np.minimum(a, b) * len(self._images.image_ids) + np.maximum(a, b)

    def allowed(self, a: Places, b: Places) -> NDArray[np.bool_]:
        """Tell which pairs count."""
        keep = a != b
        for what in (self._images.sides, self._images.folders):
            if what is not None:
                keep &= what[a] != what[b]
        if len(self._different):
            keep &= ~np.isin(self._codes(a, b), self._different)
        return np.asarray(keep, dtype=bool)


class Classes:
    """Images of equal values, side by side, and the few of each class that stand for all.

    Of many folders, comparing one image of the first three with all others is enough: two folders
    always have a neighbour in common among three. What is marked stands for itself.
    """

    def __init__(
        self, images: Compared, members: Places, numbers: Places, marked: NDArray[np.bool_]
    ) -> None:
        """Take images and the numbers of their classes, from 0 on without a gap."""
        apart = [what[members] for what in (images.folders, images.sides) if what is not None]
        order = np.lexsort((*apart, numbers))
        self.members, numbers = members[order], numbers[order]
        self.first, self.counts = _runs(numbers)
        sides = images.sides[self.members] if images.sides is not None else 0
        lone = marked[self.members]
        plain = np.flatnonzero(~lone)
        alike = (numbers * 4 + sides)[plain]
        begins, sizes = _runs(alike)
        if images.folders is None:
            chosen = plain[begins]
        else:
            folders = images.folders[self.members][plain]
            new = np.ones(len(plain), dtype=np.intp)
            new[1:] = (alike[1:] != alike[:-1]) | (folders[1:] != folders[:-1])
            place = np.cumsum(new)
            chosen = plain[(new > 0) & (place - np.repeat(place[begins], sizes) < 3)]
        few = np.sort(np.concatenate([chosen, np.flatnonzero(lone)]))
        self.few = self.members[few]
        self.few_counts = np.bincount(numbers[few], minlength=len(self.first))
        self.few_first = np.cumsum(self.few_counts) - self.few_counts

    def pairs(self, a: Places, b: Places) -> Iterator[tuple[Places, Places]]:
        """Yield pairs of images that stand for those of pairs of classes."""
        for one, other in ((a, b), (b, a))[: 1 if a is b else 2]:
            few = (self.few_first[one], self.few_counts[one])
            for rows, first, counts in products(*few, self.first[other], self.counts[other]):
                yield np.repeat(self.few[rows], counts), self.members[ranges(first, counts)]


@dataclass(frozen=True, slots=True)
class Connected:
    """Images in groups, those of a group side by side, each named by the least image_id in it.

    `copies` are the groups by matches of whole pictures alone, within those by parts as well.
    """

    image_ids: NDArray[np.int64]
    groups: NDArray[np.int64]
    copies: NDArray[np.int64]
    # What shares regions, each with the names of the copies of both.
    parts: list[tuple[int, int, PartPair]]

    def batches(self) -> Iterator[tuple[list[int], list[int], list[int]]]:
        """Yield images, groups and copies of whole groups, some thousand images at a time."""
        for some in _batches(*_runs(self.groups)):
            columns = (self.image_ids, self.groups, self.copies)
            ids, groups, copies = (column[some].tolist() for column in columns)
            yield ids, groups, copies


def connect_images(
    conn: psycopg.Connection[Any],
    choice: DuplicateChoice,
    images: Compared,
    max_distance: int,
    *,
    different: Sequence[tuple[int, int]] = (),
    linked: Sequence[tuple[int, int]] = (),
    part_pairs: Sequence[PartPair] = (),
    watching: Watching = lambda done: None,
) -> Connected:
    """Find what is connected by near hashes, the same bytes, or linked pairs; and by parts.

    Pairs that are `different` do not count, however they match.
    """
    if choice.tier == "same-picture":
        images = _by_colours(conn, images)
    matches = Matches(images, different)
    trees = Trees(len(images.image_ids))

    def unite(pairs: Iterable[tuple[Places, Places]]) -> None:
        for a, b in pairs:
            keep = matches.allowed(a, b)
            trees.unite(a[keep], b[keep])

    classes, values = _classes(images, matches.marked)
    several = np.flatnonzero(classes.counts > 1)
    unite(classes.pairs(several, several))
    if choice.tier == "near":
        for a, b in _near_classes(choice, values, max_distance, watching):
            unite(classes.pairs(a, b))
    if choice.tier != "same-bytes":
        files = Classes(images, *_numbered(images.contents), matches.marked)
        several = np.flatnonzero(files.counts > 1)
        unite(files.pairs(several, several))
    unite([_places(images, linked)])
    every = np.arange(len(images.image_ids))
    copies = trees.roots(every)
    together = Trees(len(every))
    sharing = np.array([(one.image_id, one.other_id) for one in part_pairs], dtype=np.int64)
    a, b, known = _found(images, sharing.reshape(-1, 2))
    keep = matches.allowed(a, b)
    known[known] = keep
    a, b = copies[a[keep]], copies[b[keep]]
    together.unite(a, b)
    groups = together.roots(copies)
    members = np.flatnonzero(np.bincount(groups, minlength=len(every))[groups] > 1)
    members = members[np.argsort(groups[members], kind="stable")]
    ids = images.image_ids
    pairs = [pair for pair, there in zip(part_pairs, known, strict=True) if there]
    parts = [*zip(ids[a].tolist(), ids[b].tolist(), pairs, strict=True)]
    return Connected(ids[members], ids[groups[members]], ids[copies[members]], parts)


@dataclass(frozen=True, slots=True)
class _Values:
    """What the images of each class have in common; `sides` has bit 1 or 2 for each side."""

    hashes: Hashes
    seconds: Hashes
    known: NDArray[np.int8]
    pdq: tuple[Hashes, ...]
    sides: NDArray[np.int8] | None


def _numbered(values: NDArray[Any]) -> tuple[Places, Places]:
    """Return the places of values above 0, and numbers from 0 on without a gap."""
    members = np.flatnonzero(values)
    return members, np.unique(values[members], return_inverse=True)[1]


def _classes(images: Compared, marked: NDArray[np.bool_]) -> tuple[Classes, _Values]:
    members = np.flatnonzero(images.known)
    columns: Sequence[NDArray[Any]] = (
        images.known, *images.pdq, images.seconds, images.hashes
    )  # fmt: skip
    keys = [what[members] for what in columns]
    order = np.lexsort(keys)
    new = np.zeros(len(order), dtype=bool)
    for key in keys:
        new[1:] |= key[order[1:]] != key[order[:-1]]
    numbers = np.cumsum(new)
    classes = Classes(images, members[order], numbers, marked)
    first = classes.members[classes.first]
    sides = None
    if images.sides is not None and len(first):
        sides = np.bitwise_or.reduceat(images.sides[classes.members], classes.first)
    return classes, _Values(
        images.hashes[first],
        images.seconds[first],
        images.known[first],
        tuple(word[first] for word in images.pdq),
        sides,
    )


def _near_classes(
    choice: DuplicateChoice, values: _Values, max_distance: int, watching: Watching
) -> Iterator[tuple[Places, Places]]:
    """Yield pairs of classes within the distance by the rule."""
    searches = list(_searches(choice.space, values, max_distance))
    costs = [near.choose_bands(radius)[0] for near, _, _, radius in searches]
    before = 0.0
    for (near, of_a, of_b, radius), cost in zip(searches, costs, strict=True):
        for done, a, b in near.pairs(radius):
            watching((before + done * cost) / sum(costs))
            a, b = of_a[a], of_b[b]
            keep = a != b
            if choice.space == "phash-pdq":
                keep &= distances(values.pdq, a, values.pdq, b) <= max_distance
            yield a[keep], b[keep]
        before += cost


def _searches(
    space: str, values: _Values, max_distance: int
) -> Iterator[tuple[NearHashes, Places, Places, int]]:
    """Yield searches that find all: which classes they compare, and within which distance."""
    words: Sequence[Hashes] = (values.hashes, values.seconds)[: len(rule_hashes(space))]
    all_known, radius = (1 << len(words)) - 1, max_distance
    if space == "pdq":
        words = values.pdq
    elif space == "phash-pdq":
        radius = PDQ_CANDIDATES
    having = np.flatnonzero(values.known == all_known)
    if values.sides is None:
        yield NearHashes([word[having] for word in words]), having, having, radius
    else:
        a, b = (having[values.sides[having] & side > 0] for side in (1, 2))
        near = NearHashes([word[a] for word in words], [word[b] for word in words])
        yield near, a, b, radius
    if all_known > 1:
        yield from lone_searches(words, values.known, max_distance)
