"""One file -> everything that a row of imgdb.image needs, in the same way for every command."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from imgdb.hashes import exact
from imgdb.hashes.exact import Reading
from imgdb.hashes.pdq import PdqReading, read_pdq
from imgdb.hashes.regions import RECIPE as REGION_RECIPE
from imgdb.hashes.regions import Region, find_regions
from imgdb.hashes.scaled import read_scaled
from imgdb.hashes.values import ALGORITHMS, Hashes
from imgdb.pictures import loader
from imgdb.pictures.decoding import Decode
from imgdb.pictures.images import AnyImage, open_image
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.loader import Picture

# The names of the rules that make the hashes of a row. Another rule gets a new name.
RECIPES: dict[Decode, str] = {"exact": "exact-1", "scaled": "scaled-1"}
# Of camera raws, however JPEGs are decoded.
RAW_RECIPE = "raw-1"


def recipes(decode: Decode) -> list[str]:
    """Return the recipes of what is hashed now, if JPEGs are decoded so."""
    return [RECIPES[decode], RAW_RECIPE]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A picture as imgdb.image stores it; hashes are signed, None where not asked for.

    `colours` are means of nine cells (`imgdb.pictures.mean_colours`).
    `regions` are its rows of imgdb.image_region, None where `region_recipe` is. `pdq` is its row of
    imgdb.image_pdq, None where not asked for.
    """

    format: str
    width: int
    height: int
    frames: int
    byte_size: int
    modified_at: datetime
    sha256: bytes
    ahash: int | None
    dhash: int | None
    phash: int | None
    whash: int | None
    flat: bool
    recipe: str
    colours: bytes
    region_recipe: str | None = None
    regions: tuple[Region, ...] | None = None
    pdq: PdqReading | None = None


def hash(image: AnyImage) -> Hashes:
    """Give the four hashes of a picture: a path, its bytes, a binary file or a PIL image.

    Raises PictureError if it cannot be read, TypeError if it is no picture at all.
    """
    with open_image(image) as source:
        return exact.hash_grey(source.picture().grey)


def fingerprint(
    image: AnyImage,
    *,
    decode: Decode = "exact",
    algorithms: Collection[str] = ALGORITHMS,
    max_pixels: int = MAX_PIXELS,
    regions: bool = False,
    pdq: bool = False,
) -> Fingerprint:
    """Load and hash a picture; with `regions` find its regions too (`decode` must be exact then).

    Raises PictureError, with a reason of `imgdb.pictures.reasons.REASONS`, if it cannot be hashed,
    and TypeError for what is no path, bytes, binary file or PIL image.
    """
    with open_image(image) as source:
        return fingerprint_source(
            source,
            decode=decode,
            algorithms=algorithms,
            max_pixels=max_pixels,
            regions=regions,
            pdq=pdq,
        )


@dataclass(frozen=True, slots=True)
class Unhashed:
    """A decoded picture that is so tiny that hashing it together with others is quicker."""

    picture: Picture
    algorithms: tuple[str, ...]
    recipe: str
    regions: bool = False


def fingerprint_source(
    source: loader.Source,
    *,
    decode: Decode = "exact",
    algorithms: Collection[str] = ALGORITHMS,
    max_pixels: int = MAX_PIXELS,
    regions: bool = False,
    pdq: bool = False,
) -> Fingerprint:
    """Do as `fingerprint` for bytes that are open already: a member of an archive, or stdin."""
    found = read_source(
        source,
        decode=decode,
        algorithms=algorithms,
        max_pixels=max_pixels,
        regions=regions,
        pdq=pdq,
    )
    return found if isinstance(found, Fingerprint) else hash_together([found])[0]


def read_source(
    source: loader.Source,
    *,
    decode: Decode = "exact",
    algorithms: Collection[str] = ALGORITHMS,
    max_pixels: int = MAX_PIXELS,
    regions: bool = False,
    pdq: bool = False,
) -> Fingerprint | Unhashed:
    """Decode a file, and hash it unless `hash_together` does that quicker; raises PictureError."""
    is_raw = source.format == "RAW"
    recipe = RAW_RECIPE if is_raw else RECIPES[decode]
    picture = source.picture("exact" if is_raw else decode, max_pixels=max_pixels, luma=pdq)
    # A raw was read at the size of its preview, or half its own.
    if is_raw or picture.grey.size == (picture.width, picture.height):
        if exact.is_quicker_together(picture.grey):
            return Unhashed(picture, tuple(algorithms), recipe, regions)
    elif reading := read_scaled(picture.grey, algorithms):
        return _fingerprint(picture, reading, recipe, regions)
    else:
        picture = source.picture("exact", max_pixels=max_pixels, luma=pdq)
    reading = exact.read_grey(picture.grey, algorithms)
    return _fingerprint(picture, reading, recipe, regions)


def hash_together(found: Sequence[Unhashed]) -> list[Fingerprint]:
    """Hash tiny pictures, those of one size at once; the answer has the order of `found`."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for position, one in enumerate(found):
        groups.setdefault((one.picture.grey.size, one.algorithms), []).append(position)
    made: dict[int, Fingerprint] = {}
    for positions in groups.values():
        greys = [found[position].picture.grey for position in positions]
        readings = exact.read_together(greys, found[positions[0]].algorithms)
        for position, reading in zip(positions, readings, strict=True):
            one = found[position]
            made[position] = _fingerprint(one.picture, reading, one.recipe, one.regions)
    return [made[position] for position in range(len(found))]


def _fingerprint(picture: Picture, reading: Reading, recipe: str, regions: bool) -> Fingerprint:
    hashes = reading.hashes
    return Fingerprint(
        format=picture.format,
        width=picture.width,
        height=picture.height,
        frames=picture.frames,
        byte_size=picture.byte_size,
        modified_at=picture.modified_at,
        sha256=picture.sha256,
        ahash=hashes.ahash,
        dhash=hashes.dhash,
        phash=hashes.phash,
        whash=hashes.whash,
        flat=reading.flat,
        recipe=recipe,
        colours=picture.colours,
        region_recipe=REGION_RECIPE if regions else None,
        regions=_regions(picture) if regions else None,
        pdq=read_pdq(picture.luma) if picture.luma is not None else None,
    )


def _regions(picture: Picture) -> tuple[Region, ...]:
    """Find the regions, their boxes in pixels of the full picture."""
    across, down = picture.width / picture.grey.width, picture.height / picture.grey.height
    return tuple(region.stretched(across, down) for region in find_regions(picture.grey))
