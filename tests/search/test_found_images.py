"""What a query of one or of eight hashes finds, flood control included, against a model."""

import hashlib
import random

import psycopg
import pytest
from hash_sets import flipped

pytestmark = pytest.mark.sql

SHA = hashlib.sha256(b"asked for").digest()
ADD = (
    "INSERT INTO imgdb.image (collection_id, path, phash, dhash, flat, sha256, byte_size,"
    " modified_at, format, width, height, frames, recipe, missing_since)"
    " SELECT c.collection_id, n.path, n.hash, n.second, n.flat, n.sha256, 1, now(), 'PNG', 1, 1,"
    "  1, 'x', CASE WHEN n.missing THEN now() END"
    " FROM unnest(%(collection)s::text[], %(path)s::text[], %(hash)s::bigint[],"
    "  %(second)s::bigint[], %(flat)s::boolean[], %(sha256)s::bytea[], %(missing)s::boolean[])"
    "  AS n (collection, path, hash, second, flat, sha256, missing)"
    " JOIN imgdb.collection AS c ON c.name = n.collection RETURNING path, image_id"
)
MARK = "INSERT INTO imgdb.not_duplicate (image_id_a, image_id_b) VALUES (%s, %s)"
FIND = (
    "SELECT image_id, path, distance, query_number, same_bytes, missing, images"
    " FROM imgdb._found_images(%(rule)s, %(hashes)s, %(seconds)s, %(sha256)s, %(radius)s,"
    "  %(collection)s, %(limit)s, %(flood)s, %(include_flat)s, %(include_missing)s)"
)


def distance(rule, a, b):
    """Measure (hash, second) of a row and of a query: None if they have no hash in common."""
    sides = list(zip(a, b, strict=True))[: len(rule.split("+"))]
    known = [((x ^ y) & (2**64 - 1)).bit_count() for x, y in sides if None not in (x, y)]
    return sum(known) * len(sides) // len(known) if known else None


class Model:
    """The images, and what a search must find among them."""

    def __init__(self, draw, rule):
        self.rule = rule
        self.images, self.marks = {}, set()
        self.draw = draw

    def fill(self, conn, centres, lacks_hashes=True):
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a'), ('b')")
        draw, rows = self.draw, {}
        for number in range(60):
            near = draw.choice(centres)
            bits = [
                frozenset(draw.sample(range(64), draw.choice([0, 0, 0, 1, 2, 5, 9, 14])))
                for _ in near
            ]
            hashes = [flipped(*one) for one in zip(near, bits, strict=True)]
            row = {
                "collection": draw.choice("ab"),
                "path": f"/{draw.randrange(1000):03}-{number}.jpg",
                "hash": None if lacks_hashes and draw.random() < 0.1 else hashes[0],
                "second": None if draw.random() < 0.1 else hashes[1],
                "flat": draw.random() < 0.1,
                "sha256": SHA if draw.random() < 0.1 else draw.randbytes(32),
                "missing": draw.random() < 0.2,
            }
            rows[row["path"]] = row
        columns = ("collection", "path", "hash", "second", "flat", "sha256", "missing")
        stored = conn.execute(ADD, {name: [row[name] for row in rows.values()] for name in columns})
        self.images = {image: rows[path] for path, image in stored}
        assert len(self.images) == 60
        for _ in range(draw.choice([0, 30])):
            self.marks.add(tuple(sorted(draw.sample(sorted(self.images), 2))))
        conn.cursor().executemany(MARK, self.marks)

    def different(self, asked):
        """Images that are marked as different from every image that is asked for."""
        return {
            image
            for image in self.images
            if asked and image not in asked
            and all(tuple(sorted((image, one))) in self.marks for one in asked)
        }  # fmt: skip

    def key(self, image):
        """Return what images of one hash, or of two together, have in common."""
        row = self.images[image]
        return (row["hash"], row["second"])[: len(self.rule.split("+"))]

    def find(
        self, queries, sha256, radius, collection, limit, flood, include_flat, include_missing
    ):
        rows = self.images.items()
        several = len(self.rule.split("+"))
        asked = {query[:several] for query in queries}
        excluded = self.different({i for i, _ in rows if self.key(i) in asked})
        excluded |= self.different({i for i, row in rows if row["sha256"] == sha256})
        found = []
        for image, row in rows:
            same = row["sha256"] == sha256
            hashes = (row["hash"], row["second"])
            apart = [distance(self.rule, hashes, query) for query in queries]
            known = [(d, k) for k, d in enumerate(apart, 1) if d is not None]
            best = (apart[0], 1) if same else min(known, default=(None, 1))
            near = best[0] is not None and best[0] <= radius
            listed = near and image not in excluded and (include_flat or not row["flat"])
            seen = include_missing or not row["missing"]
            if (listed or same) and seen and collection in (None, row["collection"]):
                found.append((image, row["path"], *best, same, row["missing"], 1))
        found.sort(key=lambda m: (m[5], not m[4], m[2] is None, m[2], m[1], m[0]))
        if flood is not None:
            found = [*self.collapsed(found, flood)]
        return found[:limit]

    def collapsed(self, found, flood):
        crowds = {}
        for match in found:
            crowds.setdefault(self.key(match[0]), []).append(match)
        for match in found:
            crowd = crowds[self.key(match[0])]
            if not any(one is not None for one in self.key(match[0])) or len(crowd) <= flood:
                yield match
            elif match == min(crowd, key=lambda m: (m[5], not m[4], m[1], m[0])):
                yield (*match[:6], len(crowd))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("turns", [1, 8])
@pytest.mark.parametrize("rule", ["phash", "phash+dhash"])
def test_a_search_finds_what_the_model_says(conn, seed, turns, rule):
    draw = random.Random(f"{seed} {turns}")
    queries = [(draw.getrandbits(64) - 2**63, draw.getrandbits(64) - 2**63) for _ in range(turns)]
    # As of a symmetric picture: the same hash twice, and two that are near each other.
    if turns > 1:
        queries[5] = queries[2]
        queries[6] = (flipped(queries[1][0], frozenset({3, 40})), queries[1][1])
    model = Model(draw, rule)
    model.fill(conn, queries)
    compare(conn, model, queries, (0, 2, 8, 13, 17, 20, 26, 40, 64 * len(rule.split("+"))))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("turns", [1, 8])
@pytest.mark.parametrize("lacks_hashes", [True, False])
def test_a_search_by_a_dhash_near_zero_finds_what_the_model_says(conn, seed, turns, lacks_hashes):
    draw = random.Random(f"{seed} {turns}")
    crowded = [
        flipped(0, frozenset(draw.sample(range(64), draw.randrange(12)))) for _ in range(turns)
    ]
    queries = [(draw.getrandbits(64) - 2**63, second) for second in crowded]
    if turns > 1:
        queries[2] = (None, queries[2][1])
        queries[3] = (queries[3][0], None)
    model = Model(draw, "phash+dhash")
    model.fill(conn, [query for query in queries if None not in query], lacks_hashes)
    compare(conn, model, queries, (0, 1, 2, 7, 12, 15, 16, 17, 18, 19, 20, 21, 22, 26))


@pytest.mark.parametrize("largest", [1, 16, 17, 20, 21, 22])
def test_every_share_of_the_sum_is_found(conn, largest):
    """For dhashes ever farther from zero, images whose two distances share the sum in each way."""
    draw = random.Random(largest)
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a')")
    queries = [
        (draw.getrandbits(64) - 2**63, flipped(0, frozenset(draw.sample(range(64), bits))))
        for bits in range(13)
    ]
    for query in queries:
        rows = [
            [
                flipped(one, frozenset(draw.sample(range(64), apart)))
                for one, apart in zip(query, (first, largest - first), strict=True)
            ]
            for first in range(largest + 1)
        ]
        conn.cursor().executemany(
            "INSERT INTO imgdb.image (collection_id, path, phash, dhash, recipe)"
            " SELECT collection_id, gen_random_uuid(), %s, %s, 'x' FROM imgdb.collection",
            rows,
        )
    for query in queries:
        for sum_asked, wanted in ((largest, largest + 1), (largest - 1, 0)):
            found = conn.execute(
                "SELECT FROM imgdb.similar_images(query_hashes => %s, max_distance => %s)",
                [[*query], sum_asked],
            ).fetchall()
            assert len(found) == wanted


def compare(conn, model, queries, radii):
    draw, several = model.draw, len(model.rule.split("+"))
    for radius in radii:
        for _ in range(4):
            options = {
                "sha256": draw.choice([None, SHA]),
                "radius": radius,
                "collection": draw.choice([None, "a"]),
                "limit": draw.choice([None, 1, 7]),
                "flood": draw.choice([None, 1, 2, 5]),
                "include_flat": draw.choice([True, False]),
                "include_missing": draw.choice([True, False]),
            }
            asked = {
                "rule": model.rule,
                "hashes": [query[0] for query in queries],
                "seconds": [query[1] for query in queries] if several == 2 else None,
            }
            found = conn.execute(FIND, options | asked).fetchall()
            assert found == model.find(queries=queries, **options), options


def test_a_wrong_limit_is_refused(conn):
    with pytest.raises(psycopg.DatabaseError) as error:
        conn.execute(
            "SELECT imgdb._found_images('phash', '{1}', NULL, NULL, 8, NULL, 0, NULL, false, true)"
        )
    assert error.value.sqlstate == "IM012"
