"""The page of `imgdb parts`, in a browser: where one picture lies in the other."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from browser import PHONE, slide, tap
from library import scene

from imgdb.pages import render
from imgdb.pages.regions import regions_page
from imgdb.paths import path_text
from imgdb.search.parts import RegionMatch, RegionQuery

SIZE = (320, 240)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A query of four members, three of which are images; of a crop of it; and of no match."""
    folder = tmp_path_factory.mktemp("page")
    query = RegionQuery(path_text(folder / "<i>sheet.png"), 640, 480, bytes(32), ())
    scene(0, (640, 480)).save(query.name)
    matches = []
    for number, at in enumerate(((0, 0), (320, 0), (0, 240))):
        file = folder / f"{number}.png"
        scene(number + 1, SIZE).save(file)
        matches.append(
            RegionMatch(
                path=path_text(file),
                votes=20 - 5 * number,
                regions=64,
                relation="part",
                box_left=40,
                box_top=30,
                box_width=80,
                box_height=60,
                query_left=at[0],
                query_top=at[1],
                query_box_width=320,
                query_box_height=240,
                same_bytes=False,
                collection="default",
                image_id=number,
                width=SIZE[0],
                height=SIZE[1],
                frames=1,
                byte_size=2_600_000,
                format="PNG",
                modified_at=datetime(2024, 5, 1, tzinfo=UTC),
                missing_since=None,
            )
        )
    # The file is another than the one that the regions are of: nothing is outlined in it.
    matches[2] = replace(matches[2], width=999)
    gone = replace(
        matches[0],
        path=path_text(folder / "gone.png"),
        votes=4,
        same_bytes=True,
        missing_since=datetime(2026, 1, 2, tzinfo=UTC),
    )
    made = folder / "out.html"
    render.write_page(made, regions_page([(query, [*matches, gone]), (query, [])]))
    return made


def outlined(browser, selector):
    """Return the box that is outlined within an element, in shares of its frame; None if none."""
    return browser.run(
        "const frame = document.querySelector(arguments[0]);"
        "const part = frame.querySelector('.part');"
        "if (!part || !part.checkVisibility()) return null;"
        "const outer = frame.getBoundingClientRect();"
        "const box = part.querySelector('.rim').getBBox();"
        "const to = part.getScreenCTM();"
        "return [(to.e + to.a * box.x - outer.x) / outer.width,"
        " (to.f + to.d * box.y - outer.y) / outer.height,"
        " to.a * box.width / outer.width, to.d * box.height / outer.height]",
        selector,
    )


def in_query(browser):
    return outlined(browser, "#query-1")


def on_a_card_after_tab(browser):
    browser.press("\ue004")
    return browser.run("return document.activeElement.matches('button.frame')")


def nearly(*shares):
    # The border of the frame is part of it.
    return pytest.approx(shares, abs=0.02)


def test_what_a_card_says_and_outlines(browser, page):
    browser.open(page)
    assert browser.find("h1").text == "Pictures that share a part with 2 others"
    first, _, _, last = browser.find_all(".match")
    for words in (
        "20 votes of 64 regions",
        "A part of the query",
        "80x60+40+30",
        "320x240+0+0",
        "0.png",
        "2.6 MB",
        "2024-05-01",
        "default",
    ):
        assert words in first.text
    assert "same bytes" in last.text and "missing since 2026-01-02" in last.text
    assert outlined(browser, ".match .frame") == nearly(1 / 8, 1 / 8, 1 / 4, 1 / 4)
    assert browser.count(".match .part") == 2
    assert in_query(browser) is None
    assert "No match." in browser.find_all(".answer")[1].text
    # Of the query's own bytes, so the others can be told to be different.
    assert browser.count("[data-mark]") == 3


def test_pointer_and_keyboard_show_where_it_lies_in_the_query(browser, page):
    from selenium.webdriver import ActionChains

    browser.open(page)
    cards = browser.find_all(".match")
    ActionChains(browser.driver).move_to_element(cards[1]).perform()
    assert in_query(browser) == nearly(1 / 2, 0, 1 / 2, 1 / 2)
    ActionChains(browser.driver).move_to_element(browser.find("h1")).perform()
    assert in_query(browser) is None
    browser.find("#limit").click()
    slide(browser, 4)
    for expected in ((0, 0), (1 / 2, 0)):
        browser.wait(lambda: on_a_card_after_tab(browser))
        assert in_query(browser) == nearly(*expected, 1 / 2, 1 / 2)
    # Enter keeps it, whatever has the focus then.
    browser.run("document.querySelectorAll('button.frame')[2].focus()")
    browser.press("\ue007")
    browser.run("document.activeElement.blur()")
    assert in_query(browser) == nearly(0, 1 / 2, 1 / 2, 1 / 2)
    slide(browser, 15)
    assert browser.find("#shown").text == browser.find("[data-shown]").text == "2"
    assert in_query(browser) is None
    slide(browser, 4)
    assert browser.find("#shown").text == "4"
    assert browser.count("[aria-pressed=true]") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_tap_shows_it_in_the_query_that_stays_in_sight(browser, page, scheme):
    browser.open(page, size=PHONE, scheme=scheme)
    assert browser.run("return document.documentElement.scrollWidth") == PHONE[0]
    tap(browser, ".match:nth-child(3) button.frame")
    browser.wait(lambda: in_query(browser) == nearly(0, 1 / 2, 1 / 2, 1 / 2))
    box = browser.find("#query-1").rect
    assert 0 <= box["y"] - browser.run("return scrollY") < PHONE[1] / 2
    tap(browser, ".match:nth-child(3) button.frame")
    browser.wait(lambda: in_query(browser) is None)
