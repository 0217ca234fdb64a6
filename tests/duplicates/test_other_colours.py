"""Pictures of other colours are no copies, a grey copy goes before its picture in colours, and what
has no colours stays.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import psycopg
import pytest
from library import add, scene
from pictures import encode, same_light
from PIL import Image, ImageEnhance

from examples import turn
from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.plan import write_plan
from imgdb.hashes.orientations import by_words

SIZE = (360, 240)


def pale(seed: int = 1) -> Image.Image:
    """Paint a picture whose hues can be turned without leaving what RGB can show."""
    picture = ImageEnhance.Color(scene(seed, SIZE)).enhance(0.5)
    return Image.blend(picture, Image.new("RGB", SIZE, (150, 120, 100)), 0.4)


def shirt(dye: tuple[int, int, int]) -> Image.Image:
    """Lay a thing of one dye, with folds, on white paper."""
    folds = np.asarray(scene(3, (240, 200)).convert("L"), float)[..., None] / 255 * 0.3 + 0.75
    cloth = np.clip(np.array(dye) * folds, 0, 255).astype(np.uint8)
    paper = Image.new("RGB", SIZE, "white")
    paper.paste(Image.fromarray(cloth), (60, 20))
    return paper


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def write(folder: Path, **pictures: Image.Image) -> None:
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(encode(picture, "PNG"))


def found(database, folder, **choice):
    add(database, *sorted(folder.iterdir()))
    with psycopg.connect(database, autocommit=True) as conn:
        return duplicates(conn, DuplicateChoice(**choice))


def kept(group):
    """Return which file is kept for which."""
    stem = {member.image_id: Path(member.path).stem for member in group.members}
    return {
        stem[part.keeper.image_id]: {stem[member.image_id] for member in part.removable}
        for part in group.parts()
    }


@pytest.mark.parametrize("degrees", [40, -90, 180])
def test_one_of_each_colour_is_kept(cli, database, folder, degrees):
    red, other = pale(), same_light(pale(), degrees)
    write(folder, red=red, other=other)
    write(folder, red_small=red.resize((180, 120)), other_small=other.resize((180, 120)))
    (group,) = found(database, folder)
    assert kept(group) == {"red": {"red_small"}, "other": {"other_small"}}
    second = group.parts()[1].keeper
    assert (second.same_colours, second.colours_matter) == (False, "other colours")
    assert second.colour_difference > 1
    assert [one.same_colours for one in group.removable] == [True, True]
    table = cli("duplicates", "--format", "table", dsn=database).stdout
    assert f"keep, other colours ({second.colour_difference})" in table
    for pair in found_again(database, tier="same-picture"):
        assert (pair.tier, len(pair.members), len(pair.removable)) == ("same-picture", 2, 1)


def found_again(database, **choice):
    with psycopg.connect(database, autocommit=True) as conn:
        return duplicates(conn, DuplicateChoice(**choice))


@pytest.mark.parametrize("dyes", [((25, 25, 27), (128, 128, 130)), ((128, 128, 130), (75, 75, 77))])
def test_black_and_grey_things_are_told_apart(database, folder, dyes):
    write(folder, a=shirt(dyes[0]), b=shirt(dyes[1]))
    for group in found(database, folder, max_distance=40):
        assert group.removable == []


def test_edits_stay_copies(database, folder):
    picture = pale()
    write(
        folder,
        picture=picture.resize((720, 480)),
        darker=ImageEnhance.Brightness(picture).enhance(0.8),
        paler=ImageEnhance.Color(picture).enhance(0.8),
        harder=ImageEnhance.Contrast(picture).enhance(1.15),
    )
    (folder / "saved.jpg").write_bytes(encode(picture, "JPEG", quality=40))
    (group,) = found(database, folder)
    assert kept(group) == {"picture": {"darker", "paler", "harder", "saved"}}


def test_a_picture_in_colours_is_kept_before_its_grey_copy(database, folder):
    write(folder, grey=pale().convert("L").convert("RGB"))
    (folder / "colours.jpg").write_bytes(encode(pale(), "JPEG", quality=95))
    for choice in ({}, {"keep": "most-bytes"}, {"keep": "newest"}):
        (group,) = (
            found(database, folder, **choice) if not choice else found_again(database, **choice)
        )
        assert kept(group) == {"colours": {"grey"}}
        assert group.removable[0].colours_matter == "grey copy"
    assert found_again(database, tier="same-picture") == []
    plan = folder / "plan.txt"
    assert write_plan(plan, [group]) == 1
    assert "# The next one has no colours: it is a grey copy of what is kept:\n" in plan.read_text()


def test_colours_do_not_go_for_a_grey_reference(database, folder):
    write(folder, colours=pale())
    add(database, folder / "colours.png", collection="new")
    write(folder, grey=pale().convert("L"))
    add(database, folder / "grey.png", collection="old")
    (group,) = found_again(database, collection="new", against="old")
    assert kept(group) == {"grey": set(), "colours": set()}


def test_copies_among_what_is_new_do_not_go_against_a_reference_of_other_colours(database, folder):
    write(folder, one=pale(), two=pale().resize((180, 120)))
    add(database, *folder.iterdir(), collection="new")
    write(folder, reference=same_light(pale(), 90))
    add(database, folder / "reference.png", collection="old")
    (group,) = found_again(database, collection="new", against="old")
    assert group.removable == []


def test_a_larger_grey_one_stays(database, folder):
    write(folder, grey=pale().convert("L").resize((1080, 720)), colours=pale())
    (group,) = found(database, folder)
    assert (Path(group.keeper.path).stem, group.removable) == ("colours", [])


def test_what_has_no_colours_yet_goes_for_the_same_bytes_only(cli, database, folder):
    write(folder, a=pale().resize((720, 480)), b=pale())
    shutil.copy(folder / "b.png", folder / "c.png")
    add(database, *sorted(folder.iterdir()), colours=None)
    (group,) = found_again(database)
    assert kept(group) == {"a": set(), "b": {"c"}}
    assert [one.colours_matter for one in group.members] == ["", "colours not known", ""]
    assert {one.tier for one in found_again(database, tier="same-picture")} == {"same-bytes"}
    told = cli("duplicates", "--format", "table", dsn=database)
    assert "keep, colours not known" in told.stdout
    assert told.stderr.splitlines()[-1].startswith("imgdb: the colours of 3 images are not known")
    assert "not known" not in cli("duplicates", "--tier", "same-bytes", dsn=database).stderr
    # A file of the same bytes says what colours they are.
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DELETE FROM imgdb.image WHERE path LIKE '%%/c.png' OR path LIKE '%%/a.png'")
    add(database, folder / "a.png", folder / "c.png")
    (group,) = found_again(database)
    assert kept(group) == {"a": {"b", "c"}}


def test_rehash_measures_what_is_not_known(cli, database, folder):
    write(folder, a=pale().resize((720, 480)), b=pale())
    cli("ingest", folder, "--jobs", "1", dsn=database)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE imgdb.image SET colours = NULL")
    assert "the colours of 2 images" in cli("duplicates", dsn=database).stderr
    cli("rehash", "--jobs", "1", dsn=database)
    told = cli("duplicates", "--json", dsn=database)
    assert "colours" not in told.stderr
    (group,) = json.loads(told.stdout)
    assert [one["removable"] for one in group["members"]] == [False, True]
    assert group["members"][1]["same_colours"] is True
    assert group["members"][1]["colour_difference"] < 1


def test_turned_copies_have_the_colours_of_the_turned_picture(cli, database, folder):
    quarter = by_words("90° clockwise")
    write(
        folder,
        picture=pale().resize((720, 480)),
        turned=turn(pale(), quarter),
        other=turn(same_light(pale(), 90), quarter),
    )
    add(database, *sorted(folder.iterdir()))
    told = cli("duplicates", "--any-orientation", "--json", "--jobs", "1", dsn=database).stdout
    groups = json.loads(told)
    removable = {
        Path(m["path"]).stem for group in groups for m in group["members"] if m["removable"]
    }
    assert removable == {"turned"}
    (copy,) = (m for group in groups for m in group["members"] if m["removable"])
    assert copy["orientation"] == "90° clockwise" and copy["colour_difference"] < 1


def test_many_colours_of_one_thing(database, folder):
    """Each is kept, and so is its copy for it."""
    hues = {f"turned{degrees}": same_light(pale(), degrees) for degrees in range(0, 360, 60)}
    write(folder, **hues)
    write(folder, **{f"{name}_small": hue.resize((180, 120)) for name, hue in hues.items()})
    (group,) = found(database, folder)
    assert kept(group) == {name: {f"{name}_small"} for name in hues}


def test_the_page_shows_what_colours_say(cli, database, folder):
    write(folder, red=pale(), other=same_light(pale(), 90), grey=pale().convert("L"))
    add(database, *sorted(folder.iterdir()))
    page = folder / "page.html"
    cli("duplicates", "--html", page, "--jobs", "1", dsn=database)
    shown = page.read_text("utf-8")
    assert shown.count('<span class="tag">other colours</span>') == 1
    assert shown.count('<span class="tag">grey copy</span>') == 1
    assert shown.count("Other colours: ") == 2
