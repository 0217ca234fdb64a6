"""Review in the browser and by HTTP: what is decided stays, and nothing goes that was not seen."""

import json
import shutil

import psycopg
import pytest
from browser import DESKTOP, PHONE
from library import add, scene, shelf
from pictures import encode
from PIL import Image
from serving import Served

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
        assert served.ask("DELETE", "/api/decisions/last").json["image_id"] == copy
        assert served.ask("DELETE", "/api/decisions/last").json is None


def test_what_makes_no_sense_is_a_problem(here):
    lake, copy = here.ids["lake.png"], here.ids["lake-copy.png"]
    with here.serve() as served:
        for image_id, beside_id, verdict in [
            (copy, lake, "burn"),
            (copy, copy, "remove"),
            (copy, 10**9, "remove"),
        ]:
            body = [{"image_id": image_id, "beside_id": beside_id, "verdict": verdict}]
            reply = post(served, "/api/decisions", body)
            assert reply.status == 400, reply.body
            assert reply.headers["content-type"] == "application/problem+json"
        assert served.get("/api/groups?max_distance=900").status == 400
    assert here.decided() == []


def test_the_basket_goes_to_the_trash_and_comes_back(here):
    lake, copy, soft = (here.ids[f"lake{end}.png"] for end in ("", "-copy", "-soft"))
    with here.serve() as served:
        body = [{"image_id": one, "beside_id": lake, "verdict": "remove"} for one in (copy, soft)]
        post(served, "/api/decisions", body)
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
        assert not (here.folder / "lake-copy.png").exists()
        (back,) = post(served, "/api/plan/restore", {}).json["done"]
        assert back["outcome"] == "restored"
        assert (here.folder / "lake-copy.png").exists()


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


def test_a_reader_decides_nothing(here):
    with Served(here.dsn) as served:
        body = [{"image_id": 1, "beside_id": 2, "verdict": "remove"}]
        for method, path in [
            ("POST", "/api/decisions"),
            ("DELETE", "/api/decisions/last"),
            ("DELETE", "/api/decisions/skipped"),
            ("DELETE", "/api/decisions/1"),
            ("POST", "/api/marks"),
            ("POST", "/api/plan/apply"),
            ("POST", "/api/plan/restore"),
        ]:
            reply = served.ask(
                method, path, json.dumps(body).encode(), Content_Type="application/json"
            )
            assert reply.status == 403, path
        assert "verdicts" not in served.get("/review/pair").body.decode()


# -- in the browser --------------------------------------------------------------------------------


def opened(browser, served, page, **look):
    browser.ask_only(served.origin)
    browser.open_address(served.address)
    browser.open_address(f"{served.origin}{page}", **look)


def names(browser):
    """Return what stands left and right."""
    browser.wait(lambda: browser.count("#pair[aria-busy='false']"))
    return tuple(browser.run(
        "return [...document.querySelectorAll('.side .path strong')].map((one) => one.textContent)"
    ))  # fmt: skip


def test_all_is_decided_by_keys(here, browser):
    with here.serve() as served:
        opened(browser, served, "/review?keep=shortest-path")
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


def test_the_slider_regroups(here, browser):
    with here.serve() as served:
        opened(browser, served, "/review")
        names(browser)
        browser.run(
            "const slider = document.getElementById('limit'); slider.value = 0;"
            "slider.dispatchEvent(new Event('input', {bubbles: true}));"
            "slider.dispatchEvent(new Event('change', {bubbles: true}));"
        )
        browser.wait(lambda: browser.count("#pair[aria-busy='false']"))
        assert "max_distance=0" in browser.driver.current_url
        assert browser.find("#limit-value").text == "0"
