"""`imgdb hash`: the four hashes of files, without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.cli.options import FormatOption
from imgdb.cli.output import Format, Row, default_format, print_rows
from imgdb.cli.pictures import Failures, FilesFrom, opened, pictures, spelled
from imgdb.errors import PictureError, UsageError

if TYPE_CHECKING:
    from imgdb.hashes.fingerprint import Fingerprint


def hash_files(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Pictures to hash; - is one on stdin."),
    ] = None,
    files_from: FilesFrom = None,
    pdq: Annotated[
        bool, typer.Option("--pdq", help="Also make the PDQ hash, 256 bits, and its quality.")
    ] = False,
    format: FormatOption = None,
) -> None:
    """Print the four hashes of pictures.

    They are in hex, as imagehash prints them, and as the signed bigint that the database stores.
    PDQ is in 64 hex digits, as ThreatExchange spells it.
    """
    from imgdb.hashes.fingerprint import fingerprint
    from imgdb.hashes.values import ALGORITHMS

    named = pictures(files, files_from)
    if not named:
        raise UsageError("give pictures to hash")
    found: list[tuple[str, Fingerprint]] = []
    failures = Failures()
    for file in named:
        try:
            found.append((spelled(file), fingerprint(opened(file), pdq=pdq)))
        except PictureError as error:
            failures.report(spelled(file), error)
    format = format or default_format()
    if format is Format.table:
        # A screen has no room for eight hashes side by side.
        rows = [row for name, one in found for row in _rows(name, one)]
        print_rows(rows, ("path", "space", "hex", "bigint", "flat"), format)
    else:
        columns = ("path", *ALGORITHMS, *(f"{name}_bigint" for name in ALGORITHMS), "flat")
        columns += ("pdq", "pdq_quality")
        print_rows([_row(name, one) for name, one in found], columns, format)
    failures.exit(len(found))


def _rows(name: str, found: Fingerprint) -> list[Row]:
    """One row for each hash; path and flat stand in the first only."""
    from imgdb.hashes.values import ALGORITHMS, to_hex

    path, *hashes, flat = _row(name, found)[: 2 + 2 * len(ALGORITHMS)]
    count = len(ALGORITHMS)
    rows: list[Row] = list(zip(ALGORITHMS, hashes[:count], hashes[count:], strict=True))
    if found.pdq is not None:
        # In words, as they are stored.
        rows += [(f"pdq_{n}", to_hex(word), word) for n, word in enumerate(found.pdq.pdq, 1)]
        rows.append(("pdq quality", "", found.pdq.quality))
    return [
        (path if number == 0 else "", *row, flat if number == 0 else "")
        for number, row in enumerate(rows)
    ]


def _row(name: str, found: Fingerprint) -> Row:
    """All hashes of a file: four in hex, then four as stored, then PDQ if it was asked for."""
    from imgdb.hashes.values import ALGORITHMS, pdq_to_hex, to_hex

    values = [getattr(found, space) for space in ALGORITHMS]
    pdq = (pdq_to_hex(found.pdq.pdq), found.pdq.quality) if found.pdq is not None else (None, None)
    return (name, *map(to_hex, values), *values, found.flat, *pdq)
