"""Which columns of a table are the names and the hashes: in any case, or as they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imgdb.errors import UsageError
from imgdb.hashes.values import ALGORITHMS

NAMES = ("path", "id")
HASHES = (*ALGORITHMS, "pdq")
KNOWN = (*NAMES, *HASHES, "pdq_quality")
# A table with all of these is an export of imgdb, and says what a row is, whatever made it.
EXPORTED = (
    "collection", "flat", "recipe", "byte_size", "modified_at", "sha256", "format", "width",
    "height", "frames",
)  # fmt: skip
# Not all exports have these: some were written before they were there.
ALSO_EXPORTED = (
    "colours", "missing_since", "ingested_at", "pdq_recipe", "region_recipe", "regions",
    "different_from",
)  # fmt: skip


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
    """Return for the name and each hash the column that holds it, the name first.

    Where no column is the name, the PDQ hash is. Of an export all that it knows is returned.
    """
    columns = {name: _column(name, header, given) for name in KNOWN if name not in given}
    columns |= {name: _column(name, header, given) for name in given}
    taken = {name: column for name, column in columns.items() if column is not None}
    # Who says which column is the name need not rename another one that is called so.
    names = [name for name in NAMES if name in given] or [n for n in NAMES if n in taken]
    hashes = [name for name in HASHES if name in taken]
    if not names and "pdq" in taken:
        names, taken["id"] = ["id"], taken["pdq"]
    if len(names) != 1 or not hashes:
        raise UsageError(
            "the first line must name a column path or id, and at least one of "
            f"{', '.join(HASHES)} (or --map NAME=COLUMN says which they are); it names: "
            f"{', '.join(header) or 'nothing'}; of `imgdb hash`, import what --json prints"
        )
    found = {name: taken[name] for name in names + hashes}
    if "pdq" in taken and "pdq_quality" in taken:
        found["pdq_quality"] = taken["pdq_quality"]
    if all(name in header for name in EXPORTED):
        found |= {name: name for name in (*EXPORTED, *ALSO_EXPORTED) if name in header}
    return found


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
