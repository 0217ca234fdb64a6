"""The spelling of paths: lossless, reversible, safe in PostgreSQL text and on a terminal."""

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgdb.errors import UsageError
from imgdb.paths import (
    from_plain_text,
    path_from_text,
    path_text,
    plain_text,
    possible_spellings,
    shell_word,
)
from imgdb.words import printable


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/photos/cat.jpg", "/photos/cat.jpg"),
        (b"/photos/100%20 \xc3\xa9\xf0\x9f\x90\x88.jpg", "/photos/100%20 é🐈.jpg"),
        (b"a\nb.jpg", r"a\nb.jpg"),
        (b"a\\nb.jpg", r"a\\nb.jpg"),
        (b"caf\xe9.jpg", r"caf\xe9.jpg"),
        (b"\x1b[2J.jpg", r"\x1b[2J.jpg"),
        (b"\xc2\x9b2J.jpg", r"\xc2\x9b2J.jpg"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"\x7f\\x7f", r"\x7f\\x7f"),
    ],
)
def test_spelling(path: bytes, text: str) -> None:
    assert path_text(path) == text
    assert os.fsencode(path_from_text(text)) == path


@given(st.binary())
def test_every_path_comes_back(path: bytes) -> None:
    text = path_text(path)
    assert text.encode("utf-8").decode("utf-8") == text
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text)
    assert os.fsencode(path_from_text(text)) == path


@given(st.text(st.characters() | st.sampled_from("\\\u202e\u2028\u200f\udc80")))
def test_a_text_for_people_turns_no_line_and_gives_the_spelling_back(name: str) -> None:
    try:
        spelling = path_text(name)
    except UsageError:
        return
    text = plain_text(spelling)
    assert printable(text) == text and len(text.splitlines()) <= 1
    assert from_plain_text(text) == from_plain_text(spelling) == spelling


@given(st.text(st.sampled_from("\\xn09afAé\n")))
def test_only_the_one_spelling_of_a_path_is_taken(text: str) -> None:
    try:
        path = path_from_text(text)
    except UsageError:
        return
    assert path_text(path) == text


@pytest.mark.parametrize("text", ["\\", "a\\", "\\x", "\\x1", "\\x1B", "\\x41", "\\q", "\\\\\\"])
def test_what_is_no_spelling_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="spelling"):
        path_from_text(text)


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(UsageError, match="name"):
        path_text("\ud800.jpg")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name), min_size=1))
@settings(max_examples=20)
def test_a_shell_gets_the_path_from_its_word(paths: list[bytes]) -> None:
    words = " ".join(shell_word(path_text(path)) for path in paths)
    script = f"printf '%s\\0' {words}".encode()
    printed = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert printed.split(b"\0")[:-1] == paths


@pytest.mark.parametrize(
    ("typed", "spellings"),
    [
        ("/a/b.jpg", ["/a/b.jpg"]),
        ("/a//x/../b.jpg", ["/a//x/../b.jpg", "/a/b.jpg"]),
        ("~/b.jpg", ["~/b.jpg", "/home/me/b.jpg"]),
        ("/caf\\xe9", ["/caf\\xe9", "/caf\\\\xe9"]),
        ("/a\0b", ["/a\\x00b"]),
    ],
)
def test_what_a_person_types_may_be_spelled_so(typed, spellings, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert possible_spellings(typed) == spellings
