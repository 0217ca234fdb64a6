"""Write docs/cli.md from the `--help` of every command: `python docs/make_cli.py`."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

REFERENCE = Path(__file__).with_name("cli.md")

HEAD = """\
# Command line

What `--help` says, command by command. This page is made by `docs/make_cli.py`.

Exit codes of every command: 0 done, 1 failed, 2 wrong usage, 3 done in part (some files failed);
130 after Ctrl-C. Data goes to stdout, everything else to stderr. `imgdb --debug COMMAND` adds
tracebacks.

What is printed is a table on a terminal, and in a pipe or a file the same rows as plain lines, with
tabs. `--json` and `--csv` are for programs. [What commands print](output.md) has the columns.

In CSV a text that a spreadsheet would take for a formula, because it begins with `=`, `+`, `-` or
`@`, has an apostrophe in front. Only names that people chose can (a file, a collection): numbers
and absolute paths never do. `imgdb export` writes all texts as they are, for programs. In tables,
messages and pages characters that would end a line or turn its direction are shown as escapes.

`imgdb --install-completion` has the shell that it is called from complete commands, options and
names with Tab: bash and zsh by a line in `.bashrc` or `.zshrc`, fish by a file in its own folder.
For packages, `imgdb --show-completion SHELL` prints the script. Collections and spaces are asked of
the server that `--dsn` or the environment names, or of the embedded one if it runs; where no answer
comes within a second, no collection is shown. No server is started for it.
"""


def commands() -> list[list[str]]:
    """List the words of every command, a group before what is in it."""
    import typer.main

    from imgdb.cli.app import make_app

    return list(_walk(["imgdb"], typer.main.get_command(make_app())))


def _walk(words: list[str], command: object) -> Iterator[list[str]]:
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk([*words, name], inner)


def help_text(words: list[str]) -> str:
    """Return what `--help` prints on a screen of 80 columns."""
    from imgdb.cli.app import make_app

    # Read by both the formatter of the text and the terminal's width.
    os.environ["COLUMNS"] = "80"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        make_app()([*words[1:], "--help"], prog_name=words[0])
    return printed.getvalue().rstrip() + "\n"


def page() -> str:
    """Return the whole page."""
    made_with = f"<!-- Made with typer {version('typer')}: others may lay the text out anew. -->"
    parts = [HEAD, made_with + "\n"]
    for words in commands():
        parts.append(f"## {' '.join(words)}\n\n```text\n{help_text(words)}```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    REFERENCE.write_text(page(), "utf-8")
    print(f"wrote {REFERENCE}", file=sys.stderr)
