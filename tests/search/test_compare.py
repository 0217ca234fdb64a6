"""`imgdb compare`: distances, words and exit codes, without any database."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from library import blank, scene, shelf
from pictures import same_light, swapped_profile
from PIL import Image, ImageEnhance

from imgdb.hashes.values import ALGORITHMS
from imgdb.search.compare import compare, read_look

NOWHERE = "host=/nowhere"


@pytest.fixture
def folder(tmp_path):
    folder = shelf(tmp_path / "shelf")
    # Far apart by every hash, and near by their colours.
    for name, seed in (("grey", 1), ("other", 2)):
        scene(seed).convert("L").point(lambda value: 100 + value // 8).save(folder / f"{name}.png")
    return folder


def compared(cli, *args):
    result = cli("compare", *args, "--format", "json", dsn=NOWHERE)
    assert (result.code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_an_edit_is_alike(cli, folder):
    found = compared(cli, folder / "lake.png", folder / "lake-small.jpg")
    assert (found["a"], found["b"]) == (str(folder / "lake.png"), str(folder / "lake-small.jpg"))
    assert (found["alike"], found["hash"], found["max_distance"]) == (True, "phash+dhash", 17)
    assert not found["same_bytes"] and not found["same_pixels"]
    assert found["sum_distance"] == found["phash_distance"] + found["dhash_distance"]
    assert all(found[f"{name}_within"] for name in ("sum", *ALGORITHMS))


def test_another_picture_is_different(cli, folder):
    found = compared(cli, folder / "lake.png", folder / "hill.png")
    assert not found["alike"] and not found["phash_within"] and found["phash_distance"] > 8
    near = compared(cli, folder / "lake.png", folder / "hill.png", "--max-distance", "128")
    assert near["sum_within"] and near["sum_distance"] == found["sum_distance"] > 17
    assert not near["phash_within"]
    assert not near["alike"] and not near["same_colours"] and near["colour_difference"] > 10


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
    assert far["pdq_within"] and not far["phash_within"]
    for rule, most in (("phash+dhash", 128), ("phash", 64)):
        wrong = cli("compare", *pair, "--hash", rule, "--max-distance", str(most + 1))
        assert wrong.code == 2 and f"{most} at most" in wrong.stderr


@pytest.mark.parametrize(("phash", "dhash", "alike"), [(10, 2, True), (8, 9, True), (8, 10, False)])
def test_the_rule_is_the_sum(folder, phash, dhash, alike):
    """One hash may say something else."""
    look = read_look(folder / "lake.png", "lake")
    hashes = look.reading.hashes
    other = replace(
        hashes, phash=hashes.phash ^ (1 << phash) - 1, dhash=hashes.dhash ^ (1 << dhash) - 1
    )
    # Other pixels, so that the hashes decide.
    changed = replace(
        look, sha256=b"other", pixels=(1, 1, b"", b""), reading=replace(look.reading, hashes=other)
    )
    found = compare(look, changed)
    assert (found.alike, found.sum_within, found.sum_distance) == (alike, alike, phash + dhash)
    assert (found.phash_within, found.dhash_within) == (phash <= 8, dhash <= 4)


def another(look, *, sha256=b"other", pixels=(1, 1, b"", b""), flat=None, frames=1, **bits):
    """Give a look of another file whose hashes differ from a look's in so many bits."""
    reading = look.reading
    hashes = replace(
        reading.hashes,
        **{n: getattr(reading.hashes, n) ^ (1 << count) - 1 for n, count in bits.items()
           if n != "pdq"},
    )  # fmt: skip
    first, *rest = look.pdq
    return replace(
        look,
        sha256=sha256,
        pixels=pixels,
        frames=frames,
        reading=replace(reading, hashes=hashes, flat=reading.flat if flat is None else flat),
        pdq=(first ^ (1 << bits.get("pdq", 0)) - 1, *rest),
    )


@pytest.mark.parametrize(
    ("name", "usual"), [("phash", 8), ("dhash", 4), ("whash", 2), ("ahash", 2), ("pdq", 31)]
)
def test_each_hash_has_its_own_distance_and_default(folder, name, usual):
    look = read_look(folder / "lake.png", "lake")
    for asked, most in ((None, usual), (20, 20)):
        for bits, near in ((most, True), (most + 1, False)):
            found = compare(look, another(look, **{name: bits}), hash=name, max_distance=asked)
            assert (found.hash, found.max_distance, found.alike) == (name, most, near)
            for other in (*ALGORITHMS, "pdq"):
                apart = bits if other == name else 0
                assert getattr(found, f"{other}_distance") == apart
                assert getattr(found, f"{other}_within") is (near or other != name)
            # Another one that decides, or another distance for it, changes neither.
            found = compare(look, another(look, **{name: usual + 1}), hash="phash+dhash",
                            max_distance=0)  # fmt: skip
            assert not getattr(found, f"{name}_within")
            assert found.alike is (name not in ("phash", "dhash"))


@pytest.mark.parametrize("frames", [(1, 2), (2, 1), (2, 2)])
def test_what_has_several_frames_is_alike_by_its_bytes_only(folder, frames):
    """Only the first frame was looked at, so neither pixels nor hashes say enough."""
    look = another(read_look(folder / "lake.png", "lake"), frames=frames[0])
    found = compare(look, another(look, sha256=b"b", pixels=look.pixels, frames=frames[1]))
    assert (found.a_frames, found.b_frames, found.sum_distance) == (*frames, 0)
    assert (found.same_bytes, found.same_pixels, found.alike) == (False, False, False)
    found = compare(look, another(look, sha256=look.sha256, frames=frames[1], phash=40))
    assert (found.same_bytes, found.same_pixels, found.alike) == (True, True, True)


@pytest.mark.parametrize("flat", [(True, False), (False, True), (True, True)])
def test_one_flat_picture_is_enough_for_hashes_to_say_nothing(folder, flat):
    look = another(read_look(folder / "lake.png", "lake"), flat=flat[0])
    found = compare(look, another(look, sha256=b"b", pixels=(2, 1, b"", b""), flat=flat[1]))
    assert (found.flat, found.sum_distance, found.alike) == (True, 0, False)
    assert compare(look, another(look, sha256=b"b", flat=flat[1])).alike


def test_pixels_are_compared_with_their_places(cli, tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, 80 * 60, np.uint8)
    for name, shape in (("wide", (60, 80)), ("tall", (80, 60))):
        Image.fromarray(noise.reshape(shape)).save(tmp_path / f"{name}.png")
    assert not compared(cli, tmp_path / "wide.png", tmp_path / "tall.png")["same_pixels"]


@pytest.mark.parametrize(
    ("a", "b", "args", "code"),
    [
        ("lake.png", "lake-copy.png", (), 0),
        ("lake.png", "lake-small.jpg", (), 0),
        ("lake.png", "hill.png", (), 1),
        ("grey.png", "other.png", (), 1),
        ("grey.png", "other.png", ("--max-distance", "128"), 0),
        ("grey.png", "other.png", ("--max-distance", "64", "--hash", "phash"), 0),
        ("grey.png", "other.png", ("--max-distance", "64", "--hash", "dhash"), 0),
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
    assert table.stdout.splitlines()[-2] == "same colours: 0.0 apart"
    assert len(table.stdout.splitlines()) == 9
    assert table.stdout.splitlines()[1].split() == ["phash+dhash", "0", "yes"]
    text = cli("compare", folder / "lake.png", folder / "hill.png", "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["alike"], row["same_bytes"]) == ("false", "false")


def verdict(cli, a, b):
    return cli("compare", a, b, "--format", "table", dsn=NOWHERE).stdout.splitlines()[-1]


def test_solid_colours_are_told_apart(cli, tmp_path):
    Image.new("RGB", (40, 30), (200, 30, 40)).save(tmp_path / "red.png")
    Image.new("RGB", (40, 30), (20, 118, 60)).save(tmp_path / "green.png")
    Image.new("RGB", (40, 30), (200, 30, 40)).save(tmp_path / "red.bmp")
    greys = [
        Image.open(tmp_path / name).convert("L").tobytes() for name in ("red.png", "green.png")
    ]
    assert greys[0] == greys[1]
    found = compared(cli, tmp_path / "red.png", tmp_path / "green.png")
    assert (found["alike"], found["same_pixels"], found["same_colours"]) == (False, False, False)
    assert cli("compare", tmp_path / "red.png", tmp_path / "green.png", "--exit-code").code == 1
    assert compared(cli, tmp_path / "red.png", tmp_path / "red.bmp")["same_pixels"]


def test_other_colours_are_different_and_a_grey_copy_is_alike(cli, folder):
    muted = ImageEnhance.Color(scene(1)).enhance(0.4)
    muted.save(folder / "lake.png")
    muted.convert("L").save(folder / "lake-grey.png")
    same_light(muted, 90).save(folder / "lake-blue.png")
    assert verdict(cli, folder / "lake.png", folder / "lake-blue.png") == "different: other colours"
    assert verdict(cli, folder / "lake.png", folder / "lake-grey.png") == (
        "alike by phash+dhash: one is a grey copy"
    )
    assert not compared(cli, folder / "lake.png", folder / "lake-grey.png")["same_pixels"]
    # Whichever comes first.
    assert compared(cli, folder / "lake-grey.png", folder / "lake.png")["alike"]


def test_same_pixels_are_of_the_same_colours_everywhere(cli, folder):
    """Also where the means of the cells do not show it, and where a profile says what is seen."""
    dots = scene(1).copy()
    dots.putpixel((10, 10), (255, 0, 0))
    other = dots.copy()
    other.putpixel((10, 10), (0, 130, 0))
    assert dots.convert("L").tobytes() == other.convert("L").tobytes()
    dots.save(folder / "dots.png")
    other.save(folder / "others.png")
    found = compared(cli, folder / "dots.png", folder / "others.png")
    assert (found["same_pixels"], found["same_colours"], found["alike"]) == (False, True, True)
    scene(1).save(folder / "swapped.png", icc_profile=swapped_profile())
    found = compared(cli, folder / "lake.png", folder / "swapped.png")
    assert (found["same_pixels"], found["same_colours"], found["alike"]) == (False, False, False)
