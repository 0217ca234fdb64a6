"""Symbolic links on the way to a file: those that a plan knows, and no others, are followed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from imgdb.duplicates.folders import Refused
from imgdb.paths import is_below, path_text


def link_on_way(folder: str) -> tuple[str, str] | None:
    """Return the last symbolic link on the way to a folder, and where it leads; None without."""
    for one in (Path(folder), *Path(folder).parents):
        if one.is_symlink():
            return str(one), os.path.realpath(one)
    return None


def place_of(path: str, links: Mapping[str, str]) -> str:
    """Return where a file really is that is reached through links which a plan knows.

    Raises Refused where such a link leads elsewhere by now.
    """
    known = [link for link in links if is_below(path, link)]
    if not known:
        return path
    link = max(known, key=len)
    target = links[link]
    if os.path.realpath(link) != target:
        raise Refused(f"{path_text(link)}, on the way to it, does not lead where the plan says")
    return target.rstrip(os.sep) + path[len(link.rstrip(os.sep)) :]
