"""Pictures of the database, read again by worker processes: a hostile one costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from imgdb.cores import available_cores
from imgdb.errors import PictureError, UsageError
from imgdb.paths import path_from_text, path_text
from imgdb.pictures.archives import INSIDE, archive_of, member_text
from imgdb.workers.messages import Members, Outcome
from imgdb.workers.pool import Pool
from imgdb.workers.process import Answer
from imgdb.workers.task import Task
from imgdb.workers.work import Work


@dataclass(slots=True, kw_only=True)
class _StoredTask(Task):
    """A file, or an archive of which the `members` (their spellings) are wanted."""

    spelling: str
    members: set[str] = field(default_factory=set)

    def message(self) -> str | Members:
        if not self.members:
            return self.path
        return Members(self.path, 0, 1, self.done, frozenset(self.members))


def read_stored(
    spellings: Iterable[str],
    work: Work,
    *,
    jobs: int | None = None,
    timeout: float,
    watching: Callable[[int], None] = lambda done: None,
) -> dict[str, Outcome]:
    """Do work with pictures, given by the spellings of their paths, as in `imgdb.image.path`.

    A picture that is gone, cannot be read, or takes longer than `timeout` seconds has its
    PictureError. `watching` is told now and then how many are done.
    """
    wanted = dict.fromkeys(spellings)
    made: dict[str, Outcome] = {}
    tasks = _tasks(wanted, made)
    if not tasks:
        return made
    workers = min(jobs or available_cores(), len(tasks))
    with Pool[_StoredTask](work, jobs=workers, timeout=timeout) as pool:
        for answers in pool.run(tasks):
            for answer in answers:
                _take(answer, made)
            watching(len(made))
    gone = PictureError("missing", "the archive holds no such file")
    return {spelling: made.get(spelling, gone) for spelling in wanted}


def _tasks(wanted: Iterable[str], made: dict[str, Outcome]) -> list[_StoredTask]:
    """Return what the workers are to do; note what needs no worker to fail."""
    tasks: list[_StoredTask] = []
    archives: dict[str, _StoredTask] = {}
    for spelling in wanted:
        try:
            path = path_from_text(spelling)
        except UsageError as error:  # imported, by whatever rules
            made[spelling] = PictureError("missing", str(error))
            continue
        archive = archive_of(path)
        if archive is None:
            tasks.append(_StoredTask(path=path, spelling=spelling))
            continue
        if archive not in archives:
            archives[archive] = _StoredTask(path=archive, spelling=path_text(archive))
            tasks.append(archives[archive])
        task = archives[archive]
        task.members.add(spelling.removeprefix(task.spelling + INSIDE))
    return tasks


def _take(answer: Answer[_StoredTask], made: dict[str, Outcome]) -> None:
    """Note what an answer says, and of which spelling."""
    task, outcome = answer.task, answer.outcome
    if outcome is None:
        return
    if answer.member is not None:
        made[member_text(task.spelling, answer.member)] = outcome
    elif task.members:
        for name in task.members:
            made.setdefault(task.spelling + INSIDE + name, outcome)
    else:
        made[task.spelling] = outcome
