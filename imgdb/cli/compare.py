"""`imgdb compare`: how far two pictures are apart."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.cli.options import FormatOption, check_distance, hash_option
from imgdb.cli.output import Format, default_format, print_facts, print_rows
from imgdb.cli.pictures import Failures, opened, pictures, spelled
from imgdb.errors import PictureError
from imgdb.hashes.values import USUAL_RULE

if TYPE_CHECKING:
    from imgdb.search.compare import Comparison

TROUBLE = 2


class ComparedHash(StrEnum):
    """What two pictures are compared by."""

    both = USUAL_RULE
    phash = "phash"
    dhash = "dhash"
    whash = "whash"
    ahash = "ahash"
    pdq = "pdq"

    @property
    def field(self) -> str:
        """What its fields of a comparison begin with."""
        return "sum" if self is ComparedHash.both else self.value


def compare_files(
    a: Annotated[str, typer.Argument(metavar="A", help="A picture; - is one on stdin.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another picture.")],
    hash_name: Annotated[
        ComparedHash, hash_option("What decides", ComparedHash)
    ] = ComparedHash.both,
    max_distance: Annotated[
        int | None,
        typer.Option(
            metavar="BITS",
            min=0,
            max=256,
            help="How many bits may differ by what decides. Default: 17 for phash+dhash, 8 for "
            "phash, 4 for dhash, 2 for whash and ahash, 31 (of 256) for pdq.",
            show_default=False,
        ),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="Exit as diff does: with 0 if they are alike, 1 if not, 2 if a file cannot be "
            "read.",
        ),
    ] = False,
    format: FormatOption = None,
) -> None:
    """Show how far two pictures are apart in every hash. This needs no database.

    They are alike if what --hash names differs in at most --max-distance bits: as in `imgdb query`
    phash and dhash together, if nothing else is said. Flat pictures (solid colours, blank pages)
    look alike to every hash, so they are alike only if their pixels are the same. Of files with
    several frames or pages the first one is compared, so they are alike only if their bytes are the
    same. Pictures of other colours are different, but one in colours and its grey copy are alike.
    """
    from imgdb.search.compare import compare, read_look

    check_distance(hash_name, max_distance)
    looks, failures = [], Failures()
    for file in pictures([a, b], None):
        try:
            looks.append(read_look(opened(file), spelled(file)))
        except PictureError as error:
            failures.report(spelled(file), error)
    if failures.count:
        raise typer.Exit(TROUBLE if exit_code else 1)
    found = compare(*looks, hash=hash_name, max_distance=max_distance)
    format = format or default_format()
    if format is Format.table:
        _show_table(found)
    else:
        print_facts(asdict(found), format)
    if exit_code and not found.alike:
        raise typer.Exit(1)


def _show_table(found: Comparison) -> None:
    rows = [
        (name, getattr(found, f"{name.field}_distance"), getattr(found, f"{name.field}_within"))
        for name in ComparedHash
    ]
    print_rows(rows, ("hash", "distance", "near"), Format.table)
    colours = "same colours" if found.same_colours else "other colours"
    typer.echo(f"{colours}: {found.colour_difference:.1f} apart")
    typer.echo(_verdict(found))


def _verdict(found: Comparison) -> str:
    if found.same_bytes:
        return "alike: same bytes"
    if found.same_pixels:
        return "alike: same pixels, other bytes"
    if found.flat:
        return "different: a flat picture, whose distances say nothing"
    if max(found.a_frames, found.b_frames) > 1:
        frames = f"{found.a_frames:,} and {found.b_frames:,} frames"
        return f"different: {frames}, of which only the first two were compared"
    within = getattr(found, f"{ComparedHash(found.hash).field}_within")
    if found.alike:
        return f"alike by {found.hash}" + ("" if found.same_colours else ": one is a grey copy")
    return "different: other colours" if within else f"different by {found.hash}"
