"""`imgdb import` and `imgdb export`: every line checked, all of them or none."""

import csv
import gzip
import io
import json

import numpy as np
import psycopg
import pytest
from flatness import is_flat
from folders import paint, row_versions, stored

from imgdb.hashes.values import ALGORITHMS, Hashes, to_hex

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

HASHES = np.random.default_rng(4).integers(-(2**63), 2**63 - 1, 50, dtype=np.int64).tolist()


@pytest.fixture
def load(cli, database, tmp_path):
    """Write lines to a file, import it, and return the result of the command."""

    def run(*lines, name="hashes.csv", collection="shop"):
        file = tmp_path / name
        file.write_bytes(b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines))
        return cli("import", file, "--collection", collection, "--json", dsn=database)

    return run


def images(dsn, *columns):
    with psycopg.connect(dsn) as conn:
        names = ", ".join(columns)
        return conn.execute(f"SELECT {names} FROM imgdb.image ORDER BY path").fetchall()


def test_hex_of_all_four(load, database):
    rows = [f"id-{n},{','.join(to_hex(h ^ n) for n in range(4))}" for n, h in enumerate(HASHES)]
    result = load("id," + ",".join(ALGORITHMS), *rows)
    assert (result.code, json.loads(result.stdout)) == (
        0,
        {"added": 50, "updated": 0, "unchanged": 0},
    )
    assert images(database, "path", *ALGORITHMS, "recipe", "sha256") == sorted(
        (f"id-{n}", *(h ^ n for n in range(4)), "imported", None) for n, h in enumerate(HASHES)
    )
    with psycopg.connect(database) as conn:
        assert conn.execute(
            "SELECT path, distance FROM imgdb.similar_images('dhash', %s, 0)", (HASHES[7] ^ 1,)
        ).fetchall() == [("id-7", 0)]


@pytest.mark.parametrize("unsigned", [False, True])
def test_numbers(load, database, unsigned):
    spelled = [h % 2**64 if unsigned else h for h in HASHES]
    assert load("phash,path,more", *(f"{h},/a/{n:02},x" for n, h in enumerate(spelled))).code == 0
    assert images(database, "path", "phash", "ahash") == [
        (f"/a/{n:02}", h, None) for n, h in enumerate(HASHES)
    ]


@pytest.mark.sql
def test_importing_again_updates_and_keeps_what_was_made_from_a_file(cli, load, database, tmp_path):
    [path] = paint(tmp_path / "pictures", 1)
    cli("ingest", path, "--collection", "shop", "--jobs", "1", dsn=database)
    made = images(database, "*")
    first = load("path,phash", f"{path},{to_hex(1)}", f"/a,{to_hex(1)}", f"/b,{to_hex(2)}")
    assert json.loads(first.stdout) == {"added": 2, "updated": 0, "unchanged": 1}
    # Its hashes, sha256, recipe, and the time at which they were made.
    assert [row for row in images(database, "*") if str(path) in row] == made
    before = row_versions(database)
    again = load("path,phash", f"{path},{to_hex(1)}", f"/a,{to_hex(1)}", f"/b,{to_hex(2)}")
    assert json.loads(again.stdout) == {"added": 0, "updated": 0, "unchanged": 3}
    assert row_versions(database) == before
    changed = load("path,phash", f"/a,{to_hex(3)}", f"/c,{to_hex(1)}")
    assert json.loads(changed.stdout) == {"added": 1, "updated": 1, "unchanged": 0}
    assert dict(images(database, "path", "phash"))["/a"] == 3
    # Pruning and ingest leave alone what has no file.
    given = ("--collection", "shop", "--jobs", "1", "--json")
    pruned = cli("ingest", tmp_path, "--prune", *given, dsn=database)
    assert json.loads(pruned.stdout)["missing"] == 0


LAST, FIRST = 2**63 - 1, -(2**63)


def test_numbers_at_the_edges_between_gaps(load, database):
    rows = {
        "/1": ("8000000000000000", "18446744073709551615", FIRST, -1),
        "/2": ("", "", None, None),
        "/3": ("7fffffffffffffff", "9223372036854775808", LAST, FIRST),
        "/4": ("ffffffffffffffff", "-9223372036854775808", -1, FIRST),
        "/5": ("FFFFFFFFFFFFFFFE", "", -2, None),
        "/6": ("0000000000000000", "9223372036854775807", 0, LAST),
    }
    lines = [f"{path},{hexes},{decimals},1" for path, (hexes, decimals, _, _) in rows.items()]
    assert load("path,ahash,dhash,phash", *lines).code == 0
    assert images(database, "path", "ahash", "dhash") == [
        (path, ahash, dhash) for path, (_, _, ahash, dhash) in rows.items()
    ]


@pytest.mark.parametrize("gap", ["", "1"])
def test_numbers_beyond_the_edges_are_bad_lines(load, gap):
    result = load(
        "path,phash,dhash",
        *("/1,18446744073709551615,1", f"/2,{gap},1", "/3,18446744073709551616,1"),
        *("/4,-9223372036854775808,1", "/5,-9223372036854775809,1"),
    )
    assert result.code == 1
    assert [line.removeprefix("imgdb: ") for line in result.stderr.splitlines()[:-1]] == [
        "line 4: phash is not a whole number of 64 bits: '18446744073709551616'",
        "line 6: phash is not a whole number of 64 bits: '-9223372036854775809'",
    ]


def test_bad_lines_are_told_by_number_and_nothing_is_written(load, database):
    good = to_hex(HASHES[0])
    lines = [
        "path,phash,dhash",
        f"/good,{good},",
        f"/short,{good[:15]},",
        f"/letters,{'x' * 16},",
        f",{good},",
        "/none,,",
        f"/columns,{good}",
        f'"/two\nlines",{good},{good}',
        "/spaces," + " " * 15 + "1,",
        b"/latin\xe9," + good.encode() + b",",
        f"/end,{good},{good}",
    ]
    result = load(*lines)
    assert (result.code, result.stdout) == (1, "")
    assert [line.removeprefix("imgdb: ") for line in result.stderr.splitlines()[:-1]] == [
        f"line 3: phash is not 16 hex digits: '{good[:15]}'",
        "line 4: phash is not 16 hex digits: 'xxxxxxxxxxxxxxxx'",
        "line 5: no path",
        "line 6: no hash",
        "line 7: 2 columns instead of 3",
        "line 10: phash is not 16 hex digits: '               1'",
        "line 11: path is no text in UTF-8: '/latin\\udce9'",
    ]
    assert "7 bad lines" in result.stderr
    assert stored(database, "shop") == {}


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_file_of_bad_lines_only(load, database, end):
    result = load(f"path,phash\n/a,xyz{end}")
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith(
        "imgdb: line 2: phash is not a whole number of 64 bits: 'xyz'\n"
    )


def test_a_path_that_comes_twice_is_a_bad_line(load, database):
    lines = [f"/{n % 45},{h}" for n, h in enumerate(HASHES)]
    result = load("path,phash", *lines)
    assert result.code == 1
    assert "imgdb: line 47: the path stands in line 2 already\n" in result.stderr
    assert "5 bad lines" in result.stderr
    assert stored(database, "shop") == {}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([""], "the first line must name"),
        (["path,hash", "/a,1"], "the first line must name"),
        (["path,id,phash", "/a,b,1"], "the first line must name"),
        (["path,phash,phash", "/a,1,1"], "twice"),
    ],
)
def test_a_file_without_the_columns_is_wrong_usage(load, lines, words):
    result = load(*lines)
    assert (result.code, result.stderr.count("\n")) == (2, 1)
    assert words in result.stderr


def test_a_file_that_is_no_parquet(load):
    result = load("path,phash", name="hashes.parquet")
    assert (result.code, result.stderr.count("\n")) == (2, 1)
    assert "as Parquet" in result.stderr


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.string()])
def test_parquet(cli, database, tmp_path, kind):
    # Of 16 decimal digits, and yet a number.
    hashes = [*HASHES, FIRST, LAST, 1234567890123456]
    spelled = {
        pa.int64(): hashes,
        pa.uint64(): [h % 2**64 for h in hashes],
        pa.string(): [to_hex(h) for h in hashes],
    }[kind]
    names = [f"/a/{n:02}" for n in range(len(hashes))]
    gaps = [h if n % 5 else None for n, h in enumerate(spelled)]
    table = pa.table(
        {
            "path": names,
            "phash": pa.array(spelled, kind),
            "dhash": pa.array(gaps, kind),
            "other": names,
        }
    )
    pq.write_table(table, tmp_path / "hashes.parquet")
    result = cli("import", tmp_path / "hashes.parquet", "--collection", "shop", dsn=database)
    assert (result.code, result.stderr) == (0, "")
    assert images(database, "path", "phash", "dhash") == [
        (name, h, h if n % 5 else None)
        for n, (name, h) in enumerate(zip(names, hashes, strict=True))
    ]


@pytest.mark.parametrize("value", [1.5, True, "x"])
def test_parquet_of_what_is_no_hash(cli, database, tmp_path, value):
    pq.write_table(pa.table({"path": ["/a"], "phash": [value]}), tmp_path / "hashes.parquet")
    result = cli("import", tmp_path / "hashes.parquet", "--collection", "shop", dsn=database)
    assert result.code == 1
    assert result.stderr.startswith("imgdb: line 1: phash is not a whole number of 64 bits: ")


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_what_is_exported_can_be_imported(cli, database, tmp_path, format):
    paint(tmp_path / "pictures", 4)
    cli("ingest", tmp_path / "pictures", "--jobs", "1", dsn=database)
    file = tmp_path / f"all.{format}"
    assert cli("export", "--format", format, "--output", file, dsn=database).code == 0
    result = cli("import", file, "--collection", "copy", dsn=database)
    assert (result.code, result.stderr) == (0, "")
    assert stored(database, "copy") == stored(database)
    with psycopg.connect(database) as conn:
        different = conn.execute(
            "SELECT count(*) FROM imgdb.image a JOIN imgdb.image b USING (path)"
            " WHERE (a.ahash, a.dhash, a.phash, a.whash, a.flat)"
            " IS DISTINCT FROM (b.ahash, b.dhash, b.phash, b.whash, b.flat)"
        ).fetchone()
    assert different == (0,)


def test_export_says_what_is_known(cli, database, tmp_path):
    [path] = paint(tmp_path, 1)
    cli("ingest", path, "--jobs", "1", dsn=database)
    result = cli("export", "--collection", "default", dsn=database)
    [row] = csv.DictReader(io.StringIO(result.stdout))
    assert row["path"] == str(path)
    assert (row["format"], row["width"], row["recipe"]) == ("PNG", "64", "exact-1")
    assert cli("export", "--collection", "gone", dsn=database).code == 2


def test_many_lines(load, database):
    random = np.random.default_rng(5).integers(0, 2**64 - 1, 120_000, dtype=np.uint64)
    lines = [f"/shop/pictures/{n:08},{h:016x}" for n, h in enumerate(random.tolist())]
    result = load("path,phash", *lines)
    assert json.loads(result.stdout)["added"] == len(lines)
    with psycopg.connect(database) as conn:
        hashes = conn.execute("SELECT phash FROM imgdb.image ORDER BY path").fetchall()
        [(found,)] = conn.execute(
            "SELECT count(*) FROM imgdb.within('phash', %s, 0)", (hashes[99][0],)
        )
    assert [h for (h,) in hashes] == random.astype(np.int64).tolist()
    assert found == 1


def test_flat_is_the_same_in_sql(conn):
    near = [0, 1, 0b1111, 0b11111, -(2**63), -(2**63) + 7, -(2**63) + 31, None, *HASHES[:3]]
    rows = [(a, d, p, w) for a in near for d in near[:3] for p in near for w in (0, None, 31)]
    found = conn.execute(
        "SELECT imgdb._is_flat(a, d, p, w) FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[],"
        " %s::bigint[]) AS given (a, d, p, w)",
        list(map(list, zip(*rows, strict=True))),
    ).fetchall()
    assert [flat for (flat,) in found] == [is_flat(Hashes(*row)) for row in rows]


def test_a_path_that_comes_twice_among_known_ones_is_a_bad_line(load, database):
    load("path,phash", f"/a,{to_hex(1)}")
    result = load("path,phash", f"/a,{to_hex(2)}", f"/a,{to_hex(3)}")
    assert (result.code, result.stderr.splitlines()[0]) == (
        1,
        "imgdb: line 3: the path stands in line 2 already",
    )
    assert images(database, "phash") == [(1,)]


def test_the_first_import_marks_what_is_flat(load, database):
    """5 bits are too many for 0, and 4 away from the hash of a solid colour, whose first is set."""
    near = -(2**63) | 0b1111
    rows = {"/white": near, "/no": near & ~(-(2**63)) | 0b10000, "/far": near | 0b10000}
    assert load("path,phash", *(f"{path},{value}" for path, value in rows.items())).code == 0
    assert dict(images(database, "path", "flat")) == {
        path: is_flat(Hashes(phash=value)) for path, value in rows.items()
    }
    assert dict(images(database, "path", "flat")) == {"/white": True, "/no": False, "/far": False}


LINES = ["path,phash", f"/a,{to_hex(HASHES[0])}", f"/b,{to_hex(HASHES[1])}"]
OBJECTS = [{"path": "/a", "phash": to_hex(HASHES[0])}, {"path": "/b", "phash": HASHES[1] % 2**64}]
OTHERWISE = [{"Id": "/a", "pHash": HASHES[0]}, {"Id": "/b", "pHash": HASHES[1]}]
FILES = {
    "semicolons": "\n".join(LINES).replace(",", ";"),
    "tabs": "\n".join(LINES).replace(",", "\t"),
    "a mark": "\ufeff" + "\r\n".join(LINES),
    "another case": "\n".join(["Path,PHash", *LINES[1:]]),
    "0x": "\n".join([LINES[0], *(line.replace(",", ",0x") for line in LINES[1:])]),
    "quoted": "\n".join('"' + line.replace(",", '","') + '"' for line in LINES),
    "lines of JSON": "\n".join(map(json.dumps, OBJECTS)),
    "other lines of JSON": "\n".join(map(json.dumps, OTHERWISE)),
    "a list of JSON": json.dumps(OBJECTS, indent=1),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("packed", [False, True], ids=["file", "packed on stdin"])
def test_many_kinds_of_tables_are_read(cli, database, tmp_path, kind, packed):
    (tmp_path / "hashes").write_text(FILES[kind], "utf-8")
    given = {"stdin": gzip.compress(FILES[kind].encode())} if packed else {}
    file = "-" if packed else tmp_path / "hashes"
    result = cli("import", file, "--collection", "shop", dsn=database, **given)
    assert (result.code, result.stderr) == (0, ""), result
    assert images(database, "path", "phash") == [("/a", HASHES[0]), ("/b", HASHES[1])]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_columns_may_have_any_name(cli, database, tmp_path, kind):
    hashes = [(to_hex(value), to_hex(~value)) for value in HASHES[:2]]
    rows = [
        {"SKU": f"s{n}", "hash": a, "Path": "/x", "dhash": b} for n, (a, b) in enumerate(hashes)
    ]
    if kind == "csv":
        text = "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)])
    else:
        text = "\n".join(map(json.dumps, rows))
    (tmp_path / "hashes").write_text(text)
    maps = ("--map", "id=sku", "--map", "phash=hash")
    result = cli("import", tmp_path / "hashes", "--collection", "shop", *maps, dsn=database)
    assert (result.code, result.stderr) == (0, "")
    assert images(database, "path", "phash", "dhash") == [
        (f"s{n}", value, ~value) for n, value in enumerate(HASHES[:2])
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("phash=none", "there is no column none"),
        ("md5=hash", "not NAME=COLUMN"),
        ("phash", "not NAME=COLUMN"),
        ("phash=", "not NAME=COLUMN"),
    ],
)
def test_a_map_that_leads_nowhere_is_wrong_usage(cli, database, tmp_path, given, words):
    (tmp_path / "hashes").write_text("path,hash\n/a,1\n")
    shop = ("--collection", "shop", "--map", given)
    result = cli("import", tmp_path / "hashes", *shop, dsn=database)
    assert (result.code, words in result.stderr, result.stderr.count("\n")) == (2, True, 1)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        # A quote that nobody closes takes all that follows for its cell.
        (["path,phash", "/a,1", '"/b,2', "/c,3"], "line 3: no CSV from here on"),
        (["path;phash", "/a;1", "/b;x"], "line 3: phash is not a whole number"),
        (["path,phash", "/a,0x00", "/b,1"], "line 2: phash is not 16 hex digits"),
        (['{"path": "/a", "phash": 1}', "", '{"path": "/b", "phash": 1.5}'], "line 3: phash is"),
        (['{"path": "/a", "phash": 1}', "[1]"], "line 2: no object of JSON"),
        (['{"path": "/a", "phash": 1}', '{"path": '], "line 2: no JSON: "),
    ],
)
def test_the_line_that_is_wrong_is_told(load, database, lines, told):
    result = load(*lines)
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"imgdb: {told}"), result.stderr
    assert "1 bad line in" in result.stderr
    assert stored(database, "shop") == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'"path,phash\n/a,1\n', "the first line is no CSV"),
        (b'"path"x,phash\n/a,1\n', "the first line is no CSV"),
        (gzip.compress(b"path,phash\n" + b"/a,1\n" * 9)[:-12], "is damaged"),
        (b"[1, 2", "cannot be read as JSON"),
        (b"", "the first line must name"),
    ],
    ids=["quoted", "more after a quote", "gzip", "json", "empty"],
)
def test_what_is_no_table_is_wrong_usage(cli, database, tmp_path, content, words):
    (tmp_path / "hashes").write_bytes(content)
    result = cli("import", tmp_path / "hashes", "--collection", "shop", dsn=database)
    assert (result.code, result.stderr.count("\n")) == (2, 1), result
    assert words in result.stderr
    gone = cli("import", tmp_path / "gone", "--collection", "shop", dsn=database)
    assert (gone.code, gone.stderr) == (1, f"imgdb: No such file or directory: {tmp_path}/gone\n")


def test_what_hash_prints_can_be_imported(cli, database, tmp_path):
    [path] = paint(tmp_path / "pictures", 1)
    # Lines have no names of columns, and are not taken for something else.
    lines = cli("import", "-", stdin=cli("hash", path).stdout, dsn=database)
    assert (lines.code, "--json" in lines.stderr) == (2, True)
    printed = cli("hash", path, "--json").stdout
    result = cli("import", "-", "--collection", "shop", stdin=printed, dsn=database)
    assert (result.code, result.stderr) == (0, "")
    [(stored_path, *hashes)] = images(database, "path", *ALGORITHMS)
    (found,) = json.loads(printed)
    assert (stored_path, hashes) == (str(path), [found[f"{name}_bigint"] for name in ALGORITHMS])
