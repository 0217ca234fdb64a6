"""What each role may do, tried by roles that log in: all that it was given, and nothing else."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from roles import login

ACCESSES = ("search", "read", "write", "keep", "maintain")
KINDS = (*ACCESSES, "nothing")

# Statement to who may. The others are refused, by a right that they lack or as no owner.
OPERATIONS = {
    "SELECT * FROM imgdb.find_images('phash', 5, 8)": "search read write",
    "SELECT * FROM imgdb.find_images(query_hashes => '{5,6}', match_limit => 3)":
        "search read write",
    "SELECT * FROM imgdb.find_pdq('{1,2,3,4}', 31)": "search read write",
    "SELECT imgdb.distance(5, 6), imgdb.to_hex(5), imgdb.from_hex('000000000000000f')":
        "search read write keep maintain",
    "SELECT imgdb.pdq_distance('{1,2,3,4}', '{1,2,3,5}')": "search read write keep maintain",
    "SELECT * FROM imgdb.within('phash', 5, 8)": "read write keep maintain",
    "SELECT * FROM imgdb.within('phash', 5, 40)": "read write keep maintain",
    "SELECT * FROM imgdb.within_any('phash', '{5}', 8)": "read write keep maintain",
    "SELECT * FROM imgdb.nearest('phash', 5, 3)": "read write keep maintain",
    "SELECT * FROM imgdb.scan('phash', 5, 8)": "read write keep maintain",
    "SELECT * FROM imgdb.pairs('phash', 4)": "read write keep maintain",
    "SELECT * FROM imgdb.explain('phash', 5, 8)": "read write keep maintain",
    "SELECT * FROM imgdb.similar_images('phash', 5, 8)": "read write",
    "SELECT * FROM imgdb.within_pdq('{1,2,3,4}', 31)": "read write",
    "SELECT * FROM imgdb.scan_pdq('{1,2,3,4}', 31)": "read write",
    "SELECT * FROM imgdb.duplicate_groups('phash', 4)": "read write",
    "SELECT * FROM imgdb.check_space('phash', 5, 8)": "read keep",
    "SELECT * FROM imgdb.space_statistics('phash')": "read write keep maintain",
    "SELECT * FROM imgdb.fullest_buckets('phash', 3)": "read write keep maintain",
    "SELECT * FROM imgdb.tracking_problems()": "read write keep maintain",
    "SELECT * FROM imgdb.space_health": "read write keep maintain",
    "SELECT * FROM imgdb.alembic_version": "read write keep maintain",
    "SELECT * FROM imgdb.image": "read write",
    "SELECT * FROM imgdb.image_pdq": "read write",
    "SELECT * FROM imgdb.not_duplicate": "read write",
    "SELECT hashes FROM imgdb.prefix_bucket": "read write keep maintain",
    "SELECT imgdb._make_collection('other')": "write",
    "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
    " SELECT collection_id, '/y', 5, 'imported' FROM imgdb.collection": "write",
    "DELETE FROM imgdb.image": "write",
    "SELECT imgdb.create_space('own', ''), imgdb.drop_space('own')": "keep",
    "SELECT imgdb.set_default_max_distance('mine', 3)": "keep",
    "SELECT imgdb.missing_hashes('mine')": "keep",
    "SELECT imgdb.catch_up('own.picture')": "keep",
    "SELECT imgdb.drop_stale('mine')": "keep",
    "SELECT imgdb.untrack('own.picture', 'hash')": "keep",
    "SELECT imgdb.track('own.picture', 'hash', 'mine')": "keep",
    "CALL imgdb.rebuild('mine')": "keep",
    "CALL imgdb.compact('mine')": "keep maintain",
    "CALL imgdb.compact('phash')": "maintain",
    "CALL imgdb.compact()": "keep maintain",
    "SELECT imgdb.watch('mine', 5)": "keep",
    "SELECT imgdb.watch('phash', 5)": "write",
    "INSERT INTO imgdb.own_watch_list (space_id, hash, radius, label)"
    " SELECT space_id, 9, 2, '' FROM imgdb.space WHERE name = 'phash'": "write",
    "SELECT imgdb.acknowledge('{1}'), imgdb.unwatch('{1}')": "write keep",
    "SELECT * FROM imgdb.own_match": "read write keep maintain",
    "SELECT * FROM imgdb.own_watch_list": "read write keep maintain",
    "SELECT * FROM imgdb.match": "read write",
    "SELECT * FROM imgdb.watch_list": "read write",
    "DELETE FROM imgdb.match": "",
    "DELETE FROM imgdb.watch_list": "",
    "SELECT imgdb._note_matches(1::smallint, '{5}', 'x')": "",
    "SELECT imgdb.set_default_max_distance('phash', 3)": "",
    "SELECT imgdb.missing_hashes('phash')": "",
    "SELECT imgdb.drop_stale('phash')": "",
    "SELECT imgdb.drop_space('phash')": "",
    "SELECT imgdb.track('imgdb.image', 'ahash', 'own')": "",
    "SELECT imgdb.untrack('imgdb.image', 'phash')": "",
    "CALL imgdb.rebuild('phash')": "",
    "SELECT imgdb.distribute(2)": "",
    "SELECT imgdb.undistribute()": "",
    "SELECT imgdb.grant_access(current_user, 'write')": "",
    "SELECT imgdb.revoke_access('postgres')": "",
    "SELECT imgdb._append(1::smallint, '{5}', NULL)": "",
    "UPDATE imgdb.space SET owner_name = current_user": "",
    "DELETE FROM imgdb.tracked_column": "",
    "INSERT INTO imgdb.fresh_hashes VALUES (1, '{5}')": "",
    "CREATE TABLE imgdb.mine (hash bigint)": "",
    "DROP FUNCTION imgdb.distance": "",
}  # fmt: skip


@pytest.fixture
def admin(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SELECT imgdb._make_collection('default')")
        conn.execute(
            "INSERT INTO imgdb.image (collection_id, path, phash, dhash, recipe)"
            " SELECT collection_id, '/cat', 7, 6, 'imported' FROM imgdb.collection"
        )
        conn.execute(
            "INSERT INTO imgdb.image_pdq (image_id, pdq_1, pdq_2, pdq_3, pdq_4, pdq_recipe)"
            " SELECT image_id, 1, 2, 3, 5, 'imported' FROM imgdb.image"
        )
        yield conn


def prepare(admin, dsn, kind):
    """Give a role what its kind says; a keeper makes a space. Others get one of that name."""
    name = conninfo_to_dict(dsn)["user"]
    if kind != "nothing":
        admin.execute("SELECT imgdb.grant_access(%s, %s)", [name, kind])
    with psycopg.connect(dsn, autocommit=True) as role:
        role.execute("CREATE SCHEMA own")
        role.execute("CREATE TABLE own.picture (hash bigint)")
        role.execute("INSERT INTO own.picture VALUES (5), (6)")
    if kind == "keep":
        with psycopg.connect(dsn, autocommit=True) as role:
            role.execute("SELECT imgdb.track('own.picture', 'hash', 'mine')")
    else:
        admin.execute("SELECT imgdb.create_space('mine', '')")
    return name


def refused(role, statement):
    try:
        role.execute(statement)
    except psycopg.Error as error:
        # 44000: a row that the view of own ones does not let in.
        assert error.sqlstate in ("42501", "IM013", "44000"), (statement, error)
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_role_may_do_what_it_was_given_and_no_more(admin, database, kind):
    with login(database, "role", f'CREATE ON DATABASE "{admin.info.dbname}"') as dsn:
        name = prepare(admin, dsn, kind)
        with psycopg.connect(dsn, autocommit=True) as role:
            done = {statement for statement in OPERATIONS if not refused(role, statement)}
            may = {statement for statement, who in OPERATIONS.items() if kind in who.split()}
            assert done - may == set() and may - done == set()
            admin.execute("SELECT imgdb.revoke_access(%s)", [name])
            assert all(refused(role, statement) for statement in OPERATIONS)


def test_all_public_functions_are_tried(admin):
    """A new one says above who may call it."""
    names = {
        name
        for (name,) in admin.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'imgdb'::regnamespace"
            " AND proname !~ '^_' AND provolatile <> 'i'"
        )
    }
    tried = " ".join(OPERATIONS)
    assert names and {name for name in names if f"imgdb.{name}(" not in tried} == set()


def test_public_may_do_nothing(admin):
    rights = admin.execute(
        "SELECT c.oid::regclass::text FROM pg_class AS c, aclexplode(c.relacl) AS a"
        " WHERE c.relnamespace = 'imgdb'::regnamespace AND a.grantee = 0"
        " UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc AS p"
        " WHERE p.pronamespace = 'imgdb'::regnamespace"
        " AND has_function_privilege('public', p.oid, 'EXECUTE')"
        " UNION ALL SELECT 'schema' WHERE has_schema_privilege('public', 'imgdb', 'USAGE')"
    )
    assert rights.fetchall() == []
    for call in ("grant_access('public', 'write')", "revoke_access('public')"):
        with pytest.raises(psycopg.Error) as caught:
            admin.execute(f"SELECT imgdb.{call}")
        assert caught.value.sqlstate == "IM012"


def test_who_only_searches_sees_where_images_are_and_never_a_hash(admin, database):
    with login(database, "seeker") as dsn:
        admin.execute("SELECT imgdb.grant_access(%s, 'search')", [conninfo_to_dict(dsn)["user"]])
        with psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as seeker:
            for call, distance in (
                ("find_images('phash', 5, 8)", 1),
                ("find_images(query_hashes => '{5,6}')", 1),
                ("find_pdq('{1,2,3,4}')", 1),
            ):
                [row] = seeker.execute(f"SELECT * FROM imgdb.{call}").fetchall()
                assert {**row, "image_id": 0} == {
                    "image_id": 0,
                    "collection": "default",
                    "path": "/cat",
                    "distance": distance,
                }
            # Nor does it search the whole of the images: distances from afar tell each hash.
            for call in (
                "find_images('phash', 5, 9)",
                "find_images(query_hashes => '{5,6}', max_distance => 18)",
                "find_pdq('{1,2,3,4}', 32)",
            ):
                with pytest.raises(psycopg.Error) as caught:
                    seeker.execute(f"SELECT * FROM imgdb.{call}")
                assert caught.value.sqlstate == "IM002"
