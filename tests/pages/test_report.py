"""Pages: self-contained, deaf to what file names say, and written as a whole or not at all."""

import base64
import errno
import hashlib
import os
import re
import tempfile
from html.parser import HTMLParser

import pytest
from jinja2 import DictLoader, UndefinedError

from imgdb.atomic import creating, replacing
from imgdb.errors import PictureError, UsageError
from imgdb.pages import render

HOSTILE = "<img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}</script>.jpg"


class Reader(HTMLParser):
    """Collect the tags of a page, and the texts of its styles and scripts."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.inline = {"style": [], "script": []}
        self.text = ""
        self.within = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.within = tag
        if tag in self.inline:
            self.inline[tag].append("")

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        if self.within in self.inline:
            self.inline[self.within][-1] += data
        self.text += data


def with_content(monkeypatch, content):
    """Render a page around `content`, a piece of template."""
    environment = render._environment().overlay(
        loader=DictLoader(
            {
                "page.html": "{% extends 'base.html' %}{% import 'pictures.html' as pictures %}"
                "{% block content %}" + content + "{% endblock %}",
                **{path.name: path.read_text() for path in render.TEMPLATES.glob("*.html")},
            }
        )
    )
    monkeypatch.setattr(render, "_environment", lambda: environment)
    return lambda **values: render.render_page("page.html", parts=["pictures"], **values)


def test_a_value_is_never_markup(monkeypatch):
    page = with_content(monkeypatch, '<b title="{{ name }}">{{ name }}</b>')(name=HOSTILE)
    read = Reader(page)
    assert ("b", {"title": HOSTILE}) in read.tags
    assert [tag for tag, _ in read.tags].count("img") == 0
    assert HOSTILE in read.text


def test_a_value_that_is_missing_is_an_error(monkeypatch):
    with pytest.raises(UndefinedError):
        with_content(monkeypatch, "{{ nobody_gave_this }}")()


def test_the_policy_allows_what_is_inside_and_nothing_else(monkeypatch):
    page = with_content(monkeypatch, "")()
    read = Reader(page)
    (policy,) = (
        tag["content"] for _, tag in read.tags if tag.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(maxsplit=1) for rule in policy.split(";"))
    for kind in ("style", "script"):
        (text,) = read.inline[kind]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nothing_in_the_templates_points_outside():
    for path in render.TEMPLATES.iterdir():
        text = path.read_text()
        addresses = set(re.findall(r"(?:https?:)?//[a-z][\w.]*", text)) - {"http://www.w3.org"}
        assert not addresses, path.name
        # The policy would refuse them, without a word.
        assert not re.search(r"\sstyle=|\son[a-z]+=", text), path.name


def test_a_picture_that_cannot_be_shown_says_why(monkeypatch):
    show = with_content(monkeypatch, "{{ pictures.picture(thumbnail, name) }}")
    page = show(thumbnail=PictureError("missing", "<gone>"), name=HOSTILE)
    (shown,) = (tag for _, tag in Reader(page).tags if tag.get("role") == "img")
    assert shown["aria-label"] == f"{HOSTILE}: there is no such file (any more) (<gone>)"
    assert "there is no such file (any more) (<gone>)" in Reader(page).text


def test_a_page_is_there_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.html"
    render.write_page(path, "the old \udcff one")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half of the new")
        file.flush()
        assert path.read_text() == "the old ? one"
        raise RuntimeError
    assert path.read_text() == "the old ? one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.html"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.html").write_text("old")
    link = tmp_path / "link.html"
    link.symlink_to("real.html")
    render.write_page(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "real.html").read_text() == "new"


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "no" / "out.html"):
        with pytest.raises(UsageError, match=re.escape(str(path))):
            render.write_page(path, "page")
    assert [entry.name for entry in tmp_path.iterdir()] == ["fifo"]


def test_a_page_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "other").touch()
    render.write_page(tmp_path / "out.html", "page")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_reader_of_the_old_page_reads_on_in_it(tmp_path):
    path = tmp_path / "out.html"
    render.write_page(path, "the old one")
    with path.open() as reader:
        render.write_page(path, "new")
        assert (reader.read(), path.read_text()) == ("the old one", "new")


def test_a_page_keeps_the_rights_that_it_has(tmp_path):
    path = tmp_path / "out.html"
    path.touch()
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    before = path.stat()
    with replacing(path) as file:
        (part,) = (entry for entry in tmp_path.iterdir() if entry != path)
        assert part.stat().st_mode & 0o777 == 0o600  # also while it is written
        file.write(b"page")
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid
    )  # fmt: skip


def test_no_planted_link_is_followed(tmp_path, monkeypatch):
    """Whoever may write to the folder guesses the name of the file that is written first."""
    victim = tmp_path / "victim"
    victim.write_text("of somebody else")
    guessed = iter(["guessed", "guessed", "free"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: guessed)
    (tmp_path / ".out.html.guessed").symlink_to(victim)
    (tmp_path / f".out.html.{os.getpid()}").symlink_to(victim)
    render.write_page(tmp_path / "out.html", "page")
    assert victim.read_text() == "of somebody else"
    assert (tmp_path / "out.html").read_text() == "page"
    assert not (tmp_path / "out.html").is_symlink()


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_is_never_put_over_another(tmp_path, monkeypatch, links):
    if not links:  # as on FAT

        def refuse(*args, **named):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "plan"
    with creating(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    with pytest.raises(FileExistsError), creating(tmp_path / "other") as file:
        (tmp_path / "other").symlink_to("nowhere")  # meanwhile
    with pytest.raises(FileExistsError), creating(path) as file:
        pass
    assert path.read_bytes() == b"whole"
    assert {entry.name for entry in tmp_path.iterdir()} == {"plan", "other"}


def test_the_browser_is_asked_for_the_file(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda address: asked.append(address) or True)
    monkeypatch.chdir(tmp_path)
    assert render.open_page(render.Path("a b?.html"))
    assert asked == [f"file://{tmp_path}/a%20b%3F.html"]
