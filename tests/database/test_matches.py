"""`imgdb matches`: what arrived near a watched hash, listed, followed and acknowledged."""

import contextlib
import json
import os
import subprocess
import sys

import psycopg
import pytest


@pytest.fixture
def watched(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE product (hash bigint)")
        conn.execute("SELECT imgdb.track('product', 'hash', 'shop')")
        conn.execute("SELECT imgdb.watch('shop', 7, 2, 'case 17')")
        yield conn


@contextlib.contextmanager
def running(database, *args):
    """Run the command with a pipe for its output; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imgdb", "matches", *args],
        env={**os.environ, "IMGDB_DSN": database},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_matches_are_listed_until_they_are_acknowledged(cli, database, watched):
    empty = cli("matches", dsn=database)
    assert (empty.code, empty.stdout, empty.stderr) == (0, "", "")
    watched.execute("INSERT INTO product VALUES (5), (1000000)")
    listed = cli("matches", dsn=database)
    assert listed.code == 0
    number, _, *told = listed.stdout.rstrip("\n").split("\t")
    assert told == ["shop", "case 17", "1", "public.product", "0000000000000005"]
    shown = cli("matches", "--json", "--acknowledge", dsn=database)
    (one,) = json.loads(shown.stdout)
    assert one["match_id"] == int(number) and one["relation"] == "public.product"
    assert cli("matches", "--json", dsn=database).stdout == "[]\n"


def test_what_nobody_could_read_is_not_acknowledged(database, watched):
    watched.execute("INSERT INTO product VALUES (5)")
    with running(database, "--acknowledge") as process:
        process.stdout.close()
        assert process.wait() != 0
    assert watched.execute("SELECT count(*) FROM imgdb.own_match").fetchone() == (1,)


@pytest.mark.parametrize("acknowledge", [(), ("--acknowledge",)])
def test_followed_matches_come_one_by_one(database, watched, acknowledge):
    watched.execute("INSERT INTO product VALUES (5)")
    with running(database, "--follow", "--json", *acknowledge) as process:
        lines = process.stdout
        for hash_value in (6, 7, 3):
            first = json.loads(lines.readline())
            assert first["label"] == "case 17" and first["space"] == "shop"
            watched.execute("INSERT INTO product VALUES (%s)", [hash_value])
        last = json.loads(lines.readline())
        assert (last["hash"], last["distance"]) == ("0000000000000003", 1)
        if acknowledge:
            # The last ones go right after they are printed.
            while watched.execute("SELECT count(*) FROM imgdb.own_match").fetchone() != (0,):
                pass
        else:
            assert watched.execute("SELECT count(*) FROM imgdb.own_match").fetchone() == (4,)


def test_a_followed_stream_has_no_csv(cli, database):
    result = cli("matches", "--follow", "--csv", dsn=database)
    assert (result.code, result.stdout) == (2, "")
    assert "--json" in result.stderr
