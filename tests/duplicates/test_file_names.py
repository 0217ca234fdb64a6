"""One file on the disk with several paths in the database, and what lies in a trash."""

import os
import shutil
import subprocess

import psycopg
import pytest
from library import add, scene, shelf

from imgdb.duplicates import connecting
from imgdb.duplicates.apply import Delete, FileOutcome, HardLink, apply
from imgdb.duplicates.connecting import connect_images
from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.plan import read_plan, write_plan
from imgdb.trashes import RECORD


def found(dsn, **choice):
    """Return of each group the name that is kept, those that may go, and the bytes it frees."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        groups = duplicates(conn, DuplicateChoice(**({"keep": "shortest-path"} | choice)))
    return [
        (
            group.keeper.path.rpartition("/")[2],
            {member.path.rpartition("/")[2] for member in group.removable},
            {member.path.rpartition("/")[2] for member in group.members},
            group.reclaimable_bytes,
        )
        for group in groups
    ]


@pytest.fixture
def folder(tmp_path):
    """Make a folder with two files of the same bytes, a.png and copy.png."""
    made = tmp_path / "photos"
    made.mkdir()
    scene(1).save(made / "a.png")
    shutil.copy(made / "a.png", made / "copy.png")
    return made


def test_a_hard_link_frees_nothing(database, folder):
    os.link(folder / "a.png", folder / "link.png")
    (folder / "copy.png").unlink()
    add(database, *sorted(folder.iterdir()))
    assert found(database) == [("a.png", set(), {"a.png", "link.png"}, 0)]
    # It is not kept for the other one either: whatever the rule says, nothing may go.
    assert found(database, keep="newest")[0][1:] == (set(), {"a.png", "link.png"}, 0)


def test_bytes_are_freed_with_the_last_name_of_a_file(database, folder, tmp_path):
    size = (folder / "copy.png").stat().st_size
    os.link(folder / "copy.png", folder / "copy-2.png")
    add(database, *sorted(folder.iterdir()))
    every = {"a.png", "copy.png", "copy-2.png"}
    assert found(database) == [("a.png", every - {"a.png"}, every, size)]
    # One more name, which is no image: the bytes stay whatever goes.
    os.link(folder / "copy.png", tmp_path / "backup")
    assert found(database) == [("a.png", every - {"a.png"}, every, 0)]
    with psycopg.connect(database, autocommit=True) as conn:
        write_plan(tmp_path / "plan", duplicates(conn, DuplicateChoice(keep="shortest-path")))
    text = (tmp_path / "plan").read_text()
    assert text.count("frees nothing, the file having other names") == 2 and ", 0 B\n" in text


def test_hard_links_are_one_name_less_to_make(database, folder, tmp_path):
    """What is linked already is not in the plan, and not refused by it."""
    os.link(folder / "a.png", folder / "link.png")
    add(database, *sorted(folder.iterdir()))
    with psycopg.connect(database, autocommit=True) as conn:
        write_plan(tmp_path / "plan", duplicates(conn, DuplicateChoice(keep="shortest-path")))
        text = (tmp_path / "plan").read_text()
        assert f"# the same file as what is kept, by another name: {folder}/link.png\n" in text
        done = [*apply(conn, read_plan(tmp_path / "plan"), HardLink())]
    assert [one.outcome for one in done] == [FileOutcome.linked]
    assert (folder / "a.png").stat().st_nlink == 3
    assert found(database)[0][1:] == (set(), {"a.png", "copy.png", "link.png"}, 0)


@pytest.mark.parametrize("rule", ["shortest-path", "newest", "oldest", "most-bytes"])
def test_a_symbolic_link_is_no_other_file(database, folder, rule):
    """Under no rule it is kept for what it leads to, nor for anything else."""
    (folder / "z").symlink_to("a.png")  # the shortest path
    os.utime(folder / "a.png", (5, 5))
    add(database, *sorted(folder.iterdir()))
    with psycopg.connect(database) as conn:
        for when in (1, 9):
            conn.execute(
                "UPDATE imgdb.image SET modified_at = to_timestamp(%s) WHERE path ~ '/z$'", [when]
            )
            conn.commit()
            ((keeper, gone, members, freed),) = found(database, keep=rule)
            assert members == {"a.png", "copy.png"} == {keeper, *gone}
            assert freed == (folder / "a.png").stat().st_size
    (folder / "copy.png").unlink()
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM imgdb.image WHERE path ~ 'copy'")
    assert found(database, keep=rule) == []


def test_a_link_whose_file_is_no_image_is_shown_and_neither_kept_nor_removed(
    database, folder, tmp_path
):
    (folder / "a.png").rename(tmp_path / "elsewhere.png")
    for name in ("a", "b"):
        (folder / name).symlink_to(tmp_path / "elsewhere.png")
    add(database, *sorted(folder.iterdir()))
    ((keeper, gone, members, freed),) = found(database)
    assert (keeper, gone, freed) == ("copy.png", set(), 0)
    assert members == {"copy.png", "a"}  # two links to one file are one file
    (tmp_path / "elsewhere.png").unlink()  # links that lead nowhere are nothing
    assert found(database) == []


def other_name(folder, name, kind):
    """Give a folder a second name."""
    other = folder.parent / name
    if kind == "link":
        other.symlink_to(folder)
        return lambda: None
    other.mkdir()
    command = ["mount", "--bind", folder, other]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to bind folders")
    return lambda: subprocess.run(["umount", other], check=True)


@pytest.mark.parametrize("kind", ["link", "bind"])
@pytest.mark.parametrize("name", ["a", "photos-again"])
def test_a_folder_with_two_names_holds_each_file_once(database, folder, tmp_path, kind, name):
    undo = other_name(folder, name, kind)
    try:
        scene(2).save(folder / "alone.png")
        other = tmp_path / name
        add(database, *sorted(folder.iterdir()), *sorted(other.iterdir()))
        ((_, gone, members, freed),) = found(database)
        assert members == {"a.png", "copy.png"} and len(gone) == 1
        assert freed == (folder / "a.png").stat().st_size
        with psycopg.connect(database, autocommit=True) as conn:
            write_plan(tmp_path / "plan", duplicates(conn, DuplicateChoice()))
            done = [*apply(conn, read_plan(tmp_path / "plan"), Delete())]
        assert [one.outcome for one in done] == [FileOutcome.deleted]
        assert len([*folder.iterdir()]) == 2
    finally:
        undo()


def test_of_two_names_that_of_the_reference_counts(database, folder, tmp_path):
    other = tmp_path / "alias"
    other.symlink_to(folder)
    add(database, folder / "a.png", folder / "copy.png", collection="new")
    add(database, other / "a.png", collection="old")
    assert found(database, collection="new", against="old") == [
        ("a.png", {"copy.png"}, {"a.png", "copy.png"}, (folder / "a.png").stat().st_size)
    ]
    (folder / "copy.png").unlink()
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM imgdb.image WHERE path ~ 'copy'")
    assert found(database, collection="new", against="old") == []


def test_groups_that_are_none_do_not_use_up_the_limit(database, tmp_path, monkeypatch):
    """The largest ones are files with two names; the groups asked for come after them.

    All images are compared once, whatever the disk says then.
    """
    for number in range(3):
        folder = tmp_path / f"large-{number}"
        folder.mkdir()
        scene(number + 10, (640, 480)).save(folder / "picture.png")
        (tmp_path / f"alias-{number}").symlink_to(folder)
        add(database, folder / "picture.png", tmp_path / f"alias-{number}" / "picture.png")
    small = shelf(tmp_path / "small")
    add(database, small / "lake.png", small / "lake-copy.png")
    for number in range(20, 24):
        scene(number).save(small / f"{number}.png")
        add(database, small / f"{number}.png")
    compared = []

    def connect(conn, choice, images, **arguments):
        compared.append(len(images.image_ids))
        return connect_images(conn, choice, images, **arguments)

    monkeypatch.setattr(connecting, "connect_images", connect)
    assert [members for _, _, members, _ in found(database, limit=1)] == [
        {"lake.png", "lake-copy.png"}
    ]
    # Then only those that are left of the groups: one name of each file.
    assert compared == [3 * 2 + 2 + 4, 3 + 2]


@pytest.mark.parametrize("rule", ["newest", "oldest", "shortest-path", "most-pixels"])
def test_nothing_is_kept_in_a_trash_for_what_is_outside(database, folder, rule):
    """The trash was ingested: whoever empties it would lose what was kept there."""
    trash = folder.parent / "t"
    (trash / "p").mkdir(parents=True)
    for age, name in ((1, "x.png"), (9, "y.png")):
        shutil.copy(folder / "a.png", trash / "p" / name)
        os.utime(trash / "p" / name, (age, age))
    (folder / "copy.png").unlink()
    add(database, *folder.iterdir(), *(trash / "p").iterdir())
    assert len(found(database, keep=rule)[0][2]) == 3
    (trash / RECORD).touch()
    assert found(database, keep=rule) == []
    # Also seen through another name of the trash.
    (folder / "link").symlink_to(trash)
    with psycopg.connect(database) as conn:
        conn.execute("UPDATE imgdb.image SET path = replace(path, '/t/', '/photos/link/')")
    assert found(database, keep=rule) == []
    # And what was taken out of it since it was ingested.
    shutil.rmtree(trash / "p")
    assert found(database, keep=rule) == []


def test_imported_hashes_may_have_any_name(database, folder):
    add(database, *sorted(folder.iterdir()))
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO imgdb.image (collection_id, path, ahash, dhash, phash, whash, recipe)"
            " SELECT collection_id, '\\odd', ahash, dhash, phash, whash, 'imported'"
            " FROM imgdb.image WHERE path ~ 'copy'"
        )
    assert found(database)[0][1:3] == ({"copy.png"}, {"a.png", "copy.png", "\\odd"})


def test_what_is_not_on_this_machine_is_as_the_database_has_it(database, folder):
    add(database, *sorted(folder.iterdir()))
    size = (folder / "a.png").stat().st_size
    shutil.rmtree(folder)
    assert found(database) == [("a.png", {"copy.png"}, {"a.png", "copy.png"}, size)]
