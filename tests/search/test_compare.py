"""`imgdb compare`: distances, words and exit codes, without any database."""

import csv
import io
import json

import pytest
from library import blank, scene, shelf

from imgdb.hashes.values import ALGORITHMS

NOWHERE = "host=/nowhere"


@pytest.fixture
def folder(tmp_path):
    return shelf(tmp_path / "shelf")


def compared(cli, *args):
    result = cli("compare", *args, "--format", "json", dsn=NOWHERE)
    assert (result.code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_an_edit_is_alike(cli, folder):
    found = compared(cli, folder / "lake.png", folder / "lake-small.jpg")
    assert (found["a"], found["b"]) == (str(folder / "lake.png"), str(folder / "lake-small.jpg"))
    assert (found["alike"], found["hash"], found["max_distance"]) == (True, "phash", 8)
    assert not found["same_bytes"] and not found["same_pixels"]
    assert all(found[f"{name}_within"] for name in ALGORITHMS)


def test_another_picture_is_different(cli, folder):
    found = compared(cli, folder / "lake.png", folder / "hill.png")
    assert not found["alike"] and not found["phash_within"] and found["phash_distance"] > 8
    near = compared(cli, folder / "lake.png", folder / "hill.png", "--max-distance", "64")
    assert near["alike"] and near["phash_distance"] == found["phash_distance"]


def test_same_bytes_and_same_pixels(cli, folder):
    copy = compared(cli, folder / "lake.png", folder / "lake-copy.png")
    assert copy["same_bytes"] and copy["same_pixels"]
    scene(1).save(folder / "lake.bmp")
    other_file = compared(cli, folder / "lake.png", folder / "lake.bmp")
    assert other_file["same_pixels"] and not other_file["same_bytes"]


def test_flat_pictures_are_alike_only_if_their_pixels_are(cli, folder):
    blank((64, 64)).save(folder / "small-blank.png")
    found = compared(cli, folder / "blank.png", folder / "small-blank.png")
    assert found["flat"] and found["phash_distance"] == 0 and not found["alike"]
    assert compared(cli, folder / "blank.png", folder / "blank.png")["alike"]


def test_pdq_has_bits_of_its_own(cli, folder):
    pair = (folder / "lake.png", folder / "lake-small.jpg")
    found = compared(cli, *pair)
    assert found["pdq_distance"] == 42 and not found["pdq_within"] and found["alike"]
    found = compared(cli, *pair, "--hash", "pdq")
    assert (found["hash"], found["max_distance"], found["alike"]) == ("pdq", 31, False)
    found = compared(cli, *pair, "--hash", "pdq", "--max-distance", "42")
    assert found["alike"] and found["pdq_within"]
    assert not compared(cli, *pair, "--hash", "pdq", "--max-distance", "41")["alike"]
    # What holds for PDQ says nothing of 64 bits.
    far = compared(cli, pair[0], folder / "hill.png", "--hash", "pdq", "--max-distance", "200")
    assert far["alike"] and not far["phash_within"]
    wrong = cli("compare", *pair, "--max-distance", "65")
    assert wrong.code == 2 and "64 at most" in wrong.stderr


@pytest.mark.parametrize(
    ("a", "b", "args", "code"),
    [
        ("lake.png", "lake-copy.png", (), 0),
        ("lake.png", "lake-small.jpg", (), 0),
        ("lake.png", "hill.png", (), 1),
        ("lake.png", "hill.png", ("--max-distance", "64"), 0),
        ("lake.png", "hill.png", ("--max-distance", "64", "--hash", "dhash"), 0),
        ("lake.png", "gone.png", (), 2),
    ],
)
def test_exit_code_answers_as_diff_does(cli, folder, a, b, args, code):
    assert cli("compare", folder / a, folder / b, "--exit-code", *args).code == code


def test_files_that_cannot_be_read_are_a_line_each(cli, folder):
    result = cli("compare", "gone.png", folder)
    assert (result.code, result.stdout) == (1, "")
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [
        "gone.png",
        str(folder),
    ]


def test_table_and_csv(cli, folder):
    table = cli("compare", folder / "lake.png", folder / "lake-copy.png", "--format", "table")
    assert table.stdout.splitlines()[-1] == "alike: same bytes"
    assert len(table.stdout.splitlines()) == 7
    text = cli("compare", folder / "lake.png", folder / "hill.png", "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["alike"], row["same_bytes"]) == ("false", "false")
