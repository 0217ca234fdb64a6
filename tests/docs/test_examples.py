"""The example pictures: exactly the planted matches, and the same pictures made again."""

import subprocess
import sys
from pathlib import Path

import pytest

from imgdb.hashes.fingerprint import Fingerprint, fingerprint
from imgdb.hashes.values import ALGORITHMS, bit_distance

EXAMPLES = Path(__file__).parents[2] / "examples"
MAX_DISTANCE = 8
QUERY_FAMILY = "cat-in-the-window"


def family(name: str) -> str:
    return name.partition(".")[0].partition("--")[0]


def hashed(folder: Path) -> dict[str, Fingerprint]:
    return {path.name: fingerprint(path) for path in sorted((folder / "images").iterdir())}


@pytest.fixture(scope="module")
def examples() -> dict[str, Fingerprint]:
    return hashed(EXAMPLES)


def found(query: Fingerprint, among: dict[str, Fingerprint]) -> set[str]:
    return {
        n for n, other in among.items() if bit_distance(query.phash, other.phash) <= MAX_DISTANCE
    }


def members(name: str, among: dict[str, Fingerprint]) -> set[str]:
    return {other for other in among if family(other) == name}


def test_there_are_enough_and_they_are_small(examples):
    sizes = [path.stat().st_size for path in (EXAMPLES / "images").iterdir()]
    assert 40 <= len(sizes) <= 80
    assert sum(sizes) < 4_000_000
    assert {found.format for found in examples.values()} == {"JPEG", "PNG", "WEBP"}
    assert not any(found.flat for found in examples.values())


def test_every_picture_finds_exactly_its_family(examples):
    for name, query in examples.items():
        assert found(query, examples) == members(family(name), examples), name


def test_unlike_scenes_are_far_apart(examples):
    for name, query in examples.items():
        for other in examples.keys() - members(family(name), examples):
            assert bit_distance(query.phash, examples[other].phash) > 20, (name, other)


def test_the_query_is_none_of_them_and_finds_its_family(examples):
    query = fingerprint(EXAMPLES / "query.jpg")
    assert query.sha256 not in {other.sha256 for other in examples.values()}
    assert found(query, examples) == members(QUERY_FAMILY, examples)
    assert len(members(QUERY_FAMILY, examples)) == 6


def test_the_script_makes_them_again(examples, tmp_path):
    command = [sys.executable, EXAMPLES / "make_examples.py", tmp_path]
    subprocess.run(command, check=True)
    again = hashed(tmp_path)
    assert again.keys() == examples.keys()
    for name, one in again.items():
        for algorithm in ALGORITHMS:
            # 0 on the machine that made them; another libwebp or mathematics library may move a bit
            two = examples[name]
            assert bit_distance(getattr(one, algorithm), getattr(two, algorithm)) <= 2, name
