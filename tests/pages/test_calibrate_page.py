"""The page of `imgdb calibrate` in a browser: slider, charts, tables, light and dark, a phone."""

import json
import re
from dataclasses import replace

import pytest
from browser import PHONE

from imgdb.errors import PictureError
from imgdb.pages.calibration import page, wrong_in_words
from imgdb.pictures.edits import EDITS
from imgdb.search.calibration import confidence, proposal
from imgdb.search.calibration.confidence import Rate
from imgdb.search.calibration.measure import Applied
from imgdb.search.calibration.results import (
    Calibration,
    Curve,
    HashFigures,
    PartsFigures,
    PartsOfEdit,
    Question,
)
from imgdb.search.calibration.rules import largest

HOSTILE = '<img src=x onerror=alert(1)>"&'
KEY_RIGHT, KEY_LEFT = "\ue014", "\ue012"


def figures(name, default, step, harm):
    distances = range(largest(name) + 1)
    found = tuple(min(1, (distance + 1) * step) for distance in distances)
    wrong = tuple(confidence.mean_rate([harm * distance**3] * 40) for distance in distances)
    return HashFigures(
        name=name,
        default=default,
        images=5000,
        drawn=800,
        queries=500,
        recall=Curve("all", 40, found),
        edits=tuple(Curve(edit.name, 40, found) for edit in EDITS),
        wrong=wrong,
        proposal=proposal.propose(
            found, [rate.value for rate in wrong], target=0.95, limit=0.1, largest=12
        ),
    )


def calibration(pictures=40, **changes):
    return Calibration(
        question=Question(**changes),
        images=5000,
        pictures=pictures,
        copies=7,
        failures=((HOSTILE, PictureError("missing")),),
        hashes=(figures("phash", 8, 0.1, 1e-5), figures("dhash", 8, 0.06, 1e-3)),
    )


@pytest.fixture
def shown(browser, tmp_path):
    def show(found=None, applied=(), **options):
        file = tmp_path / "page.html"
        file.write_text(page(found or calibration(), applied), "utf-8")
        browser.open(file, **options)
        return browser

    return show


def cells(browser, name):
    row = browser.find(f'.values tr[data-hash="{name}"]')
    return {
        cell.get_attribute("data-value"): cell.text
        for cell in row.find_elements("css selector", "[data-value]")
    }


def test_slider_moves_marks_and_values(shown):
    browser = shown()
    slider = browser.find("#distance")
    assert slider.get_attribute("value") == "9", "the proposal for the first hash"
    assert cells(browser, "phash")["found"] == "100 %"
    slider.send_keys(KEY_LEFT, KEY_LEFT)
    assert "7 bits may differ" in browser.find("#distance-shown").text
    assert browser.find("#distance-told").text == "7"
    told = calibration().hashes[1]
    found = cells(browser, "dhash")
    assert found["found"] == f"{100 * told.recall.found[7]:.0f} %"
    assert float(found["wrong"]) == pytest.approx(told.wrong[7].value, rel=0.06)
    assert found["words"] == wrong_in_words(told.wrong[7])
    places = {line.get_attribute("x1") for line in browser.find_all(".cursor")}
    slider.send_keys(KEY_RIGHT)
    assert {line.get_attribute("x1") for line in browser.find_all(".cursor")} != places
    for dot in browser.find_all(".dot"):
        assert float(dot.get_attribute("cx")) > 0
    assert browser.complaints() == []
    assert all(address.startswith("file:") for address in browser.requests())


def test_pdq_goes_further_than_hashes_of_64_bits(shown):
    """Beyond their end, 32, these keep the values that they have there."""
    hashes = (figures("phash", 8, 0.01, 1e-5), figures("pdq", 31, 0.01, 1e-7))
    browser = shown(replace(calibration(), hashes=hashes))
    slider = browser.find("#distance")
    assert slider.get_attribute("max") == "96"
    for key in ("\ue010", KEY_LEFT):  # to the end, and one back
        slider.send_keys(key)
    assert browser.find("#distance-told").text == "95"
    assert cells(browser, "phash")["found"] == f"{100 * hashes[0].recall.found[32]:.0f} %"
    assert cells(browser, "pdq")["found"] == f"{100 * hashes[1].recall.found[95]:.0f} %"
    heads = [th.text for th in browser.find_all('[data-table="phash"] th[scope=col]')]
    assert heads[-2] == "32"
    browser.find('.choose input[value="pdq"]').click()
    heads = [th.text for th in browser.find_all('[data-table="pdq"] th[scope=col]')]
    assert heads[-2] == "96"
    assert browser.complaints() == []


def test_what_parts_find_is_a_table_of_its_own():
    assert "By parts" not in page(calibration())
    rates = [Rate(share, 0, 1) for share in (0.25, 0.5, 0.75, 1)]
    parts = PartsFigures(
        30, 1000, Rate(0.5, 0, 1),
        PartsOfEdit("all", rates[0], rates[1]),
        (PartsOfEdit("crop-20", rates[2], rates[3]),),
    )  # fmt: skip
    text = page(replace(calibration(), parts=parts))
    rows = re.findall(
        r'row">(.*?)</th><td class="number">(.*?)</td><td class="number">(.*?)</td>', text
    )
    assert ("<code>crop-20</code>", "75 %", "100 %") in rows
    assert ("all that count", "25 %", "50 %") in rows
    assert "one image in 2 searches" in text and "1,000 stored images" in text


def test_pointing_at_a_chart_chooses_the_distance(shown):
    from selenium.webdriver import ActionChains

    browser = shown()
    chart = browser.find('[data-chart="wrong"]')
    ActionChains(browser.driver).move_to_element_with_offset(chart, 0, 0).perform()
    middle = int(browser.find("#distance").get_attribute("value"))
    assert 12 < middle < 20
    ActionChains(browser.driver).move_by_offset(40, 0).perform()
    assert int(browser.find("#distance").get_attribute("value")) > middle


def test_hashes_can_be_hidden(shown):
    browser = shown()
    assert browser.count('.curve[data-hash="dhash"]') == 3
    browser.find('.legend input[value="dhash"]').click()
    assert not any(c.is_displayed() for c in browser.find_all('[data-hash="dhash"]'))
    assert all(c.is_displayed() for c in browser.find_all('.curve[data-hash="phash"]'))


def test_one_table_of_edits_at_a_time(shown):
    browser = shown()
    tables = browser.find_all("[data-table]")
    assert [table.is_displayed() for table in tables] == [True, False]
    browser.find('.choose input[value="dhash"]').click()
    assert [table.is_displayed() for table in tables] == [False, True]
    assert browser.count('[data-table="dhash"] tbody tr') == len(EDITS)
    first = tables[1].find_elements("css selector", "tbody tr:first-of-type td")
    assert [cell.text for cell in first[:3]] == ["6", "18", "30"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, (1280, 860)])
def test_it_fits_and_can_be_read(shown, scheme, size):
    browser = shown(size=size, scheme=scheme)
    wide, screen = browser.run(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= screen
    assert contrast(browser, "main .lead") > 4.5
    assert contrast(browser, ".card h3") > 4.5
    for label in browser.find_all(".chart .curve text"):
        box = browser.run("return arguments[0].getBBox()", label)
        assert box["x"] + box["width"] <= 460
    assert browser.complaints() == []


def contrast(browser, selector):
    """Return the contrast of a text with what it stands on, as WCAG 2 defines it."""
    ink, paper = browser.run(
        "const e = document.querySelector(arguments[0]); let p = e;"
        "while (getComputedStyle(p).backgroundColor === 'rgba(0, 0, 0, 0)' && p.parentElement)"
        " p = p.parentElement;"
        "return [getComputedStyle(e).color, getComputedStyle(p).backgroundColor]",
        selector,
    )
    light, dark = sorted(map(luminance, (ink, paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_of_the_answer():
    plain = page(calibration())
    assert "raise the default" in plain and "lower the default" in plain
    assert "Nothing was changed" in plain and "too few to rely on" not in plain
    stored = page(calibration(), [Applied("phash", 8, 9), Applied("dhash", 8, 4)])
    assert "stored as the default" in stored and "Nothing was changed" not in stored
    assert "3 pictures are too few to rely on" in page(calibration(pictures=3))
    assert "1 could not be read" in plain


def test_no_name_becomes_markup():
    text = page(calibration(collection=HOSTILE))
    assert HOSTILE not in text
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;&amp;" in text
    data = re.search(r'<script type="application/json" id="curves">(.*?)</script>', text, re.DOTALL)
    assert [curve["hash"] for curve in json.loads(data[1])["curves"]] == ["phash", "dhash"]


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (Rate(0, 0, 0.03), "none seen; one in 33 searches at most"),
        (Rate(0, 0, 3), "none seen; 3.0 in every search at most"),
        (Rate(0.02, 0, 0.1), "one image in 50 searches"),
        (Rate(0.9, 0, 2), "one image in 1.1 searches"),
        (Rate(0.0005, 0, 2), "one image in 2,000 searches"),
        (Rate(1.02, 1, 2), "1 image in every search"),
        (Rate(2.34, 1, 5), "2.3 images in every search"),
        (Rate(1234.5, 1000, 2000), "1,234 images in every search"),
    ],
)
def test_wrong_in_words(rate, words):
    assert wrong_in_words(rate) == words
