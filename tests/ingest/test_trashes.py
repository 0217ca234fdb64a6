"""Which folders are trashes, and what is in one."""

from imgdb.trashes import RECORD, is_trash, trash_of


def test_a_trash_is_known_by_its_record(tmp_path):
    outer, inner = tmp_path / "bin", tmp_path / "bin" / "home" / "ann"
    inner.mkdir(parents=True)
    assert trash_of(inner / "a.jpg") is None and not is_trash(outer)
    (outer / RECORD).touch()
    assert is_trash(outer) and not is_trash(inner)
    assert trash_of(inner / "a.jpg") == trash_of(outer / "a.jpg") == str(outer)
    # The trash itself lies in a folder that is none; a trash in a trash is of the outer one.
    assert trash_of(outer) is None
    (inner / RECORD).touch()
    assert trash_of(inner / "a.jpg") == str(outer)
    # A record that leads nowhere is one still: what it says of the folder has been so.
    (tmp_path / RECORD).symlink_to("nowhere")
    assert is_trash(tmp_path)
