"""The command line: typer commands, one module per group; no logic."""

from imgdb.cli.app import main

__all__ = ["main"]
