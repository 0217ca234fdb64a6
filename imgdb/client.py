"""The database from Python: pictures in, answers out, nothing printed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg

from imgdb.database.connect import open_database, translate
from imgdb.errors import ImgdbError
from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import PDQ_RULES, USUAL_RULE
from imgdb.ingest.exclusion import Exclusion
from imgdb.ingest.options import Options
from imgdb.ingest.run import ingest
from imgdb.ingest.store import store_one
from imgdb.ingest.summary import Summary
from imgdb.paths import absolute, path_text
from imgdb.search.images import Match, query_by_file, similar
from imgdb.search.many import Near, within_many

if TYPE_CHECKING:
    from imgdb.pictures.images import AnyImage


class Database:
    """A database of pictures: that of a libpq connection string, or what the configuration says.

    `with` closes it. One thread at a time may use it.
    """

    def __init__(self, dsn: str | None = None) -> None:
        self._stack = contextlib.ExitStack()
        self.connection: psycopg.Connection[Any] = self._stack.enter_context(open_database(dsn))

    def query(
        self,
        image: AnyImage,
        *,
        max_distance: int | None = None,
        hash: str = USUAL_RULE,
        collection: str | None = None,
        limit: int | None = None,
        any_orientation: bool = False,
        parts: bool = True,
        include_flat: bool = False,
        same_colours: bool = False,
    ) -> list[Match]:
        """List the images that look like a picture, nearest first.

        `hash` is a hash, or a rule: phash+dhash, and pdq and phash-pdq of what has a PDQ hash.
        With `parts` also those that share regions with it, or look like what is within its borders.

        A flat picture (a solid colour, a blank page) looks like all others, so without
        `include_flat` only files of the same bytes are found for it. `same_colours` leaves out what
        has other colours, or none that are known. Raises PictureError.
        """
        query = query_by_file(
            image, any_orientation=any_orientation, pdq=hash in PDQ_RULES, parts=parts
        )
        with _translated():
            return similar(
                self.connection,
                query,
                space=hash,
                max_distance=max_distance,
                collection=collection,
                limit=limit,
                include_flat=include_flat,
                parts=parts,
                same_colours=same_colours,
            )

    def add(
        self,
        image: AnyImage,
        *,
        id: str | None = None,
        collection: str = "default",
        pdq: bool = False,
    ) -> int:
        """Store one picture under a name of yours, and return its image_id.

        A path has its own name; whatever else there is under the name is replaced. `pdq` stores
        its PDQ hash, too. Raises PictureError.
        """
        if id is not None:
            name = id
        elif isinstance(image, str | os.PathLike):
            name = path_text(absolute(image))
        else:
            raise TypeError("a picture without a path needs a name: add(image, id=...)")
        picture = fingerprint(image, pdq=pdq)
        with _translated():
            return store_one(self.connection, collection, name, picture)[0]

    def ingest(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        collection: str = "default",
        exclude: Iterable[str] = (),
        **options: Any,
    ) -> Summary:
        """Ingest files and folders as `imgdb ingest` does, with worker processes.

        `exclude` are patterns, `options` those of the command: prune, retry, archives, regions,
        pdq, decode, jobs, timeout.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise TypeError("ingest takes a list of paths")
        named: Sequence[str] = [os.fspath(path) for path in paths]
        how = Options(collection=collection, exclusion=Exclusion(exclude), **options)
        with _translated():
            return ingest(self.connection, named, options=how)

    def within_many(
        self, hashes: Iterable[int], max_distance: int = 8, *, space: str = "phash"
    ) -> Iterator[Near]:
        """Yield every stored hash within `max_distance` of any of many, each pair once.

        Thousands of hashes are searched in this process's memory where that costs less.
        """
        with _translated():
            yield from within_many(self.connection, space, hashes, max_distance)

    def close(self) -> None:
        """Close the connection, and leave the embedded server if it was used."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stack.__exit__(kind, error, trace)
        except ImgdbError as translated:
            # What fails in SQL of the caller's own is psycopg's, inside of the block and outside.
            if error is None or translated.__cause__ is not error:
                raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


# So that it reads as what it does: `imgdb.connect()`.
connect = Database
