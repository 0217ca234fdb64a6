"""The page of `imgdb query`, in a browser: by mouse, by keyboard, by touch, in light and dark."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser import PHONE, finger, slide, tap
from folders import paint
from library import add, scene, shelf

from imgdb.hashes.orientations import ORIENTATIONS
from imgdb.hashes.values import Hashes
from imgdb.pages import render
from imgdb.pages.query import query_page
from imgdb.paths import path_text
from imgdb.search.images import Match, Query

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
SHA = bytes(32)


def match(path, bits=4, **changed):
    return replace(
        Match(
            path=path_text(path),
            distance=bits,
            ahash_distance=bits + 1,
            dhash_distance=abs(20 - bits),
            phash_distance=bits,
            whash_distance=None,
            orientation=None,
            relation="same",
            votes=None,
            same_bytes=False,
            images=1,
            collection="default",
            image_id=1,
            width=64,
            height=48,
            frames=1,
            byte_size=2_600_000,
            format="PNG",
            modified_at=datetime(2024, 5, 1, tzinfo=UTC),
            missing_since=None,
        ),
        **changed,
    )


def write(folder, *answers, **options):
    """Write the page of queries (name, matches)."""
    queries = [
        (Query(path_text(file), Hashes(1, 1, 1, 1), SHA), matches) for file, matches in answers
    ]
    page = folder / "out.html"
    render.write_page(page, query_page(queries, hash="phash", **options))
    return page


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("pictures"), 12)


@pytest.fixture(scope="module")
def page(files, tmp_path_factory):
    """One query with matches at 0 (same bytes), 2, 4, ... 18 and one that is gone."""
    matches = [match(file, 2 * number) for number, file in enumerate(files[1:11])]
    matches[0] = replace(matches[0], same_bytes=True)
    since = datetime(2026, 1, 2, tzinfo=UTC)
    missing = match(files[0].with_name("gone.png"), 20, missing_since=since)
    return write(tmp_path_factory.mktemp("page"), (files[0], [*matches, missing]), max_distance=20)


def shown(browser):
    """Return the distances of the cards that are seen, in their order."""
    return browser.run(
        "return [...document.querySelectorAll('.match')].filter((card) => card.checkVisibility())"
        ".map((card) => Number(card.dataset.phash))"
    )


def test_what_a_card_says(browser, page, files):
    browser.open(page)
    assert browser.find("h1").text == "Pictures like 0000.png"
    first, last = browser.find_all(".match")[0], browser.find_all(".match")[-1]
    words = first.text.split("\n")
    assert words[:8] == ["phash", "0", "dhash", "20", "whash", "\N{EN DASH}", "ahash", "1"]
    for fact in (
        "0001.png",
        str(files[0].parent),
        "64 \N{MULTIPLICATION SIGN} 48",
        "2.6 MB",
        "2024-05-01",
    ):
        assert fact in first.text
    assert "same bytes" in first.text
    assert "missing since 2026-01-02" in last.text
    assert "there is no such file (any more)" in last.text
    assert browser.count(".match button.frame") == 10  # the one that is gone cannot be compared


def test_the_slider_hides_what_is_farther(browser, page):
    browser.open(page)
    assert shown(browser) == [*range(0, 21, 2)]
    slide(browser, 7)
    assert shown(browser) == [0, 2, 4, 6]
    assert browser.find("#shown").text == browser.find("[data-shown]").text == "4"
    assert browser.find("#limit-value").text == "7"
    browser.find("#limit").send_keys("\ue012")  # the left arrow key
    assert browser.find("#limit-value").text == "6"
    browser.find("#limit").send_keys("\ue012")
    assert shown(browser) == [0, 2, 4]
    slide(browser, 0)
    assert shown(browser) == [0]


def test_another_hash_orders_anew(browser, page):
    browser.open(page)
    browser.find("[name=measure][value=dhash]").click()
    # By dhash the last are the nearest; the same bytes stay first, however far.
    assert shown(browser) == [0, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2]
    assert browser.find("#limit").get_attribute("max") == "20"
    slide(browser, 3)
    assert shown(browser) == [0, 20, 18]
    browser.find("[name=measure][value=whash]").click()
    assert len(shown(browser)) == 11  # of which nothing is known


def test_the_pointer_wipes_the_query_over_a_match(browser, page):
    from selenium.webdriver import ActionChains

    browser.open(page)
    frame = browser.find(".match button.frame")
    ActionChains(browser.driver).move_to_element_with_offset(frame, 30, 0).perform()
    over = browser.find(".frame .over")
    assert over.get_attribute("src") == browser.find("#query-1 img").get_attribute("src")
    edge = browser.run("return parseFloat(document.querySelector('.frame .edge').style.left)")
    assert 50 < edge < 75
    ActionChains(browser.driver).move_to_element(browser.find("h1")).perform()
    assert browser.count(".over") == 0
    # Nor does it stay on the match that was opened last.
    frame.click()
    browser.find("#lens-close").click()
    ActionChains(browser.driver).move_to_element(frame).perform()
    assert browser.count(".over") == 1
    ActionChains(browser.driver).move_to_element(browser.find("h1")).perform()
    browser.wait(lambda: browser.count(".over") == 0)


def test_the_keyboard_does_all_of_it(browser, page):
    browser.open(page)
    browser.press("\ue004")
    assert browser.run("return document.activeElement.className") == "skip"
    browser.find(".shown").click()
    for _ in range(12):
        browser.press("\ue004")
        if browser.run("return document.activeElement.matches('button.frame')"):
            break
    assert browser.count(":focus .over") == 1
    browser.press("\ue007")
    assert browser.run("return document.getElementById('lens').open")
    assert browser.find("#lens-count").text == "1 of 10"
    share = "return Number(document.getElementById('lens-share').value)"
    before = browser.run(share)
    browser.press("\ue014", "\ue014")
    assert browser.run(share) > before
    browser.press("n", "n", "p")
    assert browser.find("#lens-count").text == "2 of 10"
    assert "0002.png" in browser.find("#lens-name").text
    modes = []
    for key in "12345":
        browser.press(key)
        modes.append(browser.find("#lens-stage").get_attribute("data-mode"))
    assert modes == ["wipe", "fade", "blink", "difference", "beside"]
    browser.press("m", "\ue00c")
    assert not browser.run("return document.getElementById('lens').open")
    focused = "return document.activeElement.closest('.match')?.dataset.phash"
    browser.wait(lambda: browser.run(focused) == "2")  # where the reader was last
    assert browser.find("#marks-count").text == "1 marked as different."


def test_blinking_shows_one_after_the_other(browser, page):
    seen = (
        "return ['.above', '.below'].map((one) => getComputedStyle("
        "document.querySelector(`#lens-stage ${one}`)).visibility)"
    )
    browser.open(page)
    browser.find(".match button.frame").click()
    browser.press("3")
    browser.wait(lambda: browser.run(seen) == ["hidden", "visible"])
    browser.wait(lambda: browser.run(seen) == ["visible", "hidden"])
    # Who wants no motion blinks by hand.
    browser.open(page, motion="reduce")
    browser.find(".match button.frame").click()
    browser.press("3")
    assert browser.run(seen) == ["visible", "hidden"]
    browser.press(" ")
    assert browser.run(seen) == ["hidden", "visible"]


def test_turned_copies_are_laid_over_each_other_upright(browser, tmp_path):
    """Their difference is black, in each of the eight orientations."""
    from PIL import Image, ImageOps

    query = tmp_path / "query.png"
    scene(1).save(query)
    matches = []
    for orientation in ORIENTATIONS:
        # The query is the image mirrored, and then turned clockwise: this is the way back.
        image = Image.open(query).rotate(orientation.degrees, expand=True)
        path = tmp_path / f"{orientation.words}.png"
        (ImageOps.mirror(image) if orientation.mirrored else image).save(path)
        matches.append(match(path, orientation=orientation.words))
    browser.open(write(tmp_path, (query, matches)))
    tags = [tag.text for tag in browser.find_all(".tag.turned")]
    assert tags == [orientation.words for orientation in ORIENTATIONS[1:]]
    browser.find(".match button.frame").click()
    browser.press("4")
    for number in range(1, 9):
        assert browser.find("#lens-count").text == f"{number} of 8"
        browser.wait(lambda: browser.brightness("#lens-stage") < 5)
        browser.press("n")
    browser.run("document.getElementById('lens-above').style.transform = ''")
    browser.wait(lambda: browser.brightness("#lens-stage") > 20)


def test_touch(browser, page):
    """A tap opens the overlay, a finger moves the edge; on a phone nothing is wider than it."""
    browser.open(page, size=PHONE)
    assert browser.run("return document.documentElement.scrollWidth") == PHONE[0]
    tap(browser, ".match button.frame")
    browser.wait(lambda: browser.run("return document.getElementById('lens').open"))
    box = browser.find("#lens-stage").rect
    finger(browser, "touchStart", box["x"] + box["width"] / 2, box["y"] + 50)
    finger(browser, "touchMove", box["x"] + box["width"] / 4, box["y"] + 50)
    share = "return Number(document.getElementById('lens-share').value)"
    browser.wait(lambda: 20 < browser.run(share) < 30)
    finger(browser, "touchEnd")
    assert browser.run("return document.documentElement.scrollWidth") == PHONE[0]


def test_light_and_dark(browser, page):
    paper = "return getComputedStyle(document.documentElement).backgroundColor"
    browser.open(page, scheme="light")
    light = browser.run(paper)
    assert browser.find("#theme").text == "Dark"
    browser.find("#theme").click()
    dark = browser.run(paper)
    assert sum(map(int, dark[4:-1].split(","))) < 150 < 600 < sum(map(int, light[4:-1].split(",")))
    browser.open(page, scheme="light")
    assert browser.run(paper) == dark  # it is remembered
    browser.find("#theme").click()
    assert browser.run(paper) == light
    browser.forget()
    browser.open(page, scheme="dark")
    assert browser.run(paper) == dark
    assert browser.find("#theme").text == "Light"


def test_marks_are_a_command_to_copy(browser, files, tmp_path):
    strange = tmp_path / "it's $(touch x) \\ \udcff.png"
    strange.write_bytes(files[3].read_bytes())
    page = write(
        tmp_path,
        # The query is in the database, and so is a copy of it.
        (files[0], [match(files[0], 0, same_bytes=True), match(files[1]), match(strange)]),
        (
            files[4],
            [match(files[number], 0, same_bytes=True) for number in (4, 5)] + [match(files[6])],
        ),
        (files[7], [match(files[8])]),  # is not in the database: nothing can be said of it
        collection="it's",
    )
    browser.open(page)
    assert not browser.find("#marks").is_displayed()
    browser.run("for (const box of document.querySelectorAll('[data-mark]')) box.click()")
    lines = browser.find("#marks-command").get_property("value").splitlines()
    quoted = f"$'{path_text(strange)}'".replace("it's", "it\\'s")
    command = "imgdb mark different --collection 'it'\"'\"'s'"
    assert lines == [
        f"{command} {files[0]} {files[1]}",
        f"{command} {files[0]} {quoted}",
        f"{command} {files[4]} {files[6]}",
        f"{command} {files[5]} {files[6]}",
    ]
    assert browser.find("#marks-count").text == "3 marked as different."
    browser.find("#marks-copy").click()
    browser.wait(lambda: browser.find("#marks-copy").text == "Copied")
    browser.find("#marks-clear").click()
    assert not browser.find("#marks").is_displayed()
    assert browser.count("[data-mark]:checked") == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_what_was_marked_is_not_found_again(cli, database, browser, tmp_path):
    """The commands of the page do in a shell what the page says."""
    folder = shelf(tmp_path / "it's \\ a $(shelf) \udcff")
    add(database, *folder.iterdir(), collection="my pictures")
    page = tmp_path / "out.html"
    query = ("query", folder / "lake.png", "--collection", "my pictures", "--format", "csv")
    before = cli(*query, "--html", page, dsn=database).stdout
    assert [name in before for name in ("lake-copy.png", "small", "soft")] == [True] * 3
    browser.open(page)
    browser.run(
        "for (const card of document.querySelectorAll('.match'))"
        " if (card.textContent.includes('soft')) card.querySelector('[data-mark]').click()"
    )
    script = browser.find("#marks-command").get_property("value")
    assert script.count("\n") == 2  # the query is there twice
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "IMGDB_DSN": database}
    subprocess.run(["bash", "-ec", script], env=environment, check=True, capture_output=True)
    after = cli(*query, dsn=database).stdout
    assert [name in after for name in ("lake-copy.png", "small", "soft")] == [True, True, False]


def test_a_thousand_matches(browser, files, tmp_path):
    """Only what is near the screen is laid out and painted, so that a thousand stay smooth."""
    matches = [match(files[number % 12], number % 40) for number in range(1000)]
    browser.open(write(tmp_path, (files[0], matches)))
    assert browser.find("#shown").text == "1000"
    painted = (
        "return [...document.querySelectorAll('.match')].filter("
        "(card) => card.firstElementChild.checkVisibility({ contentVisibilityAuto: true })).length"
    )
    browser.wait(lambda: 3 <= browser.run(painted) < 100)
    slide(browser, 9)
    assert browser.find("#shown").text == "250"
    assert len(shown(browser)) == 250
    browser.run("scrollTo(0, document.body.scrollHeight)")
    last = "return document.querySelector('ol').lastElementChild.getBoundingClientRect().top"
    browser.wait(lambda: browser.run(last) < 860)
    browser.wait(lambda: 3 <= browser.run(painted) < 100)


def test_a_hash_is_looked_for_without_a_picture(browser, files, tmp_path):
    page = tmp_path / "out.html"
    query = Query("e4169b69c6c63ac5", Hashes(phash=1))
    render.write_page(page, query_page([(query, [match(files[1])])], hash="phash"))
    browser.open(page)
    assert browser.find("h2").text == "Query\ne4169b69c6c63ac5"
    assert browser.count("button.frame") == browser.count("[data-mark]") == 0


def test_no_match(browser, files, tmp_path):
    browser.open(write(tmp_path, (files[0], [])))
    assert "No match." in browser.find("main").text
    assert browser.count("#limit") == 0


@pytest.fixture
def hostile(database, tmp_path):
    """A folder and a database with names that would be markup, and a query that is one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = (HOSTILE, "' onload='alert(1).png", "{{ 7 * 7 }}\u202egpj.png", "&lt;b&gt;.png")
    for number, name in enumerate(names):
        scene(1, (320 + number, 240)).save(folder / name, "PNG")
    add(database, *folder.iterdir(), collection='"><script>alert(1)</script>')
    return folder


def test_a_hostile_name_does_nothing(cli, database, browser, hostile, tmp_path):
    page = tmp_path / "<b>.html"
    query = hostile / HOSTILE
    done = cli("query", query, "--html", page, "--format", "csv", dsn=database)
    assert (done.code, done.stderr) == (0, f"imgdb: the page is in {page}\n")
    assert done.stdout.count("\n") == 5
    browser.open(page)
    assert browser.find("h1").text == f"Pictures like {HOSTILE}"
    names = {name.text for name in browser.find_all(".match .path strong")}
    assert names == {
        HOSTILE,
        "' onload='alert(1).png",
        "{{ 7 * 7 }}\\u202egpj.png",
        "&lt;b&gt;.png",
    }
    (collection,) = {tag.text for tag in browser.find_all(".tag:not(.same)")}
    assert collection == '"><script>alert(1)</script>'
    assert browser.run(
        "return [...document.images].every((one) => !one.src || one.src.startsWith('data:'))"
    )
    assert browser.count("script") == 1
    browser.find(".match button.frame").click()
    assert browser.count("#lens-name img") == 0
    browser.press("n", "m", "\ue00c")
    command = browser.find("#marks-command").get_property("value")
    assert str(query) in shlex.split(command)


@pytest.fixture
def outside():
    """Listen where a page should never knock."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def slipped(outside):
    """Return markup that loads something and runs something."""
    address = f"http://127.0.0.1:{outside.getsockname()[1]}/x.png"
    return f"<img src='{address}'><script>document.title = 'run'; nobody.knows()</script>"


def test_the_browser_that_watches_sees_what_a_page_does(_browser, outside, tmp_path):
    """Else a page that keeps quiet and to itself would prove nothing."""
    page = tmp_path / "out.html"
    _browser.forget()
    page.write_text(slipped(outside))
    outside.settimeout(60)
    knocked = []
    waiting = threading.Thread(target=lambda: knocked.append(outside.accept()[0].close()))
    waiting.start()
    _browser.open(page)
    waiting.join()
    assert len(knocked) == 1
    assert any(address.endswith("/x.png") for address in _browser.requests())
    assert any("nobody is not defined" in line for line in _browser.complaints())


def test_the_policy_stops_what_slips_through(_browser, page, outside, tmp_path):
    """The second line of defence: markup that came in unescaped runs and loads nothing."""
    _browser.forget()
    broken = tmp_path / "out.html"
    broken.write_text(page.read_text().replace("</main>", slipped(outside) + "</main>"))
    _browser.open(broken)
    assert _browser.driver.title == "Pictures like 0000.png"
    assert sum("Content Security Policy" in line for line in _browser.complaints()) == 2
    with pytest.raises(BlockingIOError):
        outside.accept()


def test_the_page_is_refused_before_the_search(cli, database, tmp_path):
    for args in (("--html", tmp_path / "no" / "out.html"), ("--html", tmp_path), ("--open",)):
        done = cli("query", tmp_path / "any.png", *args, dsn=database)
        assert (done.code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
