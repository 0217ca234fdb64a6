"""What fits the words on a command line, for a shell's script.

typer has completion of its own, which is left off. Its scripts have the shell evaluate what comes
back, and here names come back from a database that others can write to; names with spaces fall
into words; and it loads rich. These scripts get data: a line that says whether files fit too, then
one line for each word, with a tab and its help.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import typer

# What a parameter takes, by its metavar.
FILES = frozenset({"FILE", "PATH", "FOLDER", "PLAN", "IMAGE", "A", "B"})

# Only these go through bash without a backslash.
_PLAIN = re.compile(r"[^\w@%+=:,./-]")


@dataclass(frozen=True, slots=True)
class Fitting:
    """The words that fit, with their help; `files` where names of files do."""

    words: list[tuple[str, str]] = field(default_factory=list)
    files: bool = False


def answer(app: typer.Typer, shell: str, arguments: list[str]) -> str:
    """Return the lines for a shell's script: `files` or `words`, then what fits.

    bash gives the line up to the cursor, and what it takes for the last word; zsh gives the words
    behind the command, and fish the last one of them as it is typed, with its quotes.
    """
    if shell == "bash":
        line, typed = arguments
        _, *words = split(line)
        found = fitting(app, words)
        shown = list(_for_bash(found.words, words[-1], typed))
    else:
        words = arguments if shell == "zsh" else [*arguments[:-1], split(arguments[-1])[-1]]
        found = fitting(app, words)
        shown = [f"{word}\t{said}" for word, said in found.words]
    return "\n".join(["files" if found.files else "words", *shown])


def fitting(app: typer.Typer, words: list[str]) -> Fitting:
    """Find what fits in the place of the last word, which may be empty."""
    from typer.main import get_command

    *before, incomplete = words
    place = Progress(get_command(app))
    for word in before:
        if not place.step(word):
            return Fitting()
    found = place.fitting(incomplete)
    words_found = [(word, said) for word, said in found.words if word.startswith(incomplete)]
    return Fitting([(w, _one_line(s)) for w, s in words_found if w.isprintable()], found.files)


class Progress:
    """How far a command line has come: the command, its options so far, and what is awaited."""

    def __init__(self, command: Any) -> None:
        self._command = command
        self._ctx = typer.Context(command)
        self._awaited: Any = None  # the option whose value comes next
        self._arguments = 0
        self._only_arguments = False

    def step(self, word: str) -> bool:
        """Take the next word; False where it makes no sense."""
        if self._awaited is not None:
            self._ctx.params[self._awaited.name] = word
            self._awaited = None
        elif word.startswith("-") and word != "-" and not self._only_arguments:
            self._take_option(word)
        elif (commands := self._commands()) is not None:
            if word not in commands:
                return False
            self._command = commands[word]
            self._ctx = typer.Context(self._command, parent=self._ctx, info_name=word)
        else:
            self._arguments += 1
        return True

    def _take_option(self, word: str) -> None:
        if word == "--":
            self._only_arguments = True
            return
        name, equals, value = word.partition("=")
        option = self._option(name)
        if option is None or option.is_flag:
            return
        if equals:
            self._ctx.params[option.name] = value
        else:
            self._awaited = option

    def fitting(self, incomplete: str) -> Fitting:
        """Find what fits next."""
        if self._awaited is not None:
            return self._values(self._awaited, incomplete)
        if incomplete.startswith("-") and not self._only_arguments:
            name, equals, value = incomplete.partition("=")
            if not equals:
                return Fitting(list(self._options()))
            option = self._option(name)
            found = self._values(option, value) if option is not None else Fitting()
            return Fitting([(f"{name}={w}", said) for w, said in found.words], found.files)
        if (commands := self._commands()) is not None:
            visible = ((n, c) for n, c in commands.items() if not c.hidden)
            return Fitting([(name, command.get_short_help_str(80)) for name, command in visible])
        argument = self._argument()
        return self._values(argument, incomplete) if argument is not None else Fitting()

    def _values(self, parameter: Any, incomplete: str) -> Fitting:
        items = parameter.shell_complete(self._ctx, incomplete)
        words = [(item.value, item.help or "") for item in items if item.type == "plain"]
        return Fitting(words, files=parameter.metavar in FILES)

    def _commands(self) -> Any:
        return getattr(self._command, "commands", None)

    def _options(self) -> Iterator[tuple[str, str]]:
        for parameter in self._command.get_params(self._ctx):
            if parameter.param_type_name == "option" and not parameter.hidden:
                for name in (*parameter.opts, *parameter.secondary_opts):
                    yield name, parameter.help or ""

    def _option(self, name: str) -> Any:
        for parameter in self._command.get_params(self._ctx):
            if name in parameter.opts and parameter.param_type_name == "option":
                return parameter
        return None

    def _argument(self) -> Any:
        """Return the argument that the next word belongs to."""
        params = self._command.get_params(self._ctx)
        arguments = [p for p in params if p.param_type_name == "argument"]
        for argument in arguments[: self._arguments + 1]:
            if argument.nargs == -1:
                return argument
        return arguments[self._arguments] if self._arguments < len(arguments) else None


def split(line: str) -> list[str]:
    """Split a line as a shell does, up to the cursor: the last word may be empty or half quoted."""
    cursor = "\0"  # sticks to the last word, and is a word of its own behind a space
    lexer = shlex.shlex(line + cursor, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:  # a quote is open
        words.append(lexer.token)
    return [*words[:-1], words[-1].removesuffix(cursor)]


def _for_bash(found: list[tuple[str, str]], incomplete: str, typed: str) -> Iterator[str]:
    """Spell words as bash is to put them in the place of what it takes for the last word.

    That begins behind a `=` or `:`, and may begin with a quote, which bash closes itself.
    """
    quote = typed[:1] if typed[:1] in ("'", '"') else ""
    typed = "" if typed in ("=", ":") else split(typed)[-1]
    kept = len(incomplete) - len(typed) if incomplete.endswith(typed) else 0
    for word, _ in found:
        rest = word[kept:]
        if not quote:
            yield _PLAIN.sub(r"\\\g<0>", rest)
        elif quote == "'" and "'" not in rest:
            yield rest
        elif quote == '"':
            yield re.sub(r'["$`\\!]', r"\\\g<0>", rest)


def _one_line(text: str) -> str:
    return " ".join(text.split())
