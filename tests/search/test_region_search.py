"""The search by regions against brute force, and what becomes of regions in SQL."""

import random
from datetime import UTC, datetime

import psycopg
import pytest
from region_model import Shown, answer, chance, frame, votes

from imgdb.hashes.fingerprint import Fingerprint
from imgdb.hashes.regions import RECIPE, Region
from imgdb.hashes.values import from_bigint, to_bigint
from imgdb.ingest.store import Batch, Store
from imgdb.search.parts import RegionMatch, RegionQuery, any_regions, sharing_parts

pytestmark = pytest.mark.sql

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def fingerprint(number: int, regions: list[Region] | None, **changed: object) -> Fingerprint:
    values: dict[str, object] = {
        "format": "PNG", "width": 640, "height": 480, "frames": 1, "byte_size": 9,
        "modified_at": WHEN, "sha256": number.to_bytes(32, "big"), "ahash": number,
        "dhash": number, "phash": number, "whash": number, "flat": False, "recipe": "exact-1",
        "colours": bytes([128] * 27),
        "region_recipe": None if regions is None else RECIPE,
        "regions": None if regions is None else tuple(regions),
    }  # fmt: skip
    return Fingerprint(**(values | changed))  # type: ignore[arg-type]


def put(conn: psycopg.Connection, images: dict[str, Fingerprint], collection="default", **how):
    stored, _ = Store(conn, collection).store(Batch(images=images), **how)
    return stored


def asked_for(shown: Shown, sha256: bytes = b"") -> RegionQuery:
    return RegionQuery("query", shown.width, shown.height, sha256, shown.regions)


def stored_regions(conn: psycopg.Connection, path: str) -> list[Region]:
    rows = conn.execute(
        "SELECT r.box_left, r.box_top, r.box_width, r.box_height, r.region_hash"
        " FROM imgdb.image_region r JOIN imgdb.image i USING (image_id)"
        " WHERE i.path = %s ORDER BY r.region",
        [path],
    )
    return [Region(*row) for row in rows]


@pytest.fixture
def db(database):
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


class Scenes:
    """Pictures that show the same things at other places and scales, and things by chance alike."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.things = [self.random.getrandbits(64) for _ in range(40)]

    def _noisy(self, thing: int) -> int:
        for _ in range(self.random.randint(0, 6)):
            thing ^= 1 << self.random.randrange(64)
        return to_bigint(thing)

    def region(self, thing: int, left: float, top: float, side: float) -> Region:
        wobble = self.random.uniform(0.95, 1.05)
        left, top, side = (max(1, round(value * wobble)) for value in (left, top, side))
        return Region(left, top, side, side, self._noisy(thing))

    def query(self) -> Shown:
        width, height = self.random.choice([(640, 480), (300, 500), (1000, 1000)])
        regions = [
            self.region(thing, *self._anywhere(width, height))
            for thing in self.random.sample(self.things, 25)
        ]
        return Shown(width, height, regions + regions[:3])

    def _anywhere(self, width: int, height: int) -> tuple[float, float, float]:
        side = self.random.uniform(20, min(width, height) / 2)
        return self.random.uniform(0, width - side), self.random.uniform(0, height - side), side

    def image(self, query: Shown) -> Shown:
        """Show a part of the query, moved and scaled, and other things, some of them repeated."""
        width, height = self.random.choice([(640, 480), (2000, 1500), (90, 120)])
        scale = self.random.choice([0.1, 0.5, 1, 1.7, 6])
        right, down = self.random.uniform(-300, 300), self.random.uniform(-300, 300)
        regions = [
            self.region(
                from_bigint(found.hash),
                found.left * scale + right,
                found.top * scale + down,
                found.width * scale,
            )
            for found in self.random.sample(list(query.regions), self.random.randint(0, 12))
        ]
        thing = self.random.choice(self.things)
        regions += [
            self.region(self.random.choice([thing, self.random.choice(self.things)]), *place)
            for place in (self._anywhere(width, height) for _ in range(10))
        ]
        return Shown(width, height, regions)


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_brute_force(db, seed):
    scenes = Scenes(seed)
    query = scenes.query()
    images = {f"/{number}.png": scenes.image(query) for number in range(30)}
    put(
        db,
        {
            path: fingerprint(n, list(image.regions), width=image.width, height=image.height)
            for n, (path, image) in enumerate(images.items(), 1)
        },
    )
    seen = set()
    by_chance = [(8, None, rate) for rate in (0.1, 1e-4, 5.0)] + [(12, None, 0.1)]
    for max_distance, min_votes, rate in ((8, 1, 1), (8, 3, 1), (12, 2, 1), (4, 2, 1), *by_chance):
        found = sharing_parts(
            db, asked_for(query), max_distance=max_distance, min_votes=min_votes,
            wrong_per_query=rate,
        )  # fmt: skip
        expected = answer(query, images, max_distance, min_votes, rate)
        assert [(match.path, match.votes, match.relation) for match in found] == expected
        seen |= {match.relation for match in found}
        needed = chance(query, images.values(), max_distance, rate)
        for match in found:
            enough = needed if min_votes is None else (min_votes,)
            assert_boxes(match, query, images[match.path], max_distance, enough)
    assert len(seen) >= 3


def assert_boxes(match: RegionMatch, query: Shown, image: Shown, max_distance: int, enough) -> None:
    """Check where the query lies in the image, and the image in the query."""
    left, top, right, bottom = frame(query, votes(query, image, max_distance, *enough)[1])
    assert match.regions == len(image.regions)
    assert match.box_left == pytest.approx(max(left, 0), abs=1)
    assert match.box_top == pytest.approx(max(top, 0), abs=1)
    assert match.box_left + match.box_width == pytest.approx(min(right, image.width), abs=1)
    assert match.box_top + match.box_height == pytest.approx(min(bottom, image.height), abs=1)
    scale = (right - left) / query.width
    slack = 2 + 1 / scale
    assert match.query_left == pytest.approx(max(-left / scale, 0), abs=slack)
    assert match.query_box_height == pytest.approx(match.box_height / scale, abs=slack)


def test_repetition_does_not_win(db):
    """A wall of equal tiles has one thing in common with a picture of one tile."""
    tiles = [Region(60 * i, 0, 60, 60, 77) for i in range(10)]
    one = Shown(600, 60, [Region(300, 0, 60, 60, 77)])
    put(db, {"/wall.png": fingerprint(1, tiles)})
    assert [match.votes for match in sharing_parts(db, asked_for(one), min_votes=1)] == [1]
    wall = Shown(600, 60, tiles)
    put(db, {"/wall.png": fingerprint(2, list(one.regions))})
    assert [match.votes for match in sharing_parts(db, asked_for(wall), min_votes=1)] == [1]


def picture(*hashes: int) -> list[Region]:
    return [Region(50 * i, 10 * i, 60, 60, value) for i, value in enumerate(hashes)]


SEEN = Shown(640, 480, picture(11 << 20, 22 << 30, 33 << 40, 44 << 50))


def test_collections_limits_and_marks(db):
    put(db, {"/b.png": fingerprint(1, list(SEEN.regions))})
    put(db, {"/a.png": fingerprint(2, list(SEEN.regions))}, "other")

    def paths(sha256: bytes = b"", **how):
        return [match.path for match in sharing_parts(db, asked_for(SEEN, sha256), **how)]

    assert paths() == ["/a.png", "/b.png"]
    assert paths(limit=1) == ["/a.png"]
    assert paths(collection="default") == ["/b.png"]
    assert paths(min_votes=4) == ["/a.png", "/b.png"]
    assert paths(min_votes=5) == []
    db.execute(
        "INSERT INTO imgdb.not_duplicate SELECT min(image_id), max(image_id) FROM imgdb.image"
    )
    this = fingerprint(1, None).sha256
    assert paths(this) == ["/b.png"]
    same = sharing_parts(db, asked_for(SEEN, this))
    assert [(match.same_bytes, match.relation) for match in same] == [(True, "same")]
    with pytest.raises(psycopg.Error) as error:
        paths(min_votes=0)
    assert error.value.sqlstate == "IM012"
    with pytest.raises(psycopg.Error) as error:
        paths(collection="nobody's")
    assert error.value.sqlstate == "IM011"


def test_the_default_distance_is_the_space_s(db):
    put(db, {"/a.png": fingerprint(1, picture(0, 1 << 40, 3 << 40, 7 << 50))})
    near = Shown(640, 480, picture(31, (1 << 40) + 31, (3 << 40) + 31, (7 << 50) + 31))
    assert [match.votes for match in sharing_parts(db, asked_for(near), min_votes=1)] == [4]
    db.execute("UPDATE imgdb.space SET default_max_distance = 4 WHERE name = 'region'")
    assert sharing_parts(db, asked_for(near), min_votes=3) == []


def test_regions_are_replaced_kept_and_forgotten(db):
    old, new = picture(1, 2, 3), picture(7, 8)
    assert put(db, {"/a.png": fingerprint(1, old)}).added == 1
    assert stored_regions(db, "/a.png") == old
    # The same bytes, and regions were not asked for.
    assert put(db, {"/a.png": fingerprint(1, None)}) == put(db, {"/a.png": fingerprint(1, old)})
    assert put(db, {"/a.png": fingerprint(1, None)}, rewrite=True).updated == 1
    assert stored_regions(db, "/a.png") == old
    # Other bytes.
    assert put(db, {"/a.png": fingerprint(2, new)}).updated == 1
    assert stored_regions(db, "/a.png") == new
    assert put(db, {"/a.png": fingerprint(3, None)}).updated == 1
    assert stored_regions(db, "/a.png") == []
    assert db.execute("SELECT region_recipe FROM imgdb.image").fetchone() == (None,)
    # Looked for, and none there: known, so that nobody looks again.
    assert put(db, {"/a.png": fingerprint(3, [])}).updated == 1
    assert put(db, {"/a.png": fingerprint(3, [])}).updated == 0
    assert db.execute("SELECT region_recipe FROM imgdb.image").fetchone() == (RECIPE,)
    assert not any_regions(db)


def test_regions_go_with_their_image(db):
    put(db, {"/a.png": fingerprint(1, picture(1, 2, 3))})
    assert any_regions(db)
    db.execute("DELETE FROM imgdb.image")
    assert not any_regions(db)
    db.execute("CALL imgdb.compact('region')")
    db.execute("SELECT imgdb.drop_stale('region')")
    assert db.execute(
        "SELECT distinct_hashes FROM imgdb.space_statistics('region')"
    ).fetchone() == (0,)


def test_a_region_needs_an_area(db):
    put(db, {"/a.png": fingerprint(1, [])})
    for box in ("-1, 0, 5, 5", "0, 0, 0, 5"):
        with pytest.raises(psycopg.errors.CheckViolation):
            db.execute(
                f"INSERT INTO imgdb.image_region SELECT image_id, 1, {box}, 9 FROM imgdb.image"
            )


def test_imported_hashes_have_no_regions(db):
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute(
            "INSERT INTO imgdb.image (collection_id, path, recipe, region_recipe)"
            " SELECT imgdb._make_collection('x'), 'a', 'imported', 'regions-1'"
        )


def test_hashes_are_looked_up_by_index_before_the_first_analyze(db):
    """The planner takes each hash to be common in a table that was never analyzed."""
    put(db, {f"/{n}.png": fingerprint(n, picture(*range(n * 64, n * 64 + 60))) for n in range(300)})
    boxes = [side for found in SEEN.regions for side in found.box]
    with db.transaction():
        found = db.execute(
            "SELECT path FROM imgdb._region_matches(640, 480, %s::integer[], %s::bigint[], '',"
            " max_distance => 0, min_votes => 3, wrong_per_query => 0.1, collection_name => NULL,"
            " match_limit => NULL)",
            [boxes, [320, 321, 322, 323]],
        )
        assert found.fetchall() == [("/5.png",)]
        scans = db.execute(
            "SELECT seq_scan, idx_scan >= 4 FROM pg_stat_xact_all_tables"
            " WHERE relid = 'imgdb.image_region'::regclass"
        )
        assert scans.fetchall() == [(0, True)]
