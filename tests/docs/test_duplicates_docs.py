"""The commands of docs/duplicates.md, run as they stand there."""

import os
import re
from pathlib import Path

from forked import run_shell
from library import scene, shelf

PAGE = Path(__file__).parents[2] / "docs" / "duplicates.md"


# A dozen commands, which are tried on other servers one by one.
def test_the_commands_work_in_their_order(database, tmp_path):
    photos = shelf(tmp_path / "photos")
    (tmp_path / "card").mkdir()
    scene(1, (640, 480)).save(tmp_path / "card" / "new.png")
    before = {path.name for path in photos.iterdir()}
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (programs := tmp_path / "programs").mkdir()
    left = {}
    for number, block in enumerate(blocks):
        environment = {**os.environ, "IMGDB_DSN": database}
        done = run_shell(block, programs, env=environment, cwd=tmp_path)
        assert done.returncode == 0, (block, done.stderr)
        left[number] = {path.name for path in photos.iterdir()}
    # Ingest, plan, apply: a copy is gone; mark, plan, apply: what is alike is gone; restore.
    assert left[0] == left[1] == before
    assert len(before - left[2]) == 1 and left[3] == left[4] == left[2]
    assert left[5] < left[2] and left[6] == left[7] == before
    assert not any((tmp_path / "card").iterdir())
