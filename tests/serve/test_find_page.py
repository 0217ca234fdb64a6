"""The page to find pictures on, in a browser: by file, paste, drop and hash; slider, rule, zoom."""

import base64
import gzip
from urllib.parse import quote

import psycopg
import pytest
from axe import needs_axe, violations
from browser import DESKTOP, PHONE, slide
from library import add, scene
from pictures import encode
from PIL import Image

from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import to_hex

HOSTILE = "<img src=x onerror=alert(1)>.png"


@pytest.fixture
def page(browser, served):
    """Open the page as its address is printed."""
    browser.ask_only(served.origin)
    browser.open_address(served.address)
    return browser


def found(browser, *, count=None):
    """Wait for an answer; return the names of the cards that are seen."""
    browser.wait(lambda: not browser.count("#answer[aria-busy]") and browser.find("#answer *"))
    shown = browser.run(
        "return [...document.querySelectorAll('.match')].filter((card) => !card.hidden)"
        ".map((card) => card.querySelector('.path strong').textContent)"
    )
    assert count is None or len(shown) == count
    return shown


def choose(browser, file):
    browser.run("document.querySelector('#answer').replaceChildren()")
    browser.find("#file").send_keys(str(file))
    return found(browser)


def test_the_address_opens_the_page_and_forgets_the_token(page, served):
    assert page.driver.current_url == served.origin + "/"
    assert served.token not in page.run("return document.documentElement.outerHTML")
    assert page.run("return document.cookie") == ""  # scripts do not see it
    assert not page.find("#limit").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_chosen_file_is_found(browser, served, pictures, size, scheme):
    browser.ask_only(served.origin)
    browser.open_address(served.address, size=size, scheme=scheme)
    assert {"lake.png", "lake-copy.png"} <= {*choose(browser, pictures / "lake-small.jpg")}
    assert browser.find("#answer-1").text.endswith("lake-small.jpg")
    browser.wait(lambda: browser.run("return document.querySelector('.match img').naturalWidth"))
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    background = browser.run("return getComputedStyle(document.documentElement).backgroundColor")
    assert (background == "rgb(21, 23, 22)") == (scheme == "dark")


def test_dropped_and_pasted_pictures_are_found(page, pictures):
    content = base64.b64encode((pictures / "hill.png").read_bytes()).decode()
    script = """
        const bytes = Uint8Array.from(atob(arguments[0]), (one) => one.charCodeAt(0));
        const carried = new DataTransfer();
        carried.items.add(new File([bytes], "carried.png", { type: "image/png" }));
        const event = arguments[1] === "drop"
          ? new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true })
          : new ClipboardEvent("paste", { clipboardData: carried, bubbles: true });
        document.querySelector("#answer").replaceChildren();
        document.body.dispatchEvent(event);
    """
    for way in ("drop", "paste"):
        page.run(script, content, way)
        assert found(page) == ["hill.png"]


def test_a_hash_and_a_path_are_typed_by_keyboard_alone(page, pictures):
    made = fingerprint(pictures / "hill.png")

    def typed(text):
        page.run("document.querySelector('#answer').replaceChildren()")
        page.run("const field = document.querySelector('#text'); field.value = ''; field.focus()")
        page.press(text, "\ue007")

    typed(to_hex(made.phash))
    assert found(page) == ["hill.png"]
    typed(f"{to_hex(made.phash)}+{to_hex(made.dhash)}")
    assert found(page) == ["hill.png"]
    typed("nonsense")
    page.wait(lambda: "no image has the path nonsense" in page.find("#says").text)
    assert page.count(".match") == 0
    typed(str(pictures / "hill.png"))
    assert found(page) == ["hill.png"]
    page.wait(lambda: page.run("return document.querySelector('#query-1 img').naturalWidth"))
    page.find(".match button.frame").click()  # what is compared is the image of that path
    assert page.find("#lens").is_displayed()
    assert [one for one in page.complaints() if "404" not in one] == []


def test_an_address_says_what_to_look_for(page, served, pictures):
    page.open_address(f"{served.origin}/?path={quote(str(pictures / 'hill.png'))}")
    assert found(page) == ["hill.png"]
    made = fingerprint(pictures / "hill.png")
    page.open_address(f"{served.origin}/?hex={to_hex(made.dhash)}%2B{to_hex(made.phash)}")
    page.wait(lambda: page.find("#says").text.startswith("Nothing within"))
    page.open_address(f"{served.origin}/?hex={to_hex(made.phash)}%2B{to_hex(made.dhash)}")
    assert found(page) == ["hill.png"]


def test_every_choice_is_a_control(page, pictures, tmp_path):
    """What a picture is looked for by: turned, with its parts, in its colours, and flat."""
    file = tmp_path / "turned.png"
    Image.open(pictures / "hill.png").transpose(Image.Transpose.ROTATE_90).save(file)
    assert choose(page, file) == []
    page.run("document.querySelector('.more summary').focus()")
    page.press("\ue007", "\ue004", " ")  # opens it, and ticks the first box
    page.wait(lambda: found(page) == ["hill.png"])
    Image.open(pictures / "hill.png").transpose(Image.Transpose.FLIP_TOP_BOTTOM).convert("L").save(
        file
    )
    page.wait(lambda: choose(page, file) == ["hill.png"])
    page.find("[name=same_colours]").click()
    page.wait(lambda: page.find("#says").text.startswith("Nothing within"))
    page.find("[name=same_colours]").click()
    page.requests()
    page.find("[name=parts]").click()
    page.find("[name=include_flat]").click()
    found(page)
    (*_, last) = [one for one in page.requests() if "/find?" in one]
    assert "parts=false" in last and "include_flat=true" in last


def test_the_slider_hides_without_asking(page, served, filled, tmp_path):
    """One search goes to the end of the slider, which stands at the usual distance."""
    near = encode(scene(50), "PNG")
    made = fingerprint(near)
    rows = (
        "INSERT INTO imgdb.image (collection_id, path, phash, dhash, recipe) SELECT collection_id,"
    )
    with psycopg.connect(filled, autocommit=True) as conn:
        for bits in (3, 17, 18, 24, 25):
            conn.execute(
                f"{rows} %s, %s, %s, 'exact-1' FROM imgdb.collection WHERE name = 'default'",
                (f"bits-{bits}", made.phash ^ (1 << min(bits, 12)) - 1,
                 made.dhash ^ (1 << max(bits - 12, 0)) - 1),
            )  # fmt: skip
    try:
        (tmp_path / "near.png").write_bytes(near)
        assert choose(page, tmp_path / "near.png") == ["bits-3", "bits-17"]
        page.requests()
        for bits, count in ((2, 0), (3, 1), (18, 3), (24, 4)):
            slide(page, bits)
            assert found(page, count=count)[-1:] == ([f"bits-{bits}"] if count else [])
        assert page.find("#limit").get_attribute("max") == "24"
        assert [one for one in page.requests() if "/find" in one] == []
        # Nobody has files of these, and each says so.
        told = (
            "return document.querySelector('#answer').textContent.split('no file is kept').length"
        )
        page.wait(lambda: page.run(told) == 5)
        assert [one for one in page.complaints() if "404" not in one] == []
    finally:
        with psycopg.connect(filled, autocommit=True) as conn:
            conn.execute("DELETE FROM imgdb.image WHERE path LIKE 'bits-%'")


def test_a_thousand_matches_are_under_two_megabytes(served, filled):
    body = encode(scene(80), "PNG")
    made = fingerprint(body)
    with psycopg.connect(filled, autocommit=True) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('many')")
        conn.execute(
            "INSERT INTO imgdb.image (collection_id, path, phash, dhash, ahash, whash, width,"
            " height, byte_size, format, modified_at, frames, sha256, recipe)"
            " SELECT c.collection_id,"
            " '/srv/pictures/2024/holiday in some place by the sea/the second week, with the"
            " others/DSC_' || n || '.jpg', %s, %s, %s, %s,"
            " 4032, 3024, 2600000, 'JPEG', now(), 1, sha256(n::text::bytea), 'exact-1'"
            " FROM imgdb.collection AS c, generate_series(100000, 101000) AS n"
            " WHERE c.name = 'many'",
            (made.phash, made.dhash, made.ahash ^ 7, made.whash ^ 7),
        )
    try:
        reply = served.post("/find?collection=many", body)
        assert (reply.status, reply.body.count(b'<li class="card match"')) == (200, 1000)
        assert len(reply.body) < 2_000_000
        packed = served.post("/find?collection=many", body, Accept_Encoding="gzip")
        assert gzip.decompress(packed.body) == reply.body
        assert len(packed.body) < 200_000
    finally:
        with psycopg.connect(filled, autocommit=True) as conn:
            conn.execute("DELETE FROM imgdb.image WHERE path LIKE '%/DSC_1%'")
            conn.execute("DELETE FROM imgdb.collection WHERE name = 'many'")


def test_rule_and_orientation_search_anew(page, pictures, tmp_path):
    Image.open(pictures / "hill.png").transpose(Image.Transpose.ROTATE_180).save(tmp_path / "t.png")
    assert choose(page, tmp_path / "t.png") == []
    assert "Nothing within distance 24" in page.find("#says").text
    page.find(".more summary").click()
    page.find("[name=any_orientation]").click()
    page.wait(lambda: page.count(".match"))
    assert found(page) == ["hill.png"]
    assert page.find(".tag.turned").text == "180°"
    page.find("[name=hash][value=dhash]").click()
    page.wait(lambda: page.run("return document.getElementById('limit').max") == "12")
    assert found(page) == ["hill.png"]
    assert page.run("return document.querySelector('.distance.chosen').dataset.hash") == "dhash"


def test_a_picture_that_cannot_be_read_says_why(page, pictures, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no picture")
    choose(page, pictures / "lake.png")
    page.find("#file").send_keys(str(tmp_path / "no.png"))
    page.wait(lambda: "not a picture in any format" in page.find("#says").text)
    assert page.count(".match") == 0
    assert [one for one in page.complaints() if "422" not in one] == []


def test_names_of_others_are_text(page, served, filled, tmp_path):
    file = tmp_path / HOSTILE
    scene(60).save(file)
    add(filled, file)
    try:
        assert choose(page, file) == [HOSTILE]
        assert page.find("#answer-1 strong").text == HOSTILE
        assert page.count("#answer img") == 2  # the query and the match
    finally:
        with psycopg.connect(filled, autocommit=True) as conn:
            conn.execute("DELETE FROM imgdb.image WHERE path = %s", (str(file),))


def test_an_image_without_its_file_says_why(page, served, filled, tmp_path):
    file = tmp_path / "gone.png"
    scene(70).save(file)
    add(filled, file)
    (tmp_path / "query.png").write_bytes(file.read_bytes())
    file.unlink()
    try:
        assert choose(page, tmp_path / "query.png") == ["gone.png"]
        page.wait(lambda: "no such file" in page.find(".match .frame").text)
        assert not page.find(".match button.frame").is_enabled()
        assert [one for one in page.complaints() if "404" not in one] == []
    finally:
        with psycopg.connect(filled, autocommit=True) as conn:
            conn.execute("DELETE FROM imgdb.image WHERE path = %s", (str(file),))


def matrices(browser):
    return browser.run(
        "return ['lens-above', 'lens-below'].map((id) => {"
        " const style = getComputedStyle(document.getElementById(id));"
        " return [style.scale, style.translate]; })"
    )


def test_zoom_and_place_are_those_of_both_pictures(page, pictures):
    choose(page, pictures / "hill.png")
    page.find(".match button.frame").click()
    wide = (
        "return ['lens-above', 'lens-below'].map((id) => document.getElementById(id).naturalWidth)"
    )
    page.wait(lambda: page.run(wide) == [320, 320])  # the large ones: the files have no more
    assert page.find("#lens-zoom").text == "100 %"
    page.press("+", "+")
    assert page.find("#lens-zoom").text == "225 %"
    above, below = matrices(page)
    assert above == below and above[0] == "2.25"
    page.command("Input.dispatchMouseEvent", type="mouseWheel", x=500, y=300, deltaX=0, deltaY=-400)
    page.wait(lambda: matrices(page)[0][0] != "2.25")
    above, below = matrices(page)
    assert above == below and above[1] not in ("none", "0px")
    page.find("[name=lens-mode][value=beside]").click()
    above, below = matrices(page)
    assert above == below
    page.find("#lens-zoom").click()
    assert page.find("#lens-zoom").text == "100 %"
    page.press("\ue00c")
    assert not page.find("#lens").is_displayed()


def test_all_is_reached_by_keyboard_and_shows_its_focus(page, pictures):
    choose(page, pictures / "lake.png")
    page.run("document.activeElement.blur(); document.body.focus()")
    page.run("document.querySelector('.more').open = true")
    reached = []
    for _ in range(20):
        page.press("\ue004")
        reached.append(
            page.run("return document.activeElement.id || document.activeElement.name || ''")
        )
    assert {"theme", "limit", "hash", "any_orientation", "same_colours", "file", "text"} <= {
        *reached
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, served, pictures, scheme):
    needs_axe()
    browser.ask_only(served.origin)
    browser.open_address(served.address, scheme=scheme)
    assert violations(browser) == []
    choose(browser, pictures / "lake.png")
    assert violations(browser) == []
    browser.find(".match button.frame").click()
    assert violations(browser) == []
    browser.driver.get(served.origin + "/api")
    assert violations(browser) == []


def test_the_page_of_the_api_lists_every_endpoint(page, served):
    page.driver.get(served.origin + "/api")
    described = served.get("/api/openapi.json").json
    told = [" ".join(one.text.split()) for one in page.find_all(".endpoint h2")]
    assert told == [
        f"{method.upper()} {path}"
        for path, methods in described["paths"].items()
        for method in methods
    ]
