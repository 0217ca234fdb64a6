"""Pictures, and databases that hold them, for tests of what comes after ingest."""

from pathlib import Path

import numpy as np
import psycopg
from PIL import Image, ImageFilter

from imgdb.hashes.fingerprint import fingerprint
from imgdb.paths import path_text

COLUMNS = (
    "path, byte_size, modified_at, sha256, format, width, height, frames,"
    " ahash, dhash, phash, whash, flat, recipe"
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
    first = scene(1)
    first.save(folder / "lake.png")
    (folder / "lake-copy.png").write_bytes((folder / "lake.png").read_bytes())
    first.resize((160, 120)).save(folder / "lake-small.jpg", quality=80)
    first.filter(ImageFilter.GaussianBlur(1)).save(folder / "lake-soft.png")
    scene(2).save(folder / "hill.png")
    blank().save(folder / "blank.png")
    return folder


def add(database: str, *files: Path, collection: str = "default", **changed: object) -> None:
    """Put files into the database; `changed` replaces values of their rows."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO imgdb.collection (name) VALUES (%s) ON CONFLICT DO NOTHING",
            (collection,),
        )
        for file in files:
            found = fingerprint(file)
            row = {name: getattr(found, name) for name in found.__dataclass_fields__}
            row |= {"path": path_text(file), "collection": collection}
            conn.execute(ADD, row | changed)
