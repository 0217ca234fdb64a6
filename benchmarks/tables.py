"""The tables of docs/benchmarks.md, from stored results alone."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.charts import names, percent
from benchmarks.results import Group, Results, measure
from benchmarks.targets import HEAD, TARGETS, hash_bytes, many_gain

PHOTOS = {"uniform": "uniform random", "photos": "photos"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def placed(page: str, name: str, text: str) -> str:
    """Put a text between the markers `<!-- result NAME -->` and `<!-- end -->` of a page."""
    done, count = re.subn(
        rf"(<!-- result {name} -->\n).*?(<!-- end -->)",
        rf"\g<1>{text}\n\g<2>",
        page,
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"no place for {name}")
    return done


def milliseconds(number: float) -> str:
    """Keep three digits."""
    return f"{number:.3f}" if number < 1 else f"{number:.3g}" if number < 1000 else f"{number:,.0f}"


def data_name(group: Group) -> str:
    return PHOTOS.get(group["data"], f"photos, {group['data']}")


def page(results: Results) -> str:
    sections = [
        environment(results),
        targets(results),
        within(results),
        hnsw(results),
        nearest(results),
        many(results),
        pairs(results),
        clients(results),
        loading(results),
        append(results),
    ]
    return "\n\n".join(section for section in sections if section)


def environment(results: Results) -> str:
    found = results.environment
    durable = "waits for the disk at commit" if found["durable"] else "does not wait for the disk"
    settings = ", ".join(f"`{name} = {value}`" for name, value in found["settings"].items())
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    lines = [
        "## Environment",
        "",
        f"- {found['cores']} x {found['processor']}, {found['memory_gib']} GiB, {found['system']},"
        f" Python {found['python']}",
        f"- {found['postgresql']}; it {durable}",
        f"- settings that differ from PostgreSQL's own: {settings}",
        f"- pgvector {found['pgvector']}, {versions}",
        f"- seed {found['seed']}"
        + (
            f"; photo hashes with SHA-256 `{found['photo_hashes_sha256'][:16]}...`"
            if found["photo_hashes_sha256"]
            else ""
        ),
    ]
    for number in results.used_runs():
        run = results.runs[number]
        loads = [
            g["load_average"]
            for g in results.groups.values()
            if g["run"] == number and "load_average" in g
        ]
        low, high = min(loads, default=0), max(loads, default=0)
        lines.append(
            f"- measured {run['date']} at commit `{run['commit']}`, {run['rounds']} rounds; load"
            f" average when parts began: {low} to {high}"
            + (", of the clients before or of others" if high > found["cores"] + 1 else "")
        )
    return "\n".join(lines)


def targets(results: Results) -> str:
    return "## Targets\n\n" + table(HEAD, [target.cells(results) for target in TARGETS])


def within(results: Results) -> str:
    groups = results.of("within")
    if not groups:
        return ""
    parts = [
        "## Search by radius",
        "Median / 95th percentile in milliseconds, and in brackets the median of the processor's"
        " time of who searches (not of what a client does, nor where several processes share the"
        " search); recall is the part of all matches that was found, over all queries, lowest to"
        " highest of the radii.",
    ]
    parts += [
        f"![{kind}, r = {radius}: latency against rows]({file})"
        for file, kind, radius in names(results)
    ]
    for group in groups:
        scan = group["scan_workers"]
        parts.append(f"### {data_name(group)}, {group['size']:,} rows")
        parts.append(radius_table(group))
        if scan:
            parts.append(f"PostgreSQL gives the sequential scan {scan} parallel workers.")
    return "\n\n".join(parts)


def radius_table(group: Group) -> str:
    radii = sorted({one["radius"] for one in group["measures"]})
    rows = []
    for peer in dict.fromkeys(one["peer"] for one in group["measures"]):
        found = [measure(group, peer=peer, radius=radius) for radius in radii]
        known = [one for one in found if one]
        low, high = (pick(one["recall"] for one in known) for pick in (min, max))
        recall = percent(low) if low == high else f"{percent(low)} to {percent(high)}"
        cells = [latency(one) for one in known]
        rows.append([bold(peer), *cells, recall])
    return table(["", *(f"r = {radius}" for radius in radii), "recall"], rows)


def latency(one: dict[str, Any]) -> str:
    said = f"{milliseconds(one['p50_ms'])} / {milliseconds(one['p95_ms'])}"
    return f"{said} ({milliseconds(one['cpu_p50_ms'])})" if "cpu_p50_ms" in one else said


def bold(peer: str) -> str:
    return f"**{peer}**" if peer == "imgdb" else peer


def hnsw(results: Results) -> str:
    parts = []
    for group in results.of("hnsw"):
        ours, theirs = group["builds"]["imgdb"], group["builds"]["pgvector HNSW"]
        rows = [
            ["**imgdb** (`track`)", f"{ours['track_s']:.1f} s",
             f"{sum(ours['after_vacuum'].values()) / 1e6:.0f} MB"],
            ["pgvector HNSW", f"{theirs['seconds']:.1f} s", f"{theirs['bytes'] / 1e6:.0f} MB"],
        ]  # fmt: skip
        parts += [
            f"### {data_name(group)}, {group['size']:,} rows",
            table(["", "built in", "size"], rows),
            radius_table(group),
        ]
    if not parts:
        return ""
    text = (
        "`m` and `ef_construction` are pgvector's defaults; the build gets 2 GB of"
        " `maintenance_work_mem`, so that the graph stays in memory, and PostgreSQL's default"
        " of at most two parallel workers."
    )
    return "\n\n".join(["## pgvector HNSW", text, *parts])


def nearest(results: Results) -> str:
    rows = [
        [bold(one["peer"]), data_name(group), f"{group['size']:,}", latency(one),
         percent(one["recall"])]
        for part, key in (("nearest", "measures"), ("hnsw", "nearest"))
        for group in results.of(part)
        for one in group[key]
    ]  # fmt: skip
    if not rows:
        return ""
    text = (
        "The ten nearest of all: median / 95th percentile in milliseconds (processor's time). Few"
        " of these hashes have ten neighbours within 11, so an exact answer looks far."
    )
    head = ["", "data", "rows", "ms", "recall"]
    return "\n\n".join(["## Nearest", text, table(head, rows)])


def many(results: Results) -> str:
    rows = [
        [f"{data_name(group)}, {group['size']:,} rows, r = {one['radius']}",
         milliseconds(one["loop_ms"]),
         milliseconds(one["lateral_ms"]) if "lateral_ms" in one else "",
         milliseconds(one["any_ms"]),
         milliseconds(one["many_ms"]) if "many_ms" in one else "",
         f"{many_gain(one):.1f} x"]
        for group in results.of("within_any")
        for one in group["measures"]
    ]  # fmt: skip
    if not rows:
        return ""
    text = (
        "The loop is the client's: it waits for each answer before the next question. `LATERAL`"
        " calls `within` for each query inside one statement. `within_many` is Python's: it asks"
        " `within_any`, or searches an export of the space, whichever costs less. The gain is that"
        " of the faster of both over the loop."
    )
    head = ["milliseconds a query, of 1,000", "`within` in a loop", "`within` by `LATERAL`",
            "`within_any`", "`within_many`", "gain"]  # fmt: skip
    return "\n\n".join(["## Many queries at once", text, table(head, rows)])


def clients(results: Results) -> str:
    rows = [
        [f"{data_name(group)}, {group['size']:,} rows", f"{one['clients']}",
         "writers" if one["writing"] else "alone", f"{one['per_second']:,.0f}",
         milliseconds(one["p50_ms"]), milliseconds(one["p99_ms"]),
         f"{one['writers_per_second']:,.0f}" if one["writing"] else "",
         f"{one['writers_p50_ms']:.3g} / {one['writers_p99_ms']:.3g}" if one["writing"] else ""]
        for group in results.of("clients")
        for one in group["measures"]
    ]  # fmt: skip
    if not rows:
        return ""
    text = (
        "`within` at distance 8 by pgbench, each client as fast as it can; pgbench shares the"
        " processors with the server. Beside them two writers commit 50 transactions a second: of"
        " ten, nine insert one row, and one inserts 1,000. Their hashes are flushed meanwhile."
    )
    head = ["", "clients", "", "searches a second", "median, ms", "99 %, ms",
            "writes a second", "median / 99 %, ms"]  # fmt: skip
    return "\n\n".join(["## Many clients at once", text, table(head, rows)])


def pairs(results: Results) -> str:
    rows = []
    for group in results.of("pairs"):
        for one in group["measures"]:
            ours = one["seconds"]
            shown = f"{ours:,.1f} s" if ours else f"more than {one['limit_s']:,.0f} s"
            gain = f"{one['faiss_seconds'] / ours:.1f} x" if ours else ""
            rows.append(
                [f"{data_name(group)}, {group['size']:,} rows, r = {one['radius']}", shown,
                 f"{one['pairs']:,}" if ours else "", f"{one['faiss_seconds']:,.1f} s", gain]
            )  # fmt: skip
    if not rows:
        return ""
    text = (
        "FAISS range search of all against all, one thread, is reckoned from a sample of 1,000"
        " queries in one call (the better of two): each query costs the same. It finds each pair"
        " twice. The pairs of the sample are compared with FAISS's."
    )
    head = ["", "`pairs`", "pairs found", "FAISS, all against all", "gain"]
    return "\n\n".join(["## All pairs", text, table(head, rows)])


def loading(results: Results) -> str:
    groups = results.of("load")
    if not groups:
        return ""
    speed, room = [], []
    for group in groups:
        name = f"{data_name(group)}, {group['size']:,} rows"
        rate = [group["size"] / seconds for seconds in (group["build"]["track_s"],
                group["copy_s"], group["compact_s"])]  # fmt: skip
        speed.append([name, *(f"{one:,.0f}" for one in rate), f"{group['vacuum_s']:.2f} s"])
        states = ("after_track", "fragmented", "compacted", "vacuum_full")
        each = [f"{hash_bytes(group, state):.1f}" for state in states]
        medians = [milliseconds(group[s]["p50_ms"]) for s in states[1:]]
        room.append([name, *each, " / ".join(medians)])
    return "\n\n".join(
        [
            "## Loading",
            "Rows a second: `track` of a filled table; COPY into a tracked one, in 100 batches"
            " that each commit (at least 1,000 rows each) and flush as they go; and all rows over"
            " the time that `compact` takes after that.",
            table(["", "`track`", "COPY in batches", "`compact`", "VACUUM"], speed),
            "Bytes for each distinct hash, with indexes and what is fresh. The room of dead rows"
            " serves the next appends after VACUUM; only VACUUM FULL gives it back to the disk.",
            table(
                [
                    "",
                    "after `track`",
                    "after batches",
                    "after `compact`, VACUUM",
                    "VACUUM FULL",
                    "`within` r = 8, ms, in the last three",
                ],
                room,
            ),
        ]
    )


def append(results: Results) -> str:
    rows = [
        [f"{one['into']}, {'flushing' if one['flushes'] else 'another session flushes'}",
         f"{one['images_per_s']:,}", f"{one['cpu_us_an_image']:.1f} us",
         f"{one['images_per_s_with_compact']:,}",
         f"{one['batch_p50_ms']:.0f} ms", f"{one['batch_max_ms']:.0f} ms"]
        for group in results.of("append")
        for one in group["appended"]
    ]  # fmt: skip
    if not rows:
        return ""
    text = (
        "COPY of rows with all four hashes into four spaces, 1,000 rows a transaction: into a table"
        " of the hashes alone, and into `imgdb.image` with its other columns and indexes. What"
        " stayed fresh is flushed by `compact` in the end, and included in *flushed*."
    )
    head = ["images a second", "appended", "processor's time", "flushed", "median batch",
            "longest batch"]  # fmt: skip
    return "\n\n".join(["## Appending images", text, table(head, rows)])
