"""`imgdb db`: the embedded server, and the schema of whichever database is used."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from imgdb.cli.completion.names import revision_names, roles
from imgdb.cli.confirm import confirm
from imgdb.cli.help import Command, CommandGroup
from imgdb.cli.options import Dsn, FormatOption, offers_formats
from imgdb.cli.output import Format, default_format, print_facts
from imgdb.errors import UsageError

db_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    cls=CommandGroup,
    help="Run the embedded server, look after schema and rights.",
)


@db_app.command(cls=Command)
def start() -> None:
    """Start the embedded server. It runs until `imgdb db stop`."""
    from imgdb import schema
    from imgdb.database.embedded import Server, default_home

    server = Server(default_home())
    server.start()
    schema.upgrade(server.conninfo())
    typer.echo(f"running in {server.home}", err=True)


@db_app.command(cls=Command)
def stop(
    now: Annotated[
        bool,
        typer.Option(
            "--now", help="Close the sessions of other imgdb commands, and do not wait for them."
        ),
    ] = False,
) -> None:
    """Stop the embedded server."""
    from imgdb.database.embedded import Server, default_home

    server = Server(default_home())
    ran = server.stop(now=now)
    typer.echo("stopped" if ran else f"no server was running in {server.home}", err=True)


@db_app.command(cls=Command)
@offers_formats
def status(
    format: FormatOption = None,
) -> None:
    """Show whether the embedded server runs.

    It also shows where the server is, how big it is, and which processes use it.
    """
    from imgdb.database.embedded import Server, default_home

    found = asdict(Server(default_home()).status())
    format = format or default_format()
    if format is not Format.json:
        found["users"] = " ".join(map(str, found["users"]))
    print_facts(found, format)


@db_app.command("url", cls=Command)
def url_command() -> None:
    """Print the connection string of the embedded server.

    psql and every driver take it. It is an error if the server does not run.
    """
    from imgdb.database.embedded import Server, default_home

    typer.echo(Server(default_home()).running_url())


@db_app.command("current", cls=Command)
def current_command(dsn: Dsn = None) -> None:
    """Print the revision of the schema in the database.

    A line on stderr says if this imgdb needs another one, and if imgdb is an extension there.
    """
    from imgdb import schema
    from imgdb.database.connect import open_database

    with open_database(dsn, schema="ignore") as conn:
        state = schema.schema_state(conn)
    print(state.revision or "none")
    if state.extension:
        print(f"imgdb: an extension, version {state.extension}", file=sys.stderr)
    if state.lacks_rows:
        print("imgdb: restored without its rows; run `imgdb db upgrade`", file=sys.stderr)
    if state.revision != schema.head():
        print(f"imgdb: this imgdb needs {schema.head()}", file=sys.stderr)


@db_app.command("upgrade", cls=Command)
def upgrade_command(
    revision: Annotated[
        str,
        typer.Argument(
            metavar="REVISION",
            help="The revision to go to. Default: the newest.",
            autocompletion=revision_names,
            show_default=False,
        ),
    ] = "head",
    dsn: Dsn = None,
) -> None:
    """Make imgdb's schema in the database, or bring it up to date.

    The role that runs it owns the schema. Where imgdb is an extension, that is updated.
    """
    from imgdb import schema
    from imgdb.database.connect import connect, locate

    with locate(dsn) as place, connect(place) as conn:
        before = schema.schema_state(conn)
        if before.extension:
            schema.update_extension(conn)
        else:
            schema.upgrade(place.conninfo, revision)
        after = schema.current_revision(conn)
        if before.lacks_rows:
            print("imgdb: filled a schema that was restored without its rows", file=sys.stderr)
        _say_moved(before.revision, after)


RoleArgument = Annotated[
    str,
    typer.Argument(metavar="ROLE", help="A role of the database.", autocompletion=roles),
]


@db_app.command("grant", cls=Command)
def grant_command(
    role: RoleArgument,
    search: Annotated[
        bool,
        typer.Option(
            "--search-only",
            help="Call imgdb.find_images and imgdb.find_pdq by SQL: which images look like a "
            "picture, and where they are. It sees no table and no hash.",
        ),
    ] = False,
    read: Annotated[
        bool, typer.Option("--read", help="Search and read everything: imgdb query and the like.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Read, and ingest: imgdb ingest and the like.")
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Make spaces for tables of its own, and look after these: imgdb space check, "
            "compact, rebuild and stats. It sees no image.",
        ),
    ] = False,
    maintain: Annotated[
        bool, typer.Option("--maintain", help="Compact all spaces, for cron.")
    ] = False,
    dsn: Dsn = None,
) -> None:
    """Give a role rights in schema imgdb.

    Give at least one of the options. Rights add up; `imgdb db revoke` takes all of them back. The
    owner of the schema runs this, and again after an upgrade.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.rights import Access, grant

    asked = {"search": search, "read": read, "write": write, "keep": keep, "maintain": maintain}
    accesses = [Access(name) for name, wanted in asked.items() if wanted]
    if not accesses:
        raise UsageError("say what the role may do: --search-only, --read, --write, --keep, ...")
    with open_database(dsn) as conn:
        grant(conn, role, accesses)
    typer.echo(f"imgdb: role {role} may {', '.join(accesses)}", err=True)


@db_app.command("revoke", cls=Command)
def revoke_command(role: RoleArgument, dsn: Dsn = None) -> None:
    """Take all rights in schema imgdb back from a role."""
    from imgdb.database.connect import open_database
    from imgdb.database.rights import revoke

    with open_database(dsn) as conn:
        revoke(conn, role)
    typer.echo(f"imgdb: role {role} has no rights in schema imgdb", err=True)


@db_app.command("script", cls=Command)
def script_command(
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="REVISION",
            help="Upgrade from this revision. Default: install.",
            autocompletion=revision_names,
        ),
    ] = None,
) -> None:
    """Print the SQL that makes imgdb's schema, for a DBA.

    It is one statement, done as a whole or not at all; run twice it changes nothing.
    """
    from imgdb.script import script

    print(script(since))


@db_app.command("extension", cls=Command)
def extension_command(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Where the server looks for extensions: the folder `extension` in what "
            "`pg_config --sharedir` prints.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    pg_tle: Annotated[
        bool,
        typer.Option("--pg-tle", help="Print SQL for servers that have pg_tle instead."),
    ] = False,
) -> None:
    """Write the files of the extension, for CREATE EXTENSION."""
    from imgdb import extension

    if pg_tle == (folder is not None):
        raise UsageError("give the folder, or --pg-tle")
    if folder is None:
        print(extension.pg_tle_script())
        return
    for file in extension.write(folder):
        print(file)


@db_app.command("distribute", cls=Command)
def distribute_command(
    shards: Annotated[
        int,
        typer.Option(
            "--shards", metavar="N", min=1, max=32, help="Two to four for each worker are enough."
        ),
    ],
    dsn: Dsn = None,
) -> None:
    """Put the buckets of all spaces on the workers of Citus.

    Images and tracked tables stay on the coordinator. Writers wait until it is done.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.nodes import distribute

    with open_database(dsn) as conn:
        distribute(conn, shards)
    typer.echo(f"imgdb: the buckets are in {shards} shards on the workers", err=True)


@db_app.command("undistribute", cls=Command)
def undistribute_command(dsn: Dsn = None) -> None:
    """Bring the buckets back from the workers of Citus.

    Writers wait until it is done.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.nodes import undistribute

    with open_database(dsn) as conn:
        undistribute(conn)
    typer.echo("imgdb: the buckets are in this database", err=True)


@db_app.command("downgrade", cls=Command)
def downgrade_command(
    revision: Annotated[
        str,
        typer.Argument(
            metavar="REVISION",
            help="The revision to go to; `base` drops everything.",
            autocompletion=lambda: ["base", *revision_names()],
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Drop data without asking.")] = False,
    dsn: Dsn = None,
) -> None:
    """Take the schema down to an older revision.

    Data in tables that this drops is lost.
    """
    from imgdb import schema
    from imgdb.database.connect import connect, locate

    with locate(dsn) as place, connect(place) as conn:
        if not yes and schema.holds_data(conn):
            question = f"Going down to {revision} drops data of this database. Go on?"
            confirm(question, loss="drop data")
        before = schema.current_revision(conn)
        schema.downgrade(place.conninfo, revision)
        _say_moved(before, schema.current_revision(conn))


def _say_moved(before: str | None, after: str | None) -> None:
    moved = f"from {before or 'none'} to {after or 'none'}" if before != after else f"at {after}"
    print(f"imgdb: schema {moved}", file=sys.stderr)
