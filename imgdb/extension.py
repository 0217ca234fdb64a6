"""imgdb as an extension: its files, made from `sql/` and the revisions. `python -m imgdb.extension`

The version of the extension is the number of the revision: a server that has the files of a version
has that schema, however many releases of the package share it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from imgdb.revisions import after, head, revisions, sql_files, step

# Older revisions were never an extension.
FIRST = "0002_second_engine"

COMMENT = "exact image-similarity search by perceptual hashes"

# Schema imgdb is made by the script and belongs to the extension, hence `schema = pg_catalog`: with
# `schema = imgdb` the server would take a schema of that name that somebody else made. It is not
# trusted: a trusted extension runs its script as the superuser, who would then own functions that
# run with their owner's rights.
CONTROL = f"""# Made by `python -m imgdb.extension`.
comment = '{COMMENT}'
default_version = '{{version}}'
schema = pg_catalog
relocatable = false
superuser = false
trusted = false
"""

_QUIT = '\\echo Use "{use}" to load this file. \\quit\n\n'

# With pg_tle the caller's path would hold; no object of a user may stand in for PostgreSQL's.
_PINNED = "SET LOCAL search_path = pg_catalog, pg_temp;\n"

_FILL = "SELECT imgdb._fill();"
# pg_dump begins each dump with row_security = off, and its rows come after CREATE EXTENSION.
_FILL_UNLESS_RESTORING = (
    "SELECT imgdb._fill() WHERE pg_catalog.current_setting('row_security') = 'on';"
)

_VERSION_TABLE = """CREATE TABLE imgdb.alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO imgdb.alembic_version VALUES ('{head}');
"""

# All rows are dumped but for the revision, which comes with the files. Triggers of imgdb.space and
# of imgdb.watch_list make the rows of probes and of states anew.
_DUMPED = """DO $do$
DECLARE
    v_relation record;
BEGIN
    FOR v_relation IN
        SELECT c.oid, c.relname IN ('probe', 'space_state', 'watch_probe') AS is_made
        FROM pg_catalog.pg_class AS c
        WHERE
            c.relnamespace = 'imgdb'::pg_catalog.regnamespace
            AND c.relkind IN ('r', 'p', 'S') AND c.relname <> 'alembic_version'
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(
            v_relation.oid, CASE WHEN v_relation.is_made THEN 'WHERE false' ELSE '' END
        );
    END LOOP;
END
$do$;
"""


def version(revision: str) -> str:
    """Return the version of the extension that a revision is."""
    return revision.partition("_")[0]


def install_script() -> str:
    """Return what CREATE EXTENSION runs."""
    schema = "\n".join(file.read_text("utf-8") for file in sql_files())
    assert schema.count(_FILL) == 1
    return "\n".join(
        [
            _PINNED,
            # Fails where there is such a schema: nobody can have put anything into this one.
            "CREATE SCHEMA imgdb;",
            schema.replace(_FILL, _FILL_UNLESS_RESTORING),
            _VERSION_TABLE.format(head=head()),
            _DUMPED,
        ]
    )


def update_script(revision: str) -> str:
    """Return what ALTER EXTENSION UPDATE runs to get to a revision from the one before it."""
    stamp = f"UPDATE imgdb.alembic_version SET version_num = '{revision}';\n"
    return "\n".join([_PINNED, step(revision), stamp, _DUMPED])


def updates() -> dict[tuple[str, str], str]:
    """Return (from version, to version) to what leads there."""
    every = revisions()
    return {
        (version(every[every.index(revision) - 1]), version(revision)): update_script(revision)
        for revision in after(FIRST)
    }


def files() -> dict[str, str]:
    """Return name to text of all files of the extension."""
    now = version(head())
    made = {
        "imgdb.control": CONTROL.format(version=now),
        f"imgdb--{now}.sql": _QUIT.format(use="CREATE EXTENSION imgdb") + install_script(),
    }
    for (old, new), text in updates().items():
        use = f"ALTER EXTENSION imgdb UPDATE TO '{new}'"
        made[f"imgdb--{old}--{new}.sql"] = _QUIT.format(use=use) + text
    return made


def pg_tle_script() -> str:
    """Return the SQL that registers the extension with pg_tle, where no file can be copied."""
    now = version(head())
    text = _quoted(install_script())
    calls = [f"SELECT pgtle.install_extension('imgdb', '{now}', '{COMMENT}', {text});"]
    for (old, new), text in updates().items():
        calls.append(
            f"SELECT pgtle.install_update_path('imgdb', '{old}', '{new}', {_quoted(text)});"
        )
    return "\n".join(calls) + "\n"


def _quoted(text: str) -> str:
    assert "$imgdb_tle$" not in text
    return f"$imgdb_tle$\n{text}\n$imgdb_tle$"


def write(folder: Path) -> list[Path]:
    """Write the files into a folder, such as SHAREDIR/extension, and return them."""
    written = []
    for name, text in files().items():
        (folder / name).write_text(text, "utf-8")
        written.append(folder / name)
    return written


def write_for_make() -> None:
    """Write the files for a Makefile, which has nothing of imgdb but its sources."""
    parser = argparse.ArgumentParser(prog="python -m imgdb.extension", description=write.__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="without it, their names are printed")
    told = parser.parse_args()
    if told.folder is None:
        print(*files(), sep="\n")
    else:
        write(told.folder)


if __name__ == "__main__":
    write_for_make()
