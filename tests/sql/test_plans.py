"""The planner takes the indexes: of the hash column in joins, of the buckets in searches."""

import os

import psycopg
import pytest

pytestmark = pytest.mark.slow

IMAGES = int(os.environ.get("IMGDB_TEST_IMAGES", "100000"))

MATCHES = "imgdb.within('phash', query_hash => {}, max_distance => {}) AS m"
JOIN = f"SELECT i.path, m.distance FROM {MATCHES} JOIN imgdb.image AS i ON i.phash = m.hash"
LEFT_JOIN = JOIN.replace(" JOIN", " LEFT JOIN")
ORDERED = f"{JOIN} WHERE NOT i.flat ORDER BY m.distance, i.path LIMIT 20"
GROUPED = (
    "SELECT c.name, count(*) FROM " + MATCHES + " JOIN imgdb.image AS i ON i.phash = m.hash"
    " JOIN imgdb.collection AS c ON c.collection_id = i.collection_id GROUP BY c.name"
)
EXISTS = (
    "SELECT i.path FROM imgdb.image AS i WHERE i.phash IN"
    " (SELECT m.hash FROM " + MATCHES.removesuffix(" AS m") + " AS m)"
)
ANY = (
    "SELECT i.path FROM imgdb.within_any('phash', ARRAY[{}], {}) AS m"
    " JOIN imgdb.image AS i ON i.phash = m.hash"
)
NEAREST = (
    "SELECT i.path FROM imgdb.nearest('phash', {}, {}) AS m"
    " JOIN imgdb.image AS i ON i.phash = m.hash"
)
QUERIES = {
    "join": JOIN,
    "left join": LEFT_JOIN,
    "ordered": ORDERED,
    "grouped": GROUPED,
    "in": EXISTS,
    "within_any": ANY,
    "nearest": NEAREST,
}


def fill(conn: psycopg.Connection) -> None:
    """Add images whose hashes are spread evenly, set-wise; no statistics are gathered."""
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('many')")
    conn.execute(
        "INSERT INTO imgdb.image (collection_id, path, phash, dhash, recipe)"
        " SELECT c.collection_id, 'picture ' || i,"
        " ('x' || left(md5(i::text), 16))::bit(64)::bigint,"
        " ('x' || right(md5(i::text), 16))::bit(64)::bigint, 'imported'"
        " FROM imgdb.collection AS c, generate_series(1, %s) AS i WHERE c.name = 'many'",
        [IMAGES],
    )


@pytest.fixture(scope="module")
def filled(_databases):
    """Name a database of many images, without statistics; nobody connects to it."""
    name = f"imgdb_plans_{os.getpid()}"
    with psycopg.connect(_databases.create(name), autocommit=True) as conn:
        fill(conn)
    yield name
    _databases.drop(name)


@pytest.fixture(scope="module", params=["no statistics", "statistics"])
def images(_databases, filled, request):
    """Give an autocommit connection to a database of many images."""
    name = f"{filled}_{request.param[:2]}"
    with psycopg.connect(_databases.create(name, filled), autocommit=True) as conn:
        if request.param == "statistics":
            conn.execute("ANALYZE")
        yield conn
    _databases.drop(name)


def nodes(plan):
    """Yield every node of a plan of EXPLAIN (FORMAT JSON)."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def assert_takes_the_index(conn, statement):
    ((plan,),) = conn.execute(f"EXPLAIN (FORMAT JSON) {statement}").fetchall()
    reads = {
        (node["Node Type"], node.get("Index Name"))
        for node in nodes(plan[0]["Plan"])
        if node.get("Relation Name") == "image" or node.get("Index Name", "").startswith("image_")
    }
    scans = {"Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan"}
    assert ("image_phash_idx") in {index for _, index in reads}
    assert {kind for kind, _ in reads} <= scans


@pytest.mark.parametrize("query", QUERIES)
def test_join(images, query):
    assert_takes_the_index(images, QUERIES[query].format(5, 8))


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan", "auto"])
@pytest.mark.parametrize("query", QUERIES)
def test_prepared_join(images, query, mode):
    with images.transaction(force_rollback=True):
        images.execute(f"SET LOCAL plan_cache_mode = {mode}")
        images.execute(f"PREPARE search (bigint, integer) AS {QUERIES[query].format('$1', '$2')}")
        try:
            for radius in (0, 4, 8, 12, 4, 8, 2):
                assert_takes_the_index(images, f"EXECUTE search (5, {radius})")
        finally:
            images.execute("DEALLOCATE search")


def test_view(images):
    with images.transaction(force_rollback=True):
        images.execute(f"CREATE VIEW alike AS {JOIN.format(5, 8)}")
        assert_takes_the_index(images, "SELECT path FROM alike WHERE distance < 5")


def reads(conn):
    """Return how often this session read the buckets: (by scan, by index)."""
    conn.execute("SELECT pg_stat_clear_snapshot()")
    (counts,) = conn.execute(
        "SELECT pg_stat_get_xact_numscans('imgdb.prefix_bucket'::regclass),"
        " pg_stat_get_xact_numscans('imgdb.prefix_bucket_pkey'::regclass)"
    ).fetchall()
    return counts


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM imgdb.within('phash', 5, {})",
        "SELECT * FROM imgdb.within_any('phash', ARRAY[5, 6, 7], {})",
        "SELECT * FROM imgdb.similar_images('phash', 5, {})",
        "SELECT * FROM imgdb.explain('phash', 5, {})",
    ],
)
def test_buckets_are_read_by_index(images, statement):
    with images.transaction():
        for radius in (0, 3, 4, 7, 8, 10, 11, 12, 4, 8):
            scans, before = reads(images)
            images.execute(statement.format(radius))
            assert reads(images)[0] == scans
            assert reads(images)[1] > before


# What docs/sql.md tells people to ask of their own tables.
SUM = (
    "SELECT i.path FROM imgdb.image AS i WHERE ("
    "i.phash = ANY (ARRAY(SELECT hash FROM imgdb.within('phash', {0}, 8)))"
    " OR i.dhash = ANY (ARRAY(SELECT hash FROM imgdb.within('dhash', {0}, 8))))"
    " AND imgdb.distance(i.phash, {0}) + imgdb.distance(i.dhash, {0}) <= 17"
)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
def test_a_sum_of_two_hashes_joins_two_index_scans(images, mode):
    with images.transaction(force_rollback=True):
        images.execute(f"SET LOCAL plan_cache_mode = {mode}")
        images.execute(f"PREPARE search (bigint) AS {SUM.format('$1')}")
        try:
            ((plan,),) = images.execute("EXPLAIN (FORMAT JSON) EXECUTE search (5)").fetchall()
        finally:
            images.execute("DEALLOCATE search")
    kinds = [node["Node Type"] for node in nodes(plan[0]["Plan"])]
    assert "BitmapOr" in kinds and "Seq Scan" not in kinds
    indexes = {node.get("Index Name") for node in nodes(plan[0]["Plan"])}
    assert {"image_phash_idx", "image_dhash_idx"} <= indexes


def image_scans(conn):
    """Return how often this session read all images, and looked into both indexes."""
    conn.execute("SELECT pg_stat_clear_snapshot()")
    (counts,) = conn.execute(
        "SELECT pg_stat_get_xact_numscans('imgdb.image'::regclass),"
        " pg_stat_get_xact_numscans('imgdb.image_phash_idx'::regclass),"
        " pg_stat_get_xact_numscans('imgdb.image_dhash_idx'::regclass)"
    ).fetchall()
    return counts


def test_images_are_found_by_the_sum_through_both_indexes(images):
    """Take the hashes of an image, so that there is something to be joined."""
    statement = (
        "SELECT * FROM imgdb.similar_images(query_hashes => (SELECT ARRAY[i.phash, i.dhash]"
        " FROM imgdb.image AS i WHERE i.phash = ('x' || left(md5('7'), 16))::bit(64)::bigint),"
        " max_distance => {})"
    )
    with images.transaction():
        for largest in (0, 8, 17, 25, 17, 17, 17, 17):
            scans, by_phash, by_dhash = image_scans(images)
            assert len(images.execute(statement.format(largest)).fetchall()) == 1
            now = image_scans(images)
            assert now[0] == scans
            assert now[1] > by_phash and now[2] > by_dhash
        # Rows of a dhash that crowds are not read.
        scans, _, by_dhash = image_scans(images)
        for _ in range(7):
            images.execute("SELECT * FROM imgdb.similar_images(query_hashes => ARRAY[5, 0])")
        now = image_scans(images)
        assert (now[0], now[2]) == (scans, by_dhash)
        # Beyond, nearly every image would be a candidate.
        images.execute(statement.format(40))
        assert image_scans(images)[0] > scans


def test_a_session_that_began_on_empty_buckets_takes_the_index_later(space):
    """Plans that were kept while nothing was there must not read everything afterwards."""
    search = "SELECT count(*) FROM imgdb.within(%s, %s, %s)"
    for radius in (0, 4, 8, 12, 4, 8, 4, 8, 12):
        space.conn.execute(search, [space.name, 5, radius])
    with space.connect() as other:
        other.execute(
            "INSERT INTO hashes (hash) SELECT ('x' || left(md5(i::text), 16))::bit(64)::bigint"
            " FROM generate_series(1, 20000) AS i"
        )
    with space.conn.transaction():
        for radius in (4, 8, 12):
            scans, _ = reads(space.conn)
            space.conn.execute(search, [space.name, 5, radius])
            assert reads(space.conn)[0] == scans, radius


def test_the_probes_are_planned_once(space):
    """A plan for one distance has the name of the space in it; making it takes half a search."""
    search = "SELECT count(*) FROM imgdb.within(%s, %s, %s)"
    space.insert(range(1000))
    space.flush()
    space.look_up()
    space.conn.execute("ANALYZE")
    for _ in range(10):
        space.conn.execute(search, [space.name, 5, 4])
    plans: list[str] = []
    space.conn.execute("LOAD 'auto_explain'")
    space.conn.execute(
        "SELECT set_config('auto_explain.' || name, value, false) FROM (VALUES"
        " ('log_min_duration', '0'), ('log_nested_statements', 'on'), ('log_level', 'notice'))"
        " AS s (name, value)"
    )
    space.conn.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    space.conn.execute(search, [space.name, 5, 4])
    (plan,) = [p for p in plans if "imgdb.probe" in p and "Query Text: SELECT min" in p]
    assert "name = $" in plan
