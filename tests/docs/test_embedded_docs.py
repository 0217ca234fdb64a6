"""What docs/embedded-server.md tells people to type, and the settings that it lists."""

import os
import re
from pathlib import Path

from embedded_clients import BINDIR
from forked import run_shell

from imgdb.database.embedded.settings import DEFAULTS, SHARES

PAGE = (Path(__file__).parents[2] / "docs" / "embedded-server.md").read_text("utf-8")


def test_the_commands_do_what_the_page_says(home: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    path = os.pathsep.join([str(BINDIR), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "IMGDB_HOME": str(home)}
    done = run_shell("\n".join(blocks), tmp_path, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n1GB\n")
    assert done.stderr.count("stopped") == 3


def test_the_settings_are_those_of_the_page() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\w ,]+?) \|", PAGE, re.MULTILINE))
    assert len(listed) == 7
    shares = {name: listed.pop(name) for name in SHARES}
    assert listed == {name: re.sub(r"(\d)MB", r"\1 MB", DEFAULTS[name]) for name in listed}
    for name, (part, least, most) in SHARES.items():
        told, ends = re.fullmatch(r"an? (\w+) of the memory, (.*)", shares[name]).groups()
        assert {"eighth": 8, "256th": 256, "32nd": 32}[told] == 1 / part
        assert ends in (
            f"{least} MB to {most // 1024} GB",
            f"{least} to {most} MB",
        )
