"""Ask before something is lost."""

import sys

import typer

from imgdb.errors import UsageError


def confirm(question: str, *, loss: str) -> None:
    """Go on after a yes; UsageError, which names the loss, where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(f"this would {loss}: say --yes where nobody can be asked")
    typer.confirm(question, abort=True, err=True)
