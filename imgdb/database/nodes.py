"""Buckets on several nodes, by Citus."""

from imgdb.database.spaces import Connection

DISTRIBUTE = "SELECT imgdb.distribute(shard_count => %s)"
UNDISTRIBUTE = "SELECT imgdb.undistribute()"


def distribute(conn: Connection, shards: int) -> None:
    """Put the buckets of all spaces on the workers, in so many shards. Writers wait."""
    conn.execute(DISTRIBUTE, [shards])


def undistribute(conn: Connection) -> None:
    """Bring the buckets of all spaces back. Writers wait."""
    conn.execute(UNDISTRIBUTE)
