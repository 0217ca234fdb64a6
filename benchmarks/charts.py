"""Charts of latency against N as SVG files that can be read in light and in dark."""

import math
from dataclasses import dataclass
from html import escape

from benchmarks.results import Results
from imgdb.pages.charts import apart, logarithmic

WIDTH, HEIGHT = 760, 420
LEFT, TOP, RIGHT, BOTTOM = 64, 44, 246, 48

# By peer, so that a colour means the same on every chart; the two of a pair: light, dark.
COLOURS = {
    "imgdb": ("#c2185b", "#ff6fa3"),
    "sequential scan": ("#455a64", "#b0bec5"),
    "sequential scan, one process": ("#78909c", "#78909c"),
    "pgvector exact scan": ("#00695c", "#4db6ac"),
    "pgvector HNSW, ef_search 40": ("#6a1b9a", "#ce93d8"),
    "pgvector HNSW, ef_search 200": ("#4527a0", "#9fa8da"),
    "FAISS IndexBinaryFlat": ("#1565c0", "#64b5f6"),
    "FAISS IndexBinaryMultiHash": ("#0097a7", "#4dd0e1"),
    "numpy scan": ("#5d4037", "#bcaaa4"),
    "DuckDB scan": ("#9e9d24", "#dce775"),
    "chDB scan": ("#f9a825", "#fff176"),
    "sqlite-vec": ("#37474f", "#cfd8dc"),
    "USearch HNSW": ("#ad1457", "#f48fb1"),
    "scikit-learn BallTree": ("#ef6c00", "#ffb74d"),
    "Annoy": ("#558b2f", "#aed581"),
}
INK, GRID, PAPER = ("#1f2328", "#e6edf3"), ("#d8dee4", "#30363d"), ("#ffffff", "#0d1117")


@dataclass(frozen=True, slots=True)
class Line:
    """One peer: (rows, milliseconds) by rows, and what part of the answers it found."""

    peer: str
    points: tuple[tuple[int, float], ...]
    recall: float


def names(results: Results) -> list[tuple[str, str, int]]:
    """List the charts that the results can fill: file name, data, radius."""
    kinds = dict.fromkeys(group["data"] for group in results.of("within"))
    return [
        (f"benchmarks-{kind}-r{radius}.svg", kind, radius)
        for kind in kinds
        if kind in ("uniform", "phash")
        for radius in (4, 8)
    ]


def lines(results: Results, kind: str, radius: int) -> list[Line]:
    found: dict[str, list[tuple[int, float, float]]] = {}
    for part in ("within", "hnsw"):
        for group in results.of(part):
            if group["data"] != kind:
                continue
            for one in group["measures"]:
                # hnsw measures some of the peers again, at sizes of its own.
                again = part == "hnsw" and not one["peer"].startswith("pgvector HNSW")
                if one["radius"] == radius and not again:
                    point = (group["size"], one["p50_ms"], one["recall"])
                    found.setdefault(one["peer"], []).append(point)
    return [
        Line(peer, tuple((n, ms) for n, ms, _ in sorted(points)), min(p[2] for p in points))
        for peer, points in found.items()
    ]


def chart(results: Results, kind: str, radius: int) -> str:
    """Draw one chart: both axes logarithmic, every line named at its end, with its recall."""
    drawn = lines(results, kind, radius)
    rows = [n for line in drawn for n, _ in line.points]
    times = [ms for line in drawn for _, ms in line.points]
    across = logarithmic(min(rows), max(rows), LEFT, WIDTH - RIGHT)
    least, most = min(times) / 1.3, max(times) * 1.3
    up = logarithmic(least, most, HEIGHT - BOTTOM, TOP)
    what = "uniform random hashes" if kind == "uniform" else f"{kind} hashes of photos"
    title = f"Search within distance {radius}: {what}"
    body = [
        f'<text x="{LEFT}" y="22" class="title">{title}</text>',
        f'<text x="{LEFT}" y="{TOP - 6}" class="small">median, ms; percentages: recall</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" class="small middle">'
        "rows stored</text>",
    ]
    for power in range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1):
        ms = 10.0**power
        y = up(ms)
        body.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        body.append(f'<text x="{LEFT - 8}" y="{y + 4}" class="small end">{ms:g}</text>')
    for n in sorted(set(rows)):
        x = across(n)
        body.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        label = f"{n // 1_000_000} M" if n >= 1_000_000 else f"{n // 1000} k"
        body.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" class="small middle">{label}</text>')
    labels = apart([up(line.points[-1][1]) for line in drawn], foot=HEIGHT - BOTTOM)
    for label_y, line in sorted(zip(labels, drawn, strict=True), key=lambda pair: pair[0]):
        number = list(COLOURS).index(line.peer)
        points = " ".join(f"{across(n)},{up(ms)}" for n, ms in line.points)
        if len(line.points) > 1:
            body.append(f'<polyline class="line c{number}" points="{points}"/>')
        body += [
            f'<circle class="dot c{number}" cx="{across(n)}" cy="{up(ms)}" r="3.5"/>'
            for n, ms in line.points
        ]
        last_x, last_y = across(line.points[-1][0]), up(line.points[-1][1])
        end = WIDTH - RIGHT + 10
        body.append(f'<path class="lead c{number}" d="M{last_x + 5},{last_y} L{end},{label_y}"/>')
        body.append(
            f'<text class="name c{number}" x="{end + 4}" y="{label_y + 4}">{escape(line.peer)}'
            f'<tspan class="recall" dx="6">{percent(line.recall)}</tspan></text>'
        )
    summary = f"{title}. Median milliseconds against rows; the percentage is the recall."
    return page(title, summary, body)


def percent(recall: float) -> str:
    """Say a recall so that 100 % means every match."""
    return "100 %" if recall == 1 else f"{min(recall * 100, 99.9):.3g} %"


def page(title: str, summary: str, body: list[str]) -> str:
    coloured = "\n".join(
        f".c{number} {{ --c: {light}; }}" for number, (light, _) in enumerate(COLOURS.values())
    )
    dark = " ".join(
        f".c{number} {{ --c: {dark}; }}" for number, (_, dark) in enumerate(COLOURS.values())
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" \
aria-labelledby="title summary">
<title id="title">{escape(title)}</title>
<desc id="summary">{escape(summary)}</desc>
<style>
svg {{ --ink: {INK[0]}; --grid: {GRID[0]}; --paper: {PAPER[0]}; \
font-family: system-ui, sans-serif; }}
{coloured}
@media (prefers-color-scheme: dark) {{
svg {{ --ink: {INK[1]}; --grid: {GRID[1]}; --paper: {PAPER[1]}; }}
{dark}
}}
.paper {{ fill: var(--paper); }}
text {{ fill: var(--ink); font-size: 12px; }}
.title {{ font-size: 15px; font-weight: 600; }}
.small {{ font-size: 11px; }}
.middle {{ text-anchor: middle; }}
.end {{ text-anchor: end; }}
.grid {{ stroke: var(--grid); stroke-width: 1; }}
.line {{ fill: none; stroke: var(--c); stroke-width: 2; }}
.c0.line {{ stroke-width: 3.5; }}
.dot {{ fill: var(--c); }}
.lead {{ stroke: var(--c); stroke-width: 0.75; fill: none; opacity: 0.6; }}
.name {{ fill: var(--c); }}
.c0.name {{ font-weight: 600; }}
.recall {{ font-size: 10px; }}
</style>
<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="6"/>
{chr(10).join(body)}
</svg>
"""
