"""Review in the browser and by HTTP: what is decided stays, and nothing goes that was not seen."""

import http.client
import json
import os
import shutil
from contextlib import contextmanager, nullcontext
from queue import SimpleQueue
from threading import Thread
from types import SimpleNamespace

import psycopg
import pytest
from axe import needs_axe, violations
from browser import DESKTOP, PHONE
from library import add, scene, shelf
from pictures import encode
from PIL import Image
from serving import Served

from imgdb.duplicates.groups import DuplicateChoice
from imgdb.serve.review import _search

LEFT, RIGHT, ESCAPE = "\ue012", "\ue014", "\ue00c"


class Scene:
    """Two groups in a database: four pictures of a lake, then two of a hill."""

    def __init__(self, database, folder):
        self.dsn, self.trash = database, folder / "trash"
        self.folder = shelf(folder / "shelf")
        (self.folder / "hill-small.jpg").write_bytes(encode(scene(2, (160, 120)), "JPEG"))
        add(database, *sorted(self.folder.iterdir()))
        with psycopg.connect(database) as conn:
            self.names = {
                image_id: path.rpartition("/")[2]
                for image_id, path in conn.execute("SELECT image_id, path FROM imgdb.image")
            }
        self.ids = {name: image_id for image_id, name in self.names.items()}

    def serve(self, *options):
        return Served(self.dsn, "--allow-changes", "--trash", self.trash, *options)

    def decided(self):
        with psycopg.connect(self.dsn) as conn:
            return [
                (self.names[image_id], verdict)
                for image_id, verdict in conn.execute(
                    "SELECT image_id, verdict FROM imgdb.decision ORDER BY decision_id"
                )
            ]


@pytest.fixture
def here(database, tmp_path):
    return Scene(database, tmp_path)


def post(served, path, body):
    return served.ask("POST", path, json.dumps(body).encode(), Content_Type="application/json")


def test_groups_come_in_pages(here):
    with here.serve() as served:
        first = served.get("/api/groups?limit=1").json
        second = served.get(f"/api/groups?limit=1&after={first['next']}").json
    assert (first["total"], second["next"]) == (2, None)
    members = [
        [member["path"].rpartition("/")[2] for member in page["groups"][0]["members"]]
        for page in (first, second)
    ]
    assert sorted(map(len, members)) == [2, 4]
    assert not set(members[0]) & set(members[1])


def test_decisions_outlive_the_server(here):
    lake, copy = here.ids["lake.png"], here.ids["lake-copy.png"]
    with here.serve() as served:
        body = [{"image_id": copy, "beside_id": lake, "verdict": "remove"}]
        assert post(served, "/api/decisions", body).status == 204
        served.command.process.kill()
    with here.serve() as served:
        (kept,) = served.get("/api/decisions").json
        assert (kept["image_id"], kept["verdict"]) == (copy, "remove")
        (undone,) = served.ask("DELETE", "/api/decisions/last").json
        assert undone["image_id"] == copy
        assert served.ask("DELETE", "/api/decisions/last").json == []


def test_groups_are_chosen_by_colour_and_folder(here):
    grey = here.folder / "grey" / "hill-grey.jpg"
    grey.parent.mkdir()
    grey.write_bytes(encode(scene(2, (200, 150)).convert("L"), "JPEG"))
    add(here.dsn, grey)
    with here.serve() as served:

        def chosen(options):
            groups = served.get(f"/api/groups?{options}").json["groups"]
            return sorted(
                len([one for one in group["members"] if one["path"].endswith(".jpg")])
                for group in groups
            )

        assert chosen("colours=all") == [1, 2]  # the lakes, the hills
        assert chosen("colours=unlike") == [2]
        assert chosen("colours=same") == [1, 2]
        assert chosen(f"folder={grey.parent}") == [2]
        assert chosen(f"folder={grey.parent}x") == []
        assert served.get("/api/groups?colours=red").status == 400


def test_most_bytes_come_first_of_what_is_shown_as_one_group(here):
    """Pages of several frames are kept beside a picture of one: they are groups of their own."""
    pages = [scene(1), scene(3)]
    for name in ("a.tif", "b.tif"):
        pages[0].save(here.folder / name, save_all=True, append_images=pages[1:])
        add(here.dsn, here.folder / name)
    with here.serve() as served:
        groups = served.get("/api/groups").json["groups"]
    freed = [sum(one["freed_bytes"] or 0 for one in group["members"]) for group in groups]
    assert [group["reclaimable_bytes"] for group in groups] == freed == sorted(freed, reverse=True)
    assert [group["images"] for group in groups] == [len(group["members"]) for group in groups]
    assert len(freed) == 3 and min(freed) > 0


def test_a_kill_at_any_moment_loses_no_decision(database):
    """What was answered is kept, and a request whose answer is lost is kept whole or not at all."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('default')")
        ids = [
            row[0]
            for row in conn.execute(
                "INSERT INTO imgdb.image (collection_id, path, recipe) SELECT collection_id,"
                " 'image-' || n, 'exact-1' FROM imgdb.collection, generate_series(1, 400) AS n"
                " RETURNING image_id"
            )
        ]
    groups = [ids[start : start + 4] for start in range(0, len(ids), 4)]
    waiting, answered = iter(groups), []

    def decide(served, told):
        for first, *others in waiting:
            body = [{"image_id": one, "beside_id": first, "verdict": "remove"} for one in others]
            try:
                assert post(served, "/api/decisions", body).status == 204
            except (OSError, http.client.HTTPException):
                break
            answered.append(others)
            told.put(len(answered))
        told.put(None)

    for moment in (1, 7):
        with Served(database, "--allow-changes") as served:
            told = SimpleQueue()
            person = Thread(target=decide, args=(served, told))
            person.start()
            assert all(told.get(timeout=60) for _ in range(moment))
            served.command.process.kill()
            person.join()
    with psycopg.connect(database) as conn:
        decided = {row[0] for row in conn.execute("SELECT image_id FROM imgdb.decision")}
    assert len(answered) < len(groups)  # each kill came before the end
    assert all(decided.issuperset(others) for others in answered)
    assert all(len(decided.intersection(others)) in (0, 3) for _, *others in groups)
    assert len(decided) <= 3 * (len(answered) + 2)


def test_what_makes_no_sense_is_a_problem(here):
    lake, copy = here.ids["lake.png"], here.ids["lake-copy.png"]
    with here.serve() as served:
        for image_id, beside_id, verdict in [
            (copy, lake, "burn"),
            (copy, copy, "remove"),
            (copy, 10**9, "remove"),
            (10**30, lake, "remove"),
        ]:
            body = [{"image_id": image_id, "beside_id": beside_id, "verdict": verdict}]
            reply = post(served, "/api/decisions", body)
            assert reply.status == 400, reply.body
            assert reply.headers["content-type"] == "application/problem+json"
        for method, path, status in [
            ("GET", "/api/groups?max_distance=900", 400),
            ("GET", "/api/groups?collection=%00", 400),
            ("GET", "/review?hash=nothing", 404),
            ("DELETE", f"/api/decisions/{10**30}", 400),
        ]:
            assert (served.ask(method, path).status, path) == (status, path)
        assert post(served, "/api/marks", {"image_ids": [lake, 10**30]}).status == 400
        assert post(served, "/api/marks", {"image_ids": [lake] * 1001}).status == 400
        # It is refused before any of it comes.
        large = served.ask("POST", "/api/decisions", Content_Length=str(1 << 30))
        assert large.status == 413
    assert here.decided() == []


def test_the_basket_goes_to_the_trash_and_comes_back(here):
    lake, copy, soft = (here.ids[f"lake{end}.png"] for end in ("", "-copy", "-soft"))
    with here.serve() as served:

        def listed():
            groups = served.get("/api/groups").json["groups"]
            return {member["path"] for group in groups for member in group["members"]}

        body = [{"image_id": one, "beside_id": lake, "verdict": "remove"} for one in (copy, soft)]
        post(served, "/api/decisions", body)
        (here.folder / "lake-copy.xmp").write_text("<x/>")  # belongs to it
        assert str(here.folder / "lake-copy.png") in listed()
        # It is another file now: the proof refuses it, and says so.
        shutil.copy(here.folder / "hill.png", here.folder / "lake-soft.png")
        plan = served.get("/api/plan").body.decode()
        assert plan.startswith("imgdb-plan 1\n")
        assert [line.split()[0] for line in plan.split("\n") if line[:1] in ("k", "r")] == [
            "keep", "remove", "remove"
        ]  # fmt: skip
        done = {one["path"]: one for one in post(served, "/api/plan/apply", {}).json["done"]}
        assert done[str(here.folder / "lake-copy.png")]["outcome"] == "moved"
        refused = done[str(here.folder / "lake-soft.png")]
        assert refused["outcome"] == "refused" and refused["reason"]
        assert not [*here.folder.glob("lake-copy.*")]
        assert str(here.folder / "lake-copy.png") not in listed()
        back = post(served, "/api/plan/restore", {}).json["done"]
        assert [one["outcome"] for one in back] == ["restored"] * 2
        assert str(here.folder / "lake-copy.png") in listed()
        assert len([*here.folder.glob("lake-copy.*")]) == 2


def test_without_a_trash_files_go_beside_the_folder_of_the_embedded_server(here, tmp_path):
    home = tmp_path / "own" / "imgdb"
    with Served(here.dsn, "--allow-changes", env={"IMGDB_HOME": str(home)}) as served:
        body = {"image_id": here.ids["lake-copy.png"], "beside_id": here.ids["lake.png"]}
        post(served, "/api/decisions", [body | {"verdict": "remove"}])
        (done,) = post(served, "/api/plan/apply", {}).json["done"]
        assert done["outcome"] == "moved"
        trash = home.with_name("imgdb-trash")
        assert len([*trash.rglob("lake-copy.png")]) == 1
        assert trash.stat().st_mode & 0o77 == 0  # nobody else looks in
        assert str(trash) in served.get("/basket").body.decode()
        (back,) = post(served, "/api/plan/restore", {}).json["done"]
        assert (back["outcome"], (here.folder / "lake-copy.png").exists()) == ("restored", True)


def test_a_search_tells_how_far_it_is(here):
    told = []
    with psycopg.connect(here.dsn, autocommit=True) as conn:
        state = SimpleNamespace(connection=lambda: nullcontext(conn))
        assert len(_search(state, DuplicateChoice(parts=False), told.append)) == 2
    assert (told[0], told) == (0, sorted(told))
    assert told[-1] >= 0.5  # the second hash of the rule is searched


def test_marks_are_for_good(here):
    pair = [here.ids["hill.png"], here.ids["hill-small.jpg"]]
    with here.serve() as served:
        assert served.get("/api/groups").json["total"] == 2
        assert post(served, "/api/marks", {"image_ids": pair}).json == {"pairs": 1}
        post(served, "/api/groups/search-again", {})
        assert served.get("/api/groups").json["total"] == 1


def test_a_file_says_what_it_has_more_of(here):
    dated = Image.open(here.folder / "hill-small.jpg")
    exif = dated.getexif()
    exif.get_ifd(0x8769)[0x9003] = "2020:02:02 12:34:56"  # DateTimeOriginal
    dated.save(here.folder / "hill-small.jpg", exif=exif)
    pair = here.ids["hill-small.jpg"], here.ids["hill.png"]
    with here.serve() as served:
        asked = "/api/metadata?image_id={}&beside_id={}"
        found = served.get(asked.format(*pair)).json
        assert found["image"] and found["beside"] == []
        turned = served.get(asked.format(*reversed(pair))).json
        assert turned == {"image": [], "beside": found["image"]}
        (here.folder / "hill.png").unlink()
        assert served.get(asked.format(*pair)).json == {"image": [], "beside": []}
        assert served.get(asked.format(10**9, pair[0])).status == 404


# -- in the browser --------------------------------------------------------------------------------


def opened(browser, served, page, **look):
    browser.ask_only(served.origin)
    browser.open_address(served.address)
    browser.open_address(f"{served.origin}{page}", **look)


@contextmanager
def looking(here, browser, page):
    """Show a page until the block ends, and leave it before its server stops."""
    with here.serve() as served:
        opened(browser, served, page)
        yield served
        browser.driver.get("about:blank")


def names(browser):
    """Return what stands left and right."""
    browser.wait(lambda: browser.count("#pair[aria-busy='false']"))
    return tuple(browser.run(
        "return [...document.querySelectorAll('.side .path strong')].map((one) => one.textContent)"
    ))  # fmt: skip


def test_all_is_decided_by_keys(here, browser):
    with looking(here, browser, "/review?keep=shortest-path"):
        left, right = names(browser)
        assert {left, right} < set(here.ids)
        browser.press(LEFT)
        browser.wait(lambda: here.decided() == [(right, "remove")])
        browser.wait(lambda: names(browser)[1:] != (right,))
        browser.press("u")
        browser.wait(lambda: here.decided() == [])
        browser.wait(lambda: names(browser) == (left, right))
        browser.press(RIGHT)
        browser.wait(lambda: here.decided() == [(left, "remove")])
        browser.wait(lambda: names(browser)[0] == right)
        # What is in a dialog is no decision.
        browser.press("?", "d", ESCAPE, "z", "s", ESCAPE)
        assert here.decided() == [(left, "remove")]
        while (shown := names(browser)) != ():
            count = len(here.decided())
            browser.press("b")
            browser.wait(lambda count=count: len(here.decided()) == count + 1)
            browser.wait(lambda shown=shown: names(browser) != shown)
        assert browser.find("#pair-name").text == "All is decided"
        assert {verdict for _, verdict in here.decided()[1:]} == {"keep"}


def test_a_group_is_left_for_later_and_one_key_is_undone_as_a_whole(here, browser):
    with looking(here, browser, "/review?keep=shortest-path"):
        left, right = names(browser)
        browser.press("n")
        browser.wait(lambda: names(browser)[0] != left)
        skipped = {name for name, _ in here.decided()}
        assert {verdict for _, verdict in here.decided()} == {"skip"}
        assert right in skipped and left not in skipped and len(skipped) > 1
        browser.press("u")
        browser.wait(lambda: here.decided() == [])
        browser.wait(lambda: names(browser) == (left, right))
        browser.press("a")
        browser.wait(lambda: names(browser)[0] != left)
        assert {name for name, verdict in here.decided() if verdict == "remove"} == skipped
        browser.press("u")
        browser.wait(lambda: here.decided() == [])


def test_badges_say_what_an_image_has_more_of(here, browser):
    with psycopg.connect(here.dsn) as conn:
        conn.execute(
            "UPDATE imgdb.image SET modified_at = modified_at - interval '1 year'"
            " WHERE path LIKE '%/hill-small.jpg'"
        )
        conn.execute(
            "INSERT INTO imgdb.image (collection_id, path, format, sha256, byte_size, modified_at,"
            " width, height, frames, recipe) SELECT collection_id, %s, 'RAW', sha256('x'), 1,"
            " now(), 1, 1, 1, 'exact-1' FROM imgdb.collection",
            (str(here.folder / "hill-small.CR2"),),
        )
    grey = here.folder / "hill-grey.png"
    scene(2, (100, 75)).convert("L").save(grey)
    add(here.dsn, grey)
    with looking(here, browser, f"/review?folder={here.folder}&colours=unlike"):
        seen = {}
        while shown := names(browser):
            for side, name in zip(browser.find_all(".side"), shown, strict=True):
                seen[name] = {one.text for one in side.find_elements("css selector", ".badges li")}
            browser.press("s")
            browser.wait(lambda shown=shown: names(browser) != shown)
        assert {"more pixels", "more bytes"} <= seen["hill.png"]
        assert {"older", "raw beside it"} <= seen["hill-small.jpg"]
        assert "grey copy" in seen["hill-grey.png"]


def test_the_page_says_that_the_server_is_gone_and_goes_on(here, browser, tmp_path):
    token = tmp_path / "token"
    token.write_text("k" * 40)
    with here.serve("--token-file", token) as served:
        browser.ask_only(served.origin)
        browser.open_address(f"{served.origin}/?token={'k' * 40}")
        browser.open_address(f"{served.origin}/review")
        left, right = names(browser)
        served.command.process.kill()
        served.command.process.wait()
        browser.press(LEFT)
        browser.wait(lambda: "does not answer" in browser.find("#trouble").text)
        assert names(browser) == (left, right)
    with here.serve("--token-file", token, "--port", str(served.port)) as served:
        browser.press(LEFT)
        browser.wait(lambda: here.decided() == [(right, "remove")])
        browser.wait(lambda: names(browser) != (left, right))
        assert not browser.find("#trouble").is_displayed()
        # It was decided, and only the answer was lost: the page says so, and goes on.
        left, right = names(browser)
        body = {"image_id": here.ids[right], "beside_id": here.ids[left], "verdict": "remove"}
        served.token = "k" * 40
        assert post(served, "/api/decisions", [body]).status == 204
        browser.press(LEFT)
        browser.wait(lambda: names(browser) != (left, right))
        assert "to be removed already" in browser.find("#trouble").text
        assert [one for one in browser.complaints() if "Failed to load resource" not in one] == []


def test_a_slider_that_is_dragged_searches_for_where_it_ends(here, browser):
    with here.serve() as served:
        opened(browser, served, "/review")
        names(browser)
        browser.requests()
        browser.run(
            "const slider = document.getElementById('limit');"
            "for (const value of [1, 2, 3, 4, 5, 6]) {"
            "  slider.value = value;"
            "  slider.dispatchEvent(new Event('change', { bubbles: true }));"
            "}"
        )
        names(browser)
        asked = [one for one in browser.requests() if "/review/pair" in one]
        assert ["max_distance=1&" in asked[0], "max_distance=6&" in asked[-1]] == [True, True]
        assert len(asked) == 2


def test_a_search_shows_how_far_it_is(here, browser):
    with looking(here, browser, "/review") as served:
        names(browser)
        assert served.get("/review/searched").json is None
        with psycopg.connect(here.dsn) as conn:  # the search waits for the table
            conn.execute("LOCK TABLE imgdb.image")
            browser.run("document.getElementById('search-again').click()")
            browser.wait(lambda: browser.count("#searched:not([hidden])"))
            assert served.get("/review/searched").json == 0
        browser.wait(lambda: browser.count("#searched[hidden]"))
        assert names(browser) != ()


def test_a_proposal_is_accepted_and_goes_to_the_trash(here, browser):
    with here.serve() as served:
        opened(browser, served, "/review?keep=shortest-path")
        left, _ = names(browser)
        browser.press("a")
        browser.wait(lambda: names(browser)[0] != left)
        gone = [name for name, verdict in here.decided() if verdict == "remove"]
        assert gone and left not in gone
        browser.open_address(f"{served.origin}/basket")
        browser.find("#apply").click()
        browser.wait(
            lambda: browser.find("#done-name").text == f"{len(gone)} files moved to the trash"
        )
        assert not any((here.folder / name).exists() for name in gone)
        browser.open_address(f"{served.origin}/basket")
        browser.find("#restore").click()
        browser.wait(lambda: browser.find("#done-name").text.endswith("put back"))
        assert all((here.folder / name).exists() for name in gone)


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_nothing_is_wider_than_the_screen(here, browser, size, scheme):
    with here.serve() as served:
        for page in ("/review", "/basket"):
            opened(browser, served, page, size=size, scheme=scheme)
            if page == "/review":
                names(browser)
            wide = browser.run("return document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, page


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_review_and_basket(here, browser, size, scheme):
    needs_axe()
    with here.serve() as served:
        opened(browser, served, "/review", size=size, scheme=scheme)
        names(browser)
        assert violations(browser) == []
        browser.press("?")
        assert violations(browser) == []
        browser.press(ESCAPE, "a")
        browser.wait(here.decided)
        opened(browser, served, "/basket", size=size, scheme=scheme)
        assert violations(browser) == []


def test_hostile_names_are_only_shown(database, tmp_path, browser):
    folder = tmp_path / "hostile"
    folder.mkdir()
    spelled = [
        "<img src=x onerror=alert(1)>.png",
        "\u202egnp.exe.png",
        "a\nb.png",
        "'\"><script>alert(2)</script>.png".replace("/", "\u2215"),
        os.fsdecode(b"\xff.png"),
    ]
    for number, name in enumerate(spelled):
        size = (400 - 40 * number, 300 - 30 * number)
        (folder / name).write_bytes(encode(scene(1, size), "PNG"))
    add(database, *folder.iterdir())
    trash = tmp_path / "trash"
    with Served(database, "--allow-changes", "--trash", trash) as served:
        opened(browser, served, "/review?keep=most-pixels")
        shown = {*names(browser)}
        while names(browser) != ():
            before = names(browser)
            shown |= {*before}
            browser.press(LEFT)
            browser.wait(lambda before=before: names(browser) != before)
        # What cannot be shown as it is, is spelled; nothing became an element.
        assert spelled[0] in shown and len(shown) == len(spelled)
        assert browser.count("img[src='x']") == 0
        browser.open_address(f"{served.origin}/basket")
        assert browser.count("img[src='x']") == 0
        browser.find("#apply").click()
        browser.wait(lambda: browser.find("#done-name").text == "4 files moved to the trash")
        assert [file.name for file in folder.iterdir()] == [spelled[0]]
        browser.driver.get("about:blank")


def test_the_slider_regroups(here, browser):
    with looking(here, browser, "/review"):
        names(browser)
        browser.run(
            "const slider = document.getElementById('limit'); slider.value = 0;"
            "slider.dispatchEvent(new Event('input', {bubbles: true}));"
            "slider.dispatchEvent(new Event('change', {bubbles: true}));"
        )
        browser.wait(lambda: browser.count("#pair[aria-busy='false']"))
        assert "max_distance=0" in browser.driver.current_url
        assert browser.find("#limit-value").text == "0"
