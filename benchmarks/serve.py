"""Measure how many searches a second `imgdb serve` answers, beside FAISS behind the same API.

    python -m benchmarks.serve --photo-hashes photo_hashes.npz

The same server runs twice: as it is, and with FAISS (flat, exact, all hashes in memory) in the
place of the search. Both answer the same requests, in rounds in turns, and must find the same. The
clients share the cores with the servers. What is measured goes into results/serve.json;
`python -m benchmarks.serve_tables` renders it into docs/serve.md.
"""

import argparse
import asyncio
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psycopg
from PIL import Image

from benchmarks.dataset import sha256
from benchmarks.environment import environment
from imgdb import schema
from imgdb.database.embedded import Server

RESULT = Path(__file__).parent / "results" / "serve.json"
PACKAGES = ("fastapi", "starlette", "uvicorn", "psycopg", "faiss-cpu", "numpy", "pillow")
SYSTEMS = {"imgdb": "imgdb", "FAISS": "benchmarks.serve_faiss"}
# Each rule with its usual distance.
RULES = {"phash": 8, "phash+dhash": 17}


def read_hashes(photo_hashes: Path | None, rows: int) -> dict[str, np.ndarray]:
    """Return phash and dhash of as many pictures, random ones where there is no file."""
    if photo_hashes is None:
        random = np.random.default_rng(1)
        return {
            name: random.integers(0, 2**64 - 1, rows, dtype=np.uint64)
            for name in ("phash", "dhash")
        }
    with np.load(photo_hashes) as found:
        return {name: found[name][:rows] for name in ("phash", "dhash")}


def fill(conninfo: str, hashes: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    """Import the hashes; return the rows that are not flat: the others no search finds."""
    with (folder / "hashes.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("path", "phash", "dhash"))
        pairs = zip(hashes["phash"].tolist(), hashes["dhash"].tolist(), strict=True)
        lines.writerows((f"{row:09}", f"{p:016x}", f"{d:016x}") for row, (p, d) in enumerate(pairs))
    file_and_place = [str(folder / "hashes.csv"), "--collection=default"]
    env = os.environ | {"IMGDB_DSN": conninfo}
    command = [sys.executable, "-m", "imgdb", "import", *file_and_place]
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE")  # else it begins by itself while something is measured
        rows = conn.execute("SELECT path::integer FROM imgdb.image WHERE NOT flat").fetchall()
    return np.sort(np.array(rows)[:, 0])


@contextmanager
def served(module: str, conninfo: str, hashes: Path) -> Iterator[tuple[int, str]]:
    """Run a server; yield its port and its token."""
    command = [sys.executable, "-m", module, "serve", "--port", "0"]
    env = os.environ | {"IMGDB_DSN": conninfo, "IMGDB_BENCH_HASHES": str(hashes)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            yield int(address.split(":")[2].split("/")[0]), address.partition("token=")[2]
        finally:
            process.terminate()


def address(rule: str, digits: str = "") -> str:
    asked = {"hash": rule, "max_distance": RULES[rule], "limit": 100}
    return f"/api/search?{urlencode(asked | ({'hex': digits} if digits else {}))}"


def by_hash(rule: str, hashes: dict[str, np.ndarray], count: int) -> list[tuple[str, bytes]]:
    """Return requests for hashes that are a few bits from stored ones."""
    random = np.random.default_rng(2)
    requests = []
    for row in random.integers(0, len(hashes["phash"]), count):
        digits = []
        for name in rule.split("+"):
            flipped = random.choice(64, random.integers(0, 6), replace=False).tolist()
            digits.append(f"{int(hashes[name][row]) ^ sum(1 << bit for bit in flipped):016x}")
        requests.append((f"GET {address(rule, '+'.join(digits))}", b""))
    return requests


def by_picture(rule: str, count: int) -> list[tuple[str, bytes]]:
    """Return requests that bring JPEGs of 800 x 600."""
    random = np.random.default_rng(3)
    requests = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((800, 600), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (smooth + random.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(noisy).save(file, "JPEG", quality=85)
        requests.append((f"POST {address(rule)}", file.getvalue()))
    return requests


async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    token: str,
    request: tuple[str, bytes],
) -> Any:
    line, body = request
    head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answered = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(answered.partition("content-length: ")[2].partition("\r")[0])
    content = await reader.readexactly(length)
    if not answered.startswith("http/1.1 200"):
        raise SystemExit(f"{line}: {content!r}")
    return content


async def load(
    port: int, token: str, requests: Sequence[tuple[str, bytes]], clients: int, seconds: float
) -> tuple[float, list[float]]:
    """Return requests a second, and the seconds of each, of clients that ask without a pause."""
    taken: list[float] = []
    begun = time.perf_counter()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = number * 37
        while (start := time.perf_counter()) < begun + seconds:
            await ask(reader, writer, token, requests[place % len(requests)])
            taken.append(time.perf_counter() - start)
            place += 1
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return len(taken) / (time.perf_counter() - begun), taken


async def answers(port: int, token: str, requests: Sequence[tuple[str, bytes]]) -> list[Any]:
    """Return the matches of each request, to be compared."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for request in requests:
        matches = json.loads(await ask(reader, writer, token, request))["matches"]
        found.append([(one["distance"], one["path"]) for one in matches])
    writer.close()
    return found


def same_answers(servers: dict[str, tuple[int, str]], requests: list[tuple[str, bytes]]) -> int:
    """Return how many matches both have, in the same order; SystemExit where they differ."""
    ours, theirs = (asyncio.run(answers(*server, requests)) for server in servers.values())
    for (line, _), one, other in zip(requests, ours, theirs, strict=True):
        if one != other:
            raise SystemExit(f"{line}: imgdb finds {one}, FAISS {other}")
    return sum(map(len, ours))


def measure(
    servers: dict[str, tuple[int, str]],
    kinds: dict[tuple[str, str], list[tuple[str, bytes]]],
    given: argparse.Namespace,
) -> list[dict[str, Any]]:
    rounds: dict[tuple[str, str, int, str], list[tuple[float, list[float]]]] = {}
    for number in range(given.rounds):
        for kind, requests in kinds.items():
            for clients in given.clients:
                for name, server in servers.items():
                    work = load(*server, requests, clients, given.seconds)
                    rounds.setdefault((*kind, clients, name), []).append(asyncio.run(work))
        print(f"round {number + 1}", file=sys.stderr)
    return [
        {
            "body": body,
            "rule": rule,
            "clients": clients,
            "system": name,
            "searches_per_s": round(median(rate for rate, _ in found), 1),
            "p50_ms": milliseconds(found, 50),
            "p99_ms": milliseconds(found, 99),
        }
        for (body, rule, clients, name), found in rounds.items()
    ]


def milliseconds(rounds: list[tuple[float, list[float]]], percentile: int) -> float:
    return round(1000 * median(float(np.percentile(taken, percentile)) for _, taken in rounds), 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve")
    parser.add_argument("--photo-hashes", type=Path, help="see benchmarks/README.md")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=3, help="for each of them in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    load_before = round(os.getloadavg()[0], 1)
    hashes = read_hashes(given.photo_hashes, given.rows)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imgdb-bench-")))
        folder.chmod(0o711)  # the server may run as another user
        server = stack.enter_context(Server(folder / "home"))
        schema.upgrade(server.conninfo())
        rows = fill(server.conninfo(), hashes, folder)
        hashes = {name: found[rows] for name, found in hashes.items()}
        np.savez(folder / "hashes.npz", rows=rows, **hashes)
        servers = {
            name: stack.enter_context(served(module, server.conninfo(), folder / "hashes.npz"))
            for name, module in SYSTEMS.items()
        }
        kinds = {
            (body, rule): by_hash(rule, hashes, 1000) if body == "hash" else by_picture(rule, 40)
            for body in ("hash", "upload")
            for rule in RULES
        }
        matches = same_answers(servers, [one for kind in kinds.values() for one in kind[:200]])
        with psycopg.connect(server.conninfo()) as conn:
            row = conn.execute("SHOW server_version").fetchone()
        measures = measure(servers, kinds, given)
    assert row is not None
    result = {
        "environment": {**environment(PACKAGES), "postgresql": row[0]},
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "load average": load_before,
        "rows": given.rows,
        "photo_hashes_sha256": given.photo_hashes and sha256(given.photo_hashes),
        "rounds": given.rounds,
        "seconds": given.seconds,
        "compared matches": matches,
        "measures": measures,
    }
    given.result.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
