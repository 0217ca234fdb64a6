"""The commands of docs/duplicates.md, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from library import scene, shelf

PAGE = Path(__file__).parents[2] / "docs" / "duplicates.md"


# A dozen commands, which are tried on other servers one by one.
def test_the_commands_work_in_their_order(database, tmp_path):
    photos = shelf(tmp_path / "photos")
    (tmp_path / "card").mkdir()
    scene(1, (640, 480)).save(tmp_path / "card" / "new.png")
    before = {path.name for path in photos.iterdir()}
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    left = {}
    for number, block in enumerate(blocks):
        done = subprocess.run(
            ["bash", "-e", "-c", block],
            cwd=tmp_path,
            env={
                **os.environ,
                "IMGDB_DSN": database,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (block, done.stderr)
        left[number] = {path.name for path in photos.iterdir()}
    # Ingest, plan, apply: a copy is gone; mark, plan, apply: what is alike is gone; restore.
    assert left[0] == left[1] == before
    assert len(before - left[2]) == 1 and left[3] == left[4] == left[2]
    assert left[5] < left[2] and left[6] == left[7] == before
    assert not any((tmp_path / "card").iterdir())
