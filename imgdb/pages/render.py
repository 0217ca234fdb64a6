"""Pages for people: one HTML file each, with all that it shows inside, or served by imgdb.

A page is a template of `imgdb/pages/templates` that extends `base.html`, with the styles and
scripts of the `parts` that it is made of. It holds strings that anybody may have chosen (file
names), so every value is escaped, and a browser is told to run and load nothing but what was put in
here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from imgdb import __version__
from imgdb.atomic import replacing
from imgdb.errors import PictureError
from imgdb.paths import shell_word
from imgdb.pictures.reasons import reason_in_words
from imgdb.words import byte_count, printable

TEMPLATES = Path(__file__).parent / "templates"

# The part of every page.
_BASE = "base"


def render_page(template: str, *, parts: Sequence[str] = (), **values: object) -> str:
    """Return the page of a template; a part `x` brings `x.css` and `x.js`, if they exist."""
    return _render(template, parts, "img-src data:", values)


def render_served(template: str, *, parts: Sequence[str] = (), **values: object) -> str:
    """Do as `render_page` for a page that may ask its server for pictures and answers."""
    return _render(template, parts, "img-src 'self' data:; connect-src 'self'", values)


def _render(template: str, parts: Sequence[str], loads: str, values: Mapping[str, object]) -> str:
    style = _joined(parts, ".css")
    script = _joined(parts, ".js")
    policy = (
        f"default-src 'none'; {loads}; style-src {_source(style)};"
        f" script-src {_source(script)}; base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            values,
            policy=policy,
            style=style,
            script=script,
            version=__version__,
            made_at=datetime.now().astimezone(),
        )
    )


def render_part(template: str, **values: object) -> str:
    """Return a part of a page, for a page that is shown already, without its indentation."""
    return re.sub(r"\n\s+", "\n", _environment().get_template(template).render(values))


def write_page(path: Path, page: str) -> None:
    """Write a page; UsageError where there can be no file."""
    with replacing(path) as file:
        # A lone surrogate is no text that a file could hold.
        file.write(page.encode("utf-8", "replace"))


def open_page(path: Path) -> bool:
    """Show a page in the browser of the person; tell whether there is one."""
    import webbrowser

    return webbrowser.open(path.absolute().as_uri())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "byte_count": byte_count,
        "counted": _counted,
        "day": _day,
        "printable": printable,
        "reason": reason_in_words,
        "shell_word": shell_word,
    }
    environment.tests["failed"] = _failed
    return environment


def _joined(parts: Sequence[str], suffix: str) -> str:
    files = [(TEMPLATES / part).with_suffix(suffix) for part in (_BASE, *parts)]
    return "\n" + "\n".join(file.read_text("utf-8") for file in files if file.exists())


def _source(text: str) -> str:
    """Return what allows an inline style or script of this very text in a page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _day(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d") if moment else ""


def _failed(value: object) -> bool:
    return isinstance(value, PictureError)
