"""How the embedded server is set: sensible for one machine that does other work too."""

from imgdb.memory import usable_memory

DATABASE = "imgdb"
SUPERUSER = "postgres"
PORT = 5432  # names the socket file only: there is no TCP

# The planner's costs stay PostgreSQL's own, so that a plan seen here is a plan on any server.
DEFAULTS = {
    # Containers often have but 64 MB of /dev/shm: parallel queries find room here first.
    "min_dynamic_shared_memory": "64MB",
    # A search takes a millisecond; compiling it would take a hundred.
    "jit": "off",
    # Nobody replicates from here: bulk loads and index builds write less.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}

# Parts of the memory, with the least and the most in megabytes. shared_buffers are taken only as
# they are used, and 256 MB hold the buckets of a few million images; few sessions sort at once.
SHARES = {
    "shared_buffers": (1 / 8, 128, 2048),
    "work_mem": (1 / 256, 4, 128),
    "maintenance_work_mem": (1 / 32, 64, 1024),
}

# For tests: nothing survives a crash of the machine, nothing waits for the disk.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

HEADER = """\
# Written by imgdb at every start. Change a setting with ALTER SYSTEM, which wins over this file:
#   psql "$(imgdb db url)" -c "ALTER SYSTEM SET work_mem = '64MB'"
include '../data/postgresql.conf'
"""


def memory_settings(memory: int) -> dict[str, str]:
    """Return the settings that follow from a machine's memory in bytes."""
    return {
        name: f"{round(min(max(memory / 2**20 * part, least), most))}MB"
        for name, (part, least, most) in SHARES.items()
    }


def configuration() -> str:
    """Return the text of postgresql.conf; ALTER SYSTEM and the command line win over it."""
    settings = DEFAULTS | memory_settings(usable_memory())
    lines = [f"{name} = {_literal(value)}\n" for name, value in settings.items()]
    return HEADER + "".join(lines)


def quoted(name: str) -> str:
    """Return a user's name as pg_ident.conf spells it."""
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
