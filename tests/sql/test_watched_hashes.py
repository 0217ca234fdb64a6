"""Live matches: what arrives near a watched hash is noted, once, by everybody and never lost."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from brute_force import distances
from psycopg.conninfo import conninfo_to_dict
from roles import login

WAITING = (
    "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
    " WHERE NOT l.granted AND a.datname = current_database()"
)
NOTED = "SELECT label, hash, distance, relation_name FROM imgdb.own_match ORDER BY match_id"


@pytest.fixture
def shop(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA shop CREATE TABLE product (id bigserial, hash bigint)")
        conn.execute("SELECT imgdb.track('shop.product', 'hash', 'shop')")
        yield conn


def watch(conn, hash_value, radius=2, label="case 17", space="shop"):
    return conn.execute(
        "SELECT imgdb.watch(%s, %s, %s, %s)", [space, hash_value, radius, label]
    ).fetchone()[0]


def insert(conn, *hashes):
    conn.execute("INSERT INTO shop.product (hash) SELECT unnest(%s::bigint[])", [list(hashes)])


def noted(conn):
    return conn.execute(NOTED).fetchall()


def heard(conn):
    """Return what was notified so far: a round trip brings all that was committed."""
    conn.execute("SELECT 1")
    return [json.loads(one.payload) for one in conn.notifies(timeout=0)]


def until_somebody_waits(conn):
    while conn.execute(WAITING).fetchone() == (0,):
        pass


def test_what_arrives_near_is_noted_and_told_once_a_statement(shop, database):
    watch(shop, 7)
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN imgdb_match")
        insert(shop, 1 << 40, 0xFF, None)
        assert (noted(shop), heard(listener)) == ([], [])
        insert(shop, 5, 4, 5, 1 << 40)
        assert noted(shop) == [
            ("case 17", 4, 2, "shop.product"),
            ("case 17", 5, 1, "shop.product"),
        ]
        (told,) = heard(listener)
        (nearest,) = shop.execute("SELECT match_id FROM imgdb.own_match WHERE hash = 5").fetchone()
        assert told == {
            "label": "case 17",
            "relation": "shop.product",
            "distance": 1,
            "space": "shop",
            "match_id": nearest,
            "matches": 2,
        }
        # Nothing arrives with what stays as it is; what changes does.
        shop.execute("UPDATE shop.product SET hash = hash, id = id + 100")
        assert len(noted(shop)) == 2 and heard(listener) == []
        shop.execute("UPDATE shop.product SET hash = 6 WHERE hash = 255")
        assert noted(shop)[2:] == [("case 17", 6, 1, "shop.product")]
        assert len(heard(listener)) == 1
        with shop.transaction(force_rollback=True):
            insert(shop, 7)
            assert len(noted(shop)) == 4
        assert len(noted(shop)) == 3 and heard(listener) == []


def test_a_notification_always_fits(shop, database):
    watch(shop, 7, label="\x01" * 200)
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN imgdb_match")
        insert(shop, 7)
        assert heard(listener)[0]["label"] == "\x01" * 200
    with pytest.raises(psycopg.errors.CheckViolation):
        watch(shop, 7, label="x" * 201)


@pytest.mark.parametrize("masks", ["_masks_for(0)", "_masks_for(100000000)"])
@pytest.mark.parametrize("copied", [False, True])
def test_no_match_is_missed(shop, masks, copied):
    draw = np.random.default_rng(10)
    listed = draw.integers(-(2**63), 2**63, 40)
    (wanted,) = shop.execute(f"SELECT imgdb.{masks}").fetchone()
    shop.execute("CALL imgdb.rebuild('shop', %s)", [wanted])
    entries = [
        (watch(shop, int(one), place % 13, str(place)), int(one), place % 13)
        for place, one in enumerate(listed)
    ]
    # Each entry with 0 to 14 bits turned, and what is like nothing.
    turned = [
        (int(one) ^ sum(1 << int(bit) for bit in draw.choice(64, count, replace=False))) % 2**64
        for one in listed
        for count in range(15)
    ]
    hashes = np.unique(np.array(turned, dtype=np.uint64).view(np.int64))
    hashes = np.concatenate([hashes, draw.integers(-(2**63), 2**63, 2000)])
    if copied:
        with shop.cursor().copy("COPY shop.product (hash) FROM STDIN") as copy:
            for one in hashes.tolist():
                copy.write_row([one])
    else:
        for one in hashes.tolist()[:600]:
            insert(shop, one)
        hashes = hashes[:600]
    found = shop.execute("SELECT watch_id, hash, distance FROM imgdb.own_match").fetchall()
    right = {
        (entry, int(hashes[place]), int(far))
        for entry, one, radius in entries
        for place, far in enumerate(distances(hashes, one))
        if far <= radius
    }
    assert len(found) == len(right) > 100 and set(found) == right


def test_what_was_there_is_noted_with_the_entry(shop):
    insert(shop, 5, 1 << 40)
    shop.execute("CALL imgdb.compact('shop')")
    insert(shop, 6)
    watch(shop, 7, label="other")
    assert noted(shop) == [("other", 5, 1, None), ("other", 6, 1, None)]
    # Each entry finds its own.
    watch(shop, 4, 1, label="second")
    assert [row[0] for row in noted(shop)] == ["other", "other", "second", "second"]


def test_what_track_and_catch_up_bring_is_noted(shop):
    watch(shop, 7)
    shop.execute("CREATE TABLE shop.older AS SELECT 5::bigint AS hash")
    shop.execute("SELECT imgdb.track('shop.older', 'hash', 'shop')")
    assert noted(shop) == [("case 17", 5, 1, None)]
    shop.execute("ALTER TABLE shop.product DISABLE TRIGGER ALL")
    insert(shop, 6, 1 << 40)
    shop.execute("SELECT imgdb.catch_up('shop.product')")
    assert noted(shop)[1:] == [("case 17", 6, 1, None)]


def test_who_writes_while_an_entry_comes_is_waited_for(shop, database):
    with psycopg.connect(database) as writer, ThreadPoolExecutor() as pool:
        insert(writer, 5)
        watching = pool.submit(watch, shop, 7)
        with psycopg.connect(database, autocommit=True) as other:
            until_somebody_waits(other)
        writer.commit()
        watching.result()
        assert noted(shop) == [("case 17", 5, 1, None)]
    # And who comes while it is not committed waits.
    with psycopg.connect(database) as watcher, ThreadPoolExecutor() as pool:
        watch(watcher, 1 << 50, label="far")
        writing = pool.submit(insert, shop, 1 << 50)
        with psycopg.connect(database, autocommit=True) as other:
            until_somebody_waits(other)
        watcher.commit()
        writing.result()
    assert noted(shop)[1:] == [("far", 1 << 50, 0, "shop.product")]


@pytest.mark.parametrize("level", [3, 4])
def test_an_older_snapshot_is_told_to_run_again(shop, database, level):
    with psycopg.connect(database) as writer:
        writer.isolation_level = psycopg.IsolationLevel(level)
        writer.execute("SELECT count(*) FROM shop.product")
        watch(shop, 7)
        with pytest.raises(psycopg.errors.SerializationFailure):
            insert(writer, 7)
        writer.rollback()
        insert(writer, 7)
        writer.commit()
    assert noted(shop) == [("case 17", 7, 0, "shop.product")]
    with psycopg.connect(database) as watcher:
        watcher.isolation_level = psycopg.IsolationLevel(level)
        with pytest.raises(psycopg.Error) as caught:
            watch(watcher, 7)
        assert caught.value.sqlstate == "IM012"


def test_an_entry_that_goes_meanwhile_fails_no_writer(shop, database):
    entry = watch(shop, 7)
    with psycopg.connect(database) as remover, ThreadPoolExecutor() as pool:
        assert remover.execute("SELECT imgdb.unwatch(%s)", [[entry]]).fetchone() == (1,)
        writing = pool.submit(insert, shop, 7)
        with psycopg.connect(database, autocommit=True) as other:
            until_somebody_waits(other)
        remover.commit()
        writing.result()
    assert noted(shop) == []
    assert shop.execute("SELECT count(*) FROM shop.product").fetchone() == (1,)


def test_entries_follow_a_rebuild_and_go_with_their_space(shop):
    watch(shop, 7)
    insert(shop, 5)
    shop.execute("CALL imgdb.rebuild('shop')")
    insert(shop, 6)
    assert [row[1] for row in noted(shop)] == [5, 6]
    shop.execute("SELECT imgdb.untrack('shop.product', 'hash'), imgdb.drop_space('shop')")
    for table in ("watch_list", "watch_probe", "match"):
        assert shop.execute(f"SELECT count(*) FROM imgdb.{table}").fetchone() == (0,)


def test_bands_that_cannot_serve_an_entry_are_refused(shop):
    """Bands of 22 bits have too many prefixes from level 15 on, other ones earlier."""
    watch(shop, 7, 12)
    shop.execute("DELETE FROM imgdb.probe WHERE from_distance > 11")
    with pytest.raises(psycopg.Error) as caught:
        watch(shop, 8, 12)
    assert caught.value.sqlstate == "IM002"


def test_unwatch_and_acknowledge_leave_nothing(shop):
    kept, gone = watch(shop, 7), watch(shop, 1 << 40)
    insert(shop, 5, 1 << 40)
    ids = [one for (one,) in shop.execute("SELECT match_id FROM imgdb.own_match ORDER BY 1")]
    assert shop.execute("SELECT imgdb.acknowledge(%s)", [[*ids[:1], 0]]).fetchone() == (1,)
    assert shop.execute("SELECT imgdb.unwatch(%s)", [[gone, 0]]).fetchone() == (1,)
    assert noted(shop) == []
    assert shop.execute("SELECT DISTINCT watch_id FROM imgdb.watch_probe").fetchall() == [(kept,)]
    assert shop.execute("SELECT imgdb.unwatch(%s)", [[kept]]).fetchone() == (1,)
    assert shop.execute("SELECT count(*) FROM imgdb.watch_probe").fetchone() == (0,)


def test_a_role_watches_its_own_spaces_and_sees_nothing_of_others(shop, database):
    watch(shop, 7, label="secret")
    insert(shop, 5)
    shop.execute("SELECT imgdb._make_collection('default')")
    shop_id = shop.execute("SELECT space_id FROM imgdb.space WHERE name = 'shop'").fetchone()[0]
    with login(database, "keeper", f'CREATE ON DATABASE "{shop.info.dbname}"') as dsn:
        shop.execute("SELECT imgdb.grant_access(%s, 'keep')", [conninfo_to_dict(dsn)["user"]])
        with psycopg.connect(dsn, autocommit=True) as keeper:
            keeper.execute("CREATE SCHEMA own CREATE TABLE picture (hash bigint)")
            keeper.execute("SELECT imgdb.track('own.picture', 'hash', 'own')")
            entry = watch(keeper, 7, label="mine", space="own")
            keeper.execute("INSERT INTO own.picture VALUES (7)")
            assert noted(keeper) == [("mine", 7, 0, "own.picture")]
            for space in ("shop", "phash"):
                with pytest.raises(psycopg.Error) as caught:
                    watch(keeper, 7, space=space)
                assert caught.value.sqlstate == "IM013"
            # Nor past the functions, nor by a function that sees rows before the rights are asked.
            with pytest.raises(psycopg.Error) as caught:
                keeper.execute(
                    "INSERT INTO imgdb.own_watch_list (space_id, hash, radius, label)"
                    " VALUES (%s, 5, 2, '')",
                    [shop_id],
                )
            assert caught.value.sqlstate == "44000"
            keeper.execute(
                "CREATE FUNCTION own.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001"
                " AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
            )
            told = []
            keeper.add_notice_handler(lambda notice: told.append(notice.message_primary))
            for view in ("own_watch_list", "own_match"):
                keeper.execute(f"SELECT * FROM imgdb.{view} WHERE own.tell(label)")
            assert told == ["mine", "mine"]
            everything = list(range(50))
            assert keeper.execute("SELECT imgdb.acknowledge(%s)", [everything]).fetchone() == (1,)
            assert keeper.execute("SELECT imgdb.unwatch(%s)", [everything]).fetchone() == (1,)
            assert entry > 0
    assert noted(shop) == [("secret", 5, 1, "shop.product")]


def test_who_may_write_watches_the_images(shop, database):
    shop.execute("SELECT imgdb._make_collection('default')")
    with login(database, "moderator") as dsn:
        shop.execute("SELECT imgdb.grant_access(%s, 'write')", [conninfo_to_dict(dsn)["user"]])
        with psycopg.connect(dsn, autocommit=True) as moderator:
            watch(moderator, 7, space="phash")
            moderator.execute(
                "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
                " SELECT collection_id, '/y', 5, 'imported' FROM imgdb.collection"
            )
            assert noted(moderator) == [("case 17", 5, 1, "imgdb.image")]
            with pytest.raises(psycopg.Error) as caught:
                watch(moderator, 7)
            assert caught.value.sqlstate == "IM013"
