"""How much memory there is to work with."""

import os
from pathlib import Path

# What a container may take: of version 2 of control groups, and of version 1. Their largest
# number means no limit.
LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def usable_memory(limits: tuple[Path, ...] = LIMITS) -> int:
    """Return the machine's memory in bytes, or the container's where that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in limits:
        try:
            found.append(int(file.read_text("utf-8")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found)
