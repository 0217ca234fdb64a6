"""imgdb: exact image-similarity search inside stock PostgreSQL.

What is public of Python is in `__all__`, and docs/python.md says what it does. All other modules
are internal and may change; `imgdb.sqlalchemy` and `imgdb.psycopg` are public as a whole.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgdb.client import Database, connect
    from imgdb.errors import ImgdbError, PictureError
    from imgdb.hashes.fingerprint import Fingerprint, fingerprint, hash
    from imgdb.hashes.values import Hashes, from_hex, to_hex
    from imgdb.paths import path_from_text, path_text
    from imgdb.search.images import Match

    __version__: str

__all__ = [
    "Database",
    "Fingerprint",
    "Hashes",
    "ImgdbError",
    "Match",
    "PictureError",
    "__version__",
    "connect",
    "fingerprint",
    "from_hex",
    "hash",
    "path_from_text",
    "path_text",
    "to_hex",
]

_MODULES = {
    "Database": "imgdb.client",
    "Fingerprint": "imgdb.hashes.fingerprint",
    "Hashes": "imgdb.hashes.values",
    "ImgdbError": "imgdb.errors",
    "Match": "imgdb.search.images",
    "PictureError": "imgdb.errors",
    "connect": "imgdb.client",
    "fingerprint": "imgdb.hashes.fingerprint",
    "from_hex": "imgdb.hashes.values",
    "hash": "imgdb.hashes.fingerprint",
    "path_from_text": "imgdb.paths",
    "path_text": "imgdb.paths",
    "to_hex": "imgdb.hashes.values",
}


if not TYPE_CHECKING:  # a type checker refuses names that are not above

    def __getattr__(name: str) -> object:
        # Each name is loaded when it is asked for: numpy, Pillow and psycopg take longer than
        # most commands, and looking up the version as long as typer.
        if name == "__version__":
            from importlib.metadata import version

            value = version("imgdb-postgresql")
        elif name in _MODULES:
            value = getattr(import_module(_MODULES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
