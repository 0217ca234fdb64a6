"""JSON Lines: an object a line; or one JSON list of objects, as `imgdb hash --json` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, TextIO

from imgdb.errors import UsageError
from imgdb.ingest.tables.bad_lines import Complaints

LINES = 5000  # at a time

# The numbers of the lines, and an object for each.
Chunk = tuple[Sequence[int], Sequence[dict[str, Any]]]


def object_chunks(file: TextIO, complaints: Complaints) -> Iterator[Chunk]:
    """Yield all objects; `complaints` gets the lines that are none.

    In a list a line is an object, counted from 1. UsageError for a list that is no JSON.
    """
    first = file.readline()
    if first.lstrip().startswith("["):
        yield from _of_list(first + file.read(), complaints)
        return
    lines = enumerate(chain([first], file), 1)
    while part := [*islice(lines, LINES)]:
        numbers, objects = [], []
        for number, line in part:
            if line.strip():
                try:
                    found = json.loads(line)
                except ValueError as error:
                    complaints.add(number, f"no JSON: {error}")
                    continue
                if isinstance(found, dict):
                    numbers.append(number)
                    objects.append(found)
                else:
                    complaints.add(number, "no object of JSON")
        if objects:
            yield numbers, objects


def _of_list(text: str, complaints: Complaints) -> Iterator[Chunk]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"cannot be read as JSON: {error}") from None
    numbers = [number for number, one in enumerate(found, 1) if isinstance(one, dict)]
    for number, one in enumerate(found, 1):
        if not isinstance(one, dict):
            complaints.add(number, "no object of JSON")
    if numbers:
        yield numbers, [found[number - 1] for number in numbers]
