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

from imgdb.duplicates import moving
from imgdb.duplicates.apply import Delete, FileOutcome, HardLink, MoveToTrash, apply, restore
from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.plan import read_plan, write_plan
from imgdb.duplicates.trash import Trash
from imgdb.errors import UsageError
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
    alias = here.folder.parent / "alias"
    alias.symlink_to(here.folder)
    here.planned("same-bytes")
    text = here.plan.read_text("utf-8")
    keep = next(line for line in text.split("\n") if line.startswith("keep"))
    other = keep.replace("/shelf/lake.png", "/alias/lake-copy.png")
    here.plan.write_text(f"{text}\nlink  {alias}\t{here.folder}\n{other}\n", "utf-8")
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


# -- the last guards: what happens between the proof and the deletion ------------------------------


def stopped(action, before, happens):
    """Return the action, which has something happen right before it does `before`, once."""
    made = type(f"Stopped{type(action).__name__}", (type(action),), {})
    action.__class__ = made
    inner, pending = getattr(action, before), [happens]

    def outer(*args):
        while pending:
            pending.pop()()
        return inner(*args)

    setattr(made, before, staticmethod(outer))
    return action


def swapped(here, pattern):
    """Write a second plan, which keeps what matches and removes what the first one keeps."""
    other = here.folder.parent / "swapped.txt"
    lines = here.plan.read_text().splitlines()
    text = [re.sub("^keep  ", "remove", line) for line in lines if re.match("keep|imgdb", line)]
    text += [re.sub("^remove", "keep  ", line) for line in lines if re.search(pattern, line)]
    other.write_text("\n".join(text) + "\n")
    (found,) = read_plan(other).groups
    assert len(found.keep) == len(found.remove) == 1
    return read_plan(other)


LOCKED = "another program holds it locked, perhaps another imgdb apply"


@pytest.mark.parametrize("action", ["trash", "delete"])
def test_of_two_runs_one_may_remove_what_the_other_keeps(here, action):
    """Both have proved their files; the second one wants to rely on what the first removes."""
    here.planned("same-bytes")
    second, seen = swapped(here, "lake-copy"), []
    first = stopped(
        here.action(action),
        "do",
        lambda: seen.extend(apply(here.conn, second, Delete())),
    )
    done = {Path(one.path).name: one for one in apply(here.conn, read_plan(here.plan), first)}
    assert {one.outcome for one in done.values()} == {first.outcome} and set(done) == SAME
    (refused,) = seen
    kept = here.folder / "lake-copy.png"
    assert (refused.outcome, refused.reason) == (
        FileOutcome.refused, f"{kept} is to be kept for it, but {LOCKED}"
    )  # fmt: skip
    assert (here.folder / "lake.png").exists()


def test_of_two_runs_one_may_not_remove_what_the_other_relies_on(here):
    """The second one keeps a third file, so only the lock on what the first keeps stops it."""
    here.planned("same-bytes")
    second, seen = swapped(here, "lake-again"), []
    first = stopped(Delete(), "do", lambda: seen.extend(apply(here.conn, second, Delete())))
    done = next(apply(here.conn, read_plan(here.plan), first))
    (refused,) = seen
    assert Path(refused.path).name == "lake.png"
    if done.path.endswith("lake-copy.png"):
        assert refused.reason == LOCKED
    else:  # the first run holds what the second one would keep
        assert refused.reason.endswith(LOCKED)
    assert done.outcome is FileOutcome.deleted and (here.folder / "lake.png").exists()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("change", [same_size, longer, symlink, gone], ids=lambda one: one.__name__)
def test_a_file_that_changes_after_its_proof_is_left_alone(here, action, change):
    here.planned("same-bytes" if action == "hard-link" else "near")
    name = "lake-copy.png"
    entries = [entry for entry in read_plan(here.plan).groups[0].remove if name in entry.path]
    plan = read_plan(here.plan)
    plan.groups[0].remove = entries
    os.utime(here.folder / name, (1, 1))  # so that a change of the same size shows
    action = stopped(here.action(action), "do", lambda: change(here, name))
    (done,) = apply(here.conn, plan, action)
    if change is not gone:
        assert (done.outcome, done.reason) == (FileOutcome.refused, "it was changed just now")
    elif action.outcome is FileOutcome.deleted:  # whoever did it
        assert done.outcome is FileOutcome.done_before
    else:
        assert done.outcome is FileOutcome.refused
        assert "no longer there" in done.reason or "no such file" in done.reason
    content = here.contents().get(name)
    assert content != here.before[name] or change is symlink
    assert (content is None) is (change is gone)
    # Nothing is left in the trash that was put there for it.
    assert here.in_trash() == {}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("change", [same_size, longer, symlink, gone], ids=lambda one: one.__name__)
@pytest.mark.parametrize("moment", ["check", "do"])
def test_nothing_goes_when_what_is_kept_changes_after_its_proof(here, action, change, moment):
    """The last guard against losing both."""
    here.planned("same-bytes" if action == "hard-link" else "near")
    keeper = here.folder / "lake.png"
    os.utime(keeper, (1, 1))
    action = stopped(here.action(action), moment, lambda: change(here, keeper.name))
    done = next(apply(here.conn, read_plan(here.plan), action))
    why = "it is no longer there" if change is gone else "it was changed just now"
    assert (done.outcome, done.reason) == (
        FileOutcome.refused, f"{keeper} is to be kept for it, but {why}"
    )  # fmt: skip
    assert here.before.keys() - {keeper.name} <= here.contents().keys()
    assert here.in_trash() == {} and not here.missing()


def test_what_is_kept_is_looked_at_again_after_a_long_copy(here, elsewhere, monkeypatch):
    """To copy to another disk takes long: what was seen before is of no use by then."""
    here.trash = elsewhere / "trash"
    here.planned()
    keeper, inner = here.folder / "lake.png", moving._copy

    def copy(*args):
        inner(*args)
        keeper.unlink(missing_ok=True)

    monkeypatch.setattr(moving, "_copy", copy)
    assert {reason for _, reason in here.run("trash").values()} == {
        f"{keeper} is to be kept for it, but it is no longer there"
    }
    assert here.contents().keys() == here.before.keys() - {keeper.name}
    assert here.in_trash() == {}


# -- folders that are not what they were -----------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("level", [0, 1])
def test_a_folder_that_became_a_link_is_not_entered(here, action, level):
    """Everything looks as before, only the way to it leads through a link."""
    here.planned("same-bytes" if action == "hard-link" else "near")
    moved = (here.folder, *here.folder.parents)[level]
    if level:  # keep plan and trash where they are
        here.plan.rename(moved.parent / "plan.txt")
        here.plan, here.trash = moved.parent / "plan.txt", moved.parent / "trash"
    moved.rename(moved.parent / f"{moved.name}-real")
    moved.symlink_to(f"{moved.name}-real")
    before = here.contents()
    done = here.run(action)
    assert {outcome for outcome, _ in done.values()} == {FileOutcome.refused}
    assert all(
        f"{moved.name}, on the way to it, is a symbolic link" in reason
        for _, reason in done.values()
    )
    assert here.contents() == before and not here.missing()


def test_a_link_that_the_plan_knows_is_followed_while_it_leads_there(here):
    """Who keeps pictures behind a link (to another disk, say) can clear them."""
    link = here.folder.parent / "pictures"
    link.symlink_to(here.folder)
    with psycopg.connect(here.dsn) as conn:
        conn.execute("UPDATE imgdb.image SET path = replace(path, '/shelf/', '/pictures/')")
    assert here.planned().links == {str(link): str(here.folder)}
    link.unlink()
    link.symlink_to(shutil.copytree(here.folder, here.folder.parent / "twin"))
    assert {reason for _, reason in here.run("trash").values()} == {
        f"{link}, on the way to it, does not lead where the plan says"
    }
    link.unlink()
    link.symlink_to(here.folder)
    here.run("trash")
    check_done(here, "trash")
    # It is put back to where it was, wherever the link leads by then.
    link.unlink()
    back = [*restore(here.conn, here.trash)]
    assert {Path(one.path).parent for one in back} == {link}
    assert here.contents() == here.before and not here.missing()


@pytest.mark.parametrize("planted", ["trash", "inner"])
def test_no_link_in_the_trash_is_followed(here, planted):
    here.planned()
    aim = here.folder.parent / "aim"
    aim.mkdir()
    here.trash.mkdir()
    trash = Trash(here.trash)
    if planted == "trash":  # after the command has looked where it leads
        here.trash.rmdir()
        here.trash.symlink_to(aim)
    else:
        (here.trash / here.trash.parts[1]).symlink_to(aim)
    done = [*apply(here.conn, read_plan(here.plan), MoveToTrash(trash))]
    assert {one.outcome for one in done} == {FileOutcome.refused}
    assert all("is a symbolic link" in one.reason for one in done)
    assert here.contents() == here.before and [*aim.rglob("*.png")] == []


# -- rights ----------------------------------------------------------------------------------------


def rights(path):
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("far", [False, True])
def test_the_trash_is_no_more_open_than_what_it_takes(here, elsewhere, far):
    """Files of a private folder stay private, and the folder does so when it is made again."""
    here.trash = (elsewhere if far else here.folder.parent) / "trash"
    private = here.folder
    private.chmod(0o700)
    (private / "lake-copy.png").chmod(0o640)
    here.run("trash")
    inner = here.trash / str(private).lstrip("/")
    assert rights(here.trash) == 0o700 and rights(here.trash / RECORD) == 0o600
    assert rights(inner) == 0o700 and rights(inner / "lake-copy.png") == 0o640
    for one, other in zip(inner.parents, private.parents, strict=False):
        if one == here.trash:
            break
        assert rights(one) & 0o777 & ~rights(other) == 0
    shutil.rmtree(private)
    [*restore(here.conn, here.trash)]
    assert rights(private) == 0o700 and rights(private / "lake-copy.png") == 0o640
    assert set(here.contents()) == NEAR


def test_a_folder_in_the_trash_is_closed_when_the_one_outside_was(here):
    """The same folder has been taken from before, when it was open to all."""
    inner = here.trash / str(here.folder).lstrip("/")
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    here.folder.chmod(0o2750)
    here.run("trash")
    assert rights(inner) == 0o750
    # One that is more closed stays so.
    inner.chmod(0o700)
    [*restore(here.conn, here.trash)]
    assert {outcome for outcome, _ in here.run("trash").values()} == {FileOutcome.moved}
    assert rights(inner) == 0o700
    shutil.rmtree(here.folder)
    [*restore(here.conn, here.trash)]
    assert rights(here.folder) == 0o2750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_folders_get_their_owners_back(here, elsewhere):
    os.chown(here.folder, 65534, 65534)
    os.chown(here.folder / "lake-copy.png", 65534, 65534)
    here.trash = elsewhere / "trash"
    here.run("trash")
    assert (here.trash / str(here.folder).lstrip("/")).stat().st_uid == 65534
    shutil.rmtree(here.folder)
    [*restore(here.conn, here.trash)]
    assert [path.stat().st_uid for path in (here.folder, here.folder / "lake-copy.png")] == [
        65534, 65534
    ]  # fmt: skip


def test_a_copy_can_be_read_by_nobody_while_it_is_made(here, elsewhere, monkeypatch):
    here.trash, modes, inner = elsewhere / "trash", set(), moving._make_like
    here.planned()
    (here.folder.parent / "victim").write_text("of somebody else")
    for entry in read_plan(here.plan).groups[0].remove:  # a link planted where it writes first
        folder = here.trash / str(Path(entry.path).parent).lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{entry.sha256.hex()[:16]}.imgdb-part"
        part.unlink(missing_ok=True)
        part.symlink_to(here.folder.parent / "victim")

    def make_like(fd, file):
        modes.add(os.fstat(fd).st_mode & 0o777)
        inner(fd, file)

    monkeypatch.setattr(moving, "_make_like", make_like)
    here.run("trash")
    check_done(here, "trash")
    assert modes == {0o600}
    assert (here.folder.parent / "victim").read_text() == "of somebody else"


def test_no_link_is_followed_that_is_planted_where_a_copy_begins(here, elsewhere, monkeypatch):
    here.trash, inner = elsewhere / "trash", moving._unlink
    here.planned()
    (here.folder.parent / "victim").write_text("of somebody else")

    def unlink(name, inside):
        inner(name, inside)
        with contextlib.suppress(FileExistsError):
            os.symlink(here.folder.parent / "victim", name, dir_fd=inside.fd)

    monkeypatch.setattr(moving, "_unlink", unlink)
    done = here.run("trash")
    assert {reason for _, reason in done.values()} == {
        "it cannot be put into the trash: file exists"
    }
    assert (here.folder.parent / "victim").read_text() == "of somebody else"
    assert here.contents() == here.before


# -- trashes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "trash", "more/trash", "alias"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_trash_in_a_folder_that_files_are_removed_from_is_refused(here, below, dry_run):
    here.planned()
    (here.folder / "alias").symlink_to(here.folder)
    here.trash = here.folder / below
    before = state(here.folder)
    with pytest.raises(UsageError, match="choose a folder outside"):
        here.run("trash", dry_run=dry_run)
    assert state(here.folder) == before
    # As its neighbour it is good.
    here.trash = here.folder.parent / f"{here.folder.name}-trash"
    assert {outcome for outcome, _ in here.run("trash").values()} == {FileOutcome.moved}


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_kept_must_not_lie_in_a_trash(here, action):
    """A person who empties the trash would lose the last copy."""
    here.planned("same-bytes" if action == "hard-link" else "near")
    (here.folder.parent / RECORD).touch()
    done = here.run(action)
    assert {*done.values()} == {(FileOutcome.refused, f"it is in the trash {here.folder.parent}")}
    assert here.contents() == here.before


def damaged(here, **changed):
    """Take what the plan removes, and change the record's lines."""
    here.run("trash")
    record = here.trash / RECORD
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    record.write_text("".join(json.dumps(entry | changed) + "\n" for entry in entries))
    return {Path(entry["path"]).name: entry for entry in entries}


@pytest.mark.parametrize(
    "trashed", ["../outside.png", "a/../../outside.png", "/outside", "..", "."]
)
def test_a_record_that_leads_out_of_the_trash_is_refused(here, trashed):
    outside = here.trash.parent / "outside.png"
    outside.write_bytes(here.before["lake-copy.png"])
    spelled = str(outside) if trashed.startswith("/") else trashed
    entries = damaged(here, trashed=spelled)
    done = [*restore(here.conn, here.trash)]
    assert {one.outcome for one in done} == {FileOutcome.refused} and len(done) == len(entries)
    assert all("the record of it is damaged: " in one.reason for one in done)
    assert outside.read_bytes() == here.before["lake-copy.png"]
    assert here.in_trash() == {name: here.before[name] for name in NEAR}


@pytest.mark.parametrize(
    "path", ["../back.png", "back.png", "/tmp/../back.png", "/a//b.png", "/a/."]
)
def test_a_record_that_leads_to_no_certain_place_is_refused(here, path):
    damaged(here, path=path)
    done = [*restore(here.conn, here.trash)]
    assert {one.outcome for one in done} == {FileOutcome.refused}
    assert here.in_trash() == {name: here.before[name] for name in NEAR}


def test_a_record_that_calls_the_file_itself_its_copy_is_not_believed(here):
    """It would be removed, being in the trash already."""
    here.planned()
    here.trash.mkdir()
    entry = next(one for one in read_plan(here.plan).groups[0].remove if "copy" in one.path)
    line = {
        "path": entry.path,
        "trashed": os.path.relpath(entry.path, here.trash),
        "sha256": entry.sha256.hex(),
        "byte_size": entry.byte_size,
    }
    (here.trash / RECORD).write_text(json.dumps(line) + "\n")
    here.run("trash")
    check_done(here, "trash")


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
import importlib, os, signal, sys
from imgdb.cli import main

module, name = sys.argv[1:3]
owner = os if module == "os" else importlib.import_module(f"imgdb.duplicates.{module}")
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
    "trash": [
        ("trash", "append_record"),
        ("trash", "put"),
        ("trash", "remove"),
        ("apply", "_note"),
    ],
    "delete": [("apply", "remove"), ("apply", "_note")],
    "hard-link": [("os", "link"), ("os", "rename"), ("apply", "_note")],
}
COPYING = [
    ("moving", "_copy"), ("moving", "digest"), ("moving", "_give_name"), ("trash", "remove")
]  # fmt: skip
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
    some = cli("apply", here.plan, "--trash", "bin", "--json", dsn=dsn, cwd=here.folder.parent)
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
