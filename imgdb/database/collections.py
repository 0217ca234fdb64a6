"""Collections, and how many rows a batch changed in one."""

from __future__ import annotations

from dataclasses import dataclass

MAKE_COLLECTION = "SELECT imgdb._make_collection(%s)"


@dataclass(frozen=True, slots=True)
class Stored:
    """How many rows a batch added, and how many it changed."""

    added: int
    updated: int
