"""The embedded PostgreSQL server: found, made, started, shared and stopped."""

from imgdb.database.embedded.binaries import find_bindir
from imgdb.database.embedded.home import default_home
from imgdb.database.embedded.server import Server, Status
from imgdb.database.embedded.settings import DATABASE

__all__ = ["DATABASE", "Server", "Status", "default_home", "find_bindir"]
