"""docker-compose.yml and Dockerfile keep their promises: data kept, nobody let in, no root."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))


def test_postgres_keeps_its_data_in_a_named_volume(compose):
    postgres = compose["services"]["postgres"]
    assert postgres["image"] == "postgres:18"
    # postgres:18 refuses a volume on the folder that 17 used.
    (volume,) = postgres["volumes"]
    name, place = volume.split(":")
    assert place == "/var/lib/postgresql"
    assert name in compose["volumes"]


def test_every_password_must_be_given(compose):
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name:
                assert re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", value)


def test_nothing_listens_beyond_this_machine(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert "network_mode" not in service


def test_ingest_waits_for_a_healthy_server_and_its_schema(compose):
    services = compose["services"]
    assert services["postgres"]["healthcheck"]["test"][1] == "pg_isready"
    assert services["schema"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["imgdb"]["depends_on"]["schema"] == {
        "condition": "service_completed_successfully"
    }
    assert services["schema"]["command"] == ["db", "upgrade"]
    assert services["imgdb"]["command"][0] == "ingest"


def test_pictures_are_mounted_read_only(compose):
    (volume,) = compose["services"]["imgdb"]["volumes"]
    assert volume.endswith(":/images:ro")
    assert (ROOT / "examples" / "images").is_dir()


def test_the_image_runs_as_an_ordinary_user():
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    last_stage = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert [line for line in last_stage if line.startswith("USER ")] == ["USER imgdb"]
    assert 'ENTRYPOINT ["imgdb"]' in last_stage


def test_the_image_is_built_from_what_the_wheel_needs():
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "imgdb",
        "sql",
        "migrations",
        "examples",
    ):
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", dockerfile, re.MULTILINE), name
        assert f"!{name}" in ignore
