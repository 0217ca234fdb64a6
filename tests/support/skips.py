"""Why a test may be skipped; a skip for any other reason is a failure, on every machine.

The hooks are conftest's. What a run must not lack is named in IMGDB_TEST_NEEDS, as in
`IMGDB_TEST_NEEDS="chromium pictures"`: what was installed for it must not be skipped silently.
"""

import os
import re
from collections.abc import Generator

import pytest

# What a machine may lack -> the reasons that say so.
PERMITTED = {
    "axe": r"IMGDB_TEST_AXE names no axe\.min\.js",
    "bash": "needs bash",
    "bench": r"needs pip install .*\[bench\]",
    "chromium": "no Chromium with chromedriver: .*",
    "citus": "IMGDB_TEST_CITUS names no programs of a server that has Citus",
    "fashion-mnist": "no Fashion-MNIST: apt-get install dataset-fashion-mnist",
    "clients": "needs pip install .*|needs node|needs npm install .*|needs javac and .*",
    "file-system": "this file system .*|no second file system here|no /dev/full here",
    "handlers": "needs (sh|curl|jq|python3|php|ruby|go)",
    "hatchling": r"the build backend \(hatchling\) cannot be had without a package index",
    "jpeg-2000": "Pillow without JPEG 2000",
    "kernel": "the kernel has no file that cannot be read",
    "linux": "(looks into|.* is read from|.* and) /proc|asks Linux .*|.* on Linux only",
    "new-server": "PostgreSQL 1[58] brought .*",
    "pg_dump": "there is no pg_dump in .*",
    "pg_tle": "IMGDB_TEST_PG_TLE names no programs of a server that has pg_tle",
    "photo-hashes": r"no photo_hashes_1m\.npz beside the repository",
    "pictures": "IMGDB_TEST_PICTURES names no folder of fetched pictures|no [a-z0-9-]+ in .*",
    "root": "needs root|no right to mount a disk",
    "servers": "no PostgreSQL in .*|no /usr/lib/postgresql/15/bin|no wheel",
    "shells": "no (bash|zsh|fish) here",
    "strace": "strace makes the calls of a disk fail",
}


def is_permitted(reason: str, needed: str) -> bool:
    """Tell whether a reason is one of those above, but for what is needed: names, with spaces."""
    lacks = [name for name, words in PERMITTED.items() if re.fullmatch(words, reason)]
    return bool(lacks) and not {*lacks} & {*needed.split()}


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip that is not permitted into a failure."""
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    path, line, words = report.longrepr
    reason = words.removeprefix("Skipped: ")
    if not is_permitted(reason, os.environ.get("IMGDB_TEST_NEEDS", "")):
        report.outcome = "failed"
        report.longrepr = (
            f"{path}:{line}: skipped, which tests/support/skips.py does not permit: {reason}"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report
