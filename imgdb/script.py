"""The SQL that makes the schema, or brings it up to date, for a DBA to read and to run.

It is one statement, so any client runs it as a whole or not at all: psql with and without -1, a
migration tool, a driver. Run again it changes nothing and says so.
"""

from __future__ import annotations

import re
import textwrap

from imgdb.revisions import after, guard, head, named, sql_files, step

# Held while the schema is changed: two upgrades take turns.
UPGRADE_LOCK = int.from_bytes(b"imgdb", "big")

_TAG = "$imgdb_sql$"

# A downgrade leaves this table without a row.
_VERSION_TABLE = """CREATE TABLE IF NOT EXISTS imgdb.alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO imgdb.alembic_version VALUES ('{head}');
"""


def script(since: str | None = None) -> str:
    """Return the SQL of an installation, or of an upgrade from a revision; else UsageError."""
    if since is None:
        parts = {f"sql/{f.parent.name}/{f.name}": f.read_text("utf-8") for f in sql_files()}
        parts["The revision that this is."] = _VERSION_TABLE.format(head=head())
        return _statement("", parts)
    start = named(since)
    parts = {f"Revision {name}": step(name) for name in after(start)}
    stamp = f"UPDATE imgdb.alembic_version SET version_num = '{head()}';"
    parts["The revision that this is."] = stamp
    return _statement(start, parts)


def _statement(start: str, parts: dict[str, str]) -> str:
    text = "\n".join(parts.values())
    assert _TAG not in text
    doing = f"upgrades schema imgdb from revision {start}" if start else "makes schema imgdb"
    return _BODY.format(
        doing=doing,
        head=head(),
        told="\n".join(f"-- {line}" for line in _told(text)),
        start=start,
        lock=UPGRADE_LOCK,
        guard=_execute("Refuses a schema that others made; makes it where it is missing.", guard()),
        steps="\n\n".join(_execute(title, part) for title, part in parts.items()),
        otherwise="is not installed" if start else "is installed already, at another revision",
        advice=(
            "`imgdb db script` without --from installs it"
            if start
            else "`imgdb db script --from REVISION` upgrades it"
        ),
    )


def _execute(title: str, sql: str) -> str:
    return f"    -- {title}\n    EXECUTE {_TAG}\n{sql.strip()}\n{_TAG};"


_OBJECT = re.compile(
    r"^(CREATE(?: OR REPLACE)?|DROP|ALTER) (TABLE|VIEW|SEQUENCE|FUNCTION|PROCEDURE|TRIGGER)"
    r"(?: IF NOT EXISTS)? (?:imgdb\.)?(\w+)",
    re.MULTILINE,
)
_DEFINER = re.compile(
    r"^CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) (imgdb\.\w+)(?:(?!^AS |^RETURN |^BEGIN).)*?"
    r"SECURITY DEFINER",
    re.MULTILINE | re.DOTALL,
)
_RIGHT = re.compile(r"^(?:GRANT|REVOKE)\s[^;]*;", re.MULTILINE)


def _told(sql: str) -> list[str]:
    """Say for a DBA what SQL makes, drops and grants: lines of at most 97 characters."""
    lines = ["All that it makes is in schema imgdb; it touches no other table."]
    done: dict[tuple[str, str], list[str]] = {}
    for verb, kind, name in _OBJECT.findall(sql):
        names = done.setdefault((verb.split()[0], kind), [])
        if name not in names:
            names.append(name)
    for (verb, kind), names in sorted(done.items()):
        lines += _wrapped(f"{verb} {kind} ({len(names)}): {', '.join(names)}")
    if definers := list(dict.fromkeys(_DEFINER.findall(sql))):
        lines += _wrapped(f"With the rights of imgdb's owner run: {', '.join(definers)}")
    lines.append("It grants and revokes (PostgreSQL itself lets everybody EXECUTE a new function):")
    for right in _RIGHT.findall(sql):
        lines += _wrapped(" ".join(right.split()))
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 97, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
    )


_BODY = """-- imgdb: {doing}; then it is at revision {head}.
--
-- Run it as the role that is to own imgdb, with any client: psql -X -f THIS_FILE
-- It is one statement: it is done as a whole or not at all, with `psql -1` and without. It needs no
-- superuser, no extension and no file of the server, only the right to create a schema in this
-- database. Run again it changes nothing, and says so.
--
{told}
DO $imgdb$
DECLARE
    v_path text := pg_catalog.current_setting('search_path');
    v_revision text;
BEGIN
    -- Two that run this take turns.
    PERFORM pg_catalog.pg_advisory_xact_lock({lock});
    -- Names are qualified below; nobody's own objects may stand in for PostgreSQL's.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

{guard}

    IF to_regclass('imgdb.alembic_version') IS NOT NULL THEN
        SELECT a.version_num INTO v_revision FROM imgdb.alembic_version AS a;
        IF v_revision IS NULL AND to_regclass('imgdb.space') IS NOT NULL THEN
            RAISE EXCEPTION 'schema imgdb was restored without its rows' USING
                ERRCODE = 'IM020', HINT = '`imgdb db upgrade` fills it.';
        END IF;
    END IF;
    IF v_revision = '{head}' THEN
        RAISE NOTICE 'imgdb is at revision {head} already: nothing was changed';
        PERFORM set_config('search_path', v_path, true);
        RETURN;
    ELSIF coalesce(v_revision, '') <> '{start}' THEN
        RAISE EXCEPTION 'imgdb {otherwise} (this database: %), nothing was changed',
            coalesce(v_revision, 'no revision') USING
            ERRCODE = 'IM020', HINT = '{advice}.';
    END IF;

{steps}

    PERFORM set_config('search_path', v_path, true);
    RAISE NOTICE 'imgdb is at revision {head} now';
END
$imgdb$;
"""
