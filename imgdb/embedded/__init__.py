"""The embedded PostgreSQL server: found, made, started, shared and stopped."""

from imgdb.embedded.binaries import find_bindir
from imgdb.embedded.home import default_home
from imgdb.embedded.server import Server, Status
from imgdb.embedded.settings import DATABASE

__all__ = ["DATABASE", "Server", "Status", "default_home", "find_bindir"]
