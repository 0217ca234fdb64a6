"""`imgdb apply` and `imgdb restore`: carry out a plan, and take back what it moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.cli.options import Dsn, FormatOption
from imgdb.cli.output import Format, Row, default_format, print_rows
from imgdb.errors import UsageError
from imgdb.words import byte_count, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgdb.duplicates.apply import Action, Done
    from imgdb.duplicates.plan import Plan

COLUMNS = ("path", "outcome", "byte_size", "reason")


def apply_command(
    plan: Annotated[
        str, typer.Argument(metavar="PLAN", help="The file that duplicates --plan wrote.")
    ],
    trash: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Move the files to this folder. `imgdb restore` puts them back.",
        ),
    ] = None,
    hard_link: Annotated[
        bool,
        typer.Option(
            "--hard-link",
            help="Replace each file by a hard link to the kept file, if both have the same bytes.",
        ),
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the files.")] = False,
    with_companions: Annotated[
        bool,
        typer.Option(
            "--with-companions",
            help="With --trash: move also what the plan says belongs to a file (lines `with`): its "
            "video, its sidecars. All of them go, or none.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, but change nothing.")
    ] = False,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Remove the files that a plan says to remove.

    Each file is read again first, and so is the file that is kept for it: they must be two files,
    and must have the bytes that the plan says. Symbolic links and pictures in archives are left
    alone. If the command is interrupted, run it again to do the rest.

    Exit code 3 if some of the files are refused, 1 if all are.
    """
    from imgdb.database.connect import open_database
    from imgdb.duplicates.apply import apply as carry_out
    from imgdb.duplicates.plan import read_plan

    action = _action(trash, hard_link, delete, with_companions)
    read = read_plan(plan)
    with open_database(dsn) as conn:
        done = _told(carry_out(conn, read, action, dry_run=dry_run), plan)
    if not (with_companions or dry_run):
        _say_what_stays(read, done)
    _finish(done, format)


def restore_command(
    trash: Annotated[
        str, typer.Argument(metavar="FOLDER", help="The folder that apply --trash moved files to.")
    ],
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Put the files of a trash folder back where they were.

    Exit code 3 if some of the files cannot be put back, 1 if none can.
    """
    from imgdb.database.connect import open_database
    from imgdb.duplicates.apply import restore as put_back

    with open_database(dsn) as conn:
        done = _told(put_back(conn, trash), trash)
    _finish(done, format)


def _action(trash: str | None, hard_link: bool, delete: bool, with_companions: bool) -> Action:
    from imgdb.duplicates.apply import Delete, HardLink, MoveToTrash
    from imgdb.duplicates.trash import Trash

    if [trash is not None, hard_link, delete].count(True) != 1:
        raise UsageError("say what to do with the files: --trash FOLDER, --hard-link or --delete")
    if trash is not None:
        return MoveToTrash(Trash(trash), with_companions=with_companions)
    if with_companions:  # nothing proves that the kept file has such ones as well
        raise UsageError("--with-companions needs --trash FOLDER, from which they can come back")
    return HardLink() if hard_link else Delete()


def _told(files: Iterable[Done], source: str) -> list[Done]:
    """Say each refusal when it happens."""
    done = []
    for one in files:
        done.append(one)
        if one.reason:
            place = f"{printable(source)}:{one.line}" if one.line else printable(source)
            said = ": ".join(filter(None, [printable(one.path), one.reason]))
            typer.echo(f"imgdb: {place}: {said}", err=True)
    return done


def _say_what_stays(plan: Plan, done: Iterable[Done]) -> None:
    """Say how many files are left alone whose picture has gone."""
    from imgdb.duplicates.apply import FileOutcome

    gone = {one.line for one in done if one.outcome in (FileOutcome.moved, FileOutcome.deleted)}
    entries = [entry for group in plan.groups for entry in group.remove if entry.line in gone]
    if count := sum(len(entry.companions) for entry in entries):
        typer.echo(
            f"imgdb: {count:,} files that belong to them stay where they are: see the lines `with` "
            "of the plan",
            err=True,
        )


def _finish(done: list[Done], format: Format | None) -> None:
    from imgdb.duplicates.apply import FileOutcome

    format = format or default_format()
    rows: list[Row] = [(one.path, one.outcome, one.byte_size, one.reason) for one in done]
    if format is Format.table:  # the reasons were told one by one
        rows = [(one.path, one.outcome, byte_count(one.byte_size)) for one in done]
        print_rows(rows, ("path", "outcome", "size"), format, paths="path")
    else:
        print_rows(rows, COLUMNS, format)
    refused = sum(one.outcome is FileOutcome.refused for one in done)
    size = byte_count(sum(one.byte_size for one in done if one.outcome is not FileOutcome.refused))
    said = f"{len(done) - refused:,} of {len(done):,} files, {size}"
    typer.echo(f"imgdb: {said}; {refused:,} refused" if refused else f"imgdb: {said}", err=True)
    if refused:
        raise typer.Exit(3 if refused < len(done) else 1)
