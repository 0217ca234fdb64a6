"""Commands in forks do what the installed script does."""

import os
import subprocess
import sys
from pathlib import Path

import fake_servers
import pytest
from folders import paint
from forked import Forks, run_script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are forked on Linux only")


@pytest.fixture(scope="module")
def forks():
    with Forks() as made:
        yield made


@pytest.mark.parametrize(
    ("args", "stdin"),
    [
        (("--version",), b""),
        (("nosuch",), b""),
        (("hash", "0000.png", "gone.png", "--format", "csv"), b""),
        (("hash", "--files-from", "-", "--format", "table"), b"0000.png\n0001.png\n"),
        (("db", "url"), b""),
    ],
)
def test_as_the_script(forks, tmp_path, args, stdin):
    paint(tmp_path, 2)
    given = {"env": {**os.environ, "IMGDB_HOME": str(tmp_path / "home"), "COLUMNS": "60"}}
    given |= {"cwd": tmp_path, "input": stdin, "timeout": 60}
    script = Path(sys.executable).with_name("imgdb")
    assert forks.run(args, **given) == run_script([script, *args], **given)


def test_one_that_hangs_is_killed(forks, tmp_path):
    with fake_servers.silent() as port:
        env = {**os.environ, "IMGDB_DSN": f"host=127.0.0.1 port={port}"}
        with pytest.raises(subprocess.TimeoutExpired):
            forks.run(["stats"], env=env, cwd=tmp_path, input=b"", timeout=0.5)
