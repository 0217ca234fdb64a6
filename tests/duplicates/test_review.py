"""Decisions about images that look alike: rows that stay, and the plan that comes of them."""

import psycopg
import pytest
from library import add, shelf

from imgdb.duplicates.apply import FileOutcome, MoveToTrash, apply, restore
from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.plan import read_plan, write_plan
from imgdb.duplicates.review import (
    Decision,
    Verdict,
    ask_again,
    basket,
    decide,
    decisions,
    raw_beside,
    still_open,
    undecide,
)
from imgdb.duplicates.trash import Trash
from imgdb.errors import UsageError
from imgdb.sqlstate import translate


class Scene:
    """A shelf in a database, whose five pictures of a lake are one group."""

    def __init__(self, database, folder):
        self.folder = shelf(folder / "shelf")
        add(database, *sorted(self.folder.iterdir()))
        self.conn = psycopg.connect(database, autocommit=True)
        self.ids = {
            path.rpartition("/")[2]: image_id
            for path, image_id in self.conn.execute("SELECT path, image_id FROM imgdb.image")
        }

    def group(self):
        (group,) = duplicates(self.conn, DuplicateChoice(keep="shortest-path"))
        return group

    def open(self):
        """Return what stays and what is still to be decided, by name."""
        found = still_open(self.group(), decisions(self.conn))
        return found and (name(found.left), [name(one) for one in found.candidates])

    def decide(self, image, beside, verdict):
        decide(self.conn, [Decision(self.ids[image], self.ids[beside], Verdict(verdict))])

    def basket(self):
        return {
            name(group.keeper): [name(one) for one in group.removable]
            for group in basket(self.conn)
        }


def name(member):
    return member.path.rpartition("/")[2]


@pytest.fixture
def here(database, tmp_path):
    made = Scene(database, tmp_path)
    yield made
    made.conn.close()


def test_all_of_a_group_is_open_at_first(here):
    left, candidates = here.open()
    assert left == "lake.png"
    assert sorted(candidates) == ["lake-copy.png", "lake-small.jpg", "lake-soft.png"]
    assert here.basket() == {}


def test_each_decision_closes_one_image(here):
    here.decide("lake-copy.png", "lake.png", "remove")
    here.decide("lake-small.jpg", "lake.png", "keep")
    assert here.open() == ("lake.png", ["lake-soft.png"])
    here.decide("lake-soft.png", "lake.png", "skip")
    assert here.open() is None
    assert here.basket() == {"lake.png": ["lake-copy.png"]}
    assert ask_again(here.conn) == 1
    assert here.open() == ("lake.png", ["lake-soft.png"])


def test_what_stays_may_have_to_go_for_another(here):
    here.decide("lake-copy.png", "lake.png", "remove")
    here.decide("lake.png", "lake-soft.png", "remove")
    assert here.open() == ("lake-soft.png", ["lake-small.jpg"])
    here.decide("lake-soft.png", "lake-small.jpg", "remove")
    assert here.open() is None
    assert here.basket() == {"lake-small.jpg": ["lake-copy.png", "lake.png", "lake-soft.png"]}


def test_nothing_goes_for_what_goes(here):
    here.decide("lake.png", "lake-copy.png", "remove")
    for image, beside in [("lake-copy.png", "lake.png"), ("lake.png", "lake-soft.png")]:
        with pytest.raises(psycopg.Error) as caught:
            here.decide(image, beside, "remove")
        assert "to be removed already" in str(translate(caught.value))
    assert here.basket() == {"lake-copy.png": ["lake.png"]}


def test_decisions_are_made_together_or_not_at_all(here):
    ids = here.ids
    with pytest.raises(psycopg.Error):
        decide(
            here.conn,
            [
                Decision(ids["lake-soft.png"], ids["lake.png"], Verdict.remove),
                Decision(ids["lake.png"], ids["lake-soft.png"], Verdict.remove),
            ],
        )
    assert decisions(here.conn) == {}


def test_the_last_decision_is_taken_back_first(here):
    here.decide("lake-copy.png", "lake.png", "remove")
    here.decide("lake-soft.png", "lake.png", "different")
    assert here.conn.execute("SELECT count(*) FROM imgdb.not_duplicate").fetchone() == (1,)
    (taken,) = undecide(here.conn)
    assert (taken.image_id, taken.verdict) == (here.ids["lake-soft.png"], Verdict.different)
    assert here.conn.execute("SELECT count(*) FROM imgdb.not_duplicate").fetchone() == (0,)
    assert [one.image_id for one in undecide(here.conn)] == [here.ids["lake-copy.png"]]
    assert undecide(here.conn) == []
    assert here.basket() == {}


def test_what_was_decided_together_is_taken_back_together(here):
    here.decide("lake-copy.png", "lake.png", "remove")
    lake, together = here.ids["lake.png"], [here.ids["lake-small.jpg"], here.ids["lake-soft.png"]]
    decide(here.conn, [Decision(one, lake, Verdict.different) for one in together])
    marks = "SELECT count(*) FROM imgdb.not_duplicate"
    assert here.conn.execute(marks).fetchone() == (2,)
    assert [one.image_id for one in undecide(here.conn)] == together
    assert here.conn.execute(marks).fetchone() == (0,)
    assert [*decisions(here.conn)] == [here.ids["lake-copy.png"]]


def test_a_raw_beside_a_picture_is_known_by_its_stem(here):
    add = (
        "INSERT INTO imgdb.image (collection_id, path, format, sha256, byte_size, modified_at,"
        " width, height, frames, recipe, missing_since) SELECT collection_id, %s, %s, sha256(%s),"
        " 1, now(), 1, 1, 1, 'exact-1', %s FROM imgdb.collection"
    )
    for path, kind, gone in [
        ("/a/one.CR2", "RAW", None),
        ("/a/two.JPG", "JPEG", None),
        ("/a/three.CR2", "RAW", "2020-01-01"),
        ("/a/four/x.CR2", "RAW", None),
        ("/a/onee.CR2", "RAW", None),
    ]:
        here.conn.execute(add, (path, kind, path.encode(), gone))
    for path, expected in [
        ("/a/one.JPG", True),
        ("/a/one.CR2", False),
        ("/a/two.CR2", False),
        ("/a/three.JPG", False),
        ("/a/four.JPG", False),
        ("/b/one.JPG", False),
        ("/a/on.JPG", False),
    ]:
        assert raw_beside(here.conn, path) is expected, path


def test_taking_back_leaves_a_mark_that_was_there_before(here):
    low, high = sorted([here.ids["lake-soft.png"], here.ids["lake.png"]])
    here.conn.execute("INSERT INTO imgdb.not_duplicate VALUES (%s, %s)", (low, high))
    here.decide("lake-soft.png", "lake.png", "different")
    undecide(here.conn)
    assert here.conn.execute("SELECT count(*) FROM imgdb.not_duplicate").fetchone() == (1,)


def test_other_bytes_are_another_file(here):
    here.decide("lake-copy.png", "lake.png", "remove")
    here.decide("lake-soft.png", "lake.png", "remove")
    here.conn.execute(
        "UPDATE imgdb.image SET sha256 = sha256('x') WHERE image_id = %s",
        [here.ids["lake-copy.png"]],
    )
    assert here.basket() == {"lake.png": ["lake-soft.png"]}
    here.conn.execute(
        "UPDATE imgdb.image SET sha256 = sha256('y') WHERE image_id = %s", [here.ids["lake.png"]]
    )
    assert here.basket() == {}


def test_the_basket_is_a_plan_like_any_other(here, tmp_path):
    here.decide("lake-copy.png", "lake.png", "remove")
    here.decide("lake.png", "lake-soft.png", "remove")
    assert write_plan(tmp_path / "plan.txt", basket(here.conn)) == 2
    plan = read_plan(tmp_path / "plan.txt")
    done = [*apply(here.conn, plan, MoveToTrash(Trash(tmp_path / "trash")))]
    assert [one.outcome for one in done] == [FileOutcome.moved] * 2
    assert {path.name for path in here.folder.iterdir()} == {
        "lake-soft.png", "lake-small.jpg", "hill.png", "blank.png"
    }  # fmt: skip
    # What is gone is in no basket; what comes back is as it was decided.
    assert here.basket() == {}
    assert [one.outcome for one in restore(here.conn, tmp_path / "trash")] == [
        FileOutcome.restored
    ] * 2
    assert here.basket() == {"lake-soft.png": ["lake-copy.png", "lake.png"]}


def test_no_image_is_decided_about_beside_itself(here):
    with pytest.raises(UsageError, match="two different images"):
        here.decide("lake.png", "lake.png", "keep")
