"""`imgdb apply`: nothing but what the plan says goes, whatever happens to files and process."""

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg
import pytest
from folders import stored
from forked import run_command
from library import add, shelf

from imgdb.duplicates.apply import Delete, FileOutcome, HardLink, MoveToTrash, apply, restore
from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.plan import read_plan, write_plan
from imgdb.duplicates.trash import Trash
from imgdb.trashes import RECORD

ACTIONS = ("trash", "delete", "hard-link")


class Scene:
    """A folder with a file to keep and others to remove, in a database, and a plan for them."""

    def __init__(self, database, folder):
        self.dsn, self.folder = database, shelf(folder / "shelf")
        self.trash, self.plan = folder / "trash", folder / "plan.txt"
        # Further copies, so that a hard link is possible for more than one.
        shutil.copy(self.folder / "lake.png", self.folder / "lake-again.png")
        add(database, *sorted(self.folder.iterdir()))
        self.conn = psycopg.connect(database, autocommit=True)
        self.before = self.contents()

    def planned(self, tier="near"):
        choice = DuplicateChoice(tier=tier, keep="shortest-path")
        write_plan(self.plan, duplicates(self.conn, choice))
        return read_plan(self.plan)

    def action(self, name):
        if name == "trash":
            return MoveToTrash(Trash(self.trash))
        return Delete() if name == "delete" else HardLink()

    def run(self, name, *, tier=None, dry_run=False, plan=None):
        """Carry out the plan; return outcome and reason of each file by its name."""
        tier = tier or ("same-bytes" if name == "hard-link" else "near")
        plan = plan or (read_plan(self.plan) if self.plan.exists() else self.planned(tier))
        done = [*apply(self.conn, plan, self.action(name), dry_run=dry_run)]
        return {Path(one.path).name: (one.outcome, one.reason) for one in done}

    def contents(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def missing(self):
        return {Path(path).name for path, missing in stored(self.dsn).items() if missing}

    def in_trash(self):
        inner = self.trash / str(self.folder).lstrip("/")
        return {path.name: path.read_bytes() for path in inner.iterdir()} if inner.exists() else {}


@pytest.fixture
def here(database, tmp_path):
    made = Scene(database, tmp_path)
    yield made
    made.conn.close()


@pytest.fixture
def open_to_all(database, place):
    """Make the scene where another account can get at it."""
    made = Scene(database, place)
    yield made
    made.conn.close()


@pytest.fixture
def elsewhere(tmp_path):
    """Make a folder on another file system than the test's own."""
    for base in ("/dev/shm", "/tmp", Path.home()):
        if os.access(base, os.W_OK) and Path(base).stat().st_dev != tmp_path.stat().st_dev:
            made = Path(tempfile.mkdtemp(prefix="imgdb-test-", dir=base))
            yield made
            shutil.rmtree(made)
            return
    pytest.skip("no second file system here")


NEAR = {"lake-copy.png", "lake-again.png", "lake-soft.png", "lake-small.jpg"}
SAME = {"lake-copy.png", "lake-again.png"}


def check_done(here, action):
    """Check that an action was done to all that the plan removes, and to nothing else."""
    gone = NEAR if action != "hard-link" else set()
    kept = {name: content for name, content in here.before.items() if name not in gone}
    assert here.contents() == kept
    assert here.missing() == gone
    if action == "trash":
        assert here.in_trash() == {name: here.before[name] for name in NEAR}
    if action == "hard-link":
        lake = (here.folder / "lake.png").stat()
        assert lake.st_nlink == 1 + len(SAME)
        assert all(os.path.samestat(lake, (here.folder / name).stat()) for name in SAME)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_the_plan_says_is_done_and_known(here, action):
    foreseen = here.run(action, dry_run=True)
    assert here.contents() == here.before and not here.missing() and not here.trash.exists()
    assert {outcome for outcome, _ in foreseen.values()} == {here.action(action).foreseen}
    done = here.run(action)
    assert set(done) == set(foreseen) == (SAME if action == "hard-link" else NEAR)
    assert {outcome for outcome, _ in done.values()} == {here.action(action).outcome}
    check_done(here, action)
    again = here.run(action)
    assert {outcome for outcome, _ in again.values()} == {FileOutcome.done_before}
    check_done(here, action)


def test_linked_files_are_unchanged_to_ingest(here, cli):
    os.utime(here.folder / "lake.png", (1, 1))
    here.run("hard-link")
    here.conn.execute(
        "UPDATE imgdb.image SET modified_at = to_timestamp(1) WHERE path ~ '/lake.png$'"
    )
    with psycopg.connect(here.dsn) as conn:
        times = dict(conn.execute("SELECT path, extract(epoch FROM modified_at) FROM imgdb.image"))
    assert {times[str(here.folder / name)] for name in SAME} == {1}


def test_the_trash_gives_back_what_it_took(here):
    here.run("trash")
    back = [*restore(here.conn, here.trash)]
    assert {one.outcome for one in back} == {FileOutcome.restored} and len(back) == len(NEAR)
    assert here.contents() == here.before and not here.missing() and here.in_trash() == {}
    assert [*restore(here.conn, here.trash)] == []
    # And takes it again.
    assert {outcome for outcome, _ in here.run("trash").values()} == {FileOutcome.moved}
    check_done(here, "trash")


def test_restoring_never_overwrites(here):
    here.run("trash")
    (here.folder / "lake-copy.png").write_text("something else")
    refused = [one for one in restore(here.conn, here.trash) if one.outcome is FileOutcome.refused]
    assert [one.reason for one in refused] == ["there is another file at its place"]
    assert (here.folder / "lake-copy.png").read_text() == "something else"
    assert set(here.in_trash()) == {"lake-copy.png"}


def test_the_trash_never_overwrites(here):
    inner = here.trash / str(here.folder).lstrip("/")
    inner.mkdir(parents=True)
    (inner / "lake-copy.png").write_text("trashed long ago")
    here.run("trash")
    assert here.in_trash()["lake-copy.png"] == b"trashed long ago"
    assert here.in_trash()["lake-copy~2.png"] == here.before["lake-copy.png"]
    [*restore(here.conn, here.trash)]
    assert here.contents() == here.before


def test_a_record_that_was_cut_off_goes_on(here):
    here.trash.mkdir()
    (here.trash / RECORD).write_bytes(b'{"path": "/a", "tra')
    here.run("trash")
    assert len([*restore(here.conn, here.trash)]) == len(NEAR)
    assert here.contents() == here.before


# -- files that are not as the plan says ----------------------------------------------------------


def same_size(here, name):
    content = bytearray(here.before[name])
    content[-1] ^= 1
    (here.folder / name).write_bytes(content)


def longer(here, name):
    with (here.folder / name).open("ab") as file:
        file.write(b"!")


def symlink(here, name):
    (here.folder / name).rename(here.folder / f"real-{name}")
    (here.folder / name).symlink_to(f"real-{name}")


def link_to_keeper(here, name):
    (here.folder / name).unlink()
    (here.folder / name).symlink_to("lake.png")


def folder(here, name):
    (here.folder / name).unlink()
    (here.folder / name).mkdir()


def fifo(here, name):
    (here.folder / name).unlink()
    os.mkfifo(here.folder / name)


def gone(here, name):
    (here.folder / name).unlink()


CHANGES = {
    same_size: "its bytes are not those of the plan",
    longer: "its bytes are not those of the plan",
    symlink: "it is a symbolic link",
    link_to_keeper: "it is a symbolic link",
    folder: "it is no regular file",
    fifo: "it is no regular file",
    gone: "it is no longer there",
}


def state(folder):
    """Return what is in a folder, without opening what is no regular file."""
    return {
        path.name: (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("action", ACTIONS)
def test_a_file_that_is_not_as_planned_is_left_alone(here, action):
    for change in CHANGES:
        shutil.copy(here.folder / "lake.png", here.folder / f"lake-{change.__name__}.png")
    copies = {change: f"lake-{change.__name__}.png" for change in CHANGES}
    add(here.dsn, *(here.folder / name for name in copies.values()))
    here.before = here.contents()
    here.planned("same-bytes" if action == "hard-link" else "near")
    for change, name in copies.items():
        change(here, name)
    before = state(here.folder)
    done = here.run(action)
    for change, name in copies.items():
        outcome, reason = done.pop(name)
        if action == "delete" and change is gone:
            assert outcome is FileOutcome.done_before and name in here.missing()
        else:
            assert (outcome, reason) == (FileOutcome.refused, CHANGES[change])
            assert name not in here.missing()
        assert state(here.folder).get(name) == before.get(name)
    assert {outcome for outcome, _ in done.values()} == {here.action(action).outcome}


def keeper_links_to_copy(here, name):
    (here.folder / name).unlink()
    (here.folder / name).symlink_to("lake-copy.png")


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_goes_when_what_is_kept_is_not_as_planned(here, action):
    here.planned("same-bytes" if action == "hard-link" else "near")
    keeper = here.folder / "lake.png"
    changes = {**CHANGES, keeper_links_to_copy: "it is a symbolic link"}
    del changes[link_to_keeper]
    for change, reason in changes.items():
        change(here, keeper.name)
        before = state(here.folder)
        done = here.run(action)
        assert {*done.values()} == {
            (FileOutcome.refused, f"{keeper} is to be kept for it, but {reason}")
        }
        assert state(here.folder) == before and not here.missing() and not here.trash.exists()
        if keeper.is_dir():
            keeper.rmdir()
        else:
            keeper.unlink(missing_ok=True)
        keeper.write_bytes(here.before[keeper.name])


@pytest.mark.parametrize("action", ["trash", "delete"])
def test_another_name_of_what_is_kept_is_left_alone(here, action):
    here.planned()
    (here.folder / "lake-copy.png").unlink()
    (here.folder / "lake-copy.png").hardlink_to(here.folder / "lake.png")
    assert here.run(action)["lake-copy.png"] == (
        FileOutcome.refused,
        f"it is the same file as {here.folder / 'lake.png'}, by another name",
    )
    assert here.contents()["lake-copy.png"] == here.before["lake-copy.png"]


def test_a_kept_file_of_any_group_is_left_alone_under_any_name(here):
    """A folder has two names; what one group removes by one of them, another keeps by the other."""
    (here.folder.parent / "alias").symlink_to(here.folder)
    here.planned("same-bytes")
    text = here.plan.read_text("utf-8")
    keep = next(line for line in text.split("\n") if line.startswith("keep"))
    other = keep.replace("/shelf/lake.png", "/alias/lake-copy.png")
    here.plan.write_text(f"{text}\n{other}\n", "utf-8")
    done = here.run("delete")
    assert done["lake-copy.png"] == (
        FileOutcome.refused,
        f"it is the same file as {here.folder.parent / 'alias/lake-copy.png'}, which is kept",
    )
    assert here.contents()["lake-copy.png"] == here.before["lake-copy.png"]


def test_a_link_is_made_of_the_same_bytes_only(here):
    done = here.run("hard-link", tier="near")
    assert {name for name, (outcome, _) in done.items() if outcome is FileOutcome.linked} == SAME
    assert "as a link they would be lost" in done["lake-soft.png"][1]
    assert here.contents() == here.before


def test_what_another_run_holds_is_left_alone(here):
    """Two plans, each of which removes what the other one keeps, run at the same time."""
    here.planned("same-bytes")
    swapped = here.folder.parent / "swapped.txt"
    other = {"keep": "remove", "remove": "keep"}
    swapped.write_text(
        re.sub(r"^(keep|remove)\b", lambda m: other[m[1]], here.plan.read_text(), flags=re.M)
    )
    assert read_plan(swapped).groups
    first = apply(here.conn, read_plan(here.plan), Delete())
    assert next(first).outcome is FileOutcome.deleted  # and still holds what it keeps
    (done,) = (
        one
        for one in apply(here.conn, read_plan(swapped), Delete())
        if one.path.endswith("lake.png")
    )
    assert done.outcome is FileOutcome.refused
    first.close()
    assert (here.folder / "lake.png").exists()


def test_what_is_in_an_archive_is_left_alone(here):
    shutil.make_archive(str(here.folder.parent / "old"), "zip", here.folder)
    here.planned("same-bytes")
    text = here.plan.read_text("utf-8")
    here.plan.write_text(text.replace("shelf/lake-copy", "old.zip!/lake-copy"), "utf-8")
    before = (here.folder.parent / "old.zip").read_bytes()
    assert here.run("delete")["lake-copy.png"] == (FileOutcome.refused, "it is in an archive")
    assert (here.folder.parent / "old.zip").read_bytes() == before


def test_a_folder_that_is_gone_tells_nothing_of_its_files(here):
    """Its disk may only be not mounted."""
    here.planned()
    here.folder.rename(here.folder.parent / "away")
    done = here.run("delete")
    assert {outcome for outcome, _ in done.values()} == {FileOutcome.refused}
    assert not here.missing()


# -- disks ----------------------------------------------------------------------------------------


def test_trash_on_another_file_system(here, elsewhere):
    os.utime(here.folder / "lake-copy.png", ns=(10**18, 10**18 + 1000))
    (here.folder / "lake-copy.png").chmod(0o640)
    here.trash = elsewhere / "trash"
    here.run("trash")
    check_done(here, "trash")
    copy = here.trash / str(here.folder / "lake-copy.png").lstrip("/")
    assert (copy.stat().st_mtime_ns, copy.stat().st_mode & 0o777) == (10**18 + 1000, 0o640)
    [*restore(here.conn, here.trash)]
    assert here.contents() == here.before and here.in_trash() == {} and not here.missing()


def test_a_link_to_another_file_system_is_refused(here, elsewhere):
    far = elsewhere / "lake-far.png"
    shutil.copy(here.folder / "lake.png", far)
    add(here.dsn, far)
    here.planned("same-bytes")  # keeps the far one, whose path is the shortest
    done = here.run("hard-link")
    reason = f"it is on another file system than {far}"
    assert {*done.values()} == {(FileOutcome.refused, reason)} and len(done) == len(SAME) + 1
    assert far.stat().st_nlink == 1


@contextlib.contextmanager
def without_rights():
    """Go on without the rights of root, who may write to any folder."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("closed", "action"), [*(("shelf", a) for a in ACTIONS), ("trash", "trash")]
)
def test_a_folder_that_cannot_be_written(open_to_all, closed, action):
    here = open_to_all
    plan = here.planned("same-bytes" if action == "hard-link" else "near")
    here.trash.mkdir()
    here.folder.chmod(0o777), here.trash.chmod(0o777)
    (here.folder if closed == "shelf" else here.trash).chmod(0o555)
    with without_rights():
        done = here.run(action, plan=plan)
    assert {outcome for outcome, _ in done.values()} == {FileOutcome.refused}
    # Linux has another word where it guards files of others against links.
    words = ("permission denied", "operation not permitted")
    assert all(reason.endswith(words) for _, reason in done.values())
    assert here.contents() == here.before and not here.missing() and here.in_trash() == {}


# -- killed half-way ------------------------------------------------------------------------------

# The real command, which kills itself the second time that it is about to take a step: before one
# step is after the one before it.
KILL = """
import os, signal, sys
from imgdb.duplicates import apply, trash
from imgdb.cli import main

module, name = sys.argv[1:3]
owner = {"os": os, "apply": apply, "trash": trash, "Trash": trash.Trash}[module]
inner, calls = getattr(owner, name), []

def outer(*args, **named):
    calls.append(name)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(*args, **named)

setattr(owner, name, outer)
sys.argv[1:] = sys.argv[3:]
main()
"""

# What a run does to a file, step by step.
STEPS = {
    "trash": [("Trash", "_note"), ("trash", "put"), ("trash", "remove"), ("apply", "_note")],
    "delete": [("apply", "remove"), ("apply", "_note")],
    "hard-link": [("os", "link"), ("os", "rename"), ("apply", "_note")],
}
COPYING = [("trash", "_copy"), ("trash", "digest"), ("trash", "_name"), ("trash", "remove")]
OPTIONS = {"delete": ["--delete"], "hard-link": ["--hard-link"]}


def kill(here, action, step):
    options = OPTIONS.get(action) or ["--trash", str(here.trash)]
    code, _, stderr = run_command(
        [*step, "apply", str(here.plan), *options],
        code=KILL,
        env={**os.environ, "IMGDB_DSN": here.dsn},
        timeout=60,
    )
    assert code == -signal.SIGKILL, stderr


def check_nothing_lost(here):
    """Check that whatever is not in its place any more is whole in the trash, if there is one."""
    contents, trash = here.contents(), here.in_trash()
    for name, content in here.before.items():
        assert contents.get(name, trash.get(name)) == content


@pytest.mark.parametrize(
    ("action", "step"), [(action, step) for action in ACTIONS for step in STEPS[action]]
)
def test_killed_half_way_the_same_command_does_the_rest(here, action, step):
    here.planned("same-bytes" if action == "hard-link" else "near")
    kill(here, action, step)
    if action != "delete":
        check_nothing_lost(here)
    done = [outcome for outcome, _ in here.run(action).values()]
    assert {*done} <= {FileOutcome.done_before, here.action(action).outcome}
    assert FileOutcome.done_before in done
    check_done(here, action)


@pytest.mark.parametrize("step", COPYING, ids=" ".join)
def test_killed_while_copying_to_another_file_system(here, elsewhere, step):
    here.trash = elsewhere / "trash"
    here.planned()
    kill(here, "trash", step)
    assert here.contents().items() <= here.before.items()
    here.run("trash")
    check_done(here, "trash")
    assert [*here.trash.rglob("*.imgdb-part")] == []


# -- the command ----------------------------------------------------------------------------------


def test_the_command(here, cli):
    dsn = here.dsn
    asked = cli("duplicates", "--plan", here.plan, dsn=dsn)
    assert asked.code == 0 and f"imgdb: {here.plan} proposes to remove 4 files" in asked.stderr
    keeper = Path(read_plan(here.plan).groups[0].keep[0].path).name
    (here.folder / "lake-soft.png").write_text("changed")
    some = cli("apply", here.plan, "--trash", "bin", dsn=dsn, cwd=here.folder.parent)
    assert some.code == 3
    rows = json.loads(some.stdout)
    assert {row["outcome"] for row in rows} == {"moved", "refused"}
    refusal, total = some.stderr.splitlines()
    assert refusal.startswith(f"imgdb: {here.plan}:") and "lake-soft.png: its bytes" in refusal
    assert total.startswith("imgdb: 3 of 4 files, ") and total.endswith("; 1 refused")
    assert set(here.contents()) == {keeper, "lake-soft.png", "hill.png", "blank.png"}
    back = cli("restore", here.folder.parent / "bin", "--format", "csv", dsn=dsn)
    assert (back.code, len(back.stdout.splitlines())) == (0, 4)
    assert set(here.contents()) == set(here.before)


def test_when_all_is_refused_the_command_has_failed(here, cli):
    here.planned()
    (here.folder / "lake.png").unlink()
    result = cli("apply", here.plan, "--delete", "--dry-run", dsn=here.dsn)
    assert result.code == 1
    assert len(result.stderr.splitlines()) == len(NEAR) + 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "say what to do"),
        (("--delete", "--hard-link"), 2, "say what to do"),
        (("--delete",), 1, "is no plan"),
    ],
)
def test_wrong_usage(cli, tmp_path, options, code, said):
    (tmp_path / "plan").write_text("something else")
    result = cli("apply", tmp_path / "plan", *options, dsn="host=nosuch.invalid")
    assert (result.code, result.stdout) == (code, "")
    assert said in result.stderr and len(result.stderr.splitlines()) == 1


def test_paths_of_any_bytes(here):
    odd = os.fsdecode(os.fsencode(here.folder) + b"/odd \n\xff # \\n.png")
    shutil.copy(here.folder / "lake.png", odd)
    add(here.dsn, Path(odd))
    done = here.run("trash")
    assert done["odd \\n\\xff # \\\\n.png"] == (FileOutcome.moved, "")
    assert not os.path.lexists(odd)
    [*restore(here.conn, here.trash)]
    assert Path(odd).read_bytes() == here.before["lake.png"]


def test_the_scene_is_as_the_tests_take_it(here):
    (group,) = here.planned().groups
    assert [Path(entry.path).name for entry in group.keep] == ["lake.png"]
    assert {Path(entry.path).name for entry in group.remove} == NEAR
