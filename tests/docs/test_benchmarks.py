"""docs/benchmarks.md says what was measured, and the benchmark still runs."""

import importlib.util
import json

import pytest

from benchmarks import charts, clients, ingest_tables, render, search, serve_tables, targets
from benchmarks.options import PARTS
from benchmarks.results import CHANGED, OtherEnvironment, Results, measure

LIBRARIES = ("faiss", "sklearn", "annoy", "apsw", "chdb", "duckdb", "sqlite_vec", "usearch")


def test_page_and_charts_are_what_the_stored_results_render_to():
    differing = render.unlike(Results.read())
    # If this fails: python -m benchmarks.render
    assert [file.name for file in differing] == []


def test_ingest_page_is_what_its_stored_results_render_to():
    page = ingest_tables.PAGE.read_text("utf-8")
    assert ingest_tables.render(page) == page, "run: python -m benchmarks.ingest_tables"


def test_page_of_the_server_is_what_its_stored_results_render_to():
    page = serve_tables.PAGE.read_text("utf-8")
    assert serve_tables.render(page) == page, "run: python -m benchmarks.serve_tables"


def test_results_say_where_they_are_from():
    results = Results.read()
    told = {"processor", "cores", "postgresql", "settings", "packages", "seed"}
    assert told <= results.environment.keys()
    assert all(run["commit"] and run["date"] for run in results.runs)


def test_imgdb_missed_nothing():
    assert targets.least_recall(Results.read()) == 1


def test_recall_of_almost_all_is_not_shown_as_all():
    assert charts.percent(1.0) == "100 %"
    assert charts.percent(0.9999) == "99.9 %"
    assert charts.percent(0.557) == "55.7 %"


def test_runs_merge_only_in_the_same_environment(tmp_path):
    file = tmp_path / "merged.json"
    here = {"processor": "one", "photo_hashes_sha256": None}
    run = {"commit": "abc"}
    first = Results.begin(file, here, run, replace=False)
    first.add("within", "uniform", 10, {"measures": [{"peer": "imgdb", "p50_ms": 1.0}]})
    first.add("load", "uniform", 10, {})
    second = Results.begin(file, dict(here), dict(run), replace=False)
    second.add("within", "uniform", 10, {"measures": [{"peer": "imgdb", "p50_ms": 2.0}]})
    merged = Results.read(file)
    assert [merged.groups[key]["run"] for key in sorted(merged.groups)] == [0, 1]
    assert measure(merged.get("within", "uniform", 10), peer="imgdb")["p50_ms"] == 2.0
    with pytest.raises(OtherEnvironment, match="another processor"):
        Results.begin(file, here | {"processor": "two"}, run, replace=False)
    assert Results.begin(file, here | {"processor": "two"}, run, replace=True).groups == {}


def test_runs_merge_only_at_the_same_commit(tmp_path):
    file = tmp_path / "merged.json"
    here = {"photo_hashes_sha256": None}
    Results.begin(file, here, {"commit": "abc"}, replace=False).add("load", "uniform", 10, {})
    with pytest.raises(OtherEnvironment, match="another commit"):
        Results.begin(file, dict(here), {"commit": "abd"}, replace=False)
    changed = {"commit": "abc" + CHANGED}
    Results.begin(file, here, changed, replace=True).add("load", "uniform", 10, {})
    with pytest.raises(OtherEnvironment, match="another commit"):
        Results.begin(file, dict(here), dict(changed), replace=False)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in LIBRARIES),
    reason="needs pip install -e .[bench]",
)
@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")
def test_a_small_run_measures_every_part(tmp_path, place, monkeypatch):
    monkeypatch.setattr(clients, "CLIENTS", (1, 4))
    file = tmp_path / "small.json"
    sizes = ["--sizes", "2000", "--hnsw-sizes", "2000", "--images", "2000"]
    effort = ["--queries", "20", "--rounds", "2", "--budget", "0.01", "--client-seconds", "1"]
    told = ["--not-durable", "--home", str(place), "--result", str(file)]
    search.run(search.arguments([*sizes, *effort, *told]))
    found = json.loads(file.read_text())
    assert {group["part"] for group in found["groups"]} == set(PARTS)
    assert targets.least_recall(Results.read(file)) == 1
    assert list(place.iterdir()) == []
