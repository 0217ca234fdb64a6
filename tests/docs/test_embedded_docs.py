"""What docs/embedded-server.md tells people to type, and the settings that it lists."""

import os
import re
import subprocess
import sys
from pathlib import Path

from embedded_clients import BINDIR

from imgdb.database.embedded.settings import DEFAULTS

PAGE = (Path(__file__).parents[2] / "docs" / "embedded-server.md").read_text("utf-8")


def test_the_commands_do_what_the_page_says(home: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(BINDIR), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", "\n".join(blocks)],
        env={**os.environ, "PATH": path, "IMGDB_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n1GB\n")
    assert done.stderr.count("stopped") == 3


def test_the_settings_are_those_of_the_page() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\w ]+?) \|", PAGE, re.MULTILINE))
    assert len(listed) == 7
    assert listed == {name: re.sub(r"(\d)MB", r"\1 MB", DEFAULTS[name]) for name in listed}
