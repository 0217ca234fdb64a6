"""What stands in two places (Python, SQL, help, pages) says the same in both."""

import inspect
import re
from dataclasses import fields
from enum import Enum
from pathlib import Path

import pytest
import typer

from imgdb import sqlalchemy
from imgdb.cli import options
from imgdb.cli.app import make_app
from imgdb.database import OLDEST_SERVER, spaces
from imgdb.hashes.values import ALGORITHMS, PDQ_RULES, USUAL_RULE, Hashes, rule_hashes
from imgdb.ingest.options import Options
from imgdb.pictures import archives
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.search import compare, hubs, images
from imgdb.search.calibration import results, rules
from imgdb.sqlstate import translate
from imgdb.workers.limits import PICTURE_SECONDS, WORKER_MEMORY

ROOT = Path(__file__).parents[2]
SQL = "\n".join(file.read_text("utf-8") for file in sorted((ROOT / "sql").rglob("*.sql")))
MILLION = 1_000_000


def page(name):
    """Return a page of docs/ as one line."""
    return " ".join((ROOT / "docs" / name).read_text("utf-8").split())


def commands():
    """Return the parameters of each command, by the last word of its name."""
    found = {}
    waiting = [typer.main.get_command(make_app())]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        found[command.name] = {one.name: one for one in command.params}
    return found


COMMANDS = commands()


def defaults(option):
    """Return what stands for an option that is not given, in each command that has it."""
    found = {name: one[option].default for name, one in COMMANDS.items() if option in one}
    return {name: one.value if isinstance(one, Enum) else one for name, one in found.items()}


def default(function, argument):
    """Return the default of an argument of a function."""
    return inspect.signature(function).parameters[argument].default


def test_the_largest_distance_with_prepared_probes(conn):
    [(prepared, most)] = conn.execute(
        "SELECT max(from_distance), max(cardinality(flip_masks)) FROM imgdb.probe"
    ).fetchall()
    assert prepared >= rules.searched("phash")
    assert f"bits, {prepared} is the last" in page("search.md")
    assert most <= 8000
    assert set(re.findall(r"levels of at most ([\d,]+) prefixes", SQL)) == {"8,000"}
    assert "Levels of more than 8,000 prefixes are not prepared" in page("search.md")
    searched = [rules.searched(rule) for rule in ("phash", "phash+dhash", "pdq")]
    told = "**{}**, up to which a search is quick in any collection ({} for the sum, {} for `pdq`)"
    assert told.format(*searched) in page("calibrate.md")


def test_how_many_hashes_a_bucket_row_holds(conn):
    [(check,)] = conn.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conname = 'prefix_bucket_hashes_check'"
    ).fetchall()
    least, most = map(int, re.findall(r"\d+", check))
    assert least == 1
    copies = re.findall(r"PARTITION BY [^)]*\) - 1\) / (\d+) AS part|/ (\d+)\.0\)", SQL)
    assert len(copies) >= 3 and {one or other for one, other in copies} == {str(most)}
    assert f"in rows of at most {most}." in SQL
    with pytest.raises(Exception) as refused, conn.transaction():
        conn.execute("INSERT INTO imgdb.prefix_bucket VALUES (1, 0, 0, %s)", ([1] * (most + 1),))
    assert f"1 to {most} hashes" in str(translate(refused.value))


def test_the_oldest_server():
    sources = {
        str(file.relative_to(ROOT)): file.read_text("utf-8")
        for file in (ROOT / "imgdb").rglob("*.py")
    }
    homes = [name for name, text in sources.items() if re.search(r"^OLDEST\w* = ", text, re.M)]
    assert homes == ["imgdb/database/__init__.py"]
    oldest = str(OLDEST_SERVER)
    said = re.findall(r"PostgreSQL \(?(\d+) to \d+\)?", (ROOT / "README.md").read_text("utf-8"))
    assert {*said, *re.findall(r"PostgreSQL (\d+) to \d+", page("search.md"))} == {oldest}
    assert f"of the system from {oldest} on" in page("embedded-server.md")


def test_what_one_picture_may_cost():
    assert set(defaults("max_pixels").values()) == {MAX_PIXELS}
    millions = f"{MAX_PIXELS // MILLION} million pixels"
    assert millions in page("pictures.md") and millions in page("ingest.md")
    memory = {options.byte_size(given) for given in defaults("worker_memory").values()}
    assert memory == {WORKER_MEMORY}
    assert f"`--worker-memory` ({WORKER_MEMORY >> 30} GiB" in page("ingest.md")
    # A calibration edits and hashes each picture in many ways.
    assert {name: time for name, time in defaults("timeout").items() if name != "calibrate"} == {
        "ingest": PICTURE_SECONDS,
        "rehash": PICTURE_SECONDS,
        "serve": PICTURE_SECONDS,
    }
    assert f"`--timeout` ({PICTURE_SECONDS:g} seconds)" in page("ingest.md")
    assert default(Options, "max_pixels") == MAX_PIXELS
    assert default(Options, "memory") == WORKER_MEMORY
    assert default(Options, "timeout") == PICTURE_SECONDS


def test_suffixes_of_archives(conn):
    """What SQL takes for a member of an archive is never proposed for removal."""
    suffixes = (*archives.ZIP_SUFFIXES, *archives.TAR_SUFFIXES)
    for suffix in suffixes:
        inside, beside = f"/a{suffix}!/b.png", f"/a{suffix}/b.png"
        for path in (inside, inside.replace(suffix, suffix.upper())):
            assert conn.execute("SELECT imgdb._in_archive(%s)", (path,)).fetchone() == (True,), path
        assert conn.execute("SELECT imgdb._in_archive(%s)", (beside,)).fetchone() == (False,)
    told = re.search(r"`--archives` reads pictures in (.*?) in place", page("ingest.md"))
    assert told is not None
    assert sorted(re.findall(r"`(\.[\w.]+)`", told[1])) == sorted(suffixes)


def test_the_four_hashes(conn):
    assert [field.name for field in fields(Hashes)] == list(ALGORITHMS)
    four = set(ALGORITHMS)
    assert {one.value for one in options.HashName} == four
    stored = [rule for rule in results.RULES if rules.has_default(rule)]
    assert stored == [one.value for one in options.RuleName]
    assert {*stored} == four | {USUAL_RULE}
    assert {*results.RULES} == {*stored, rules.TRIMMED, *PDQ_RULES}
    for given in {*defaults("hashes").values(), *defaults("hash_names").values()} - {None}:
        assert set(given.split(",")) in (four, {*results.RULES})
    spaces_of_image = conn.execute(
        "SELECT s.name, t.column_name FROM imgdb.tracked_column AS t"
        " JOIN imgdb.space AS s USING (space_id) WHERE t.table_id = 'imgdb.image'::regclass"
    ).fetchall()
    assert sorted(spaces_of_image) == [(name, name) for name in sorted(four)]
    distances = {f.name for f in fields(images.Match) if f.name.endswith("_distance")}
    assert distances == {f"{name}_distance" for name in four}
    rows = re.findall(
        r"^\| `(\w+)` \| this|^\| `(\w+)` \| br", (ROOT / "docs/hashes.md").read_text(), re.M
    )
    assert {a or b for a, b in rows} == four


def test_default_distances(conn):
    found = dict(conn.execute("SELECT name, default_max_distance FROM imgdb.space").fetchall())
    usual = found["phash"]
    crowded = {"dhash": 4, "ahash": 2, "whash": 2}
    assert found == {"phash": usual, "region": usual, "pdq": usual, **crowded}
    ((rule, distance),) = conn.execute("SELECT name, default_max_distance FROM imgdb.rule")
    assert rule == USUAL_RULE == sqlalchemy.USUAL_RULE == default(images.similar, "space")
    assert rule_hashes(rule) == ["phash", "dhash"]
    assert usual == default(spaces.check, "max_distance")
    first = {rule: distance, "pdq": PDQ_RULES["pdq"], **{name: found[name] for name in ALGORITHMS}}
    assert first == compare.DEFAULTS
    # None is the default of the rule.
    given = {name: one for name, one in defaults("max_distance").items() if one is not None}
    assert given == {"check": usual}
    assert f"the default is that of space `region`, {usual}." in page("regions.md")
    helps = [one["max_distance"].help or "" for one in COMMANDS.values() if "max_distance" in one]
    told = " ".join(helps)
    assert {*re.findall(r"is (\d+) for phash\+dhash unless", told)} == {str(distance)}
    assert {*re.findall(r"(\d+) unless", told)} == {str(usual)}
    pdq, checked = PDQ_RULES["pdq"], PDQ_RULES["phash-pdq"]
    assert f"{pdq} for pdq, {checked} for phash-pdq" in told
    words = f"{distance} for phash+dhash, {usual} for phash, {found['dhash']} for dhash"
    assert f"{words}, {found['whash']} for whash and ahash, {pdq} (of 256) for pdq" in told
    body = "SELECT prosrc FROM pg_proc WHERE proname = '_found_by_pdq'"
    assert f"WHEN 'pdq' THEN {pdq} ELSE {checked} END" in conn.execute(body).fetchone()[0]
    assert re.findall(r"hashes; (\d+) is a usual choice", SQL) == [str(usual)]


def test_floods():
    assert set(defaults("flood").values()) == {options.FLOOD, None}
    assert default(hubs.hubs, "flood") == options.FLOOD
    assert f"a hash that more than {options.FLOOD} matches share" in page("searching.md")
    assert f"`--flood` ({options.FLOOD})" in page("searching.md")
    words = "The default distance is {} of both hashes together and {} of one, not"
    told = words.format(*(hubs.hub_distance(rule) for rule in (USUAL_RULE, "phash")))
    assert told in " ".join(page("searching.md").split())


def test_what_a_calibration_wants():
    given = {name: one.default for name, one in COMMANDS["calibrate"].items()}
    question = results.Question
    assert default(question, "recall") == given["recall"] / 100
    for name in ("wrong_per_query", "alike", "sample", "seed"):
        assert default(question, name) == given[name]
    told = page("calibrate.md")
    assert f"`--recall` percent ({given['recall']})" in told
    assert f"`--wrong-per-query` ({given['wrong_per_query']})" in told
    assert f"within {given['alike']} bits of it" in told
