"""Pictures, and databases that hold them, for tests of what comes after ingest."""

import functools
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import psycopg
from pictures import encode
from PIL import Image, ImageFilter

from imgdb.hashes.fingerprint import Fingerprint, fingerprint_source
from imgdb.paths import modified_at, path_text
from imgdb.pictures.loader import open_stream

COLUMNS = (
    "path, byte_size, modified_at, sha256, format, width, height, frames,"
    " ahash, dhash, phash, whash, flat, recipe, colours"
)
ADD = (
    f"INSERT INTO imgdb.image (collection_id, {COLUMNS}) SELECT collection_id,"
    + ", ".join(f"%({name.strip()})s" for name in COLUMNS.split(","))
    + " FROM imgdb.collection WHERE name = %(collection)s RETURNING image_id"
)


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Paint a picture with structure; another seed gives one that is unlike it."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def blank(size: tuple[int, int] = (320, 240)) -> Image.Image:
    return Image.new("RGB", size, (250, 250, 250))


def shelf(folder: Path) -> Path:
    """Write two scenes, three edits of the first, a copy of it and a blank page."""
    folder.mkdir(exist_ok=True)
    for name, content in _shelf().items():
        (folder / name).write_bytes(content)
    return folder


@functools.cache
def _shelf() -> dict[str, bytes]:
    """Encode the files of a shelf once for all tests: that takes longer than most of them."""
    first = scene(1)
    lake = encode(first, "PNG")
    return {
        "lake.png": lake,
        "lake-copy.png": lake,
        "lake-small.jpg": encode(first.resize((160, 120)), "JPEG", quality=80),
        "lake-soft.png": encode(first.filter(ImageFilter.GaussianBlur(1)), "PNG"),
        "hill.png": encode(scene(2), "PNG"),
        "blank.png": encode(blank(), "PNG"),
    }


@functools.lru_cache(maxsize=200)
def _fingerprint_of(content: bytes) -> Fingerprint:
    opened = open_stream(BytesIO(content), byte_size=len(content), modified_at=datetime.now(UTC))
    with opened as source:
        return fingerprint_source(source)


def add(database: str, *files: Path, collection: str = "default", **changed: object) -> None:
    """Put files into the database; `changed` replaces values of their rows."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO imgdb.collection (name) VALUES (%s) ON CONFLICT DO NOTHING",
            (collection,),
        )
        for file in files:
            found = _fingerprint_of(file.read_bytes())
            row = {name: getattr(found, name) for name in found.__dataclass_fields__}
            row |= {"path": path_text(file), "collection": collection}
            row["modified_at"] = modified_at(file.stat())
            conn.execute(ADD, row | changed)
