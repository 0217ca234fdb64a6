"""Folders of pictures for the tests of ingest, and what the database holds of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import psycopg
from PIL import Image

from imgdb.paths import path_text


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Paint a picture with structure, another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def paint(folder: Path, count: int, *, first: int = 0, suffix: str = ".png") -> list[Path]:
    """Write pictures 0000.png, 0001.png, ... into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}{suffix}" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        picture(number).save(path)
    return paths


def replace_at_same_time(path: Path, content: Path) -> None:
    """Put another file at a path in one step, with the time of modification of the one before."""
    times = path.stat()
    os.utime(content, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content.stat().st_size != times.st_size
    content.replace(path)


def stored(dsn: str, collection: str = "default") -> dict[str, bool]:
    """Return the paths of a collection, and whether each is missing."""
    with psycopg.connect(dsn) as conn:
        rows = conn.execute(
            "SELECT i.path, i.missing_since IS NOT NULL FROM imgdb.image AS i"
            " JOIN imgdb.collection AS c USING (collection_id) WHERE c.name = %s",
            (collection,),
        ).fetchall()
    assert len(rows) == len({path for path, _ in rows})
    return dict(rows)


def failures(dsn: str) -> dict[str, str]:
    """Return path and reason of all failures."""
    with psycopg.connect(dsn) as conn:
        return dict(conn.execute("SELECT path, reason FROM imgdb.ingest_failure").fetchall())


def row_versions(dsn: str) -> list[tuple[object, ...]]:
    """Return where each row stands and who wrote it: any write at all changes this."""
    with psycopg.connect(dsn) as conn:
        return [
            row
            for table in ("image", "ingest_failure", "collection", "prefix_bucket")
            for row in conn.execute(
                f"SELECT '{table}', ctid::text, xmin::text FROM imgdb.{table} ORDER BY 2"
            )
        ]


def spellings(*paths: str | os.PathLike[str]) -> set[str]:
    return {path_text(path) for path in paths}
