"""A skip for a reason that nobody has permitted is a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from skips import is_permitted

SUPPORT = Path(__file__).parents[1] / "support"
HOOKS = "from skips import pytest_make_collect_report, pytest_runtest_makereport"
TESTS = """
import pytest

@pytest.mark.skip(reason="needs root")
def test_permitted(): pass

@pytest.mark.skipif(True, reason="it was red")
def test_marked(): pass

def test_inside(): pytest.skip("it was red, too")

@pytest.mark.xfail(strict=True)
def test_expected(): assert False
"""
MODULE = "import pytest; pytest.importorskip('no_such_module')"


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_skip_that_is_not_permitted_fails(tmp_path, processes):
    (tmp_path / "conftest.py").write_text(HOOKS)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_module.py").write_text(MODULE)
    options = ["-q", "--continue-on-collection-errors", "-p", "no:cacheprovider", "-n", processes]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *options, tmp_path],
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "IMGDB_TEST_NEEDS": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done
    assert "1 failed, 1 skipped, 1 xfailed, 2 errors" in done.stdout
    assert "does not permit: it was red, too" in done.stdout
    assert "does not permit: could not import 'no_such_module'" in done.stdout


def test_what_is_needed_is_not_skipped():
    assert is_permitted("no zsh here", "")
    assert is_permitted("no zsh here", "chromium pictures")
    assert not is_permitted("no zsh here", "chromium shells")
