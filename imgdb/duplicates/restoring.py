"""Put back what a trash has taken: a picture and its companions, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from imgdb.duplicates.folders import Refused, Rights, folder, said
from imgdb.duplicates.moving import is_there, put, remove
from imgdb.duplicates.proof import Held, held_in, look, prove, same, verified
from imgdb.duplicates.record import Damaged, Part, Taken
from imgdb.duplicates.trash import place_in, recorded
from imgdb.paths import path_from_text


def taken_by(path: str | os.PathLike[str]) -> list[Taken | Damaged]:
    """Return what a trash folder has taken, oldest first."""
    return recorded(os.path.realpath(path))


def put_back(path: str | os.PathLike[str], taken: Taken) -> list[Part]:
    """Put a picture and its companions back to where they were, all or none; raises Refused.

    Returns those that were in the trash.
    """
    with ExitStack() as stack:
        trash = stack.enter_context(folder(os.path.realpath(path)))
        found = []
        for part in taken.parts:
            if is_there(trash, path_from_text(part.trashed)):
                with _told(part, taken):
                    inner, name = stack.enter_context(place_in(trash, part))
                    file = stack.enter_context(held_in(inner, name, change=True))
                    prove(file, part.sha256, part.byte_size)
                    _check_free(part, file)
                    found.append((part, file))
        placed: list[tuple[Part, os.stat_result]] = []
        try:
            for part, file in found:
                with _told(part, taken):
                    placed += _put_at_place(part, file, taken.rights)
            for part, file in found:
                with _told(part, taken):
                    remove(file)
        except Refused:
            for part, status in placed:
                _take_away(part, status)
            raise
        return [part for part, _ in found]


@contextmanager
def _told(part: Part, taken: Taken) -> Iterator[None]:
    """Say in a refusal which of several files it is about."""
    try:
        try:
            yield
        except OSError as error:
            raise Refused(f"it cannot be put back: {said(error)}") from error
    except Refused as error:
        if part is taken:
            raise
        raise Refused(f"its companion {part.path}: {error}") from error


def _check_free(part: Part, file: Held) -> None:
    outside, name = os.path.split(path_from_text(part.place))
    try:
        with folder(outside) as target:
            there = is_there(target, name)
    except Refused:  # made anew in a moment, or refused again
        return
    if there and not _is_back(part, file):
        raise Refused("there is another file at its place")


def _put_at_place(
    part: Part, file: Held, rights: Sequence[Rights]
) -> list[tuple[Part, os.stat_result]]:
    outside, name = os.path.split(path_from_text(part.place))
    with folder(outside, make=rights) as target:
        try:
            put(file, target, name, part.sha256)
        except FileExistsError:
            if not _is_back(part, file):
                raise Refused("there is another file at its place") from None
            return []
        return [(part, look(target, name))]


def _is_back(part: Part, file: Held) -> bool:
    """Tell whether a file was put back already, and is in the trash as well."""
    place = path_from_text(part.place)
    if file.is_at(place):  # two names of one file: the lock on it is ours
        return True
    try:
        with verified(place, part.sha256, part.byte_size, change=False):
            return True
    except Refused:
        return False


def _take_away(part: Part, status: os.stat_result) -> None:
    """Take a file from its place again that was put there just now."""
    outside, name = os.path.split(path_from_text(part.place))
    with suppress(Refused, OSError), folder(outside) as target:
        if same(look(target, name), status):
            os.unlink(name, dir_fd=target.fd)
