"""Throw damaged pictures at the loader: whatever the bytes, an answer or a PictureError, in time.

    python benchmarks/fuzz_loader.py FOLDER [--minutes 5] [--seed 1] [--keep findings]

Seeds are the files of FOLDER up to 200 kB that the loader knows. Each mutant is loaded in a process
that may use 2 GiB and 30 s of a core. A finding (another exception, a crash, a hang) is written to
--keep.
"""

import argparse
import os
import random
import resource
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from imgdb.errors import PictureError
from imgdb.pictures import loader
from imgdb.pictures.decoding import Decode, prepare
from imgdb.pictures.formats import HEAD_SIZE, identify
from imgdb.pictures.reasons import REASONS

BATCH = 100
SECONDS = 30
MEMORY = 2 << 30
NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def seeds(folder: Path) -> list[bytes]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size <= 200_000:
            content = path.read_bytes()
            try:
                identify(content[:HEAD_SIZE])
            except PictureError:
                continue
            found.append(content)
    return found


def mutate(content: bytes, others: list[bytes], dice: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        # Headers are where the decisions are.
        reach = min(len(data), dice.choice((32, 256, len(data))))
        at = dice.randrange(max(reach, 1))
        match dice.randrange(7):
            case 0:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case 1 if data:
                data[min(at, len(data) - 1)] ^= 1 << dice.randrange(8)
            case 2:
                size = dice.choice((1, 2, 4, 8))
                number = dice.choice(NUMBERS) & (256**size - 1)
                data[at : at + size] = number.to_bytes(size, dice.choice(("big", "little")))
            case 3:
                del data[at : at + dice.choice((1, 4, 100, 5000))]
            case 4:
                data[at:at] = data[at : at + dice.choice((1, 4, 100, 5000))]
            case 5:
                del data[dice.randrange(len(data) + 1) :]
            case 6:
                other = dice.choice(others)
                start = dice.randrange(len(other))
                data[at : at + 64] = other[start : start + 64]
    return mend_png(bytes(data)) if dice.random() < 0.7 else bytes(data)


def mend_png(data: bytes) -> bytes:
    """Put right checksums in, without which no damage of a PNG gets past the first look."""
    if not data.startswith(b"\x89PNG"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        mended[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended)


def load(data: bytes, decode: Decode) -> str:
    now = datetime.now(UTC)
    try:
        picture = loader.load_stream(
            BytesIO(data), byte_size=None, modified_at=now, max_pixels=100_000_000, decode=decode
        )
    except PictureError as error:
        assert error.reason in REASONS, error
        assert "\n" not in str(error), error
        return error.reason
    assert picture.grey.mode == "L", picture
    assert picture.frames >= 1, picture
    if decode == "exact":
        assert picture.grey.size == (picture.width, picture.height), picture
    return "accepted"


def mutants(files: list[bytes], seed: int) -> Iterator[bytes]:
    dice = random.Random(seed)
    for _ in range(BATCH):
        yield mutate(dice.choice(files), files, dice)


def run_batch(files: list[bytes], seed: int, report: int) -> None:
    """Load a batch in this process, and say on `report` what came out, one word each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, data in enumerate(mutants(files, seed)):
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # SIGPROF ends the process
        started = time.process_time()
        try:
            outcome = load(data, "scaled" if number % 4 == 0 else "exact")
        except Exception as exc:
            outcome = f"raised-{type(exc).__name__}"
        if time.process_time() - started > 3:
            outcome += "-slow"
        os.write(report, f"{outcome}\n".encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("findings"))
    options = parser.parse_args()
    prepare()
    files = seeds(options.folder)
    outcomes: Counter[str] = Counter()
    stop, seed = time.monotonic() + options.minutes * 60, options.seed
    findings = 0
    while time.monotonic() < stop:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            run_batch(files, seed, writer)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as report:
            batch = report.read().split()
        status = os.waitpid(child, 0)[1]
        if status:
            batch.append(f"killed-{signal.Signals(status & 127).name}")
        for number, outcome in enumerate(batch):
            if outcome not in REASONS and outcome != "accepted":
                findings += 1
                options.keep.mkdir(parents=True, exist_ok=True)
                data = list(mutants(files, seed))[number]
                (options.keep / f"{outcome}-{seed}-{number}").write_bytes(data)
        outcomes.update(batch)
        seed += 1
    print(
        f"{sum(outcomes.values())} mutants of {len(files)} files, seeds {options.seed}..{seed - 1}"
    )
    for outcome, count in outcomes.most_common():
        print(f"{count:9} {outcome}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
