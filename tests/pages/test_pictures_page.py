"""docs/pictures.md says what the code says: its tables are those of the code."""

import re
from pathlib import Path

from imgdb.paths import path_text
from imgdb.pictures.formats import FORMATS
from imgdb.pictures.reasons import REASONS

PAGE = (Path(__file__).parents[2] / "docs" / "pictures.md").read_text(encoding="utf-8")


def table(head: str, rows: dict[str, str]) -> str:
    lines = [f"| `{name}` | {words} |" for name, words in rows.items()]
    return "\n".join([head, "| --- | --- |", *lines])


def between(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n(.*?)\n?<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_formats() -> None:
    assert between("formats") == table("| `image.format` | what is read |", FORMATS)


def test_reasons() -> None:
    assert between("reasons") == table("| reason | in words |", REASONS)


def test_spellings() -> None:
    for name, spelling in ((b"caf\xe9.jpg", r"caf\xe9.jpg"), (rb"C:\photo.jpg", r"C:\\photo.jpg")):
        assert path_text(name) == spelling
        assert f"`{spelling}`" in PAGE
