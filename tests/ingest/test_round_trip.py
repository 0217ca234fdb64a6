"""A whole export that is imported into an empty database gives the same database."""

import csv
import io
import itertools
import json
import os
from pathlib import Path

import psycopg
import pytest
from folders import paint, row_versions
from PIL import Image

from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import to_hex
from imgdb.ingest.store import Batch, Store
from imgdb.ingest.tables.bad_lines import BadLines
from imgdb.ingest.tables.exporting import export_csv, export_parquet
from imgdb.ingest.tables.importing import Imported, import_hashes
from imgdb.paths import path_text
from imgdb.search.images import query_by_hex, similar

pytest.importorskip("pyarrow")

# The rows of each table, with collections and paths in place of numbers.
NAMED = (
    "SELECT c.name, i.path, to_jsonb(t) - 'image_id' - 'collection_id'"
    " FROM imgdb.{} AS t JOIN imgdb.image AS i USING (image_id)"
    " JOIN imgdb.collection AS c ON c.collection_id = i.collection_id ORDER BY 1, 2, 3"
)
MARKS = (
    "SELECT array(SELECT (c.name, i.path)::text FROM imgdb.image AS i"
    " JOIN imgdb.collection AS c USING (collection_id)"
    " WHERE i.image_id IN (m.image_id_a, m.image_id_b) ORDER BY 1), m.marked_at"
    " FROM imgdb.not_duplicate AS m ORDER BY 1"
)
OF_IMAGES = (
    "SELECT DISTINCT conrelid::regclass::text FROM pg_constraint"
    " WHERE contype = 'f' AND confrelid = 'imgdb.image'::regclass ORDER BY 1"
)
FULL_OF_PARTS = Path(__file__).parents[2] / "examples/images/bauhaus.jpg"
_serial = itertools.count()


def content(dsn):
    """Return all that is known of images."""
    with psycopg.connect(dsn, options="-c timezone=UTC -c datestyle=ISO") as conn:
        tables = [name for (name,) in conn.execute(OF_IMAGES)]
        # Whoever adds a table of images must see to its export. Decisions are about files on this
        # disk, and not made for good: they stay here.
        known = ["decision", "image_pdq", "image_region", "not_duplicate"]
        assert tables == [f"imgdb.{name}" for name in known]
        found = {
            name: conn.execute(NAMED.format(name)).fetchall()
            for name in ("image", "image_pdq", "image_region")
        }
        return found | {"marks": conn.execute(MARKS).fetchall()}


@pytest.fixture
def other(_databases):
    name = f"imgdb_other_{next(_serial)}"
    yield _databases.create(name)
    _databases.drop(name)


def load(dsn, file, collection=None):
    with psycopg.connect(dsn, autocommit=True) as conn:
        return import_hashes(conn, str(file), collection=collection)


@pytest.fixture
def full(database, tmp_path):
    """A database with something of every kind."""
    folder = tmp_path / "pictures"
    paths = paint(folder, 2)
    (folder / "full.jpg").write_bytes(FULL_OF_PARTS.read_bytes())
    Image.new("RGB", (50, 50), "navy").save(folder / "flat.png")
    (folder / os.fsdecode(b'odd "name",\n\xff;\t.png')).write_bytes(paths[0].read_bytes())
    images = {
        path_text(path): fingerprint(path, pdq=True, regions=True) for path in folder.iterdir()
    }
    plain = {path_text(path): fingerprint(path, algorithms=["phash"]) for path in paths}
    (tmp_path / "hashes.csv").write_text(f"id,phash\nSKU-1,{to_hex(-5)}\nSKU-2,{to_hex(77)}\n")
    (tmp_path / "pdq.txt").write_text(f"{'0f' * 32},88,case 1\n")
    with psycopg.connect(database, autocommit=True) as conn:
        for collection in ("default", 'same files; "twice"'):
            Store(conn, collection).store(Batch(images=images))
        Store(conn, "plain").store(Batch(images=plain))
        import_hashes(conn, str(tmp_path / "hashes.csv"), collection="bought")
        import_hashes(conn, str(tmp_path / "pdq.txt"), collection="known")
        conn.execute(
            "INSERT INTO imgdb.not_duplicate SELECT a.image_id, b.image_id, '2020-02-02 12:34Z'"
            " FROM imgdb.image AS a JOIN imgdb.image AS b ON a.image_id < b.image_id"
            " WHERE a.sha256 = b.sha256 OR a.path = 'SKU-1'"
        )
        conn.execute(
            "UPDATE imgdb.image SET missing_since = '1999-12-31 23:59:59.999999Z',"
            " ingested_at = '2024-02-29 23:59:59.123456Z' WHERE flat"
        )
        # However somebody likes to read times.
        conn.execute(f"ALTER DATABASE {conn.info.dbname} SET datestyle = 'SQL, DMY'")
        conn.execute(f"ALTER DATABASE {conn.info.dbname} SET timezone = 'Asia/Kolkata'")
    made = content(database)
    assert all(made.values()) and len(made["image_region"]) > 20
    return made


def as_json_lines(text):
    """Write the rows of CSV as JSON Lines, with values of their own kinds."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    numbers = ("byte_size", "width", "height", "frames", "pdq_quality")
    for row in rows:
        row.update({name: int(row[name]) for name in numbers if row[name]})
        row["flat"] = row["flat"] == "t"
    return "\n".join(
        json.dumps({k: v if v != "" else None for k, v in row.items()}) for row in rows
    )


@pytest.mark.parametrize("format", ["csv", "parquet", "jsonl"])
def test_a_whole_export_gives_the_same_database(database, other, full, tmp_path, format):
    write = export_parquet if format == "parquet" else export_csv
    file = tmp_path / f"all.{format}"
    with psycopg.connect(database, autocommit=True) as conn, file.open("wb") as opened:
        write(conn, opened, None)
    if format == "jsonl":
        file.write_text(as_json_lines(file.read_text("utf-8")), "utf-8")
    count = len(full["image"])
    assert load(other, file) == Imported(count, 0, 0)
    assert content(other) == full
    before = row_versions(other)
    assert load(other, file) == Imported(0, 0, count)
    assert (row_versions(other), content(other)) == (before, full)
    with psycopg.connect(other) as conn:
        for (space,) in conn.execute("SELECT name FROM imgdb.space").fetchall():
            missing = conn.execute("SELECT * FROM imgdb.missing_hashes(%s)", [space]).fetchall()
            assert missing == []


def test_the_commands_do_it_too(cli, database, other, full, tmp_path):
    file = tmp_path / "plain.csv"
    exported = cli("export", "--collection", "plain", "--output", file, dsn=database)
    assert (exported.code, exported.stderr) == (0, "")
    told = cli("import", file, "--json", dsn=other)
    assert json.loads(told.stdout) == {"added": 2, "updated": 0, "unchanged": 0}
    assert content(other)["image"] == [row for row in full["image"] if row[0] == "plain"]


def test_into_one_collection(database, other, full, tmp_path):
    def exported(collection):
        file = tmp_path / "some.csv"
        with psycopg.connect(database, autocommit=True) as conn, file.open("wb") as opened:
            export_csv(conn, opened, collection)
        return file

    assert load(other, exported("default"), "mine") == Imported(5, 0, 0)
    for table in ("image", "image_pdq", "image_region"):
        found = content(other)[table]
        assert {name for name, *_ in found} == {"mine"}
        wanted = [row for row in full[table] if row[0] == "default"]
        assert [row[1:] for row in found] == [row[1:] for row in wanted]
    # A mark goes along if both images do.
    assert len(content(other)["marks"]) == 1
    # A path of two collections would be there twice.
    with pytest.raises(BadLines) as error:
        load(other, exported(None), "mine")
    assert "the path stands in line" in error.value.told[0]


def test_what_is_no_export_needs_a_collection(cli, database):
    refused = cli("import", "-", stdin="path,collection,phash\n/a,x,1\n", dsn=database)
    assert refused.code == 2 and "give --collection" in refused.stderr


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("sha256", "", "all of byte_size"),
        ("sha256", "xyz", "sha256 is non-hexadecimal"),
        ("recipe", "", "no recipe"),
        ("collection", "", "no collection"),
        ("flat", "maybe", "flat is neither true nor false"),
        ("width", "-1", "width is no whole number"),
        ("modified_at", "yesterday", "modified_at is Invalid isoformat"),
        ("modified_at", "2024-01-01 00:00:00", "modified_at is a time without a zone"),
        ("regions", "[[1, 2, 3]]", "regions is no list"),
        ("regions", "{}", "regions is no list of lists"),
        ("pdq", "0f", "pdq is not 64 hex digits"),
        ("pdq_quality", "101", "pdq_quality is not between 0 and 100"),
        ("different_from", "[[1]]", "different_from is not enough values"),
    ],
)
def test_a_bad_value_of_an_export_is_a_bad_line(database, other, tmp_path, column, value, words):
    [path] = paint(tmp_path, 1)
    text = io.BytesIO()
    with psycopg.connect(database, autocommit=True) as conn:
        found = fingerprint(path, pdq=True, regions=True)
        Store(conn, "default").store(Batch(images={"/a": found}))
        export_csv(conn, text, None)
    [row] = csv.DictReader(io.StringIO(text.getvalue().decode(), newline=""))
    with (tmp_path / "bad.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row | {column: value})
    with pytest.raises(BadLines) as error:
        load(other, tmp_path / "bad.csv")
    assert error.value.told[0].startswith(f"line 2: {words}")
    assert not any(content(other).values())


PDQ = ["0f" * 32, "A5" * 32, "00" * 31 + "7f"]
LISTS = {
    "hex": (PDQ, ["0f" * 32, "A5" * 32, PDQ[2]], [None] * 3),
    "hex and quality": ([f"{pdq},{n}" for n, pdq in enumerate(PDQ)], PDQ, [0, 1, 2]),
    "what Meta's program prints": (
        [f"{pdq},100,../data/{n}.jpg" for n, pdq in enumerate(PDQ)],
        ["../data/0.jpg", "../data/1.jpg", "../data/2.jpg"],
        [100] * 3,
    ),
    "a table": (["type,PDQ", *(f"pdq,{pdq}" for pdq in PDQ)], PDQ, [None] * 3),
    "a table with names": (
        ["id,pdq", *(f"{n},{pdq}" for n, pdq in enumerate(PDQ))],
        ["0", "1", "2"],
        [None] * 3,
    ),
    "lines of JSON": (
        [json.dumps({"id": n, "pdq": p, "pdq_quality": 7}) for n, p in enumerate(PDQ)],
        ["0", "1", "2"],
        [7] * 3,
    ),
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_pdq_hashes(database, tmp_path, kind):
    lines, names, qualities = LISTS[kind]
    file = tmp_path / "list"
    file.write_text("\n".join(lines))
    assert load(database, file, "known") == Imported(3, 0, 0)
    with psycopg.connect(database) as conn:
        found = conn.execute(
            "SELECT i.path, imgdb.pdq_to_hex(ARRAY[pdq_1, pdq_2, pdq_3, pdq_4]), quality,"
            " pdq_recipe, i.recipe, flat FROM imgdb.image_pdq JOIN imgdb.image AS i"
            " USING (image_id)"
        ).fetchall()
    assert sorted(found) == sorted(
        (name, pdq.lower(), quality, "imported", "imported", False)
        for name, pdq, quality in zip(names, PDQ, qualities, strict=True)
    )
    assert load(database, file, "known") == Imported(0, 0, 3)
    with psycopg.connect(database, autocommit=True) as conn:
        near = query_by_hex("pdq", f"{int(PDQ[0], 16) ^ 0b111:064x}")
        found = [(one.path, one.distance) for one in similar(conn, near, space="pdq")]
    assert found == [(names[0], 3)]


def test_a_list_of_pdq_hashes_says_nothing_of_the_others(database, tmp_path):
    def loaded(*lines):
        (tmp_path / "list").write_text("\n".join(lines))
        return load(database, tmp_path / "list", "x")

    def rows():
        with psycopg.connect(database) as conn:
            return conn.execute(
                "SELECT phash, pdq_4 FROM imgdb.image LEFT JOIN imgdb.image_pdq USING (image_id)"
                " ORDER BY path"
            ).fetchall()

    assert loaded("path,phash", "a,1", "b,2") == Imported(2, 0, 0)
    assert loaded("path,pdq", f"a,{5:064x}", f"c,{6:064x}") == Imported(1, 1, 0)
    assert rows() == [(1, 5), (2, None), (None, 6)]
    assert loaded("path,phash", "a,3") == Imported(0, 1, 0)
    assert loaded("path,pdq", f"a,{7:064x}") == Imported(0, 1, 0)
    assert rows() == [(3, 7), (2, None), (None, 6)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([PDQ[0], "xyz"], "line 2: pdq is not 64 hex digits"),
        ([PDQ[0], PDQ[1], PDQ[0]], "line 3: the path stands in line 1 already"),
        ([PDQ[0], f"{PDQ[1]},100"], "line 2: 2 columns instead of 1"),
    ],
    ids=["no hash", "twice", "another width"],
)
def test_a_bad_line_of_a_list(database, tmp_path, lines, words):
    (tmp_path / "list").write_text("\n".join(lines))
    with pytest.raises(BadLines) as error:
        load(database, tmp_path / "list", "x")
    assert error.value.told[0].startswith(words)
