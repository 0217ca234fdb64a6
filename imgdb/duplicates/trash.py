"""A folder that takes files instead of deleting them, and can give each back to where it was.

Below it a file has the whole path that it had, and is no more open to others than it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgdb.duplicates.folders import Folder, Refused, Rights, folder, folder_below, said
from imgdb.duplicates.moving import is_there, put, remove
from imgdb.duplicates.proof import Held, held_in, look, prove
from imgdb.duplicates.record import Damaged, Part, Taken, append_record, read_record
from imgdb.errors import UsageError
from imgdb.paths import path_from_text, path_text


@dataclass(frozen=True, slots=True)
class Moving:
    """A file that is to be moved, and those that go along; `path` as the database knows it."""

    path: str
    file: Held
    sha256: bytes
    companions: Sequence[Moving] = ()


class Trash:
    """A trash folder; it is made when the first file comes."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.path.realpath(folder)
        self._taken = {
            one.path: one for one in recorded(self.folder) if not isinstance(one, Damaged)
        }

    def check_outside(self, folders: Iterable[str]) -> None:
        """Raise UsageError if the trash is, or would be, in one of the folders or below."""
        above = {_identity(place) for place in (Path(self.folder), *Path(self.folder).parents)}
        above.discard(None)
        for one in folders:
            if _identity(Path(one)) in above:
                raise UsageError(
                    f"the trash would be in {path_text(one)}, from which files are removed: choose "
                    "a folder outside"
                )

    def holds(self, path: str, sha256: bytes) -> bool:
        """Tell whether the file that was at a path (as spelled) lies in the trash."""
        taken = self._taken.get(path)
        return taken is not None and taken.sha256 == sha256 and self._has(taken)

    def holds_companion(self, picture: str, path: str) -> bool:
        """Tell whether a file that went along with a picture lies in the trash."""
        taken = self._taken.get(picture)
        return taken is not None and any(
            part.path == path and self._has(part) for part in taken.companions
        )

    def _has(self, part: Part) -> bool:
        try:
            with folder(self.folder) as trash:
                return _is_whole(trash, part)
        except Refused:
            return False

    def take(self, picture: Moving, check: Callable[[], object] = lambda: None) -> None:
        """Move a picture and its companions to the trash, all or none of them.

        Raises Refused, and the files are where they were. `check` is called right before the first
        one goes from its place, and may raise it, too.
        """
        files = (*picture.companions, picture)
        try:
            with folder(self.folder, make=()) as trash:
                # A run that was killed has noted them, and perhaps put some of them here.
                taken = self._taken.get(picture.path)
                if taken is None or not _is_about(trash, taken, files):
                    taken = _planned(trash, picture)
                    append_record(trash, taken)
                    self._taken[picture.path] = taken
                placed: list[Part] = []
                try:
                    _put_all(trash, taken, files, placed)
                    _remove_all(trash, taken, files, check)
                except (OSError, Refused):
                    _drop(trash, placed)
                    raise
        except OSError as error:
            raise Refused(f"it cannot be put into the trash: {said(error)}") from error


def recorded(path: str) -> list[Taken | Damaged]:
    """Return what the record of a trash says, oldest first; nothing where there is none."""
    try:
        with folder(path) as trash:
            return [*read_record(trash)]
    except Refused:
        return []


def _planned(trash: Folder, picture: Moving) -> Taken:
    """Return where in the trash the files will be: nothing is there, whatever they are called."""

    def part(one: Moving) -> dict[str, Any]:
        return {
            "path": one.path,
            "place": path_text(one.file.path),
            "trashed": path_text(_room_for(trash, one.file.path)),
            "sha256": one.sha256,
            "byte_size": one.file.status.st_size,
        }

    return Taken(
        **part(picture),
        companions=tuple(Part(**part(one)) for one in picture.companions),
        rights=picture.file.folder.rights,
    )


def _room_for(trash: Folder, path: str) -> str:
    wanted = Path(path.lstrip(os.sep))
    free, number = wanted, 1
    while is_there(trash, str(free)):
        number += 1
        free = wanted.with_name(f"{wanted.stem}~{number}{wanted.suffix}")
    return str(free)


def _is_about(trash: Folder, taken: Taken, files: Sequence[Moving]) -> bool:
    """Tell whether a line of the record is about these files, and can be gone on with."""
    parts = {part.path: part for part in taken.parts}
    there = {one.path: one for one in files}
    return there.keys() <= parts.keys() and all(
        _is_whole(trash, part)
        if (one := there.get(path)) is None
        else one.sha256 == part.sha256
        and (_is_name_of(trash, part, one) or _is_free(trash, part) or _is_whole(trash, part))
        for path, part in parts.items()
    )


def _is_free(trash: Folder, part: Part) -> bool:
    return not is_there(trash, path_from_text(part.trashed))


def _put_all(trash: Folder, taken: Taken, files: Sequence[Moving], placed: list[Part]) -> None:
    """Put what is not in the trash yet where the record says, and tell of each in `placed`."""
    parts = {part.path: part for part in taken.parts}
    for one in files:
        part = parts[one.path]
        with place_in(trash, part, one.file.folder.rights) as (inner, name):
            try:
                put(one.file, inner, name, one.sha256)
            except FileExistsError:
                if not (_is_name_of(trash, part, one) or _is_whole(trash, part)):
                    raise
            else:
                placed.append(part)


def _is_name_of(trash: Folder, part: Part, one: Moving) -> bool:
    try:
        with place_in(trash, part) as (inner, name):
            return os.path.samestat(look(inner, name), one.file.status)
    except (OSError, Refused):
        return False


def _is_whole(trash: Folder, part: Part) -> bool:
    try:
        with (
            place_in(trash, part) as (inner, name),
            held_in(inner, name, change=False) as file,
        ):
            prove(file, part.sha256, part.byte_size)
            return True
    except (Refused, OSError):
        return False


@contextmanager
def place_in(
    trash: Folder, part: Part, make: Sequence[Rights] | None = None
) -> Iterator[tuple[Folder, str]]:
    """Open the folder in the trash that a file is, or will be, in."""
    inner, name = os.path.split(path_from_text(part.trashed))
    with folder_below(trash, inner, make) as found:
        yield found, name


def _remove_all(
    trash: Folder, taken: Taken, files: Sequence[Moving], check: Callable[[], object]
) -> None:
    """Take all files from their places, or none."""
    for one in files:
        one.file.check_still()
    check()
    gone: list[Moving] = []
    try:
        for one in files:
            remove(one.file)
            gone.append(one)
    except Refused:
        parts = {part.path: part for part in taken.parts}
        for one in gone:
            _undo(trash, parts[one.path], one.file)
        raise


def _undo(trash: Folder, part: Part, file: Held) -> None:
    """Give a file its name back that it had a moment ago; its bytes are in the trash, and open."""
    with place_in(trash, part) as (inner, name):
        again = Held(file.fd, inner, name, look(inner, name))
        put(again, file.folder, file.name, part.sha256)


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = place.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _drop(trash: Folder, parts: Sequence[Part]) -> None:
    for part in parts:
        with place_in(trash, part) as (inner, name):
            os.unlink(name, dir_fd=inner.fd)
