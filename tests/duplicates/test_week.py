"""A week in the life of a library, with kills: nothing that was there is lost, nothing is mixed up.

Real commands at a folder that changes: ingest, plan, apply, restore, moves, renames, further names
of files and folders, and `kill -9` at any step of them. The trash lies inside of what is ingested.
"""

import os
import random
import shutil
import signal
from collections import defaultdict
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from forked import run_command
from library import scene

from imgdb.duplicates.plan import read_plan
from imgdb.paths import path_from_text
from imgdb.trashes import RECORD

# The real command, which kills itself when it does something for the given time.
KILL = """
import importlib, os, signal, sys
from imgdb.cli import main

where, number = sys.argv[1:3]
module, *names, name = where.split(":")
owner, calls = importlib.import_module(module), []
for inner_name in names:
    owner = getattr(owner, inner_name)
inner = getattr(owner, name)

def outer(*args, **named):
    calls.append(name)
    if len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(*args, **named)

setattr(owner, name, outer)
sys.argv[1:] = sys.argv[3:]
main()
"""

STEPS = {
    "ingest": [
        "imgdb.ingest.store:Store:store",
        "imgdb.ingest.store:Store:_store_images",
        "imgdb.ingest.store:Store:mark_missing",
        "imgdb.ingest.todo:Todo:tasks",
        "imgdb.ingest.moves:take",
    ],
    "duplicates": ["imgdb.atomic:_finish", "imgdb.duplicates.plan:_line"],
    "apply": [
        "imgdb.duplicates.trash:append_record",
        *(f"imgdb.duplicates.{name}" for name in ("trash:put", "trash:remove", "apply:_note")),
    ],
    "restore": [f"imgdb.duplicates.{name}" for name in ("restoring:put", "restoring:remove")],
}

# Each day does all of this, in an order of its own.
DAY = (
    *("ingest", "clear", "clear", "restore", "move", "rename", "swap", "copy", "name", "edit"),
    *("remount", "ingest"),
)


class Week:
    """A library of scenes, each in several files, and what a person and the system do to it."""

    def __init__(self, dsn, root, seed):
        self.dsn, self.root, self.draw = dsn, root, random.Random(seed)
        self.photos, self.trash = root / "photos", root / "bin"
        self.count, self.kills = 0, 0
        # Of each scene its name and the bytes of its best file; and every file that ever was.
        self.scene_of: dict[bytes, int] = {}
        self.best: dict[int, bytes] = {}
        self.everything: set[bytes] = set()
        for number in range(6):
            self._shoot(number)

    def _shoot(self, number):
        """Take a picture: the best file, a smaller one, one of lower quality, and companions."""
        image = scene(100 + number, (400, 300))
        folders = [self.photos / f"20{20 + place}" for place in range(4)]
        for version, (picture, format, options) in enumerate(
            [
                (image, "PNG", {}),
                (image.resize((200, 150)), "JPEG", {"quality": 90}),
                (image.resize((360, 270)), "JPEG", {"quality": 80}),
            ]
        ):
            encoded = BytesIO()
            picture.save(encoded, format, **options)
            content = encoded.getvalue()
            self.scene_of[content] = number
            if version == 0:
                self.best[number] = content
            folder = self.draw.choice(folders)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"IMG_{number}_{version}.{format.lower()}"
            self._write(path, content)
            if self.draw.random() < 0.6:
                self._write(path.with_suffix(".xmp"), f"notes on {number}, {version}".encode())
                self._write(path.with_name(path.name + ".json"), b"{%d}" % (10 * number + version))
            if version == 0:
                self._write(self.draw.choice(folders) / f"copy of {number}.png", content)

    def _write(self, path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.everything.add(content)

    # -- what a person does ------------------------------------------------------------------------

    def command(self, *args, may_die=True, check=True):
        """Run a command; now and then it dies on its way, and is run again."""
        env = {**os.environ, "IMGDB_DSN": self.dsn}
        if may_die and self.draw.random() < 0.8:
            step, number = self.draw.choice(STEPS[args[0]]), self.draw.randint(1, 3)
            killed = [step, str(number), *map(str, args)]
            code, _, stderr = run_command(killed, code=KILL, env=env, cwd=self.root, timeout=60)
            assert code in (-signal.SIGKILL, 0, 1, 3), (args, stderr)
            self.kills += code == -signal.SIGKILL
            if check:
                self.check()
            if code != -signal.SIGKILL:
                return code, stderr.decode()
        code, _, stderr = run_command([*map(str, args)], env=env, cwd=self.root, timeout=60)
        assert code in (0, 1, 3), (args, code, stderr)
        if check:
            self.check()
        return code, stderr.decode()

    def ingest(self):
        self.command("ingest", self.root, "--prune")

    def clear(self):
        """Plan, look at the plan, apply it."""
        self.count += 1
        plan = self.root.parent / f"plan-{self.count}"
        tier = self.draw.choice(("near", "near", "same-bytes"))
        self.command("duplicates", "--tier", tier, "--plan", plan, may_die=False)
        unseen = self.check_proposal(plan, tier)
        options = ["--with-companions"] if self.draw.random() < 0.5 else []
        self.command("apply", plan, "--trash", self.trash, *options)
        assert {path: path.read_bytes() for path in unseen} == unseen

    def restore(self):
        if self.draw.random() < 0.5 and self.trash.exists():
            self.command("restore", self.trash)

    def move(self):
        """Move a folder, or one file."""
        folders = [path for path in self.photos.rglob("*") if path.is_dir()]
        real = [path for path in folders if not path.is_symlink()]
        if real and self.draw.random() < 0.4:
            moved = self.draw.choice(real)
            self.count += 1
            moved.rename(self.photos / f"moved-{self.count}")
        for path in self.draw.sample(self.files(), 2):
            target = self.photos / f"sorted-{self.draw.randint(1, 2)}" / path.name
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                path.rename(target)

    def rename(self):
        self.count += 1
        path = self.draw.choice(self.files())
        path.rename(path.with_name(f"renamed-{self.count}{path.suffix}"))

    def swap(self):
        """Let two files change their names."""
        one, two = self.draw.sample(self.files(), 2)
        aside = self.root / "aside"
        one.rename(aside)
        two.rename(one)
        aside.rename(two)

    def remount(self):
        """Ingest while the disk of a folder is not there: its mount point is empty."""
        folders = sorted({path.parent for path in self.files()} - {self.photos})
        folder, away = self.draw.choice(folders), self.root.parent / "away"
        before = self.missing()
        folder.rename(away)
        folder.mkdir()
        self.command("ingest", self.root, "--prune", check=False)
        newly = self.missing() - before
        folder.rmdir()
        away.rename(folder)
        assert not [path for path in newly if Path(path_from_text(path)).exists()]
        self.check()

    def missing(self):
        with psycopg.connect(self.dsn) as conn:
            query = "SELECT path FROM imgdb.image WHERE missing_since IS NOT NULL"
            return {path for (path,) in conn.execute(query)}

    def copy(self):
        """Copy a file by hand, or put one beside it that only looks like it."""
        self.count += 1
        path = self.draw.choice(self.files())
        shutil.copy(path, self.photos / f"copied-{self.count}{path.suffix}")

    def name(self):
        """Give a file or a folder a second name."""
        self.count += 1
        path = self.draw.choice(self.files())
        made = self.photos / f"name-{self.count}{path.suffix}"
        kind = self.draw.choice(("hard", "soft", "folder"))
        if kind == "hard":
            made.hardlink_to(path)
        elif kind == "soft":
            made.symlink_to(path)
        elif not (alias := self.root / "alias").is_symlink():
            alias.symlink_to(self.photos)

    def edit(self):
        """Write on in a companion, which is then another file than the plan saw."""
        notes = [path for path in self.files(pictures=False) if path.suffix == ".xmp"]
        if notes:
            path = self.draw.choice(notes)
            self.count += 1
            self.everything.discard(path.read_bytes())
            self._write(path, b"edited %d" % self.count)

    # -- what must hold ----------------------------------------------------------------------------

    def files(self, *, pictures=True, below=None):
        """Return files, each by its real name, in the order of names: draws can be repeated."""
        found = []
        for folder, folders, names in os.walk(below or self.photos):
            folders.sort()
            for path in sorted(Path(folder) / name for name in names):
                if not path.is_symlink() and path.name != RECORD:
                    found.append(path)
        return [path for path in found if not pictures or path.suffix in (".png", ".jpeg")]

    def check(self):
        """Check that every file is there, and of every scene its best one in the library."""
        here = {path.read_bytes() for path in self.files(pictures=False)}
        trashed = {path.read_bytes() for path in self.files(pictures=False, below=self.trash)}
        assert not self.everything - here - trashed
        for number, content in self.best.items():
            assert content in here, f"the best file of scene {number} is not in the library"

    def check_proposal(self, plan, tier):
        """Check that each file that may go is outside of the trash, and for one of its scene.

        A plan speaks of the bytes that ingest saw. Return the files that have changed places or
        bytes since then, with what is in them now: they must stay.
        """
        read = read_plan(plan)
        assert read.refused == []
        pictures = {sha256(content).digest(): content for content in self.scene_of}
        seen, unseen = defaultdict(int), {}
        for group in read.groups:
            (keeper,) = group.keep
            kept = pictures[keeper.sha256]
            for entry in group.remove:
                content = pictures[entry.sha256]
                assert self.scene_of[content] == self.scene_of[kept]
                assert tier != "same-bytes" or content == kept
                assert content != self.best[self.scene_of[kept]] or content == kept
            present = [entry for entry in (*group.remove, keeper) if self._planned(entry)]
            for entry in present:
                path = Path(path_from_text(entry.path))
                if (content := self._planned(entry)) != pictures[entry.sha256]:
                    unseen[path] = content
            if keeper in present:  # if not, it was moved and not ingested again: nothing goes
                for entry in (*group.remove, keeper):
                    seen[Path(path_from_text(entry.path)).resolve()] += 1
        assert set(seen.values()) <= {1}, "one file under two names"
        return unseen

    def _planned(self, entry):
        """Return the bytes of a file in a plan; it is no link, and outside of the trash."""
        path = Path(path_from_text(entry.path))
        assert not path.is_symlink() and self.trash not in path.parents
        return path.read_bytes() if path.exists() else None


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(2))
def test_a_week_loses_nothing(database, tmp_path, seed):
    root = tmp_path / "home"
    root.mkdir()
    week = Week(database, root, seed)
    for _ in range(7):
        for what in week.draw.sample(DAY, len(DAY)):
            getattr(week, what)()
            week.check()
    # In the end all that was taken away comes back to where it was, but for what is in the way.
    week.command("ingest", root, "--prune", may_die=False)
    if week.trash.exists():
        week.command("restore", week.trash, may_die=False)
    assert week.kills > 5, "this week was too quiet to show anything"
