"""The embedded server's memory follows the machine's, or the container's."""

import os

from imgdb.database.embedded.settings import memory_settings
from imgdb.memory import usable_memory

GIB = 2**30


def test_what_a_container_may_take_counts_where_it_is_less(tmp_path):
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, no_limit = tmp_path / "limit", tmp_path / "none"
    no_limit.write_text("max\n")
    assert usable_memory((no_limit, tmp_path / "absent")) == machine
    limit.write_text(f"{2**63 - 4096}\n")  # no limit, as version 1 says it
    assert usable_memory((limit,)) == machine
    limit.write_text(f"{GIB // 2}\n")
    assert usable_memory((no_limit, limit)) == GIB // 2


def test_the_settings_are_parts_of_the_memory():
    def sizes(memory):
        return tuple(memory_settings(memory).values())

    assert sizes(8 * GIB) == ("1024MB", "32MB", "256MB")
    assert sizes(GIB // 2) == ("128MB", "4MB", "64MB")
    assert sizes(1024 * GIB) == ("2048MB", "128MB", "1024MB")
