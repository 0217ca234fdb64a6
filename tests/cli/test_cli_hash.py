"""`imgdb hash`: hex and bigint of all four, whatever the files are called, and exit codes."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import imagehash
import pytest
from PIL import Image

from imgdb.hashes.values import ALGORITHMS, from_hex

VECTORS = Path(__file__).parents[2] / "vectors"
SMOOTH = VECTORS / "smooth-wide.png"


def test_json_has_hex_and_bigint_of_all_four(cli):
    result = cli("hash", SMOOTH, VECTORS / "white.png", "--json")
    assert (result.code, result.stderr) == (0, "")
    smooth, white = json.loads(result.stdout)
    with Image.open(SMOOTH) as image:
        assert smooth["phash"] == str(imagehash.phash(image))
        assert smooth["whash"] == str(imagehash.whash(image))
    for name in ALGORITHMS:
        assert smooth[f"{name}_bigint"] == from_hex(smooth[name])
    assert (smooth["flat"], white["flat"]) == (False, True)
    assert white["phash_bigint"] == -(1 << 63)


def test_pdq_comes_last_and_is_made_only_when_asked_for(cli):
    (plain,) = json.loads(cli("hash", SMOOTH, "--json").stdout)
    (found,) = json.loads(cli("hash", SMOOTH, "--pdq", "--json").stdout)
    vectors = {
        v["file"]: v
        for v in json.loads((Path(__file__).parents[1] / "data" / "pdq.json").read_text())
    }
    vector = vectors["vectors/smooth-wide.png"]
    assert list(found) == list(plain) and list(plain)[-2:] == ["pdq", "pdq_quality"]
    assert (plain["pdq"], plain["pdq_quality"]) == (None, None)
    assert (found["pdq"], found["pdq_quality"]) == (vector["pdq"], vector["quality"])
    assert {**plain, "pdq": found["pdq"], "pdq_quality": found["pdq_quality"]} == found
    table = cli("hash", SMOOTH, "--pdq", "--format", "table").stdout
    assert all(vector["pdq"][at : at + 16] in table for at in range(0, 64, 16))
    assert "pdq quality" in table


def test_csv_and_table_say_the_same(cli):
    (found,) = json.loads(cli("hash", SMOOTH, "--json").stdout)
    (row,) = csv.DictReader(io.StringIO(cli("hash", SMOOTH, "--format", "csv").stdout))
    table = cli("hash", SMOOTH, "--format", "table").stdout
    for name in ALGORITHMS:
        assert row[name] == found[name]
        assert row[f"{name}_bigint"] == str(found[f"{name}_bigint"])
        assert found[name] in table and str(found[f"{name}_bigint"]) in table


@pytest.mark.parametrize(
    "name", [b"two\nlines.png", b"not\xffutf8.png", b"[red]\x1b[31m.png", b'"quoted", comma.png']
)
def test_hostile_names_stay_one_row(cli, tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 - bytes
    shutil.copy(SMOOTH, path)
    (found,) = json.loads(cli("hash", path, "--json").stdout)
    (row,) = csv.DictReader(io.StringIO(cli("hash", path, "--format", "csv").stdout))
    assert row["path"] == found["path"]
    assert "\n" not in found["path"] and found["path"].isprintable()
    assert "\x1b" not in cli("hash", path, "--format", "table").stdout


def test_paths_from_stdin(cli):
    listed = f"{SMOOTH}\n{VECTORS / 'tiles.png'}\n"
    result = cli("hash", "--files-from", "-", "--json", stdin=listed)
    assert [found["path"] for found in json.loads(result.stdout)] == [
        str(SMOOTH),
        str(VECTORS / "tiles.png"),
    ]


def test_a_failure_is_one_line_and_the_others_are_printed(cli, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    result = cli("hash", tmp_path / "text.jpg", SMOOTH, tmp_path / "none.png", "--json")
    assert result.code == 3
    assert [found["path"] for found in json.loads(result.stdout)] == [str(SMOOTH)]
    first, second = result.stderr.splitlines()
    assert "text.jpg: not a picture" in first
    assert "none.png: there is no such file" in second


def test_when_all_fail_the_machine_formats_stay_valid(cli, tmp_path):
    missing = tmp_path / "none.png"
    result = cli("hash", missing, "--json")
    assert (result.code, result.stdout) == (1, "[]\n")
    assert cli("hash", missing, "--format", "csv").stdout.startswith("path,ahash,")
    assert cli("hash", missing, "--format", "table").stdout == ""
