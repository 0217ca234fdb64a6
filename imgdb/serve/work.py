"""The kinds of work that only requests have for workers."""

from __future__ import annotations

from dataclasses import dataclass

from imgdb.pictures.loader import Source
from imgdb.search.images import query_by_source
from imgdb.search.parts import region_query_by_source
from imgdb.workers.messages import Made
from imgdb.workers.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuery(Work):
    """Read a picture to look for, in any orientation if asked: an `imgdb.search.images.Query`."""

    any_orientation: bool = False
    pdq: bool = False
    parts: bool = True

    def do(self, source: Source) -> Made:
        query = query_by_source(
            source,
            "",
            any_orientation=self.any_orientation,
            pdq=self.pdq,
            parts=self.parts,
            max_pixels=self.max_pixels,
        )
        return Made(query)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRegions(Work):
    """Read a picture to look for parts of: an `imgdb.search.parts.RegionQuery`."""

    def do(self, source: Source) -> Made:
        return Made(region_query_by_source(source, "", max_pixels=self.max_pixels))
