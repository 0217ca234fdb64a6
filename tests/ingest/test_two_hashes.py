"""`--hashes phash,dhash`: the whole path of a collection with the two hashes that find."""

import csv
import io
import json

import psycopg
import pytest
from library import shelf

FEW = ("--hashes", "phash,dhash", "--jobs", "1")


@pytest.mark.slow
def test_two_hashes_are_enough_from_ingest_to_calibrate(cli, database, tmp_path):
    folder = shelf(tmp_path / "shelf")

    def said(*args):
        result = cli(*args, "--json", dsn=database)
        assert result.code == 0, result
        return json.loads(result.stdout)

    assert said("ingest", folder, *FEW)["added"] == 6
    again = cli("ingest", folder, *FEW, "--json", dsn=database)
    assert json.loads(again.stdout)["unchanged"] == 6 and "rehash" not in again.stderr
    assert said("rehash", *FEW)["updated"] == 0
    found = said("query", folder / "lake-small.jpg")
    assert len(found) == 4 and {one["whash_distance"] for one in found} == {None}
    by_whash = cli("query", folder / "lake.png", "--hash", "whash", dsn=database)
    # Files of the same bytes are found by any rule.
    assert len(by_whash.stdout.splitlines()) == 2
    by_whash = cli("query", "--hex", "0" * 16, "--hash", "whash", dsn=database)
    assert "no image has a whash; imgdb rehash" in by_whash.stderr
    assert len({one["group_id"] for one in said("duplicates")}) == 1
    assert said("stats")["images"] == 6
    measured = said("calibrate", "--sample", "1", "--edits", "jpeg", "--jobs", "1")["hashes"]
    rules = {"phash+dhash", "phash", "dhash", "trimmed"}
    assert {one["hash"] for one in measured if one["images"]} == rules
    exported = cli("export", dsn=database).stdout
    rows = list(csv.DictReader(io.StringIO(exported, newline="")))
    assert {row["whash"] for row in rows} == {""} and all(row["dhash"] for row in rows)
    # It comes back as it was, and is as good as read.
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM imgdb.image")
    assert cli("import", "-", stdin=exported, dsn=database).code == 0
    assert said("ingest", folder, *FEW)["unchanged"] == 6
    assert said("rehash", "--jobs", "1")["updated"] == 6
    assert {one["whash_distance"] for one in said("query", folder / "lake.png")} != {None}
