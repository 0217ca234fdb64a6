"""What pages, messages and the Dockerfile tell people to install is this project, or what it needs.

`imgdb` on PyPI is another program: a line that named it would replace this one. This project is not
published yet, so it is named by its checkout.
"""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
THIRD_PARTIES = {
    canonicalize_name(Requirement(line).name)
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
}
# What only a developer of imgdb uses, or of a client.
TOOLS = {"openapi-python-client", "pre-commit"}
WITH_VALUE = {"-c", "--constraint", "-r", "--requirement"}
# Up to where a sentence, a string, an inline code or a shell's command ends.
LINE = re.compile(r"pip3? install((?:[ ]+(?:'[^'\n]*'|[^\s'\"`,;&|()]+))+)")
FILES = sorted(
    [
        *ROOT.glob("*.md"),
        ROOT / "Dockerfile",
        ROOT / "benchmarks" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "imgdb").rglob("*.py"),
    ]
)


def pip_lines(text: str) -> list[str]:
    """Return what follows `pip install` in a text, one string a line."""
    return [found.strip() for found in LINE.findall(text)]


def wrong(line: str) -> list[str]:
    """Return the words of a pip line that mean neither this project nor what it uses."""
    words = iter(shlex.split(line))
    return [word for word in words if not _is_right(word, words)]


def _is_right(word, words):
    if word in WITH_VALUE:
        return (ROOT / next(words)).is_file()
    if word.startswith("-"):
        return word in ("-q", "-e", "--no-cache-dir")
    if checkout := re.fullmatch(r"\.(?:\[([\w,]+)\])?", word):
        return set((checkout[1] or "heif").split(",")) <= EXTRAS.keys()
    try:
        named = Requirement(word)
    except ValueError:
        return False
    return not named.extras and canonicalize_name(named.name) in THIRD_PARTIES | TOOLS


def test_each_line_means_this_project_or_what_it_uses():
    lines = [
        (file, line) for file in FILES for line in pip_lines(file.read_text("utf-8", "strict"))
    ]
    assert len(lines) >= 10
    assert [(file.name, line) for file, line in lines if wrong(line)] == []


@pytest.mark.parametrize(
    "text",
    [
        "run `pip install --upgrade imgdb`",
        "needs pip install 'imgdb[heif]'",
        "pip install imgdb",
        "pip install 'imgdb-postgresql[none]'",
        "pip install '.[hief]'",
        "pip install -c nowhere.txt .",
        "pip install pillow_hief",
    ],
)
def test_other_lines_are_noticed(text):
    (line,) = pip_lines(text)
    assert wrong(line)


def test_messages_that_name_a_package_say_how_to_get_it():
    """A message about a part that is missing names the package, which an extra brings as well."""
    brought = {
        canonicalize_name(Requirement(line).name)
        for name in ("heif", "parquet", "show")
        for line in EXTRAS[name]
    }
    told = {
        canonicalize_name(Requirement(word).name)
        for file in (ROOT / "imgdb").rglob("*.py")
        for line in pip_lines(file.read_text("utf-8"))
        for word in shlex.split(line)
        if not word.startswith(".")  # a checkout
    }
    assert brought <= told


def test_the_project_has_a_name_of_its_own():
    assert PROJECT["name"] == "imgdb-postgresql"
    assert PROJECT["scripts"] == {"imgdb": "imgdb.cli:main"}
