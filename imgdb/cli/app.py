"""The typer application, and the funnel in which every error ends.

How to add a command: a function in a module of its group, registered here. Heavy modules (psycopg,
PIL, numpy, alembic, rich) are imported inside the function, so that `imgdb --help` and a mistyped
option answer at once. A command that uses the
database takes `dsn: Dsn = None` (`imgdb.cli.options`) and hands it on; what was given before the
command's name is already in it. Raise an ImgdbError, `typer.Exit(3)` for "done in part", and let
everything else through.
"""

import contextlib
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated

import typer

from imgdb.cli.compare import compare_files
from imgdb.cli.db import db_app
from imgdb.cli.duplicates import duplicates
from imgdb.cli.hash import hash_files
from imgdb.cli.hubs import hubs
from imgdb.cli.ingest import ingest
from imgdb.cli.inspect import explain, failures, stats
from imgdb.cli.maintain import check, compact, rebuild
from imgdb.cli.options import DSN_HELP
from imgdb.cli.query import query
from imgdb.cli.rehash import rehash
from imgdb.cli.transfer import export, import_file
from imgdb.errors import ImgdbError

# What a shell says of a command that a signal ended: 130 for Ctrl-C.
INTERRUPTED = 128 + signal.SIGINT

# typer's word for a wrong option or argument; its base class has no public name.
_WrongUsage = typer.BadParameter.__base__ or typer.BadParameter

_debug = False
_signal: int = signal.SIGINT

app = typer.Typer(
    name="imgdb",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(db_app, name="db")
app.command()(ingest)
app.command()(rehash)
app.command("import")(import_file)
app.command()(export)
app.command("hash")(hash_files)
app.command()(query)
app.command("compare")(compare_files)
app.command()(duplicates)
app.command()(hubs)
app.command()(stats)
app.command()(failures)
app.command()(explain)
app.command()(check)
app.command()(rebuild)
app.command()(compact)


def _show_version(wanted: bool) -> None:
    if wanted:
        from imgdb import __version__

        print(f"imgdb {__version__}")
        raise typer.Exit


@app.callback()
def root(
    dsn: Annotated[
        str | None, typer.Option("--dsn", metavar="DSN", help=DSN_HELP, show_default=False)
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Exact image-similarity search inside PostgreSQL."""
    global _debug
    _debug = debug


def main() -> None:
    """Run the command line: every error becomes one line on stderr and an exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, _interrupt)
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        code = _report(error)
        _give_up_stdout()
    if code == INTERRUPTED:
        _say("interrupted")
        code = 128 + _signal
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # As Ctrl-C does it: transactions are rolled back and the embedded server is released.
    global _signal
    _signal = number
    raise KeyboardInterrupt


def _give_up_stdout() -> None:
    """Write what can be written; what cannot, the interpreter must not try again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"imgdb: {line}", file=sys.stderr, flush=True)


def _report(error: BaseException) -> int:
    """Say what happened, and return the exit code."""
    if _debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):  # whoever read our output has enough of it
        return 1
    if isinstance(error, _WrongUsage):
        return _report_usage(error)
    if isinstance(error, typer.Abort):
        _say("nothing was done")
        return 1
    known = _translated(error)
    if known is not None:
        _say(str(known))
        return known.exit_code
    if isinstance(error, OSError) and error.strerror:
        _say(f"{error.strerror}" + (f": {error.filename}" if error.filename else ""))
    else:
        _say(
            f"unexpected {type(error).__name__}: {error}"
            + ("" if _debug else "; `imgdb --debug ...` shows where it comes from")
        )
    return 1


def _report_usage(error: BaseException) -> int:
    message = str(getattr(error, "format_message", error.__str__)())
    context = getattr(error, "ctx", None)
    if message.startswith("Usage:"):  # a command group without a command
        print(message, file=sys.stderr)
    elif context is None:
        _say(message)
    else:
        _say(f"{message.rstrip('.')}; see `{context.command_path} --help`")
    return 2


def _translated(error: BaseException) -> ImgdbError | None:
    if isinstance(error, ImgdbError):
        return error
    # Only who imported psycopg can raise its errors.
    if "psycopg" in sys.modules:
        import psycopg

        from imgdb.sqlstate import translate

        if isinstance(error, psycopg.Error):
            return translate(error)
    return None
