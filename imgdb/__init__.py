"""imgdb: exact image-similarity search inside stock PostgreSQL."""

from importlib.metadata import version

__version__ = version("imgdb")
