"""Options that several commands share."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from imgdb.cli.completion import names
from imgdb.cli.output import Format
from imgdb.errors import UsageError
from imgdb.hashes.values import USUAL_RULE, largest_distance


def _or_global(ctx: typer.Context, value: str | None) -> str | None:
    return ctx.find_root().params.get("dsn") if value is None else value


DSN_HELP = (
    "The database, as a libpq connection string. Default: IMGDB_DSN, then PGHOST, PGSERVICE, ...; "
    "else the embedded server."
)

# As good before the command as after it: `imgdb --dsn X stats`, `imgdb stats --dsn X`.
Dsn = Annotated[
    str | None,
    typer.Option("--dsn", metavar="DSN", callback=_or_global, help=DSN_HELP, show_default=False),
]

FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format", help="Default: table on a terminal, lines with tabs in a pipe or a file."
    ),
]

# Without it, the distance that the space has as its own.
MaxDistance = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        min=0,
        max=64,
        help="How many of the 64 bits may differ. Default: that of the space, which is 8 unless "
        "somebody changed it.",
        show_default=False,
    ),
]

# Without it, the distance that the rule has as its own.
RuleDistance = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        min=0,
        max=128,
        help="The largest distance that counts as alike: how many of the 64 bits of a hash may "
        "differ, or of both hashes together. Default: that of the collection, else that of the "
        "rule, which is 17 for phash+dhash unless somebody changed it.",
        show_default=False,
    ),
]

QueryDistance = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        min=0,
        max=256,
        help="The largest distance that counts as alike: how many of the 64 bits of a hash may "
        "differ, of both hashes together, or of the 256 bits of PDQ. Default: that of the "
        "collection, else that of the rule: 17 for phash+dhash, unless somebody changed it, 31 for "
        "pdq, 70 for phash-pdq.",
        show_default=False,
    ),
]

SpaceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SPACE",
        help="The space. Default: all spaces.",
        autocompletion=names.space_names,
    ),
]

# Images that look alike to a search are shown one by one up to this many; more are a flood.
FLOOD = 20


class HashName(StrEnum):
    """The hashes that `--hash` offers, the most useful first; each has a space of its name."""

    phash = "phash"
    dhash = "dhash"
    whash = "whash"
    ahash = "ahash"


class RuleName(StrEnum):
    """What `--hash` offers where images are compared: the rule, and the hashes alone."""

    both = USUAL_RULE
    phash = "phash"
    dhash = "dhash"
    whash = "whash"
    ahash = "ahash"


class QueryRule(StrEnum):
    """What `--hash` offers where a picture is looked for: all rules, those of PDQ too."""

    both = USUAL_RULE
    phash = "phash"
    dhash = "dhash"
    whash = "whash"
    ahash = "ahash"
    pdq = "pdq"
    checked = "phash-pdq"


def check_distance(rule: str, max_distance: int | None) -> None:
    """Raise UsageError for a distance that no two pictures can have by a rule."""
    most = largest_distance(rule)
    if max_distance is not None and max_distance > most:
        raise UsageError(f"--max-distance {max_distance}: by {rule} it is {most} at most")


def collection_option(said: str, flag: str = "--collection", *, default: bool = False) -> Any:
    """Return an option that takes a collection; `default` shows its default."""
    return typer.Option(
        flag,
        metavar="NAME",
        help=said,
        autocompletion=names.collections,
        show_default=default,
    )


def hash_option(said: str, names: type[StrEnum] = HashName) -> Any:
    """Return the option --hash, which takes one of `names`."""
    # All names in the place of HASH would push all help to the right.
    *first, last = names
    help = f"{said}: {', '.join(first)} or {last}."
    return typer.Option("--hash", metavar="HASH", help=help)


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def byte_size(text: str | int) -> int:
    """Read a size in bytes: 2G, 512M, 1.5 GiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(?:i?B)?", str(text), re.IGNORECASE)
    if not found:
        raise typer.BadParameter(f"not a size such as 512M or 2G: {text}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def offers_formats(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes a FormatOption called `format` the flags --json and --csv, too."""
    signature = inspect.signature(command, eval_str=True)
    if "format" not in signature.parameters or signature.parameters["format"].default is not None:
        return command

    @wraps(command)
    def call(*, as_json: bool, as_csv: bool, **values: Any) -> None:
        asked = {Format.json: as_json, Format.csv: as_csv, values["format"]: bool(values["format"])}
        formats = [format for format, wanted in asked.items() if wanted]
        if len(formats) > 1:
            raise UsageError("give one of --json, --csv and --format")
        command(**values | {"format": next(iter(formats), None)})

    flags = [_flag("as_json", "--json"), _flag("as_csv", "--csv")]
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
    ]
    place = [parameter.name for parameter in parameters].index("format") + 1
    return _retyped(call, signature, [*parameters[:place], *flags, *parameters[place:]])


def _flag(name: str, flag: str) -> inspect.Parameter:
    annotation = Annotated[bool, typer.Option(flag, help=f"The same as --format {flag[2:]}.")]
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=False, annotation=annotation)


def _retyped(
    call: Callable[..., None], signature: inspect.Signature, parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take dataclasses of options: typer sees each field as an option of its own.

    Their fields are annotated as parameters of commands are. Fields of two classes that one
    command takes have different names.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {}
    parameters = []
    for parameter in signature.parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += _field_parameters(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def call(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    return _retyped(call, signature, parameters)


def _field_parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
