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


class Space:
    """Space `name`, fed by column `hash` of table `hashes` in a database of its own."""

    def __init__(self, conninfo: str, name: str = "proof") -> None:
        self.conninfo, self.name = conninfo, name
        self.conn = self.connect()
        self.conn.execute("CREATE TABLE hashes (id bigserial, hash bigint, note text)")
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
        """Empty the table and the buckets."""
        self.conn.execute("TRUNCATE hashes")
        self.conn.execute("DELETE FROM imgdb.prefix_bucket WHERE space_id = %s", [self.space_id])

    def insert(self, hashes: Iterable[int]) -> None:
        self.conn.execute(INSERT, [list(hashes)])

    def copy(self, hashes: Iterable[int]) -> None:
        with self.conn.cursor().copy("COPY hashes (hash) FROM STDIN") as copy:
            copy.write("".join(f"{value}\n" for value in hashes))

    def delete(self, hashes: Iterable[int]) -> None:
        self.conn.execute("DELETE FROM hashes WHERE hash = ANY (%s)", [list(hashes)])

    def compact(self) -> None:
        self.conn.execute("CALL imgdb.compact(%s)", [self.name])

    def compact_half(self) -> None:
        """Merge the rows of every other prefix, as a compact does that is stopped in between."""
        self.conn.execute(
            "SELECT imgdb._compact_prefixes(%s::smallint, array_agg(prefix), NULL) FROM (SELECT"
            " prefix, row_number() OVER (ORDER BY prefix) %% 2 AS side FROM (SELECT DISTINCT prefix"
            " FROM imgdb.prefix_bucket WHERE space_id = %s) AS p) AS p WHERE side = 0",
            [self.space_id, self.space_id],
        )

    def use_masks(self, masks: Sequence[int]) -> None:
        self.conn.execute(
            "UPDATE imgdb.space SET band_masks = %s WHERE name = %s", [list(masks), self.name]
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
