"""Plain English for readers whose language it is not: words that they stumble over are refused."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("benchmarks/*.md"),
        *(file for file in ROOT.glob("docs/**/*.md") if file.name != "cli.md"),
        *(file for room in ("imgdb", "sql") for file in ROOT.glob(f"{room}/**/*.*")),
    ]
)
TEXT = {".md", ".py", ".sql", ".html"}

# The word, and what to write instead.
HARD = {
    r"who(m|se)?ever": "a person who, a role that",
    r"hang(s|ing)? on": "depends on",
    r"for ever": "for good, always",
    r"shall": "must, is to",
    r"of late": "lately",
    r"thereof|hereby|herein|whence|hitherto": "of it, by this, here",
    # "File" is a thing: a picture file, a plan, an import file.
    r"files? (the |all |its |these |new |large |single )?hashes": "index hashes",
    r"hash(es)? (is|are|was|were) filed": "indexed",
}


def hard_words(text):
    """Return the lines of a text that have a hard word, with the word."""
    found = re.compile(rf"\b({'|'.join(HARD)})\b", re.IGNORECASE)
    return [
        (number, match[0])
        for number, line in enumerate(text.splitlines(), 1)
        for match in found.finditer(line)
    ]


def test_no_text_has_a_hard_word():
    told = {
        f"{file.relative_to(ROOT)}:{number}: {word}"
        for file in FILES
        if file.suffix in TEXT
        for number, word in hard_words(file.read_text("utf-8"))
    }
    assert sorted(told) == []


@pytest.mark.parametrize(
    "text",
    [
        "Whoever may search",
        "it hangs on ties",
        "stored for ever",
        "they shall fit",
        "the pace of late",
        "the triggers file hashes",
        "its hashes are filed",
    ],
)
def test_hard_words_are_noticed(text):
    assert len(hard_words(f"Fine.\n{text}.")) == 1


def test_plain_words_pass():
    plain = "shallow; of later ones; a hash of a file; files and hashes; hung; forever; file-hashes"
    assert hard_words(plain) == []
