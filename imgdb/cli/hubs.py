"""`imgdb hubs`: the hashes that flood searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from imgdb.cli.options import (
    FLOOD,
    Dsn,
    FormatOption,
    RuleName,
    check_distance,
    collection_option,
    hash_option,
)
from imgdb.cli.output import print_rows
from imgdb.cli.pages import Html, OpenPage, check_page, save_page


def hubs_command(
    hash_name: Annotated[RuleName, hash_option("What to count by", RuleName)] = RuleName.both,
    max_distance: Annotated[
        int | None,
        typer.Option(
            metavar="BITS",
            min=0,
            max=128,
            help="How many bits may differ. Default: 4 of a hash, 8 of both hashes together.",
            show_default=False,
        ),
    ] = None,
    flood: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Leave out hashes that match N other images or fewer.",
        ),
    ] = FLOOD,
    collection: Annotated[str | None, collection_option("Only images of this collection.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N hashes.")] = None,
    html: Html = None,
    open_page: OpenPage = False,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """List the hashes that match more than N other images.

    These hashes flood searches: placeholders, blank forms, screens that all look alike. The hash
    with the most matches comes first. A line has the hash (by the rule both, joined by +), how many
    images have it, how many other images match one of them, and the first of them by path. Flat
    images do not count, because a search leaves them out.
    """
    from imgdb.database.connect import open_database
    from imgdb.search.hubs import hub_distance, hubs

    check_distance(hash_name, max_distance)
    if max_distance is None:
        max_distance = hub_distance(hash_name)
    check_page(html, open_page)
    with open_database(dsn) as conn:
        found = hubs(
            conn,
            space=hash_name,
            max_distance=max_distance,
            flood=flood,
            collection=collection,
            limit=limit,
        )
    rows = [(hub.hex, hub.images, hub.matches, hub.path) for hub in found]
    print_rows(rows, ("hash", "images", "matches", "path"), format, paths="path")
    if not found:
        typer.echo(f"imgdb: no hash matches more than {flood} other images", err=True)
    if html is not None:
        from imgdb.pages.hubs import hubs_page

        def page(watching: Callable[[int], None]) -> str:
            return hubs_page(
                found,
                hash=hash_name,
                max_distance=max_distance,
                flood=flood,
                collection=collection,
                watching=watching,
            )

        save_page(html, page, total=len(found), open_page=open_page)
