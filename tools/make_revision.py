"""Write what changed in functions, views and triggers since the last release into a revision.

    python tools/make_revision.py

Compares `sql/` with the revision before the open one, and writes DROP and CREATE into the open
revision's `.up.sql` and `.down.sql`, around the parts between `-- By hand` and `-- End by hand`.
Those are yours: what happens to tables and rows, before new functions come, and at last. The tests
of the revisions prove the rest.
"""

import re
from pathlib import Path

TOP = Path(__file__).parents[1]
BY_HAND = re.compile(r"^-- By hand.*?^-- End by hand\n", re.MULTILINE | re.DOTALL)
NO_PARTS = ["-- By hand\n-- End by hand\n", "-- By hand, at last\n-- End by hand\n"]
STATEMENT = re.compile(
    r"""(?: --[^\n]*\n | '(?:[^']|'')*' | \$(\w*)\$ .*? \$\1\$
        | BEGIN\ ATOMIC .*? \nEND(?=;) | [^;] )+? ;""",
    re.VERBOSE | re.DOTALL,
)
# A routine, a view or a trigger, and what is said of it: its comment and the rights to it.
MADE = re.compile(
    r"CREATE (FUNCTION|PROCEDURE|VIEW|TRIGGER)\s+(imgdb\.\w+|\w+\s[^;]*?\bON imgdb\.\w+)"
)
SAID = re.compile(
    r"(?:COMMENT ON|(?:REVOKE|GRANT)\s[^;]*?\sON) (?:FUNCTION|PROCEDURE|VIEW|COLUMN)\s+(imgdb\.\w+)"
)

# Once at the end, for all objects.
OF_ALL = re.compile(r"(?:REVOKE|GRANT)\s[^;]*?\sON ALL \w+ IN SCHEMA imgdb[^;]*;")

Objects = dict[str, list[str]]


def read(text: str) -> Objects:
    """Read the statements of each object, in their order: the first one makes it."""
    objects: Objects = {}
    for match in STATEMENT.finditer(text):
        statement = re.sub(r"\A(\s*--[^\n]*\n)*\s*", "", match[0])
        if made := MADE.match(statement):
            objects[name_of(made)] = [statement]
        elif OF_ALL.match(statement):
            objects[statement] = [statement]
        elif (said := SAID.match(statement)) and said[1] in objects:
            objects[said[1]].append(statement)
    return objects


def name_of(made: re.Match[str]) -> str:
    """Return what DROP calls an object: a trigger with its table."""
    return re.sub(r"\s.*\s", " ON ", made[2], flags=re.DOTALL)


def is_parsed(statements: list[str]) -> bool:
    """Tell whether the server parses the object when it is made, and notes what it needs."""
    made = MADE.match(statements[0])
    return made is not None and (
        made[1] in ("VIEW", "TRIGGER") or "\nLANGUAGE sql" in statements[0]
    )


def head(statements: list[str]) -> str:
    """Return what CREATE OR REPLACE cannot change: the arguments and what comes back."""
    return re.split(r"\nLANGUAGE", statements[0])[0]


def difference(old: Objects, new: Objects) -> tuple[str, str]:
    """Return the SQL that drops what goes, and the SQL that makes what comes."""
    changed = [name for name in new if name in old and old[name] != new[name]]
    dropped = {name for name in old if name not in new}
    dropped |= {n for n in changed if is_parsed(old[n]) or head(old[n]) != head(new[n])}
    # What was parsed with a dropped one has to go, too, and comes again.
    while more := {
        name
        for name, statements in old.items()
        if name not in dropped
        and is_parsed(statements)
        and any(re.search(rf"{re.escape(gone)}\b", statements[0]) for gone in dropped)
    }:
        dropped |= more
    drops = [
        f"DROP {made[1]} {name};"
        for name in reversed(old)
        if name in dropped and (made := MADE.match(old[name][0]))
    ]
    creates = []
    for name, statements in new.items():
        if name not in old or name in dropped:
            creates += statements
        elif name in changed:
            replace = statements[0].replace("CREATE ", "CREATE OR REPLACE ", 1)
            creates += [replace, *(s for s in statements[1:] if s not in old[name])]
    return "\n".join(drops), "\n\n".join(creates)


def write(file: Path, old: Objects, new: Objects) -> None:
    """Write the SQL that leads from the old objects to the new ones around what is by hand."""
    before, at_last = BY_HAND.findall(file.read_text("utf-8")) or NO_PARTS
    drops, creates = difference(old, new)
    note = "-- Made by tools/make_revision.py:"
    # CREATE OR REPLACE makes a line of sql/ longer.
    parts = ["-- noqa: disable=LT05", f"{note} what goes.", drops, "", before]
    parts += [f"{note} what comes.", creates, "", at_last]
    file.write_text("\n".join(parts), "utf-8")


def main() -> None:
    """Write the open revision's files."""
    ups = sorted((TOP / "migrations/versions").glob("*.up.sql"))
    if len(ups) != 2:
        raise SystemExit("this compares with the first revision: teach it to read two of them")
    released = read(ups[0].read_text("utf-8"))
    now = read("\n".join(f.read_text("utf-8") for f in sorted((TOP / "sql").glob("*/*.sql"))))
    write(ups[-1], released, now)
    write(ups[-1].with_name(ups[-1].name.replace(".up.", ".down.")), now, released)


if __name__ == "__main__":
    main()
