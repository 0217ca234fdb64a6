"""How to ingest."""

from __future__ import annotations

from dataclasses import dataclass

from imgdb.cores import available_cores
from imgdb.errors import UsageError
from imgdb.hashes.regions import RECIPE as REGION_RECIPE
from imgdb.hashes.values import ALGORITHMS
from imgdb.ingest.exclusion import USUAL, Exclusion
from imgdb.ingest.task import IngestTask
from imgdb.pictures.decoding import Decode
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.workers.limits import PICTURE_SECONDS, WORKER_MEMORY
from imgdb.workers.pool import Pool
from imgdb.workers.work import HashFiles

# Bytes; an idle worker holds half of it.
LEAST_MEMORY = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to ingest: `memory` in bytes is for one worker, `timeout` in seconds for one picture."""

    collection: str = "default"
    jobs: int | None = None
    decode: Decode = "exact"
    algorithms: tuple[str, ...] = ALGORITHMS
    max_pixels: int = MAX_PIXELS
    memory: int = WORKER_MEMORY
    timeout: float = PICTURE_SECONDS
    prune: bool = False
    retry: bool = False
    archives: bool = False
    regions: bool = False
    pdq: bool = False
    exclusion: Exclusion = USUAL

    @property
    def region_recipe(self) -> str | None:
        """Which rules the regions are to be made by, None for no regions."""
        return REGION_RECIPE if self.regions else None

    @property
    def workers(self) -> int:
        """How many worker processes there are."""
        return self.jobs or available_cores()

    def __post_init__(self) -> None:
        if unknown := set(self.algorithms) - set(ALGORITHMS):
            known = ", ".join(ALGORITHMS)
            raise UsageError(f"no such hash: {', '.join(sorted(unknown))}; choose from {known}")
        if not self.algorithms:
            raise UsageError("no hash to make; choose from " + ", ".join(ALGORITHMS))
        if not self.collection.strip():
            raise UsageError("a collection needs a name")
        if self.regions and self.decode != "exact":
            raise UsageError("--regions takes full pictures: leave --decode scaled out")
        if self.memory < LEAST_MEMORY:
            least = LEAST_MEMORY >> 20
            raise UsageError(f"--worker-memory is at least {least}M: an idle worker takes half")

    def pool(self) -> Pool[IngestTask]:
        """Return the workers for these options."""
        work = HashFiles(
            max_pixels=self.max_pixels,
            memory=self.memory,
            decode=self.decode,
            algorithms=self.algorithms,
            regions=self.regions,
            pdq=self.pdq,
        )
        return Pool(work, jobs=self.workers, timeout=self.timeout)
