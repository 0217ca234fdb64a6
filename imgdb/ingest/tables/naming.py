"""Which columns of a table are the names and the hashes: in any case, or as they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imgdb.errors import UsageError
from imgdb.hashes.values import ALGORITHMS

NAMES = ("path", "id")
KNOWN = (*NAMES, *ALGORITHMS)


def read_given(given: Sequence[str]) -> dict[str, str]:
    """Read `phash=hash`: the column `hash` holds the phash. UsageError for anything else."""
    columns: dict[str, str] = {}
    for word in given:
        name, equals, column = word.partition("=")
        if not equals or not column or name not in KNOWN:
            raise UsageError(f"not NAME=COLUMN, with a NAME of {', '.join(KNOWN)}: {word}")
        if name in columns:
            raise UsageError(f"{name} is given twice")
        columns[name] = column
    return columns


def find_columns(header: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return for the name and each hash the column that holds it, the name first."""
    found = {name: _column(name, header, given) for name in KNOWN if name not in given}
    found |= {name: _column(name, header, given) for name in given}
    taken = {name: column for name, column in found.items() if column is not None}
    # Who says which column is the name need not rename another one that is called so.
    names = [name for name in NAMES if name in given] or [n for n in NAMES if n in taken]
    hashes = [name for name in ALGORITHMS if name in taken]
    if len(names) != 1 or not hashes:
        raise UsageError(
            "the first line must name a column path or id, and at least one of "
            f"{', '.join(ALGORITHMS)} (or --map NAME=COLUMN says which they are); it names: "
            f"{', '.join(header) or 'nothing'}"
        )
    return {name: taken[name] for name in names + hashes}


def _column(name: str, header: Sequence[str], given: Mapping[str, str]) -> str | None:
    wanted = given.get(name, name)
    # As it is spelled, else in another case.
    alike = [one for one in header if one == wanted] or [
        one for one in header if one.lower() == wanted.lower()
    ]
    if len(alike) > 1:
        raise UsageError(f"the column {wanted} is there twice")
    if not alike and name in given:
        raise UsageError(f"there is no column {wanted}; there are: {', '.join(header)}")
    return alike[0] if alike else None
