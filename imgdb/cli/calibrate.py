"""`imgdb calibrate`: how similar is similar enough, measured on one's own pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.cli.completion import names
from imgdb.cli.options import Dsn, FormatOption, collection_option, takes_options
from imgdb.cli.output import Format, Row, default_format, print_object, print_rows
from imgdb.cli.pages import OpenPage, check_page, save_page
from imgdb.cli.pictures import Failures
from imgdb.cli.pool_options import Timeout, WorkerOptions, hash_names
from imgdb.errors import ImgdbError
from imgdb.search.calibration.rules import RULES, has_default
from imgdb.workers.limits import EDITING_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgdb.search.calibration.confidence import Rate
    from imgdb.search.calibration.measure import Applied
    from imgdb.search.calibration.results import Calibration, Curve, HashFigures


@dataclass(frozen=True, kw_only=True)
class EditorOptions(WorkerOptions):
    """As for ingest, but with more time: a picture is written and read once for each edit."""

    timeout: Timeout = EDITING_SECONDS


def whole_number(text: str) -> int:
    """Read a number of images: 1000000, 1_000_000, 1e6."""
    try:
        number = float(text)
    except ValueError:
        raise typer.BadParameter(f"not a number: {text}") from None
    if not 1 <= number <= 1e15 or number != int(number):
        raise typer.BadParameter(f"not a whole number from 1 on: {text}")
    return int(number)


@takes_options
def calibrate_command(
    collection: Annotated[str | None, collection_option("Default: all collections.")] = None,
    sample: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many pictures to edit.")
    ] = 100,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Another number chooses other pictures.")
    ] = 0,
    hashes: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="What to measure, separated by commas: the rule, the rule without borders as "
            "`imgdb query` asks by it, hashes alone, and rules of PDQ where it is stored.",
            autocompletion=names.calibrated,
        ),
    ] = ",".join(RULES),
    edits: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Only these edits, separated by commas: jpeg,crop-5. Default: all.",
            show_default=False,
        ),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(
            metavar="PERCENT",
            min=1,
            max=100,
            help="How many of the edited copies a search must find.",
        ),
    ] = 95,
    wrong_per_query: Annotated[
        float,
        typer.Option(
            metavar="COUNT",
            min=0,
            help="How many wrong images a search may show on average. This limit comes before "
            "--recall.",
        ),
    ] = 0.1,
    alike: Annotated[
        int,
        typer.Option(
            metavar="BITS",
            min=0,
            max=64,
            help="An image within this many bits of a picture in all hashes is a copy of it, not "
            "a wrong image.",
        ),
    ] = 8,
    at: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="The size that the collection will have: count the wrong images among so many. "
            "1e6 is a million. Default: its size now.",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts",
            help="Also search for parts, where regions are stored; this takes minutes.",
        ),
    ] = False,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply",
            help="Store the proposed distances as the defaults: of --collection, or of all images.",
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Also write a page with all curves: one file that needs no other.",
            show_default=False,
        ),
    ] = None,
    open_page: OpenPage = False,
    *,
    workers: EditorOptions,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Measure on your pictures how similar is similar enough.

    The command edits pictures of the collection as people edit them (saved anew, scaled, cropped,
    ...), and looks for every copy; thousands of stored hashes are looked for, to count wrong
    images. It shows how many of both the rule and each hash find at each distance, and which
    distance is a good default. Nothing is changed without --apply.

    Exit code 3 if some of the pictures cannot be read, 1 if none can.
    """
    from imgdb.cli import progress
    from imgdb.database.connect import open_database
    from imgdb.pages.calibration import page
    from imgdb.pictures import edits as all_edits
    from imgdb.search.calibration import measure as module
    from imgdb.search.calibration.results import ENOUGH_PICTURES, Question
    from imgdb.search.calibration.rows import COLUMNS, as_object, result_rows

    check_page(html, open_page)
    question = Question(
        collection=collection,
        sample=sample,
        seed=seed,
        rules=hash_names(hashes),
        edits=all_edits.chosen(edits),
        recall=recall / 100,
        wrong_per_query=wrong_per_query,
        alike=alike,
        at=at,
        parts=parts,
    )
    work = module.EditingOptions(
        jobs=workers.jobs,
        max_pixels=workers.max_pixels,
        memory=workers.worker_memory,
        timeout=workers.timeout,
    )
    failures = Failures()
    applied: list[Applied] = []
    with open_database(dsn) as conn:
        drawn = module.draw(conn, question)
        with progress.bar(total=len(drawn) * (2 if parts else 1)) as bar:
            found = module.calibrate(
                conn, question, drawn, work, watching=lambda done: bar.update(done, 0)
            )
        for path, error in found.failures:
            failures.report(path, error)
        if apply and found.hashes and found.sound:
            applied = module.store_defaults(conn, found)
    if html is not None and found.hashes:
        save_page(html, lambda _: page(found, applied), total=0, open_page=open_page)
    format = format or default_format()
    if format is Format.json:
        print_object(as_object(found, applied))
    elif format is Format.table:
        _show(found)
    else:
        print_rows(result_rows(found), COLUMNS, format)
    _tell(found, applied)
    if apply and found.hashes and not found.sound:
        raise ImgdbError(
            f"{found.pictures} pictures are too few to choose a default by "
            f"({ENOUGH_PICTURES} are enough): nothing was stored"
        )
    failures.exit(done=found.pictures)


def _show(found: Calibration) -> None:
    """Print three tables: what is found, what is found wrongly, what is proposed."""
    if not found.hashes:
        return
    typer.echo("Edited copies that are found, in %, and the bits it takes for 90, 95 and 99 %")
    curves = [figures.edits for figures in found.hashes]
    means = [figures.recall for figures in found.hashes]
    columns = ("edit", *(f"{f.name} within {f.default}" for f in found.hashes))
    lines: list[Row] = [
        (name, *(_found(f, curve) for f, curve in zip(found.hashes, of_edit, strict=True)))
        for name, of_edit in [
            *((one[0].name, one) for one in zip(*curves, strict=True)),
            ("all that count", means),
        ]
    ]
    print_rows(lines, columns, Format.table)
    typer.echo(f"\nWrong images that one search shows among {found.at:,}")
    print_rows(
        [
            (d, *(_few(f.wrong_at(d)) if d < len(f.wrong) else None for f in found.hashes))
            for d in _told(found)
        ],
        ("within", *(f.name for f in found.hashes)),
        Format.table,
    )
    typer.echo("\nDefaults: as they are, and as proposed")
    print_rows([_proposal(f) for f in found.hashes], PROPOSED, Format.table)
    if found.parts:
        typer.echo("\nEdited copies that are found, in %, by parts and by query, which unites all")
        print_rows(
            [
                (name, *(f"{100 * rate.value:.0f}" for rate in (edit.parts, edit.query)))
                for edit in (*found.parts.edits, found.parts.total)
                for name in ("all that count" if edit is found.parts.total else edit.name,)
            ],
            ("edit", "parts", "query"),
            Format.table,
        )


PROPOSED = ("hash", "now", "found", "wrong", "proposed", "found", "wrong", "because")


def _found(figures: HashFigures, curve: Curve) -> str:
    from imgdb.search.calibration.rows import RECALLS

    needs = [curve.needs(percent / 100) for percent in RECALLS]
    bits = " ".join(f"{'-' if need is None else need:>2}" for need in needs)
    return f"{100 * curve.at(figures.default).value:>3.0f} {bits}"


def _told(found: Calibration) -> list[int]:
    """Return the distances worth a line."""
    of_interest = {d for f in found.hashes for d in (f.default, f.proposal.max_distance)}
    return sorted({0, 2, 4, 6, 8, 10, 12, 16, 20, 24} | of_interest)


def _few(rate: Rate) -> str:
    """Say a mean count as exactly as it is known; of what was not seen, how much there may be."""
    if not rate.value:
        return f"<{rate.high:.2g}"
    return f"{rate.value:,.0f}" if rate.value >= 100 else f"{rate.value:.2g}"


def _proposal(figures: HashFigures) -> Row:
    chosen = figures.proposal
    now, then = figures.default, chosen.max_distance
    return (
        figures.name,
        now,
        f"{100 * figures.recall.at(now).value:.0f} %",
        _few(figures.wrong_at(now)),
        then,
        f"{100 * figures.recall.at(then).value:.0f} %",
        _few(figures.wrong_at(then)),
        BECAUSE[chosen.reason],
    )


BECAUSE = {
    "recall": "it finds enough",
    "wrong": "more shows too many wrong",
    "search": "more is slow to search",
}


def _told_at(figures: HashFigures, distance: int) -> str:
    found, wrong = figures.recall.at(distance), figures.wrong_at(distance)
    return f"{100 * found.value:.0f} % of the copies, {_few(wrong)} wrong images a search"


def _tell(found: Calibration, applied: Sequence[Applied]) -> None:
    say = [
        f"edited {found.pictures:,} of {found.images:,} images, "
        f"{len(found.question.edits)} ways each; "
        f"on average {found.copies:.1f} other images are copies of one, and no wrong images"
    ]
    if found.hashes:
        best = found.best
        distance = best.proposal.max_distance
        say.append(
            f"{best.name} within {distance} finds most among {found.at:,} images: "
            f"{_told_at(best, distance)}"
        )
    if parts := found.parts:
        say.append(
            f"parts find {100 * parts.total.parts.value:.0f} % of the copies, and imgdb query "
            f"{100 * parts.total.query.value:.0f} % in all; a search for parts shows "
            f"{_few(parts.wrong)} images that are no copies"
        )
    if not found.sound and found.hashes:
        say.append(f"{found.pictures} pictures are too few to rely on: take 30 or more, better 100")
    of = "" if found.question.collection is None else f" of {found.question.collection}"
    by_name = {figures.name: figures for figures in found.hashes}
    say += [
        f"{one.hash}: default{of} {one.before} -> {one.after}: "
        f"{_told_at(by_name[one.hash], one.after)}"
        for one in applied
    ]
    if applied:
        say += [
            f"{figures.name}: default{of} stays {figures.default}: even equal hashes show "
            f"{_few(figures.wrong_at(0))} wrong images a search"
            for figures in found.hashes
            if has_default(figures.name) and figures.proposal.allowed is None
        ]
    for line in say:
        typer.echo(f"imgdb: {line}", err=True)
