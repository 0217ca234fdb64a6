"""`imgdb duplicates`: groups of images that look alike, and what could go."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgdb.cli.options import (
    FLOOD,
    Dsn,
    FormatOption,
    HashName,
    QueryDistance,
    QueryRule,
    byte_size,
    check_distance,
    collection_option,
    hash_option,
)
from imgdb.cli.output import Format, Row, default_format, print_object, print_rows
from imgdb.cli.pages import Html, OpenPage, check_page, save_page
from imgdb.cli.pictures import Failures
from imgdb.errors import UsageError
from imgdb.words import byte_count, picture_size, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from psycopg import Connection

    from imgdb.duplicates.groups import DuplicateChoice, Group, GroupRow


class Tier(StrEnum):
    """How alike duplicates are."""

    same_bytes = "same-bytes"
    same_picture = "same-picture"
    near = "near"


class Keep(StrEnum):
    """Rules for which image of a group to keep."""

    most_pixels = "most-pixels"
    most_bytes = "most-bytes"
    newest = "newest"
    oldest = "oldest"
    shortest_path = "shortest-path"


def duplicates_command(
    hash_name: Annotated[QueryRule, hash_option("What to compare by", QueryRule)] = QueryRule.both,
    max_distance: QueryDistance = None,
    tier: Annotated[
        Tier,
        typer.Option(
            metavar="TIER",
            help="How alike the images must be: same-bytes, same-picture (all four hashes and the "
            "colours equal), near.",
        ),
    ] = Tier.near,
    collection: Annotated[str | None, collection_option("Only images of this collection.")] = None,
    against: Annotated[
        str | None,
        collection_option(
            "Compare with this collection, the reference. Only matches with an image of the "
            "reference count, and its images are kept.",
            "--against",
        ),
    ] = None,
    not_same_folder: Annotated[
        bool,
        typer.Option("--not-same-folder", help="Ignore matches within one folder."),
    ] = False,
    min_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Leave out smaller files (100K), or pictures with fewer pixels (640x480).",
        ),
    ] = None,
    keep: Annotated[
        Keep,
        typer.Option(
            metavar="RULE",
            help="Which image of a group to keep: most-pixels, most-bytes, newest, oldest or "
            "shortest-path.",
        ),
    ] = Keep.most_pixels,
    keep_in: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Prefer to keep images in this folder and below."),
    ] = None,
    raw_copies: Annotated[
        bool,
        typer.Option(
            "--raw-copies",
            help="Take a camera raw and its JPEG for copies of each other, so that one of them may "
            "go. Else they are a pair: one of each is kept.",
        ),
    ] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N groups.")] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Also write a plan to this new file: what to keep, what to remove. Read it, edit "
            "it, and give it to `imgdb apply`.",
        ),
    ] = None,
    any_orientation: Annotated[
        bool,
        typer.Option(
            "--any-orientation",
            help="Also find turned and mirrored copies, and say how each is turned, compared with "
            "the image to keep. This reads the files again, but with --against not those of the "
            "reference.",
        ),
    ] = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts/--no-parts",
            help="Also show crops, collages, and what a crop was cut from, among images that were "
            "ingested with --regions. None of them may go for that.",
        ),
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            help="How many worker processes read files again. Default: one for each core.",
        ),
    ] = None,
    flood: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="In a table, show at most N images of a group, and how many more there are. 0 "
            "shows all. JSON and CSV always have all.",
        ),
    ] = FLOOD,
    html: Html = None,
    open_page: OpenPage = False,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Show groups of images that look alike, and which to keep.

    The group with the most reclaimable bytes comes first. In a group, each image matches another
    one. The diameter is the largest distance between any two of them: if it is above
    --max-distance, the group is a chain, and its ends may be unlike. What only shares parts with
    another image is in its group, and stays. Pictures of other colours are
    no copies: one of each colour is kept, and a picture in colours before its grey copy. If several
    images are equal under --keep, the one with the most pixels is kept, then the one with the most
    bytes, then the oldest. Nothing is changed.

    Exit code 3 if files could not be read for --any-orientation.
    """
    from imgdb.database.connect import open_database
    from imgdb.duplicates.groups import (
        DuplicateChoice,
        count_without_colours,
        count_without_pdq,
        group_object,
    )
    from imgdb.hashes.values import PDQ_RULES
    from imgdb.paths import absolute, path_text

    check_page(html, open_page)
    check_distance(hash_name, max_distance)
    if any_orientation and hash_name in PDQ_RULES:
        raise UsageError(
            f"--any-orientation does not go with --hash {hash_name}: turned copies are found by "
            "hashes of 64 bits"
        )
    least_bytes, least_pixels = _least(min_size)
    choice = DuplicateChoice(
        space=hash_name,
        max_distance=max_distance,
        tier=tier,
        collection=collection,
        against=against,
        other_folders=not_same_folder,
        least_bytes=least_bytes,
        least_pixels=least_pixels,
        keep=keep,
        keep_in=path_text(absolute(keep_in)).rstrip("/") if keep_in else None,
        raw_copies=raw_copies,
        parts=parts,
        limit=limit,
    )
    failures = Failures()
    with open_database(dsn) as conn:
        if any_orientation:
            groups = _find_turned(conn, choice, jobs, failures)
        else:
            groups = _find(conn, choice)
        radius = _radius(conn, choice)
        uncoloured = count_without_colours(conn, choice)
        lacking = count_without_pdq(conn, choice)
    if plan is not None or html is not None:
        groups = _compare_metadata(groups, jobs)
    if plan is not None:
        _write_plan(plan, groups)
    format = format or default_format()
    if format is Format.json:
        print_object([group_object(group) for group in groups])
    elif format is Format.table:
        _show_tables(groups, hash_name, flood)
    else:
        _show_rows(groups, format)
    _say_total(groups)
    if uncoloured:
        typer.echo(
            f"imgdb: the colours of {uncoloured:,} images are not known, so that none of them may "
            "go but for the same bytes: imgdb rehash measures them",
            err=True,
        )
    if lacking:
        typer.echo(
            f"imgdb: images without a PDQ hash, of which only the bytes were compared: {lacking:,} "
            "(imgdb rehash --pdq makes them)",
            err=True,
        )
    if html is not None:
        _save_page(html, groups, choice, radius, open_page)
    failures.exit(done=1)


def _radius(conn: Connection[Any], choice: DuplicateChoice) -> int:
    from imgdb.database.spaces import default_distance
    from imgdb.hashes.values import PDQ_RULES

    if choice.max_distance is not None:
        return choice.max_distance
    if choice.space in PDQ_RULES:
        return PDQ_RULES[choice.space]
    return default_distance(conn, choice.space, choice.collection)


def _save_page(
    html: Path, groups: Sequence[Group], choice: DuplicateChoice, radius: int, open_page: bool
) -> None:
    from imgdb.pages.duplicates import duplicates_page

    def page(watching: Callable[[int], None]) -> str:
        return duplicates_page(groups, choice=choice, max_distance=radius, watching=watching)

    total = sum(len(group.members) for group in groups)
    save_page(html, page, total=total, open_page=open_page)


def _find(
    conn: Connection[Any], choice: DuplicateChoice, linked: Sequence[tuple[int, int]] = ()
) -> list[Group]:
    from imgdb.cli import progress
    from imgdb.duplicates.groups import duplicates

    with progress.bar(total=100, of="per cent of the search") as bar:
        return duplicates(
            conn, choice, linked, watching=lambda done: bar.update(round(100 * done), 0)
        )


def _find_turned(
    conn: Connection[Any], choice: DuplicateChoice, jobs: int | None, failures: Failures
) -> list[Group]:
    from imgdb.cli import progress
    from imgdb.duplicates import turned_copies

    images = turned_copies.turnable(conn, choice)
    with progress.bar(total=len(turned_copies.files_to_read(images))) as bar:
        known = turned_copies.turn_images(
            images, choice.space, jobs=jobs, watching=lambda done: bar.update(done, 0)
        )
    for path, error in known.failures.items():
        failures.report(path, error)
    if known.failures:
        typer.echo(f"imgdb: files that could not be turned: {len(known.failures):,}", err=True)
    if known.without_file:
        typer.echo(
            "imgdb: images that could not be turned, their hashes being imported without files: "
            f"{known.without_file:,}",
            err=True,
        )
    pairs = turned_copies.turned_pairs(conn, choice, known)
    return [*turned_copies.oriented(_find(conn, choice, pairs), known, choice.space)]


def _compare_metadata(groups: Sequence[Group], jobs: int | None) -> list[Group]:
    from imgdb.cli import progress
    from imgdb.duplicates.metadata import compare_metadata, files_to_compare

    with progress.bar(total=len(files_to_compare(groups))) as bar:
        return compare_metadata(groups, jobs=jobs, watching=lambda done: bar.update(done, 0))


def _write_plan(plan: str, groups: Sequence[Group]) -> None:
    from imgdb.duplicates.plan import write_plan

    files = write_plan(plan, groups)
    typer.echo(
        f"imgdb: {printable(plan)} proposes to remove {files:,} files: read it, then imgdb apply "
        "--dry-run",
        err=True,
    )


def _least(min_size: str | None) -> tuple[int | None, int | None]:
    """Return the fewest bytes and the fewest pixels that a size asks for."""
    if min_size is None:
        return None, None
    if sides := re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", min_size):
        return None, int(sides[1]) * int(sides[2])
    try:
        return byte_size(min_size), None
    except typer.BadParameter:
        raise UsageError(f"not a size such as 100K or 640x480: {min_size}") from None


def _show_rows(groups: Sequence[Group], format: Format) -> None:
    from imgdb.duplicates.groups import GroupRow

    columns = [field.name for field in fields(GroupRow)]
    rows = [
        [getattr(member, name) for name in columns] for group in groups for member in group.members
    ]
    print_rows(rows, columns, format)


def _show_tables(groups: Sequence[Group], hash_name: QueryRule, flood: int) -> None:
    others = [name.value for name in HashName if name.value != hash_name.value]
    first = {QueryRule.both: "sum", QueryRule.checked: "pdq"}.get(hash_name, hash_name)
    columns = ("path", first, *others, "pixels", "size", "note")
    for position, group in enumerate(groups):
        said = ", ".join(
            filter(None, [
                f"{group.tier}: {len(group.members)} images",
                "" if group.diameter is None else f"diameter {group.diameter}",
                f"{byte_count(group.reclaimable_bytes)} to reclaim",
            ])
        )  # fmt: skip
        typer.echo(("\n" if position else "") + said)
        shown = group.members[: flood or None]
        rows = [_table_row(member, others) for member in shown]
        print_rows(rows, columns, Format.table, paths="path")
        if more := len(group.members) - len(shown):
            typer.echo(f"and {more:,} more (--flood 0 lists them all)")


def _table_row(member: GroupRow, others: Sequence[str]) -> Row:
    notes = (
        "keep" if member.keeper else "" if member.removable else "stays",
        "raw" if member.format == "RAW" else "",
        _colours(member),
        "same file" if member.same_file else "",
        "same bytes" if member.same_bytes and not (member.keeper or member.same_file) else "",
        "frees nothing" if member.freed_bytes == 0 and member.byte_size else "",
        f"with {len(member.companions)} more" if member.companions else "",
        f"has {', '.join(member.more_metadata)}" if member.more_metadata else "",
        member.orientation if member.orientation != "as is" else "",
        _relation(member),
    )
    return (
        member.path,
        member.distance,
        *(getattr(member, f"{name}_distance") for name in others),
        picture_size(member.width, member.height, member.frames),
        byte_count(member.byte_size),
        ", ".join(filter(None, notes)),
    )


def _relation(member: GroupRow) -> str:
    if member.relation == "same" and member.votes is None:
        return ""
    return member.relation if member.votes is None else f"{member.relation} ({member.votes} votes)"


def _colours(member: GroupRow) -> str:
    words = member.colours_matter
    return (
        f"{words} ({member.colour_difference})" if words and member.same_colours is False else words
    )


def _say_total(groups: Sequence[Group]) -> None:
    if not groups:
        typer.echo("imgdb: no duplicates", err=True)
        return
    images = sum(len(group.members) for group in groups)
    size = byte_count(sum(group.reclaimable_bytes for group in groups))
    counted = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
    typer.echo(f"imgdb: {counted}, {images:,} images, {size} to reclaim", err=True)
