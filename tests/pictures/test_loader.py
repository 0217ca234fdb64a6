"""What the loader gives for plain files, and what it says of those that it refuses."""

import hashlib
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from imgdb.errors import PictureError
from imgdb.pictures import loader
from imgdb.pictures.reasons import REASONS


def gradient(size: tuple[int, int] = (96, 64)) -> Image.Image:
    return Image.linear_gradient("L").resize(size)


def refusal(path: Path | str) -> str:
    with pytest.raises(PictureError) as caught:
        loader.load(path)
    assert caught.value.reason in REASONS
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_a_plain_picture(tmp_path: Path) -> None:
    path = tmp_path / "no-suffix"
    gradient().save(path, "PNG")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    picture = loader.load(path)
    assert picture.grey.tobytes() == gradient().tobytes()
    assert (picture.format, picture.width, picture.height, picture.frames) == ("PNG", 96, 64, 1)
    assert picture.byte_size == path.stat().st_size
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert picture.modified_at == datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "socket"))
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        assert refusal(tmp_path) == "not-a-file"
        assert refusal(tmp_path / "fifo") == "not-a-file"
        assert refusal(tmp_path / "socket") == "not-a-file"
        assert refusal("/dev/zero") == "not-a-file"
    assert refusal(tmp_path / "absent") == "missing"
    assert refusal(f"{tmp_path}/\0") == "missing"


def test_what_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "text.jpg"
    path.write_text("This is a letter.\n")
    assert refusal(path) == "unknown-format"
    path.write_bytes(b"")
    assert refusal(path) == "empty"


def test_a_cut_picture(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    gradient().save(path)
    path.write_bytes(path.read_bytes()[:-200])
    assert refusal(path) == "truncated"


def test_a_grey_picture_is_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    pages = [gradient(), Image.new("L", (96, 64), 7), Image.new("L", (96, 64), 9)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    picture = loader.load(path)
    assert picture.frames == 3
    assert picture.grey.tobytes() == pages[0].tobytes()


def test_a_stream_can_be_decoded_twice(tmp_path: Path) -> None:
    path = tmp_path / "big.jpg"
    gradient((1400, 1200)).save(path)
    now = datetime.now(UTC)
    with (
        path.open("rb") as file,
        loader.open_stream(file, byte_size=None, modified_at=now) as source,
    ):
        scaled, exact = source.picture("scaled"), source.picture("exact")
    assert scaled.grey.size == (700, 600)
    assert exact.grey.size == (1400, 1200)
    assert scaled.sha256 == exact.sha256 == hashlib.sha256(path.read_bytes()).digest()


def test_a_program_s_own_limit_of_pixels_is_given_back_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000_000)
    whole, torn = tmp_path / "whole.png", tmp_path / "torn.gif"
    gradient().save(whole)
    gradient().save(torn, "GIF")
    torn.write_bytes(torn.read_bytes()[:200])
    loader.load(whole, max_pixels=10_000)
    assert Image.MAX_IMAGE_PIXELS == 5_000_000
    assert refusal(torn) == "broken"
    assert Image.MAX_IMAGE_PIXELS == 5_000_000
