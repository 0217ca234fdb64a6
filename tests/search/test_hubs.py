"""The hashes that flood searches, counted against a model."""

import json
import random
from collections import defaultdict
from dataclasses import astuple
from itertools import product

import psycopg
import pytest
from folders import paint
from hash_sets import flipped
from servers import embedded_only

from imgdb.hashes.values import rule_distance, to_hex
from imgdb.search.hubs import hubs

pytestmark = pytest.mark.sql

ADD = (
    "INSERT INTO imgdb.image (collection_id, path, phash, dhash, flat, recipe)"
    " SELECT c.collection_id, %s, %s, %s, %s, 'x' FROM imgdb.collection AS c WHERE c.name = %s"
)


def model(images, rule, radius, flood, collection, limit):
    """Compare every hash, or pair of hashes, with every other."""
    paths = defaultdict(list)
    for path, phash, dhash, flat, home in images:
        hashes = (phash, dhash)[: len(rule.split("+"))]
        if any(one is not None for one in hashes) and not flat and collection in (None, home):
            paths[hashes].append(path)
    found = []
    for one, held in paths.items():
        apart = {other: rule_distance(one, other) for other in paths}
        near = sum(len(paths[other]) for other, d in apart.items() if d is not None and d <= radius)
        found.append((*one, *[None][len(one) - 1 :], len(held), near - 1, min(held)))
    hubs = [hub for hub in found if hub[3] > flood]
    # As SQL sorts: what is lacking comes last.
    last = 2**63
    order = lambda hub: (-hub[3], -hub[2], *(last if h is None else h for h in hub[:2]))  # noqa: E731
    return sorted(hubs, key=order)[:limit]


@pytest.mark.parametrize("seed", range(5))
def test_hubs_are_what_comparing_everything_finds(database, seed):
    draw = random.Random(seed)
    centres = [draw.getrandbits(64) - 2**63 for _ in range(4)]
    images = []
    for number in range(120):
        bits = frozenset(draw.sample(range(64), draw.choice([0, 0, 0, 1, 2, 3, 6])))
        phash = draw.choice([flipped(draw.choice(centres), bits)] * 9 + [None])
        few = frozenset(draw.sample(range(64), draw.choice([0, 0, 1, 2, 5])))
        dhash = draw.choice([flipped(draw.choice(centres), few)] * 9 + [None])
        path = f"/{draw.randrange(100):02}/{number}.jpg"
        images.append((path, phash, dhash, draw.random() < 0.1, draw.choice("ab")))
    seen = 0
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a'), ('b')")
        conn.cursor().executemany(ADD, images)
        for rule, radii in (("phash", (0, 2, 9)), ("phash+dhash", (0, 3, 9, 64))):
            for radius, flood in product(radii, (0, 12)):
                for collection, limit in ((None, None), ("a", None), (None, 2)):
                    found = hubs(
                        conn,
                        space=rule,
                        max_distance=radius,
                        flood=flood,
                        collection=collection,
                        limit=limit,
                    )
                    asked = (rule, radius, flood, collection, limit)
                    assert list(map(astuple, found)) == model(images, *asked), asked
                    seen += len(found)
    assert seen > 100


@pytest.mark.parametrize(
    ("arguments", "sqlstate"),
    [
        (("nosuch", 4, None), "IM001"),
        (("phash", 65, None), "IM002"),
        (("phash+dhash", 129, None), "IM002"),
        (("phash", 4, "nosuch"), "IM011"),
    ],
)
def test_bad_arguments(conn, arguments, sqlstate):
    with pytest.raises(psycopg.DatabaseError) as error:
        conn.execute("SELECT imgdb._held_hashes(%s, %s, %s)", arguments)
    assert error.value.sqlstate == sqlstate


def test_the_command_lists_them(cli, database):
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a')")
        rows = [(f"/{number:02}.png", -5, 7, False, "a") for number in range(22)]
        near = [
            ("/near.png", -5 ^ 0b11, 7 ^ 0b111111, False, "a"),
            ("/one.png", -5, None, False, "a"),
        ]
        conn.cursor().executemany(ADD, [*rows, *near])
    result = cli("hubs", "--collection", "a", "--json", dsn=database)
    assert (result.code, result.stderr) == (0, "")
    both, changed = f"{to_hex(-5)}+{to_hex(7)}", f"{to_hex(-5 ^ 0b11)}+{to_hex(7 ^ 0b111111)}"
    assert json.loads(result.stdout) == [
        {"hash": both, "images": 22, "matches": 23, "path": "/00.png"},
        {"hash": changed, "images": 1, "matches": 23, "path": "/near.png"},
        {"hash": to_hex(-5), "images": 1, "matches": 23, "path": "/one.png"},
    ]
    least = cli("hubs", "--max-distance", "0", "--format", "csv", dsn=database).stdout.splitlines()
    assert least[:2] == ["hash,images,matches,path", f"{both},22,22,/00.png"]
    exact = cli("hubs", "--hash", "phash", "--max-distance", "1", "--csv", dsn=database).stdout
    assert exact.splitlines() == ["hash,images,matches,path", f"{to_hex(-5)},23,22,/00.png"]
    none = cli("hubs", "--flood", "23", "--format", "table", dsn=database)
    assert (none.code, none.stdout) == (0, "")
    assert none.stderr == "imgdb: no hash matches more than 23 other images\n"


@embedded_only
def test_the_page_shows_a_picture_of_each(cli, database, browser, tmp_path):
    picture = paint(tmp_path, 1)[0]
    with psycopg.connect(database) as conn:
        paths = [str(picture), *(f"/<i>{number}.png" for number in range(3))]
        rows = [(path, number, number, False, "a") for number, path in enumerate(paths)]
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a')")
        conn.cursor().executemany(ADD, rows)
    page = tmp_path / "out.html"
    done = cli("hubs", "--flood", "2", "--html", page, "--format", "csv", dsn=database)
    assert (done.code, done.stderr) == (0, f"imgdb: the page is in {page}\n")
    browser.open(page)
    assert browser.count(".hub") == done.stdout.count("\n") - 1 == 4
    (shown,) = browser.find_all(".hub img")
    assert shown.get_attribute("alt") == str(picture)
    words = {hub.text for hub in browser.find_all(".hub")}
    for number, path in enumerate(paths):
        (said,) = (text for text in words if path.rpartition("/")[2] in text)
        assert "3 matches" in said
        assert f"{to_hex(number)}+{to_hex(number)}" in said
    assert sum("there is no such file" in text for text in words) == 3
