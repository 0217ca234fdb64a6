"""How fast hashes get in, how fast they are compacted, and what room they take."""

import statistics
import time
from typing import Any

import numpy as np
import psycopg

from benchmarks import dataset, servers
from benchmarks.contest import Contestant
from benchmarks.progress import say
from benchmarks.searches import Effort
from benchmarks.servers import cpu_ms
from benchmarks.store import Store, copy_hashes, database, sizes, timed
from imgdb.database.embedded import Server

BATCHES = 100  # that a table is filled in, one transaction each
LEAST_BATCH = 1000
IMAGES_BATCH = 1000
RADIUS = 8
VACUUM = "VACUUM imgdb.prefix_bucket"
FULL = "VACUUM (FULL, ANALYZE) imgdb.prefix_bucket"
COPY_IMAGES = (
    "COPY imgdb.image (collection_id, path, byte_size, modified_at, sha256, format, width, height,"
    " frames, ahash, dhash, phash, whash, flat, recipe) FROM STDIN"
)


def load(
    server: Server, name: str, hashes: dataset.Hashes, store: Store, effort: Effort
) -> dict[str, Any]:
    """Fill a tracked table in batches, compact, VACUUM; `store` was filled first, tracked later.

    The search is timed in each state, for what compacting gains.
    """
    batch = max(LEAST_BATCH, len(hashes) // BATCHES)
    found: dict[str, Any] = {"batch": batch, "distinct": len(np.unique(hashes))}
    with database(server, name) as conninfo, Store(conninfo, hashes).connect() as conn:
        conn.execute("CREATE TABLE photo (hash bigint)")
        conn.execute("SELECT imgdb.track('photo', 'hash', 'bench')")
        started = time.perf_counter()
        for part in parts(hashes, batch):
            copy_hashes(conn, "COPY photo FROM STDIN (FORMAT binary)", part)
        found["copy_s"] = round(time.perf_counter() - started, 3)
        conn.execute("VACUUM (ANALYZE) imgdb.prefix_bucket")
        found["fragmented"] = sizes(conn) | search_time(conninfo, hashes, effort)
        found["compact_s"] = timed(conn, "CALL imgdb.compact('bench')")
        found["vacuum_s"] = timed(conn, VACUUM)
        found["compacted"] = sizes(conn) | search_time(conninfo, hashes, effort)
        found["vacuum_full_s"] = timed(conn, FULL)
        found["vacuum_full"] = sizes(conn) | search_time(conninfo, hashes, effort)
    found["build"] = store.build
    for state in ("fragmented", "compacted", "vacuum_full"):
        each = (found[state]["table"] + found[state]["index"]) / found["distinct"]
        say(f"    {state}: {each:.1f} bytes a hash, r=8 p50 {found[state]['p50_ms']:.3f} ms")
    return found


def parts(hashes: dataset.Hashes, batch: int) -> list[dataset.Hashes]:
    return [hashes[start : start + batch] for start in range(0, len(hashes), batch)]


def search_time(conninfo: str, hashes: dataset.Hashes, effort: Effort) -> dict[str, Any]:
    peer = servers.imgdb(Store(conninfo, hashes))
    asked = dataset.queries(hashes, effort.queries, RADIUS, effort.seed)
    one = Contestant({}, lambda query: peer.within(query, RADIUS), asked)
    effort.hold([one])
    peer.close()
    return one.latency()


def append(server: Server, name: str, images: Any) -> dict[str, Any]:
    """COPY four hashes a row in batches of 1,000, three times; what is fresh goes by compact last.

    Into a table of four columns while another session holds the buckets, as one that compacts does;
    into the same as the only session, which flushes; and whole rows into imgdb.image.
    """
    found = []
    with database(server, name) as conninfo, psycopg.connect(conninfo, autocommit=True) as conn:
        collection = conn.execute("SELECT imgdb._make_collection('bench')").fetchone()[0]
        columns = [f"{kind} bigint" for kind in dataset.PHOTO_KINDS]
        conn.execute(f"CREATE TABLE photo ({', '.join(columns)})")
        for kind in dataset.PHOTO_KINDS:
            conn.execute("SELECT imgdb.track('photo', %s, %s)", (kind, kind))
        # Each time others, for a hash that is known costs little.
        for number, part in enumerate(np.array_split(images, 3)):
            into = "imgdb.image" if number == 2 else "a table of four columns"
            statement = COPY_IMAGES if number == 2 else "COPY photo FROM STDIN"
            batches, cpu = [], 0.0
            with psycopg.connect(conninfo) as other:
                if number == 0:
                    other.execute("SELECT FROM imgdb.space_state FOR UPDATE")
                for start in range(0, len(part), IMAGES_BATCH):
                    rows = part[start : start + IMAGES_BATCH]
                    text = image_rows(rows, start, collection) if number == 2 else hash_rows(rows)
                    before, started = cpu_ms(conn), time.perf_counter()
                    with conn.cursor() as cursor, cursor.copy(statement) as copy:
                        copy.write(text)
                    batches.append(time.perf_counter() - started)
                    cpu += cpu_ms(conn) - before
            compact = sum(
                timed(conn, f"CALL imgdb.compact('{kind}')") for kind in dataset.PHOTO_KINDS
            )
            total = sum(batches)
            found.append(
                {
                    "into": into,
                    "flushes": number > 0,
                    "images": len(part),
                    "images_per_s": round(len(part) / total),
                    "cpu_us_an_image": round(cpu * 1000 / len(part), 1),
                    "images_per_s_with_compact": round(len(part) / (total + compact)),
                    "batch_p50_ms": round(statistics.median(batches) * 1000, 2),
                    "batch_max_ms": round(max(batches) * 1000, 2),
                }
            )
            say(f"    {found[-1]}")
    return {"batch": IMAGES_BATCH, "appended": found}


def hash_rows(images: Any) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in images.tolist())


def image_rows(images: Any, first: int, collection: int) -> str:
    """Spell rows of imgdb.image as COPY's text; SHA-256 differs, as it does among real files."""
    lines = []
    for number, (phash, ahash, dhash, whash) in enumerate(images.tolist(), first):
        sha256 = f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" * 4
        lines.append(
            f"{collection}\t/photos/{number // 1000:04}/IMG_{number:08}.jpg\t{3_000_000 + number}"
            f"\t2024-05-01 12:00:00+00\t\\\\x{sha256}\tJPEG\t4000\t3000\t1"
            f"\t{ahash}\t{dhash}\t{phash}\t{whash}\tf\texact-1\n"
        )
    return "".join(lines)
