"""Options of the commands that hash with worker processes; their defaults are those of the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imgdb.cli.completion.names import hashes
from imgdb.cli.options import byte_size
from imgdb.hashes.values import ALGORITHMS
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.workers.limits import PICTURE_SECONDS, WORKER_MEMORY

if TYPE_CHECKING:
    from imgdb.ingest.options import Options

Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=0.1, help="A picture that takes longer fails.")
]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How many worker processes there are, and what one of them may use for a picture."""

    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            help="How many worker processes. Default: one for each core.",
        ),
    ] = None
    max_pixels: Annotated[
        int, typer.Option(metavar="N", min=1, help="A picture with more pixels fails.")
    ] = MAX_PIXELS
    worker_memory: Annotated[
        int,
        typer.Option(
            parser=byte_size,
            metavar="SIZE",
            help=f"Memory for one worker: 512M, 1.5G. Default: {WORKER_MEMORY >> 30}G.",
            show_default=False,
        ),
    ] = WORKER_MEMORY
    timeout: Timeout = PICTURE_SECONDS


@dataclass(frozen=True, kw_only=True)
class HashingOptions:
    """Which hashes are made, and from what."""

    decode: Annotated[
        Literal["exact", "scaled"],
        typer.Option(help="scaled reads JPEGs at reduced size, several times faster."),
    ] = "exact"
    hashes: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="The hashes to make, separated by commas.",
            autocompletion=hashes,
        ),
    ] = ",".join(ALGORITHMS)
    pdq: Annotated[
        bool,
        typer.Option("--pdq", help="Also make PDQ, a hash of 256 bits."),
    ] = False


def ingest_options(hashing: HashingOptions, workers: WorkerOptions, **choices: Any) -> Options:
    """Return how to ingest; `choices` are the other fields of Options."""
    from imgdb.ingest.options import Options

    return Options(
        decode=hashing.decode,
        algorithms=hash_names(hashing.hashes),
        pdq=hashing.pdq,
        jobs=workers.jobs,
        max_pixels=workers.max_pixels,
        memory=workers.worker_memory,
        timeout=workers.timeout,
        **choices,
    )


def hash_names(hashes: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas or spaces, each once."""
    return tuple(dict.fromkeys(hashes.replace(",", " ").split()))
