"""`imgdb serve --search-only`: over a login that may search, and that can get nothing else."""

import psycopg
import pytest
from library import scene
from pictures import encode
from PIL import Image, ImageOps
from psycopg.conninfo import conninfo_to_dict
from roles import login
from serving import Served

from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import to_hex

ALL = {"path", "distance", "collection", "image_id"}


@pytest.fixture(scope="module")
def seeking(filled):
    """Run a server that logs in with the right to search alone."""
    with login(filled, "seeker") as dsn:
        role = conninfo_to_dict(dsn)["user"]
        with psycopg.connect(filled, autocommit=True) as conn:
            conn.execute("SELECT imgdb.grant_access(%s, 'search')", (role,))
        with Served(dsn, "--search-only") as served:
            yield served


def names(reply):
    assert reply.status == 200, reply.body
    return [match["path"].rpartition("/")[2] for match in reply.json["matches"]]


def test_a_picture_and_a_hash_are_found_with_paths_and_distances_alone(seeking, pictures):
    body = (pictures / "hill.png").read_bytes()
    found = seeking.post("/api/search", body)
    assert names(found) == ["hill.png"]
    assert {*found.json["matches"][0]} == ALL
    made = fingerprint(pictures / "lake.png")
    digits = f"{to_hex(made.phash)}%2B{to_hex(made.dhash)}"
    by_hex = names(seeking.get(f"/api/search?hex={digits}"))
    assert by_hex[0] == "lake-copy.png" and "hill.png" not in by_hex and "lake.png" in by_hex
    assert names(seeking.get(f"/api/search?hex={digits}&limit=1")) == by_hex[:1]
    assert len(names(seeking.get(f"/api/search?hex={to_hex(made.phash)}&hash=phash"))) == 4
    assert seeking.post("/api/hash", body).json["phash"] == to_hex(fingerprint(body).phash)


def test_it_is_looked_for_turned_and_within_borders(seeking, pictures):
    picture = Image.open(pictures / "hill.png")
    turned = encode(picture.transpose(Image.Transpose.ROTATE_90), "PNG")
    assert names(seeking.post("/api/search", turned)) == []
    assert names(seeking.post("/api/search?any_orientation=true", turned)) == ["hill.png"]
    barred = encode(ImageOps.expand(picture, (0, 60), "black"), "PNG")
    assert names(seeking.post("/api/search", barred)) == ["hill.png"]
    assert names(seeking.post("/api/search?parts=false", barred)) == []
    # A flat picture looks like all that is flat.
    assert names(seeking.post("/api/search", (pictures / "blank.png").read_bytes())) == []


def test_pdq_is_searched_in_a_collection(seeking, filled, pictures):
    with Served(filled, "--allow-changes") as served:
        body = (pictures / "lake.png").read_bytes()
        served.post("/api/images?id=one&collection=first&pdq=true", body)
        served.post("/api/images?id=two&collection=second&pdq=true", body)
    assert names(seeking.post("/api/search?hash=pdq", body)) == ["one", "two"]
    assert names(seeking.post("/api/search?hash=pdq&collection=second", body)) == ["two"]
    assert names(seeking.post("/api/search?hash=pdq&limit=1", body)) == ["one"]
    assert seeking.post("/api/search?hash=phash-pdq", body).status == 400


def test_no_distance_goes_beyond_what_counts_as_alike(seeking, pictures):
    body = (pictures / "hill.png").read_bytes()
    assert seeking.post("/api/search?max_distance=17", body).status == 200
    refused = seeking.post("/api/search?max_distance=18", body)
    assert (refused.status, "count as alike" in refused.json["detail"]) == (400, True)
    for option in ("same_colours=true", "include_flat=true"):
        assert seeking.post(f"/api/search?{option}", body).status == 400
    assert seeking.post("/api/search?collection=nobody", body).status == 404


def test_nothing_else_is_there(seeking):
    described = seeking.get("/api/openapi.json").json["paths"]
    assert {*described} == {"/api/search", "/api/hash", "/api/health"}
    paths = ["/", "/review", "/basket", "/api/images/1", "/api/images/1/thumbnail"]
    paths += ["/api/collections", "/api/groups", "/api/plan", "/api/search?path=hill.png"]
    for path in paths:
        assert seeking.get(path).status in (400, 404), path
    assert seeking.post("/api/images?id=x", encode(scene(1), "PNG")).status == 404
    assert seeking.get("/api/search?hex=0000000000000000", token=None).status == 401
    assert seeking.get("/api/health").json["status"] == "ok"


def test_a_login_that_may_do_more_is_refused(cli, filled):
    for options, words in (((), "may read images"), (("--allow-changes",), "changes nothing")):
        result = cli("serve", "--search-only", "--port", "0", *options, dsn=filled)
        assert (result.code, words in result.stderr) == (2, True), result
