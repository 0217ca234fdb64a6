"""A table of hashes that is tracked into a space of its own, and all that can be asked of it."""

import contextlib
import time
from collections.abc import Iterable, Sequence

import psycopg

# Rows for COPY and for VALUES alike.
INSERT = "INSERT INTO hashes (hash) SELECT unnest(%s::bigint[])"
SEARCH = "SELECT hash, distance FROM imgdb.{}(%s, %s, %s)"
# Every hash that a tracked column holds stands in the buckets of all bands.
MISSING = "SELECT count(*) FROM imgdb.missing_hashes(%s)"


def rebuild_here(conn: psycopg.Connection, name: str, masks: Sequence[int] | None = None) -> None:
    """Do what rebuild does, in the transaction of a connection."""
    ((shadow,),) = conn.execute(
        "SELECT imgdb._begin_rebuild(%s, %s)", [name, None if masks is None else list(masks)]
    ).fetchall()
    for step in ("fill_shadow", "end_rebuild"):
        conn.execute(f"SELECT imgdb._{step}(%s, %s::smallint)", [name, shadow])


class Space:
    """Space `name`, fed by column `hash` of table `hashes` in a database of its own."""

    def __init__(self, conninfo: str, name: str = "proof") -> None:
        self.conninfo, self.name = conninfo, name
        self.conn = self.connect()
        # With the index, nearest can ask which hashes are held.
        self.conn.execute("CREATE TABLE hashes (id bigserial, hash bigint, note text)")
        self.conn.execute("CREATE INDEX hashes_hash_idx ON hashes (hash)")
        self.conn.execute("SELECT imgdb.track('hashes', 'hash', %s)", [name])

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.conninfo, autocommit=True)

    def reconnect(self) -> None:
        """Connect anew to a server that was killed, or is just ending all sessions to recover."""
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                self.conn.execute("SELECT")
        self.conn.close()
        patience = time.monotonic() + 60
        while self.conn.closed:
            try:
                self.conn = self.connect()
            except psycopg.OperationalError:
                if time.monotonic() > patience:
                    raise

    # -- changing ---------------------------------------------------------------------------------

    def clear(self) -> None:
        """Empty the table, the fresh level and the buckets."""
        self.conn.execute("TRUNCATE hashes")
        for table in ("prefix_bucket", "fresh_hashes"):
            self.conn.execute(f"DELETE FROM imgdb.{table} WHERE space_id = %s", [self.space_id])
        self.conn.execute(
            "UPDATE imgdb.space_state SET hash_count = 0, scan_from = 0 WHERE space_id = %s",
            [self.space_id],
        )

    def insert(self, hashes: Iterable[int]) -> None:
        self.conn.execute(INSERT, [list(hashes)])

    def copy(self, hashes: Iterable[int]) -> None:
        with self.conn.cursor().copy("COPY hashes (hash) FROM STDIN") as copy:
            copy.write("".join(f"{value}\n" for value in hashes))

    def delete(self, hashes: Iterable[int]) -> None:
        self.conn.execute("DELETE FROM hashes WHERE hash = ANY (%s)", [list(hashes)])

    def flush(self, most: int = 2**30) -> None:
        """Put fresh hashes into the buckets: about so many, whole rows, 200 at least."""
        self.conn.execute("SELECT imgdb._flush(%s::smallint, %s, true)", [self.space_id, most])

    def compact(self) -> None:
        self.conn.execute("CALL imgdb.compact(%s)", [self.name])

    def drop_stale(self) -> int:
        return self.value("SELECT imgdb.drop_stale(%s)", self.name)

    def tidy(self) -> None:
        """Leave in the buckets what the table holds, and nothing else anywhere."""
        self.compact()
        self.drop_stale()

    def compact_half(self) -> None:
        """Merge the second half of the prefixes, as a compact does that is stopped in between."""
        self.conn.execute("SELECT imgdb._merge(%s::smallint, 0, %s)", [self.space_id, 2**30])

    def rebuild(self) -> None:
        self.conn.execute("CALL imgdb.rebuild(%s)", [self.name])

    def use_masks(self, masks: Sequence[int]) -> None:
        self.conn.execute("CALL imgdb.rebuild(%s, %s)", [self.name, list(masks)])

    def look_up(self) -> int:
        """Have searches look up probes as far as there are any, where a scan would cost less.

        Returns the largest distance with probes.
        """
        return self.value(
            "UPDATE imgdb.space_state AS s SET scan_from = (SELECT max(p.from_distance) + 1"
            " FROM imgdb.probe AS p WHERE p.space_id = s.space_id)"
            " WHERE s.space_id = %s RETURNING scan_from - 1",
            self.space_id,
        )

    # -- asking -----------------------------------------------------------------------------------

    @property
    def space_id(self) -> int:
        return self.value("SELECT space_id FROM imgdb.space WHERE name = %s", self.name)

    def value(self, query: str, *arguments: object) -> object:
        """Return the only column of the only row."""
        ((value,),) = self.conn.execute(query, arguments).fetchall()
        return value

    def search(self, function: str, query: int, radius: int) -> dict[int, int]:
        """Return hash to distance; a hash that comes twice is an error."""
        rows = self.conn.execute(SEARCH.format(function), [self.name, query, radius]).fetchall()
        found = dict(rows)
        assert len(found) == len(rows)
        return found

    def within(self, query: int, radius: int) -> dict[int, int]:
        return self.search("within", query, radius)

    def scan(self, query: int, radius: int) -> dict[int, int]:
        return self.search("scan", query, radius)

    def within_any(self, queries: Iterable[int], radius: int) -> dict[int, dict[int, int]]:
        """Return query to hash to distance."""
        rows = self.conn.execute(
            "SELECT query_hash, hash, distance FROM imgdb.within_any(%s, %s, %s)",
            [self.name, list(queries), radius],
        ).fetchall()
        found: dict[int, dict[int, int]] = {}
        for query, value, distance in rows:
            found.setdefault(query, {})[value] = distance
        assert sum(map(len, found.values())) == len(rows)
        return found

    def nearest(self, query: int, limit: int, radius: int) -> list[tuple[int, int]]:
        return self.conn.execute(
            "SELECT hash, distance FROM imgdb.nearest(%s, %s, %s, %s)",
            [self.name, query, limit, radius],
        ).fetchall()

    def pairs(self, radius: int) -> dict[tuple[int, int], int]:
        rows = self.conn.execute(
            "SELECT hash_a, hash_b, distance FROM imgdb.pairs(%s, %s)", [self.name, radius]
        ).fetchall()
        assert len({(a, b) for a, b, _ in rows}) == len(rows)
        return {(a, b): distance for a, b, distance in rows}

    def explain(self, query: int, radius: int) -> tuple[str, int, int, int]:
        (row,) = self.conn.execute(
            "SELECT strategy, probes, candidates, matches FROM imgdb.explain(%s, %s, %s)",
            [self.name, query, radius],
        ).fetchall()
        return row

    def held(self) -> list[int]:
        """Return what the table holds, whatever the buckets say."""
        rows = self.conn.execute("SELECT DISTINCT hash FROM hashes WHERE hash IS NOT NULL")
        return [value for (value,) in rows]

    def missing(self) -> int:
        return self.value(MISSING, self.name)

    def buckets(self) -> list[tuple[int, list[int]]]:
        """Return the rows of the space: (prefix, hashes)."""
        return self.conn.execute(
            "SELECT prefix, hashes FROM imgdb.prefix_bucket WHERE space_id = %s", [self.space_id]
        ).fetchall()
