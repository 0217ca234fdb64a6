"""A process that does one kind of work with the files that it is given.

Tasks come in through stdin, outcomes go out through stdout. `process` starts it, and it shares
nothing else with the command: no connection, no lock. It ends when the pipe does, so it cannot
outlive the command, whatever ends that.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from imgdb.errors import PictureError
from imgdb.hashes.fingerprint import Unhashed, hash_together
from imgdb.pictures import archives, loader
from imgdb.pictures.decoding import prepare
from imgdb.workers.bookmark import Bookmark
from imgdb.workers.messages import (
    Began,
    Errand,
    MemberDone,
    Members,
    Outcome,
    Ready,
    Recognise,
    Recognised,
    Unpacker,
    pack,
    write_all,
)
from imgdb.workers.outbox import Outbox, Waiting
from imgdb.workers.work import Work

# What codecs say when they get no memory, which Pillow passes on as an error of the picture.
_NO_MEMORY = re.compile(r"memory|alloc", re.IGNORECASE)


def serve_tasks() -> NoReturn:
    """Carry out tasks until the pipe ends."""
    # Ctrl-C is for the command, which decides what is still to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.dup(sys.stdout.fileno())
    bookmark = Bookmark(int(sys.argv[1]))
    tasks: queue.SimpleQueue[object] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.fileno(), tasks), daemon=True).start()
    work = tasks.get()
    assert isinstance(work, Work)
    prepare()
    _silence()
    _limit_memory(work.memory)
    with contextlib.suppress(BrokenPipeError):
        write_all(answers, pack(Ready()))
        outbox = Outbox(answers, _hashed)
        while True:
            try:
                task = tasks.get_nowait()
            except queue.Empty:
                outbox.send()
                task = tasks.get()
                outbox.start_clock()
            bookmark.turn()
            doing = work
            if isinstance(task, Errand):
                doing, task = task.work, task.task
            if isinstance(task, Members):
                outbox.send()  # those before it: from here on the members answer for themselves
            outbox.put(_outcome(task, doing, answers))
    os._exit(0)


def _receive(fd: int, tasks: queue.SimpleQueue[object]) -> None:
    """Take tasks in at any time, so that the command never waits for us to do so."""
    unpacker = Unpacker()
    try:
        while piece := os.read(fd, 1 << 16):
            for message in unpacker.feed(piece):
                tasks.put(message)
    except BaseException:  # no memory: another worker may have some, and this one would never work
        os._exit(1)
    # Nobody waits for answers any more, so even the picture at hand is not finished.
    os._exit(0)


def _outcome(task: object, work: Work, answers: int) -> Waiting:
    with _made_outcome() as failed:
        if isinstance(task, Members):
            _read_archive(task, work, answers)
            return None
        digests = task.digests if isinstance(task, Recognise) else frozenset()
        path = task.path if isinstance(task, Recognise) else task
        assert isinstance(path, str)
        with loader.open_source(path) as source:
            if digests and (sha256 := source.checked_sha256()) in digests:
                return Recognised(sha256, source.modified_at)
            return work.do(source)
    return failed[0]


def _hashed(waiting: Sequence[Waiting]) -> Sequence[Outcome | None]:
    """Hash what is only decoded so far; a fault there costs no more pictures than it must."""
    unhashed = [one for one in waiting if isinstance(one, Unhashed)]
    made: Iterator[Outcome] = iter(())
    with _made_outcome() as failed:
        made = iter(hash_together(unhashed))
    if failed:
        made = map(_hashed_alone, unhashed)
    return [next(made) if isinstance(one, Unhashed) else one for one in waiting]


def _hashed_alone(one: Unhashed) -> Outcome:
    with _made_outcome() as failed:
        return hash_together([one])[0]
    return failed[0]


def _read_archive(task: Members, work: Work, answers: int) -> None:
    entries = archives.entries(task.path, task.part, task.parts)
    if task.only is not None:
        entries = (entry for entry in entries if archives.inner_text(entry.name) in task.only)
    for entry in itertools.islice(entries, task.done, None):
        write_all(answers, pack(Began(entry.name)))
        write_all(answers, pack(MemberDone(_member_outcome(entry, work))))


def _member_outcome(entry: archives.ArchiveMember, work: Work) -> Outcome:
    with (
        _made_outcome() as failed,
        entry.open() as file,
        loader.open_stream(
            file,
            byte_size=entry.byte_size,
            modified_at=entry.modified_at,
            name=entry.name,
        ) as source,
    ):
        found = work.do(source)
        return hash_together([found])[0] if isinstance(found, Unhashed) else found
    return failed[0]


@contextlib.contextmanager
def _made_outcome() -> Iterator[list[PictureError]]:
    """Catch why a picture cannot be read, and put it into the list."""
    failed: list[PictureError] = []
    try:
        yield failed
    except PictureError as error:
        failed.append(_with_true_reason(error))
    except MemoryError:
        failed.append(PictureError("no-memory"))
    except Exception as error:  # a fault of ours costs the picture, not the worker
        failed.append(PictureError("crashed", f"{type(error).__name__}: {error}"))


def _with_true_reason(error: PictureError) -> PictureError:
    if error.reason in ("broken", "io-error") and _NO_MEMORY.search(error.detail):
        return PictureError("no-memory", error.detail)
    return error


def _silence() -> None:
    """Let no codec write into the answers or across the progress bar."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.dup2(nothing, sys.stderr.fileno())
    os.close(nothing)


def _limit_memory(limit: int) -> None:
    """Let the process grow to `limit` bytes; beyond that, allocation fails."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        pages, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
    except OSError:
        # Only Linux enforces the limit.
        return
    # Libraries reserve hundreds of megabytes of addresses that they never use.
    unused = (pages - resident) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = limit + unused
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, wanted))


if __name__ == "__main__":
    serve_tasks()
