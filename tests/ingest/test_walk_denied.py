"""What the one who ingests may not read is said, and the rest is found."""

import json
import subprocess
import sys

from folders import paint

# Root may read everything: then somebody else looks, once all modules are loaded.
LOOK = """
import json, os, sys
from imgdb.pictures.decoding import prepare
from imgdb.ingest import walk
from imgdb.pictures import loader
from imgdb.errors import PictureError

prepare()
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
told = {}
for found in walk.walk([sys.argv[1]]):
    if isinstance(found, walk.Unreadable):
        told[found.path] = found.error.reason
    else:
        try:
            loader.load(found.path)
            told[found.path] = "loaded"
        except PictureError as error:
            told[found.path] = error.reason
print(json.dumps(told))
"""


def test_folders_and_files_without_permission(place):
    folder = place / "pictures"
    good = paint(folder, 1)[0]
    inside = paint(folder / "closed", 1)[0]
    listed = paint(folder / "listed", 1)[0]
    secret = paint(folder / "open", 1)[0]
    secret.chmod(0)
    inside.parent.chmod(0)
    listed.parent.chmod(0o444)
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOOK, folder], capture_output=True, text=True, check=True
        )
    finally:
        for path in (inside.parent, listed.parent):
            path.chmod(0o755)
    assert json.loads(done.stdout) == {
        str(good): "loaded",
        str(inside.parent): "denied",
        str(listed): "denied",
        str(secret): "denied",
    }
