"""Programs beside the package: each starts as its docstring says."""

import os
import re
from pathlib import Path

import pytest
from forked import run_command

ROOT = Path(__file__).parents[2]
# The line of a docstring that shows how a program is run.
SHOWN = re.compile(
    r"^ *(?:PYTHONPATH=(?P<path>\S+) )?python (?:-m (?P<module>\S+)|(?P<file>\S+\.py))",
    re.MULTILINE,
)
# What `python` puts in front of the path of modules, and then loads, without running it.
LOAD = "import runpy, sys; sys.path[:1] = {places!r}; runpy.run_path({file!r}, run_name='loaded')"

PROGRAMS = {
    path.relative_to(ROOT).as_posix(): shown
    for folder in ("benchmarks", "docs", "examples", "tests/make", "tools")
    for path in sorted((ROOT / folder).glob("*.py"))
    if (shown := SHOWN.search(path.read_text("utf-8").split('"""')[1]))
}


def test_these_are_all():
    assert len(PROGRAMS) >= 14
    for path in (ROOT / "tests" / "make").glob("*.py"):
        assert path.relative_to(ROOT).as_posix() in PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_starts_as_it_says(program):
    shown = PROGRAMS[program]
    if module := shown["module"]:
        assert f"{module.replace('.', '/')}.py" == program
        place = ROOT
    else:
        assert shown["file"] == program
        place = (ROOT / program).parent
    places = [str(place), *(str(ROOT / path) for path in (shown["path"] or "").split(":") if path)]
    code = LOAD.format(places=places, file=str(ROOT / program))
    done = run_command([], code=code, env=dict(os.environ), cwd=ROOT, timeout=60)
    assert done[0] == 0, done[2].decode()


def test_pages_show_it_in_the_same_words():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("benchmarks/*.md")]
    for page in pages:
        for found in SHOWN.finditer(page.read_text("utf-8")):
            program = found["file"] or f"{found['module'].replace('.', '/')}.py"
            if shown := PROGRAMS.get(program):
                assert found[0].strip() == shown[0].strip(), page
            else:
                assert (ROOT / program).exists(), (page, program)
