"""How clients name a server behind a socket folder."""

import os
from pathlib import Path
from urllib.parse import quote

from imgdb.database.embedded.settings import PORT, SUPERUSER

# libpq's options that have no default and yet must not be empty: the values that change nothing.
NOT_EMPTY = {
    "connect_timeout": "0",
    "sslcertmode": "allow",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
}


def conninfo(folder: Path, dbname: str) -> str:
    """Return libpq's connection string; what the caller's PG* variables say has no effect."""
    # Here: whether a server runs can be told without psycopg, which takes long to load.
    from psycopg.conninfo import make_conninfo

    said = {"host": str(folder), "port": str(PORT), "user": SUPERUSER, "dbname": dbname}
    return make_conninfo("", **{**_neutral_options(), **said})


def url(folder: Path, dbname: str) -> str:
    """Return a URL; the folder is a parameter, since not every driver decodes one in the host."""
    place = quote(str(folder), safe="/")
    return f"postgresql://{SUPERUSER}@/{quote(dbname, safe='')}?host={place}&port={PORT}"


def _neutral_options() -> dict[str, str]:
    """Return libpq's own defaults for all that the caller's PG* variables would change."""
    from psycopg.pq import Conninfo

    neutral = {
        option.keyword.decode(): (option.compiled or b"").decode()
        for option in Conninfo.get_defaults()
        if option.envvar and option.envvar.decode() in os.environ
    }
    neutral.pop("service", None)  # an empty one is looked for, and it only fills what is not said
    return neutral | {name: value for name, value in NOT_EMPTY.items() if name in neutral}
