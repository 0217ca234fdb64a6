"""Options of the commands that hash with worker processes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from imgdb.cli.completion.names import hashes
from imgdb.cli.options import byte_size

ALL_HASHES = "ahash,dhash,phash,whash"
MAX_PIXELS = 300_000_000
MEMORY = "2G"
TIMEOUT = 60.0

DecodeOption = Annotated[
    Literal["exact", "scaled"],
    typer.Option("--decode", help="scaled: JPEGs at reduced size, several times faster."),
]
HashesOption = Annotated[
    str,
    typer.Option(
        "--hashes",
        metavar="LIST",
        help="Which to make, separated by commas.",
        autocompletion=hashes,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", metavar="N", min=1, help="Worker processes. Default: cores."),
]
MaxPixels = Annotated[
    int,
    typer.Option("--max-pixels", metavar="N", min=1, help="Pictures with more pixels fail."),
]
WorkerMemory = Annotated[
    int,
    typer.Option(
        "--worker-memory", parser=byte_size, metavar="SIZE", help="Memory of one worker: 512M, 2G."
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.1, help="A picture that takes longer fails."
    ),
]


def names(hashes: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas or spaces, each once."""
    return tuple(dict.fromkeys(hashes.replace(",", " ").split()))
