"""The typer application, and the funnel in which every error ends.

How to add a command: a function in a module of its group, with a line in COMMANDS. Only the module
of the command that runs is loaded. Heavy modules (psycopg, PIL, numpy, alembic, rich) are imported
inside the function, so that `imgdb --help`, a mistyped option and Tab answer at once. A command
that uses the database takes `dsn: Dsn = None` (`imgdb.cli.options`) and hands it on; what was given
before the command's name is already in it. Raise an ImgdbError, `typer.Exit(3)` for "done in part",
and let everything else through.
"""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import FrameType
from typing import Annotated, NoReturn

import typer

from imgdb.cli.completion import SHELLS, VARIABLE
from imgdb.cli.help import Command, CommandGroup
from imgdb.cli.options import DSN_HELP, offers_formats
from imgdb.errors import ImgdbError, UsageError
from imgdb.words import printable

# What a shell says of a command that a signal ended: 130 for Ctrl-C.
INTERRUPTED = 128 + signal.SIGINT

# typer's word for a wrong option or argument; its base class has no public name.
_WrongUsage = typer.BadParameter.__base__ or typer.BadParameter

_debug = False
_signal: int = signal.SIGINT

FILL, FIND, CLEAR = "Fill the database", "Find pictures", "Clear duplicates"
CARE, TRY = "Look after it", "Get to know it"

# In the order of --help: its heading, and the function or the group that it is.
COMMANDS = {
    "ingest": (FILL, "imgdb.cli.ingest:ingest_command"),
    "rehash": (FILL, "imgdb.cli.rehash:rehash_command"),
    "import": (FILL, "imgdb.cli.transfer:import_file"),
    "export": (FILL, "imgdb.cli.transfer:export"),
    "query": (FIND, "imgdb.cli.query:query"),
    "parts": (FIND, "imgdb.cli.parts:parts_command"),
    "compare": (FIND, "imgdb.cli.compare:compare_files"),
    "duplicates": (FIND, "imgdb.cli.duplicates:duplicates_command"),
    "hubs": (FIND, "imgdb.cli.hubs:hubs_command"),
    "matches": (FIND, "imgdb.cli.matches:matches_command"),
    "hash": (FIND, "imgdb.cli.hash:hash_files"),
    "calibrate": (FIND, "imgdb.cli.calibrate:calibrate_command"),
    "serve": (FIND, "imgdb.cli.serve:serve_command"),
    "apply": (CLEAR, "imgdb.cli.apply:apply_command"),
    "restore": (CLEAR, "imgdb.cli.apply:restore_command"),
    "stats": (CARE, "imgdb.cli.inspect:stats"),
    "failures": (CARE, "imgdb.cli.inspect:failures_command"),
    "demo": (TRY, "imgdb.cli.demo.command:demo"),
    "mark": (CLEAR, "imgdb.cli.mark:mark_app"),
    "collections": (CARE, "imgdb.cli.collections:collections_app"),
    "space": (CARE, "imgdb.cli.space:space_app"),
    "db": (CARE, "imgdb.cli.db:db_app"),
}


@cache
def make_app(only: str | None = None) -> typer.Typer:
    """Return the application with all commands, or with the one that is about to run."""
    app = typer.Typer(
        name="imgdb",
        no_args_is_help=True,
        add_completion=False,  # ours: see imgdb/cli/completion/answer.py
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich takes longer to load than all the rest
        cls=CommandGroup,
    )
    app.callback()(root)
    for name, (heading, place) in COMMANDS.items():
        if only is not None and name != only:
            continue
        module, _, definition = place.partition(":")
        found = getattr(import_module(module), definition)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, rich_help_panel=heading)
        else:
            app.command(name, cls=Command, rich_help_panel=heading)(offers_formats(found))
    return app


def _asked(arguments: Sequence[str]) -> str | None:
    """Return the command that is about to run, None where that takes knowing them all."""
    if arguments == ["--version"]:
        return ""
    words = iter(arguments)
    for word in words:
        if word in COMMANDS:
            return word
        if word == "--dsn":
            next(words, None)
        elif word != "--debug" and not word.startswith("--dsn="):
            return None
    return None


def _show_version(wanted: bool) -> None:
    if wanted:
        from imgdb import __version__

        print(f"imgdb {__version__}")
        raise typer.Exit


def _install_completion(wanted: bool) -> None:
    if wanted:
        from imgdb.cli.completion.install import current_shell, install

        shell = current_shell()
        place, settings = install(shell)
        read = f", which {settings} reads" if settings else ""
        _say(f"completion is in {place}{read}; open another {shell} to have it")
        raise typer.Exit


def _show_completion(shell: str | None) -> None:
    if shell is not None:
        from imgdb.cli.completion.install import shell_script

        if shell not in SHELLS:
            raise UsageError(f"no completion for {shell}; choose from {', '.join(SHELLS)}")
        print(shell_script(shell), end="")
        raise typer.Exit


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
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=_install_completion,
            is_eager=True,
            help="Let this shell complete commands and names with Tab, and exit.",
        ),
    ] = False,
    show_completion: Annotated[
        str | None,
        typer.Option(
            "--show-completion",
            metavar="SHELL",
            callback=_show_completion,
            is_eager=True,
            autocompletion=lambda: SHELLS,
            help="Show the script for bash, zsh or fish, and exit.",
        ),
    ] = None,
) -> None:
    """Exact image-similarity search inside PostgreSQL."""
    global _debug
    _debug = debug


def run_command(app: typer.Typer | None = None) -> None:
    """Run the command line: every error becomes one line on stderr and an exit code."""
    if shell := os.environ.get(VARIABLE):
        _complete(shell)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, _interrupt)
    try:
        app = app or make_app(_asked(sys.argv[1:]))
        # The same name, however it was started: `python -m imgdb` too.
        code = app(prog_name="imgdb", standalone_mode=False) or 0
        sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        code = _report(error)
        _give_up_stdout()
    if code == INTERRUPTED:
        _say("interrupted")
        code = 128 + _signal
    # All is done and said: a Ctrl-C that comes now changes no more than it would a moment later.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _complete(shell: str) -> NoReturn:
    """Answer a shell whose user pressed Tab, and leave without waiting for a database."""
    with contextlib.suppress(BaseException):
        from imgdb.cli.completion.answer import answer

        sys.stdout.buffer.write(os.fsencode(answer(make_app(), shell, sys.argv[1:]) + "\n"))
        sys.stdout.flush()
    os._exit(0)


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
        print(f"imgdb: {printable(line)}", file=sys.stderr, flush=True)


def _report(error: BaseException) -> int:
    """Say what happened, and return the exit code."""
    if _debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    # 1, except for a command that says something else by it: query --exit-code.
    code = int(getattr(error, "exit_code", 1))
    if isinstance(error, BrokenPipeError):  # the reader of our output has enough of it
        return code
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
    return code


def _report_usage(error: BaseException) -> int:
    message = str(getattr(error, "format_message", error.__str__)())
    context = getattr(error, "ctx", None)
    if message.startswith("Usage:"):  # a command group without a command
        print(message, file=sys.stderr)
    elif context is None:
        _say(message)
    else:
        # What raised it is of no interest to a person.
        message = message.replace(": Value error, ", ": ")
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
