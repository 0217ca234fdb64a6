"""imgdb: exact image-similarity search inside stock PostgreSQL."""

__version__: str


def __getattr__(name: str) -> str:
    if name == "__version__":
        # Looking it up takes as long as loading typer.
        from importlib.metadata import version

        return version("imgdb")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
