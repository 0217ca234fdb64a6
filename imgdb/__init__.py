"""imgdb: exact image-similarity search inside stock PostgreSQL.

What is public of Python is in `__all__`, and docs/python.md says what it does. All other modules
are internal and may change; `imgdb.sqlalchemy` is public as a whole.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgdb.database.connect import open_database
    from imgdb.errors import ImgdbError, PictureError
    from imgdb.hashes.fingerprint import Fingerprint, fingerprint
    from imgdb.hashes.values import from_hex, to_hex
    from imgdb.paths import path_from_text, path_text
    from imgdb.search.images import Match, query_by_file, similar

    __version__: str

__all__ = [
    "Fingerprint",
    "ImgdbError",
    "Match",
    "PictureError",
    "__version__",
    "fingerprint",
    "from_hex",
    "open_database",
    "path_from_text",
    "path_text",
    "query_by_file",
    "similar",
    "to_hex",
]

_MODULES = {
    "Fingerprint": "imgdb.hashes.fingerprint",
    "ImgdbError": "imgdb.errors",
    "Match": "imgdb.search.images",
    "PictureError": "imgdb.errors",
    "fingerprint": "imgdb.hashes.fingerprint",
    "from_hex": "imgdb.hashes.values",
    "open_database": "imgdb.database.connect",
    "path_from_text": "imgdb.paths",
    "path_text": "imgdb.paths",
    "query_by_file": "imgdb.search.images",
    "similar": "imgdb.search.images",
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
