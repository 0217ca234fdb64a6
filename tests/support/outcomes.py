"""What becomes of every file of the fetched sets of test pictures: shared by a test and a script.

The tables in tests/data/outcomes say it, one row a file: no new Pillow can change it unseen.
"""

import csv
import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from imgdb.errors import PictureError
from imgdb.hashes import exact, values
from imgdb.paths import path_text
from imgdb.pictures import loader
from imgdb.pictures.decoding import prepare
from imgdb.pictures.reasons import REASONS

TABLES = Path(__file__).parents[1] / "data" / "outcomes"

# What one file may take: a 200-megapixel HEIC takes half of the memory.
MEMORY = 3 << 30
SECONDS = 30

# Sets made to try decoders: every file of theirs stands in a table. Name: the folder inside.
SUITES = {
    "gdk-pixbuf-tests": "usr/libexec/installed-tests/gdk-pixbuf",
    "golang-github-disintegration-imaging-dev": "usr/share/gocode/src/github.com/disintegration",
    "golang-golang-x-image-dev": "usr/share/gocode/src/golang.org/x/image",
    "libjxl-testdata": "usr/share/libjxl-testdata",
    "pillow-heif-tests": "pillow_heif-*/tests/images",
    "pillow-tests": "pillow-*/Tests/images",
}
# Sets of ordinary pictures: their tables name the files that are refused.
COLLECTIONS = {
    "python3-skimage": "usr/lib/python3/dist-packages/skimage/data",
    "python3-sklearn": "usr/lib/python3/dist-packages/sklearn/datasets/images",
    "scratch": "usr/share/scratch/Media",
    "svg-country-flags": "package",
}
PICTURE_SUFFIXES = {".bmp", ".gif", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
OTHER_SUFFIXES = {".avif", ".hif", ".heic", ".ico", ".j2k", ".jp2", ".pgm", ".ppm", ".tga"}

# Other outcomes that are as good, and why.
VARIES = {
    "separate_planar_extra_samples.tiff": "broken",  # Pillow before 13 cannot
    "tiff_tiled_jpeg_oob_read.tif": "accepted",  # Pillow before 13 reads beyond the tile
}


class Outcome(NamedTuple):
    """A row of a table; `outcome` is "accepted" or a reason."""

    file: str
    outcome: str
    format: str = ""
    width: str = ""
    height: str = ""
    frames: str = ""
    phash: str = ""


class Run(NamedTuple):
    """An outcome and what it cost: seconds of processor time, mebibytes at the peak."""

    outcome: Outcome
    seconds: float
    peak: int


def prepare_all() -> None:
    """Import and set up once what every process would else do for itself."""
    prepare()
    exact.hash_grey(Image.linear_gradient("L"))


def files(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Give the files of a set, by their names in its table."""
    inside = (SUITES | COLLECTIONS)[name]
    for base in sorted((folder / name).glob(inside)):
        for path in sorted(base.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path_text(path.relative_to(base)), path


def examine(found: Sequence[tuple[str, Path]]) -> list[Run]:
    """Load files in a process of their own, with limits on memory and on the time of each.

    After a file that ends the process another one goes on. The peak is that of the process.
    """
    runs: list[Run] = []
    while len(runs) < len(found):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                _examine([path for _, path in found[len(runs) :]], writer)
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            for line in pipe:
                seconds, peak, *answer = line.rstrip("\n").split("\t")
                outcome = Outcome(found[len(runs)][0], *answer)
                runs.append(Run(outcome, float(seconds), int(peak) // 1024))
        _, status, usage = os.wait4(child, 0)
        if status:
            outcome = Outcome(found[len(runs)][0], f"killed by {signal.Signals(status & 127).name}")
            runs.append(Run(outcome, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024))
        else:
            assert len(runs) == len(found)
    return runs


def _examine(paths: Sequence[Path], writer: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path in paths:
        begun = time.process_time()
        # Of the processor, not of the clock: the machine may have other things to do.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(20 * SECONDS)
        try:
            answer = _load(path)
        except BaseException as exc:
            answer = (f"raised {type(exc).__name__}",)
        seconds = time.process_time() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(writer, "\t".join((str(seconds), str(peak), *answer)).encode() + b"\n")
    os._exit(0)


def _load(path: Path) -> tuple[str, ...]:
    try:
        picture = loader.load(path)
    except PictureError as error:
        return (error.reason,)
    phash = exact.hash_grey(picture.grey, ("phash",)).phash
    assert phash is not None
    numbers = (picture.width, picture.height, picture.frames)
    return ("accepted", picture.format, *map(str, numbers), values.to_hex(phash))


def read_table(name: str) -> dict[str, Outcome]:
    with (TABLES / f"{name}.csv").open(encoding="utf-8", newline="") as table:
        return {row["file"]: Outcome(**row) for row in csv.DictReader(table)}


def write_table(name: str, rows: list[Outcome]) -> None:
    TABLES.mkdir(parents=True, exist_ok=True)
    with (TABLES / f"{name}.csv").open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(Outcome._fields)
        writer.writerows(rows)


FOLDER = os.environ.get("IMGDB_TEST_PICTURES")
needs_pictures = pytest.mark.skipif(
    not FOLDER, reason="IMGDB_TEST_PICTURES names no folder of fetched pictures"
)


def folder_with(name: str) -> Path:
    """Return the folder of the fetched sets; skip the test if it lacks this one."""
    folder = Path(str(FOLDER))
    if not (folder / name).is_dir():
        pytest.skip(f"no {name} in {folder}")
    return folder


# Their decoders have versions of their own, which may round otherwise.
LOSSY = {"AVIF", "HEIF", "JPEG", "JPEG2000", "WEBP"}


def unlisted(file: str, name: str) -> Outcome:
    """Say what a file without a row should come to: pictures of collections are ordinary ones."""
    ordinary = name in COLLECTIONS and Path(file).suffix.lower() in PICTURE_SUFFIXES
    return Outcome(file, "accepted" if ordinary else "")


def same(outcome: Outcome, wanted: Outcome) -> bool:
    if VARIES.get(wanted.file) == outcome.outcome:
        return True
    if wanted.outcome == "":  # a file of another version of the set: it must only be survived
        return outcome.outcome == "accepted" or outcome.outcome in REASONS
    if not wanted.phash or not outcome.phash:
        return outcome.outcome == wanted.outcome
    bits = values.bit_distance(values.from_hex(outcome.phash), values.from_hex(wanted.phash))
    return outcome[:-1] == wanted[:-1] and bits <= (2 if outcome.format in LOSSY else 0)
