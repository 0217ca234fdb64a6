"""The page of `imgdb duplicates`, in a browser."""

import html
import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from browser import PHONE
from folders import paint
from library import add, scene, shelf

from examples import turn
from imgdb.duplicates.groups import DuplicateChoice, Group, GroupRow
from imgdb.hashes.orientations import ORIENTATIONS
from imgdb.pages import render
from imgdb.pages.duplicates import duplicates_page
from imgdb.paths import path_text

HOSTILE = "<img src=x onerror=alert(1)> it's.jpg"


def member(path, bits, **changed):
    found = GroupRow(
        group_id=1, tier="near", diameter=4, images=3, reclaimable_bytes=5_200_000,
        path=path_text(path), keeper=bits == 0, removable=bits > 0, distance=bits,
        ahash_distance=bits, dhash_distance=bits + 1, phash_distance=bits, whash_distance=None,
        same_bytes=False, collection="default", image_id=1, width=64, height=48, frames=1,
        byte_size=2_600_000, format="PNG", modified_at=datetime(2024, 5, 1, tzinfo=UTC),
        sha256=bytes(32),
    )  # fmt: skip
    return replace(found, **changed)


def group(*members, diameter=4):
    return Group(1, "near", diameter, 5_200_000, list(members))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two groups: one with a hostile name in it, and a chain whose end stays."""
    folder = tmp_path_factory.mktemp("page")
    files = paint(folder / "pictures", 6)
    hostile = files[1].rename(files[1].with_name(HOSTILE))
    groups = [
        group(member(files[0], 0), member(hostile, 2, same_bytes=True), member(files[2], 4)),
        group(
            member(files[3], 0), member(files[4], 8), member(files[5], 16, removable=False),
            member("/gone.png", 6), diameter=16,
        ),
    ]  # fmt: skip
    path = folder / "out.html"
    render.write_page(path, duplicates_page(groups, choice=DuplicateChoice(), max_distance=8))
    return path, files, hostile


def texts(browser, selector):
    return browser.run(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())",
        selector,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_groups_are_shown_with_what_is_kept(browser, page, scheme):
    path, *_ = page
    browser.open(path, scheme=scheme)
    assert browser.count(".group") == 2 and browser.count(".member") == 7
    assert browser.count(".group > .cards > .keeper:first-child") == 2
    assert texts(browser, ".tag.kept") == ["kept", "kept"]
    assert [HOSTILE in text for text in texts(browser, ".path strong")].count(True) == 1
    assert texts(browser, "h2") == ["Group 1: near", "Group 2: near"]
    (chain,) = texts(browser, ".chain")
    assert "16 bits apart" in chain and "farther than 8 bits" in chain
    assert texts(browser, ".group:nth-of-type(2) .member:nth-child(3) .tag")[0] == "stays"
    assert browser.count(".placeholder") == 1
    # The distances to the kept one, of all four hashes, for each of the others.
    assert browser.count(".distance") == 5 * 5
    assert browser.complaints() == [] and browser.requests() == [path.as_uri()]


def test_what_is_ticked_becomes_commands(browser, page):
    path, files, hostile = page
    browser.open(path)
    assert not browser.find("#marks").is_displayed()
    browser.run("for (const box of document.querySelectorAll('[data-mark]')) box.click()")
    lines = browser.run("return document.getElementById('marks-command').value").splitlines()
    assert [shlex.split(line) for line in lines] == [
        ["imgdb", "mark", "different", str(kept), str(other)]
        for kept, other in (
            (files[0], hostile), (files[0], files[2]), (files[3], files[4]), (files[3], files[5]),
            (files[3], "/gone.png"),
        )
    ]  # fmt: skip


def test_the_kept_one_lies_over_another(browser, page):
    path, *_ = page
    browser.open(path)
    browser.find("button.frame").click()
    browser.wait(lambda: browser.run("return document.getElementById('lens').open"))
    assert texts(browser, "#lens figcaption") == ["match", "kept one"]
    assert browser.complaints() == []


def test_it_fits_a_phone(browser, page):
    path, *_ = page
    browser.open(path, size=PHONE)
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]


def test_the_command_writes_it(cli, database, tmp_path):
    folder = shelf(tmp_path / "shelf")
    add(database, *sorted(folder.iterdir()))
    out = tmp_path / "out.html"
    result = cli("duplicates", "--html", out, "--max-distance", "6", dsn=database)
    assert result.code == 0 and f"imgdb: the page is in {out}" in result.stderr
    said = html.unescape(out.read_text("utf-8"))
    assert "at most 6 bits apart" in said and str(folder) in said
    assert len(re.findall(r'<li class="card member', said)) == 4
    wrong = cli("duplicates", "--open", dsn=database)
    assert (wrong.code, wrong.stdout) == (2, "")


def test_nothing_found_is_a_page_too(tmp_path):
    said = duplicates_page([], choice=DuplicateChoice(tier="same-bytes"), max_distance=8)
    assert "No duplicates." in said and "same bytes only" in said


def test_the_keeper_is_turned_as_a_copy_is(browser, tmp_path):
    """Their difference is black, in each of the eight orientations."""
    keeper = tmp_path / "keeper.png"
    scene(1).save(keeper)
    members = [member(keeper, 0, orientation="as is")]
    for orientation in ORIENTATIONS:
        copy = tmp_path / f"{orientation.words}.png"
        turn(scene(1), orientation).save(copy)
        members.append(member(copy, 2, orientation=orientation.words))
    path = tmp_path / "out.html"
    page = duplicates_page([group(*members)], choice=DuplicateChoice(), max_distance=8)
    render.write_page(path, page)
    browser.open(path)
    assert texts(browser, ".tag.turned") == [orientation.words for orientation in ORIENTATIONS[1:]]
    browser.find(".member button.frame").click()
    browser.press("4")
    for number in range(1, 9):
        assert browser.find("#lens-count").text == f"{number} of 8"
        browser.wait(lambda: browser.brightness("#lens-stage") < 5)
        browser.press("n")
