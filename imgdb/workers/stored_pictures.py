"""Read pictures of the database again, by worker processes: a hostile one costs only its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from imgdb.cores import available_cores
from imgdb.errors import PictureError, UsageError
from imgdb.paths import path_from_text, path_text
from imgdb.pictures.archives import INSIDE, archive_of, member_text
from imgdb.workers.messages import Members, Outcome, Settings
from imgdb.workers.pool import Pool
from imgdb.workers.process import Answer


@dataclass(slots=True)
class _Order:
    """A file, or an archive of which the `members` are wanted; an `imgdb.workers.pool` order."""

    path: str
    text: str
    members: set[str] = field(default_factory=set)
    byte_size: int = 0
    attempts: int = 0
    member: str | None = None
    done: int = 0

    def message(self) -> object:
        """Return the order as a worker gets it."""
        if not self.members:
            return self.path
        return Members(self.path, 0, 1, self.done, frozenset(self.members))


def read_stored(
    paths: Iterable[str],
    settings: Settings,
    *,
    jobs: int | None = None,
    timeout: float,
    watching: Callable[[int], None] = lambda done: None,
) -> dict[str, Outcome]:
    """Have pictures read whose paths are spelled as in `imgdb.image.path`; `settings` say for what.

    A picture that is gone, cannot be read, or takes longer than `timeout` seconds has its
    PictureError. `watching` is told now and then how many are done.
    """
    wanted = dict.fromkeys(paths)
    made: dict[str, Outcome] = {}
    orders = _orders(wanted, made)
    if not orders:
        return made
    workers = min(jobs or available_cores(), len(orders))
    with Pool[_Order](settings, jobs=workers, timeout=timeout) as pool:
        for answers in pool.run(orders):
            for answer in answers:
                _take(answer, made)
            watching(len(made))
    gone = PictureError("missing", "the archive holds no such file")
    return {text: made.get(text, gone) for text in wanted}


def _orders(wanted: Iterable[str], made: dict[str, Outcome]) -> list[_Order]:
    """Return what the workers are to do; note what needs no worker to fail."""
    orders: list[_Order] = []
    archives: dict[str, _Order] = {}
    for text in wanted:
        try:
            path = path_from_text(text)
        except UsageError as error:  # imported, by whatever rules
            made[text] = PictureError("missing", str(error))
            continue
        archive = archive_of(path)
        if archive is None:
            orders.append(_Order(path, text))
            continue
        if archive not in archives:
            archives[archive] = _Order(archive, path_text(archive))
            orders.append(archives[archive])
        order = archives[archive]
        order.members.add(text.removeprefix(order.text + INSIDE))
    return orders


def _take(answer: Answer[_Order], made: dict[str, Outcome]) -> None:
    """Note what an answer says of which path."""
    order, outcome = answer.order, answer.outcome
    if outcome is None:
        return
    if answer.member is not None:
        made[member_text(order.text, answer.member)] = outcome
    elif order.members:
        for name in order.members:
            made.setdefault(order.text + INSIDE + name, outcome)
    else:
        made[order.text] = outcome
