"""The API of `imgdb serve`: searches, hashes, images, thumbnails, and errors as problems."""

import inspect
import io
import json
import os
import re
import signal
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from fastapi.routing import iter_route_contexts
from library import scene
from pictures import encode, see_through
from PIL import Image
from serving import Served

from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import ALGORITHMS, to_hex
from imgdb.search.images import Match, query_by_file, similar
from imgdb.search.parts import RegionMatch
from imgdb.serve.app import application

BAUHAUS = Path(__file__).parents[2] / "examples" / "images" / "bauhaus.jpg"
PROBLEM = {"type", "title", "status", "detail"}


def huge_header():
    """Return a PNG that says it has 15,000 x 15,000 pixels, in fewer than 100 bytes."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack("!I", len(content)) + checked + struct.pack("!I", zlib.crc32(checked))

    head = chunk(b"IHDR", struct.pack("!IIBBBBB", 15_000, 15_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def names(found):
    return [Path(match["path"]).name for match in found]


def test_a_search_finds_what_the_command_finds(served, filled, pictures, cli):
    file = pictures / "lake-small.jpg"
    answer = served.post("/api/search", file.read_bytes())
    assert answer.status == 200
    asked = json.loads(cli("query", file, "--json", dsn=filled).stdout)
    for row in asked:
        del row["query"]
        row["modified_at"] = row["modified_at"].replace("+00:00", "Z")
    assert answer.json["matches"] == asked
    assert (answer.json["hash"], answer.json["max_distance"]) == ("phash+dhash", 17)
    assert {*answer.json["matches"][0]} == {*Match.__dataclass_fields__}
    made = fingerprint(file)
    assert answer.json["query"] == {
        **{name: to_hex(getattr(made, name)) for name in ALGORITHMS},
        "sha256": made.sha256.hex(),
        "flat": False,
    }


def test_options_are_those_of_the_command(served, filled, pictures):
    body = (pictures / "lake.png").read_bytes()

    def found(options):
        return names(served.post(f"/api/search?{options}", body).json["matches"])

    assert found("limit=1") == ["lake-copy.png"]
    assert found("max_distance=0&hash=dhash")[:2] == ["lake-copy.png", "lake.png"]
    assert "hill.png" in found("max_distance=128&hash=phash%2Bdhash")
    assert found("hash=phash+dhash") == found("hash=phash%2Bdhash")  # + is a space there
    with psycopg.connect(filled, autocommit=True) as conn:
        wide = similar(conn, query_by_file(pictures / "lake.png"), space="whash", max_distance=20)
    assert found("hash=whash&max_distance=20") == [Path(match.path).name for match in wide]


def test_turned_pictures_are_found_where_asked(served, pictures):
    turned = encode(Image.open(pictures / "hill.png").transpose(Image.Transpose.ROTATE_90), "PNG")
    assert served.post("/api/search", turned).json["matches"] == []
    (match,) = served.post("/api/search?any_orientation=true", turned).json["matches"]
    assert (names([match]), match["orientation"]) == (["hill.png"], "270° clockwise")


def test_a_transparent_picture_is_looked_for_on_both_papers(served, filled, tmp_path):
    (tmp_path / "cut.png").write_bytes(encode(see_through(scene(9)), "PNG"))
    query = query_by_file(tmp_path / "cut.png", parts=False)
    assert len(query.looks) == 2
    on_black = to_hex(query.looks[1].hashes.phash)
    with psycopg.connect(filled, autocommit=True) as conn:
        stored = (
            "INSERT INTO imgdb.image (collection_id, path, phash, recipe) SELECT collection_id,"
        )
        conn.execute(
            stored + " 'black', imgdb.from_hex(%s), 'exact-1' FROM imgdb.collection", (on_black,)
        )
        found = served.post(
            "/api/search?hash=phash&parts=false", (tmp_path / "cut.png").read_bytes()
        ).json
        conn.execute("DELETE FROM imgdb.image WHERE path = 'black'")
    assert names(found["matches"]) == ["black"]


def test_a_flat_picture_matches_its_bytes_only(served, pictures):
    page = (pictures / "blank.png").read_bytes()
    answer = served.post("/api/search", page).json
    assert answer["query"]["flat"] and names(answer["matches"]) == ["blank.png"]
    other = encode(Image.new("RGB", (90, 60), (240, 240, 240)), "PNG")
    assert served.post("/api/search", other).json["matches"] == []
    found = served.post("/api/search?include_flat=true", other).json["matches"]
    assert names(found) == ["blank.png"]


def test_a_hash_is_looked_for(served, pictures):
    made = fingerprint(pictures / "lake.png")
    phash, dhash = to_hex(made.phash), to_hex(made.dhash)
    alone = served.get(f"/api/search?hex={phash}").json
    assert alone["hash"] == "phash" and "lake.png" in names(alone["matches"])
    both = served.get(f"/api/search?hex={phash}%2B{dhash}&max_distance=0").json
    assert both["hash"] == "phash+dhash"
    assert {"lake.png", "lake-copy.png"} <= {*names(both["matches"])}
    assert "hill.png" not in names(both["matches"])
    assert served.get(f"/api/search?hex={phash}+{dhash}&max_distance=0").json == both


def test_an_image_of_the_database_is_looked_for_by_its_path(served, filled, pictures, tmp_path):
    file = pictures / "hill.png"
    asked = f"/api/search?path={quote(str(file))}"
    by_picture = served.post("/api/search", file.read_bytes()).json
    assert served.get(asked).json == by_picture
    # As a shell takes it, too; and turned, which needs the file.
    crooked = f"{pictures}/./../{pictures.name}//hill.png"
    assert served.get(f"/api/search?path={quote(crooked)}").json == by_picture
    turned = served.get(asked + "&any_orientation=true&same_colours=true&hash=phash-pdq")
    assert names(turned.json["matches"]) == ["hill.png"]
    # What is no image of the database is not opened, whatever it is.
    stranger = tmp_path / "stranger.png"
    stranger.write_bytes(file.read_bytes())
    for path in (stranger, "/etc/passwd", "a%00b"):
        refused = served.get(f"/api/search?path={path}")
        assert (refused.status, "ingest it" in refused.json["detail"]) == (404, True)
    assert served.get(f"/api/search?path={stranger}&hex={0:016x}").status == 400


def test_without_its_file_an_image_is_looked_for_by_its_hashes(served, filled, pictures):
    body = (pictures / "lake.png").read_bytes()
    (stored := served.post("/api/images?id=sku-7&collection=named", body).json)
    found = served.get("/api/search?path=sku-7").json
    assert found["query"]["phash"] == stored["phash"]
    assert {"lake.png", "lake-copy.png", "sku-7"} <= {*names(found["matches"])}
    for needs in ("any_orientation=true", "same_colours=true", "hash=pdq"):
        refused = served.get(f"/api/search?path=sku-7&{needs}")
        assert (refused.status, refused.json["reason"]) == (404, "missing")
    served.post("/api/images?id=sku-7&collection=other", encode(scene(5), "PNG"))
    other = served.get("/api/search?path=sku-7&collection=other").json
    assert other["query"]["phash"] == to_hex(fingerprint(encode(scene(5), "PNG")).phash)
    assert served.ask("DELETE", f"/api/images/{stored['image_id']}").json == {
        "image_id": stored["image_id"]
    }
    assert served.ask("DELETE", f"/api/images/{stored['image_id']}").status == 404
    served.ask("DELETE", "/api/images?id=sku-7&collection=other")
    assert served.get("/api/search?path=sku-7").status == 404


def test_colours_tell_pictures_apart_where_asked(served, pictures):
    body = encode(Image.open(pictures / "hill.png").convert("L"), "PNG")
    assert names(served.post("/api/search", body).json["matches"]) == ["hill.png"]
    assert served.post("/api/search?same_colours=true", body).json["matches"] == []
    by_hash = served.get(f"/api/search?hex={0:016x}&same_colours=true")
    assert (by_hash.status, "same_colours takes a picture" in by_hash.json["detail"]) == (400, True)


def test_pdq_is_searched_where_it_is_stored(served, pictures):
    body = (pictures / "hill.png").read_bytes()
    assert served.post("/api/images?id=pdq&collection=pdq&pdq=true", body).status == 201
    answer = served.post("/api/search?hash=pdq&collection=pdq", body).json
    assert [match["path"] for match in answer["matches"]] == ["pdq"]
    assert (answer["hash"], answer["max_distance"]) == ("pdq", 31)
    digits = served.post("/api/hash?pdq=true", body).json["pdq"]
    by_hex = served.get(f"/api/search?hex={digits}&collection=pdq").json
    assert (by_hex["hash"], [m["path"] for m in by_hex["matches"]]) == ("pdq", ["pdq"])
    assert served.get(f"/api/search?hex={digits}&max_distance=257").status == 400


def test_parts_are_found(served, filled, pictures):
    cut = encode(Image.open(BAUHAUS).crop((150, 90, 520, 380)), "PNG")
    answer = served.post("/api/parts", cut)
    assert (answer.status, answer.json) == (200, [])  # none of them has regions
    whole = BAUHAUS.read_bytes()
    added = served.post("/api/images?id=bauhaus&collection=parts&regions=true", whole)
    assert added.status == 201
    found = served.post("/api/parts?collection=parts", cut).json
    assert [(match["path"], match["relation"]) for match in found] == [("bauhaus", "contains")]
    assert {*found[0]} == {*RegionMatch.__dataclass_fields__}


def test_hashes_are_those_of_the_command(served, pictures, cli):
    file = pictures / "lake.png"
    (row,) = json.loads(cli("hash", file, "--pdq", "--json").stdout)
    del row["path"]
    assert served.post("/api/hash?pdq=true", file.read_bytes()).json == row
    assert served.post("/api/hash", file.read_bytes()).json["pdq"] is None


def test_a_picture_is_stored_under_a_name_without_its_file(served, filled):
    body = encode(scene(21), "PNG")
    name = "sku/1 <b>&\N{SNOWMAN}"
    added = served.post(f"/api/images?id={quote(name, safe='')}&collection=shop", body)
    assert (added.status, added.json["path"], added.json["collection"]) == (201, name, "shop")
    number = added.json["image_id"]
    assert served.get(f"/api/images/{number}").json == added.json
    (match,) = served.post("/api/search?collection=shop", body).json["matches"]
    assert (match["image_id"], match["same_bytes"]) == (number, True)
    shown = served.get(f"/api/images/{number}/thumbnail")
    assert (shown.status, shown.json["reason"]) == (404, "missing")
    other = served.post(f"/api/images?id={quote(name)}&collection=shop", encode(scene(22), "PNG"))
    assert (other.status, other.json["image_id"]) == (200, number)
    assert other.json["sha256"] != added.json["sha256"]
    removed = served.ask("DELETE", f"/api/images?id={quote(name)}&collection=shop")
    assert removed.json == {"image_id": number}
    assert served.get(f"/api/images/{number}").status == 404
    assert served.ask("DELETE", f"/api/images?id={quote(name)}&collection=shop").status == 404
    assert served.post("/api/search?collection=shop", body).json["matches"] == []


def test_no_upload_takes_the_name_of_a_file(served, pictures):
    stored = served.post(f"/api/images?id={pictures / 'lake.png'}", encode(scene(1), "PNG"))
    assert (stored.status, "absolute path" in stored.json["detail"]) == (400, True)
    assert served.ask("DELETE", f"/api/images?id={pictures / 'lake.png'}").status == 400
    # Nor is a name a path from where the server happens to run, or a spelling of another one.
    for name in (os.path.relpath(pictures / "lake.png"), r"\x2f" + str(pictures / "lake.png")[1:]):
        added = served.post(f"/api/images?id={quote(name)}", encode(scene(1), "PNG"))
        shown = served.get(f"/api/images/{added.json['image_id']}/thumbnail")
        assert (added.status, shown.status) == (201, 404)
        served.ask("DELETE", f"/api/images/{added.json['image_id']}")
    for name in ("", "a%00b", "x" * 2601):
        assert served.post(f"/api/images?id={name}", encode(scene(1), "PNG")).status == 400


def test_nothing_is_changed_unless_allowed(filled):
    with Served(filled) as careful, psycopg.connect(filled) as conn:
        before = conn.execute("SELECT count(*) FROM imgdb.image").fetchone()
        body = encode(scene(31), "PNG")
        for method, path in (
            ("POST", "/api/images?id=x"),
            ("DELETE", "/api/images?id=x"),
            ("DELETE", "/api/images/1"),
        ):
            assert careful.ask(method, path, body).status == 403
        assert careful.post("/api/search", body).status == 200
        assert conn.execute("SELECT count(*) FROM imgdb.image").fetchone() == before


def test_thumbnails_show_the_file_as_it_is(served, pictures):
    (match, *_) = served.post("/api/search", (pictures / "hill.png").read_bytes()).json["matches"]
    for side in (64, 200):
        shown = served.get(f"/api/images/{match['image_id']}/thumbnail?side={side}")
        assert shown.headers["content-type"] in ("image/webp", "image/jpeg")
        assert max(Image.open(io.BytesIO(shown.body)).size) == side
    assert served.get(f"/api/images/{match['image_id']}/thumbnail?side=9999").status == 400
    assert served.get("/api/images/999999/thumbnail").status == 404
    content = (pictures / "hill.png").read_bytes()
    (pictures / "hill.png").unlink()
    try:
        gone = served.get(f"/api/images/{match['image_id']}/thumbnail")
        assert (gone.status, gone.json["reason"]) == (404, "missing")
    finally:
        (pictures / "hill.png").write_bytes(content)


def test_collections_and_health(served, filled, cli):
    assert served.get("/api/collections").json == json.loads(
        cli("collections", "--json", dsn=filled).stdout
    )
    health = served.get("/api/health").json
    assert (health["status"], health["allow_changes"]) == ("ok", True)
    with psycopg.connect(filled) as conn:
        (revision,) = conn.execute("SELECT version_num FROM imgdb.alembic_version").fetchone()
        assert health["server"] == conn.info.parameter_status("server_version")
    assert health["schema"] == revision
    assert health["newest_image"].startswith("20")


def test_metrics_count_answers_by_route(served):
    served.get("/api/images/1")
    served.get("/api/images/2147483647")
    served.ask("BREW", "/nowhere/at/all")
    counts = {
        tuple(re.findall(r'"(.*?)"', labels)): float(count)
        for labels, count in re.findall(
            r"^imgdb_request_seconds_count\{(.*?)\} (\S+)$",
            served.get("/metrics").body.decode(),
            re.MULTILINE,
        )
    }
    route = ("GET", "show_image")
    assert (*route, "404") in counts, counts
    assert sum(counts.get((*route, status), 0) for status in ("200", "404")) >= 2
    assert not any("nowhere" in part or "BREW" in part for labels in counts for part in labels)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"no picture", "unknown-format"),
        (encode(scene(1), "PNG")[:2000], "truncated"),
        (huge_header(), "bomb"),
    ],
    ids=["empty", "text", "cut", "bomb"],
)
@pytest.mark.parametrize("path", ["/api/search", "/api/hash", "/api/parts", "/api/images?id=x"])
def test_a_picture_that_cannot_be_read_says_why(served, path, body, reason):
    answer = served.post(path, body)
    assert (answer.status, answer.json["reason"]) == (422, reason)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {*answer.json} == PROBLEM | {"reason"}


def test_the_description_tells_makers_of_clients_all(served):
    """What a generated client would trip over: names, keys, bodies, answers without a shape."""
    described = served.get("/api/openapi.json").json
    operations = [
        (f"{method} {path}", about)
        for path, methods in described["paths"].items()
        for method, about in methods.items()
    ]
    (scheme,) = described["components"]["securitySchemes"].items()
    assert scheme[1] == {"type": "http", "scheme": "bearer"}
    assert len({about["operationId"] for _, about in operations}) == len(operations)
    for name, about in operations:
        assert about["security"] == [{scheme[0]: []}], name
        assert about["description"] and about["operationId"].isidentifier(), name
        for status in ("4XX", "5XX"):
            assert "application/problem+json" in about["responses"].pop(status)["content"], name
        assert {*about["responses"]} <= {"200", "201", "204"}, name
        for status, answer in about["responses"].items():
            assert (status == "204") == ("content" not in answer), name
            for shape in answer.get("content", {}).values():
                assert {"$ref", "type", "anyOf"} & {*shape["schema"]}, name
    stored = described["paths"]["/api/images"]["post"]
    assert {*stored["responses"]} == {"200", "201"}
    assert [*stored["requestBody"]["content"]] == ["application/octet-stream"]


def test_wrong_requests_are_problems(served):
    for path, status in (
        ("/api/search?hex=zz", 400),
        ("/api/search", 400),
        ("/api/search?hex=0000000000000000&hash=nothing", 400),
        ("/api/search?hex=0000000000000000&max_distance=65", 400),
        ("/api/search?hex=0000000000000000&hash=phash-pdq", 400),
        ("/api/search?hex=0000000000000000&limit=1001", 400),
        ("/api/search?hex=0000000000000000&collection=nobody", 404),
        ("/api/search?hex=0000000000000000&collection=a%00b", 400),
        ("/api/images/0", 404),
        ("/api/images/99999999999999999999", 400),
        ("/api/nothing", 404),
        ("/api/hash", 405),
    ):
        answer = served.get(path)
        assert (answer.status, path) == (status, path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert {*answer.json} == PROBLEM


def test_a_body_has_a_limit_of_bytes(served):
    for path in ("/api/search", "/api/hash", "/api/images?id=x"):
        answer = served.post(path, bytes((2 << 20) + 1))
        assert (answer.status, "--max-upload" in answer.json["detail"]) == (413, True)
        assert served.ask("POST", path, Content_Length=str(1 << 40)).status == 413  # unseen
    # Nor does it help to say nothing of its size.
    pieces = iter([bytes(1 << 20)] * 3)
    assert served.ask("POST", "/api/hash", pieces).status == 413


def test_one_hundred_uploads_and_bombs_among_them(filled, tmp_path):
    """A picture that needs too much memory, a bomb, damage and a killed worker cost themselves."""
    scenes = [encode(scene(seed), "PNG") for seed in range(4)]
    expected = [to_hex(fingerprint(body).phash) for body in scenes]
    heavy = encode(Image.new("L", (7000, 7000), 90), "PNG")
    bad = {
        10: (huge_header(), "bomb"),
        40: (heavy, "no-memory"),
        70: (b"\xff\xd8\xff\xe0 no JPEG", "truncated"),
    }
    bodies = [bad[number][0] if number in bad else scenes[number % 4] for number in range(100)]
    with (
        Served(filled, "--worker-memory", "60M", folder=tmp_path) as running,
        ThreadPoolExecutor(100) as threads,
    ):
        answers = [threads.submit(running.post, "/api/hash", body) for body in bodies]
        os.kill(running.workers()[0], signal.SIGKILL)
        for number, answer in enumerate(answers):
            reply = answer.result()
            if number in bad:
                assert (reply.status, reply.json["reason"]) == (422, bad[number][1]), reply.json
            else:
                assert (reply.status, reply.json["phash"]) == (200, expected[number % 4])
        (folder,) = tmp_path.glob("imgdb-serve-*")
        assert (folder.stat().st_mode & 0o777, [*folder.iterdir()]) == (0o700, [])
    assert [*tmp_path.iterdir()] == []


def test_a_picture_that_hangs_does_not_hold_the_others_up(served):
    """With one of two workers standing still, the other one answers all that come after."""
    stopped = served.workers()[0]
    with ThreadPoolExecutor(10) as threads:
        os.kill(stopped, signal.SIGSTOP)
        try:
            answers = [threads.submit(served.post, "/api/hash", encode(scene(1), "PNG"))]
            answers += [threads.submit(served.post, "/api/hash", encode(scene(2), "PNG"))]
            answers += [threads.submit(served.post, "/api/hash", encode(scene(3), "PNG"))]
            done = as_completed(answers)
            assert [next(done).result().status for _ in range(2)] == [200, 200]
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert next(done).result().status == 200


def test_what_endpoints_ask_for_takes_no_thread():
    """While searches have all threads, it would wait for one of them, and so would /api/health."""
    seen = set()

    def check(dependant):
        for one in dependant.dependencies:
            call = one.call if inspect.isfunction(one.call) else type(one.call).__call__
            assert inspect.iscoroutinefunction(call), call
            seen.add(call.__name__)
            check(one)

    for route in iter_route_contexts(application(None).routes):
        if dependant := getattr(route, "dependant", None):
            check(dependant)
    assert {"_state", "_options", "_may_change", "_groups"} <= seen
