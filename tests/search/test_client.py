"""Doors for bytes: pictures from Python in any shape, and a database as an object."""

import io
from pathlib import Path

import numpy as np
import psycopg
import pytest
from library import scene, shelf
from PIL import Image, ImageOps

import imgdb

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def folder(tmp_path):
    return shelf(tmp_path / "shelf")


def shapes(path):
    content = path.read_bytes()
    return {
        "text": str(path),
        "path": path,
        "bytes": content,
        "bytearray": bytearray(content),
        "memoryview": memoryview(content),
        "stream": io.BytesIO(content),
        "file": path.open("rb"),
        "unbuffered": path.open("rb", buffering=0),
        "picture": Image.open(path),
    }


@pytest.mark.parametrize("name", ["lake.png", "lake-small.jpg"])
def test_a_picture_has_the_same_hashes_in_any_shape(folder, name):
    wanted = imgdb.fingerprint(folder / name)
    for shape, image in shapes(folder / name).items():
        found = imgdb.hash(image)
        assert found == imgdb.Hashes(wanted.ahash, wanted.dhash, wanted.phash, wanted.whash), shape
        if shape != "picture":
            image.close() if hasattr(image, "close") else None
    assert imgdb.fingerprint((folder / name).read_bytes()).sha256 == wanted.sha256


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK",
                                  "YCbCr", "HSV", "LAB", "I", "F", "I;16"])  # fmt: skip
def test_a_picture_of_every_mode_is_hashed(mode):
    image = scene(1)
    if mode == "LAB":
        image = Image.merge("LAB", [image.convert("L")] * 3)
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    elif mode in ("PA", "RGBa"):
        image = image.convert("RGBA").convert(mode) if mode == "RGBa" else image.convert("P")
        image = image if mode == "RGBa" else image.convert("PA")
    else:
        image = image.convert(mode)
    assert image.mode == mode
    distance = (imgdb.hash(image).phash ^ imgdb.hash(scene(1)).phash) % 2**64
    assert distance.bit_count() <= 12


def test_a_picture_that_is_turned_by_its_exif_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(1).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "turned.jpg") as image:
        assert imgdb.hash(image) == imgdb.hash(tmp_path / "turned.jpg")
        assert imgdb.hash(ImageOps.exif_transpose(image)) == imgdb.hash(tmp_path / "turned.jpg")


@pytest.mark.parametrize("wrong", [None, 7, ["a.png"], {"path": "a.png"}, 1.5, io.StringIO()])
def test_what_is_no_picture_at_all_is_a_type_error(wrong):
    for door in (imgdb.hash, imgdb.fingerprint):
        with pytest.raises(TypeError, match="picture"):
            door(wrong)


def test_a_file_that_is_open_as_text_is_a_type_error(folder):
    with (folder / "lake.png").open() as file, pytest.raises(TypeError, match="'rb'"):
        imgdb.hash(file)


@pytest.mark.parametrize(
    ("image", "reason"),
    [(b"", "empty"), (b"no picture", "unknown-format"), ("/nowhere.png", "missing")],
)
def test_a_bad_picture_is_a_picture_error(image, reason):
    with pytest.raises(imgdb.PictureError) as caught:
        imgdb.hash(image)
    assert caught.value.reason == reason


def test_a_database_stores_and_finds(database, folder, capfd):
    content = (folder / "lake.png").read_bytes()
    with imgdb.connect(database) as db:
        first = db.add(content, id="LAKE-1", collection="shop")
        second = db.add(Image.open(folder / "hill.png"), id="HILL-1", collection="shop")
        own = db.add(folder / "lake-small.jpg")
        assert len({first, second, own}) == 3
        found = db.query(io.BytesIO(content))
        assert [(match.path, match.same_bytes) for match in found] == [
            ("LAKE-1", True),
            (str(folder / "lake-small.jpg"), False),
        ]
        assert [match.path for match in db.query(content, collection="shop")] == ["LAKE-1"]
        assert len(db.query(content, limit=1)) == 1
        turned = ImageOps.mirror(Image.open(folder / "hill.png"))
        assert db.query(turned) == []
        (match,) = db.query(turned, any_orientation=True)
        assert (match.path, match.orientation) == ("HILL-1", "mirrored")
        # What has the name already is replaced, and keeps its number.
        assert db.add((folder / "hill.png").read_bytes(), id="LAKE-1", collection="shop") == first
        assert [match.path for match in db.query(content)] == [str(folder / "lake-small.jpg")]
    assert capfd.readouterr() == ("", "")


def test_a_query_goes_by_the_rule_of_all_others(database):
    with imgdb.connect(database) as db:
        db.add(EXAMPLES / "images" / "cat-in-the-window.jpg")
        (match,) = db.query(EXAMPLES / "query.jpg")
        assert match.phash_distance > 0 < match.dhash_distance
        assert match.distance == match.phash_distance + match.dhash_distance
        (match,) = db.query(EXAMPLES / "query.jpg", hash="phash")
        assert match.distance == match.phash_distance


def test_a_flat_picture_finds_its_own_bytes_only(database, folder):
    with imgdb.connect(database) as db:
        db.add(folder / "blank.png")
        db.add(Image.new("RGB", (50, 50), (240, 240, 240)), id="other")
        assert [match.path for match in db.query(folder / "blank.png")] == [
            str(folder / "blank.png")
        ]
        assert len(db.query(folder / "blank.png", include_flat=True)) == 2


def test_a_database_ingests_folders(database, folder, capfd):
    with imgdb.connect(database) as db:
        summary = db.ingest([folder], collection="mine", jobs=1)
        assert (summary.added, summary.failed) == (6, 0)
        assert db.ingest([str(folder)], collection="mine", jobs=1).unchanged == 6
        with pytest.raises(TypeError, match="list of paths"):
            db.ingest(str(folder))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 3000])
def test_a_name_that_cannot_be_stored_is_refused(database, folder, name):
    with imgdb.connect(database) as db:
        with pytest.raises(imgdb.ImgdbError, match="not a name"):
            db.add(folder / "lake.png", id=name)
        with pytest.raises(TypeError, match="needs a name"):
            db.add(b"content")


def test_what_the_server_refuses_is_an_imgdb_error_at_once(database, folder):
    with imgdb.connect(database) as db:
        for fails in (
            lambda: db.query(folder / "lake.png", collection="nowhere"),
            lambda: list(db.within_many([0], space="nowhere")),
            lambda: db.add(folder / "lake.png", id="x", collection=""),
            lambda: db.ingest([folder], collection="", jobs=1),
        ):
            with pytest.raises(imgdb.ImgdbError) as caught:
                fails()
            assert "\n" not in str(caught.value)


def test_sql_of_the_callers_own_fails_with_the_drivers_error(database):
    with (
        pytest.raises(psycopg.errors.DivisionByZero),
        imgdb.connect(database) as db,
    ):
        db.connection.execute("SELECT 1 / 0")
    assert db.connection.closed
    # What was not committed is gone.
    with pytest.raises(psycopg.errors.DivisionByZero), imgdb.connect(database) as db:
        db.connection.autocommit = False
        db.connection.execute("INSERT INTO imgdb.collection (name) VALUES ('half')")
        db.connection.execute("SELECT 1 / 0")
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT FROM imgdb.collection WHERE name = 'half'").fetchone() is None


def test_nothing_stays_open(database, folder):
    before = set(Path("/proc/self/fd").iterdir())
    db = imgdb.connect(database)
    db.add(folder / "lake.png")
    db.close()
    db.close()
    assert db.connection.closed
    with pytest.raises(ValueError), imgdb.connect(database) as other:
        raise ValueError
    assert other.connection.closed
    assert set(Path("/proc/self/fd").iterdir()) == before
    with psycopg.connect(database) as conn:
        others = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'"
        ).fetchone()
    assert others == (0,)
