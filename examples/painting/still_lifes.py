"""Things, patterns and a printed page: the other scenes of the example pictures."""

import textwrap
from functools import partial

import numpy as np
from PIL import ImageFont

from painting.canvas import (
    FINE,
    Array,
    Draw,
    H,
    Rng,
    W,
    blur,
    box,
    clouds,
    colour,
    disc,
    drawing,
    grid,
    paint,
    points,
    ramp,
    smooth,
)


def planet_rings(rng: Rng) -> Array:
    x, y = grid()
    picture = ramp(clouds(rng, 3, 6), "#05060f", "#120d2b", "#2f1b52", "#6b2f6e")
    stars = (rng.random((H, W)) > 0.9992) * rng.random((H, W))
    paint(picture, blur(stars, 1.4) * 9, "#ffffff")
    cx, cy, radius = 0.66, 0.52, 0.26
    u, v = (x - cx) * 0.94 + (y - cy) * 0.34, -(x - cx) * 0.34 + (y - cy) * 0.94
    far = np.hypot(u, v / 0.26)
    rings = smooth(0.34, 0.35, far) * smooth(0.56, 0.55, far)
    bands = ramp(0.5 + 0.5 * np.sin(far * 130) * np.sin(far * 47), "#6d5a49", "#e6cfa5")
    paint(picture, rings, bands, 0.9)
    stripes = clouds(rng, 2, 6, 9.0)
    surface = ramp(0.5 + 0.5 * np.sin(v * 30 + stripes * 3), "#a8552f", "#e2a15f", "#f6e0b5")
    day = np.clip(0.15 + 1.5 * (0.45 - (x - cx) / radius * 0.5 - (y - cy) / radius * 0.4), 0.06, 1)
    paint(picture, disc(x, y, cx, cy, radius), surface * day[..., None])
    paint(picture, rings * (v > 0), bands, 0.95)
    paint(picture, disc(x, y, 1.3, 0.2, 0.045), "#9fb4c8")
    paint(picture, disc(x, y, 1.315, 0.21, 0.045), "#1a1736", 0.8)
    return picture


def spheres(rng: Rng) -> Array:
    x, y = grid()
    picture = ramp(y / 0.5, "#6a8caf", "#dfe9ef")
    depth = 1 / np.clip(y - 0.42, 0.004, 1)
    squares = (np.floor(depth * 0.55) + np.floor((x - 0.75) * depth * 0.6)) % 2
    haze = smooth(0.42, 0.6, y)[..., None]
    floor = squares[..., None] * colour("#f4efe6") + (1 - squares[..., None]) * colour("#33475b")
    paint(picture, smooth(0.419, 0.423, y), floor * haze + colour("#b8c9d6") * (1 - haze))
    balls = [
        (1.16, 0.42, 0.13, "#2a9d8f"),
        (0.4, 0.5, 0.2, "#e76f51"),
        (0.9, 0.72, 0.16, "#e9c46a"),
    ]
    for cx, cy, radius, hue in balls:
        shadow = np.hypot((x - cx - 0.6 * radius) / 1.5, (y - cy - 0.95 * radius) / 0.35)
        paint(picture, smooth(radius, radius * 0.4, shadow), "#101820", 0.55)
        nx, ny = (x - cx) / radius, (y - cy) / radius
        nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0, 1))
        light = np.clip(-0.5 * nx - 0.6 * ny + 0.62 * nz, 0, 1)
        shine = np.clip(-0.27 * nx - 0.34 * ny + 0.9 * nz, 0, 1) ** 60
        ball = colour(hue) * (0.22 + 0.85 * light[..., None]) + 0.9 * shine[..., None]
        paint(picture, disc(x, y, cx, cy, radius), ball)
    return picture


def stained_glass(rng: Rng) -> Array:
    x, y = grid()
    px, py = rng.uniform(0, 1.5, 46), rng.uniform(0, 1, 46)
    near = np.full((H, W), 9.0)
    second, owner = near.copy(), np.zeros((H, W), int)
    for i, (cx, cy) in enumerate(zip(px, py, strict=True)):
        far = np.hypot(x - cx, y - cy)
        closer = far < near
        second = np.where(closer, near, np.minimum(second, far))
        owner, near = np.where(closer, i, owner), np.minimum(near, far)
    hues = ["#b5179e", "#3a0ca3", "#4361ee", "#4cc9f0", "#f9c74f", "#f3722c", "#43aa8b", "#f8edeb"]
    table = np.array([colour(hues[i]) for i in rng.integers(0, len(hues), 46)])
    glow = 0.6 + 0.55 * clouds(rng, 8, 4) - 0.35 * near / near.max()
    picture: Array = table[owner] * glow[..., None]
    paint(picture, smooth(0.014, 0.008, second - near), "#16131f")
    return picture


def sunflower(rng: Rng) -> Array:
    x, y = grid()
    picture = ramp(clouds(rng, 3, 3), "#274c2b", "#4f7f3f", "#9cb95e")
    cx, cy = 0.86, 0.5
    stem = np.abs(x - cx - 0.06 * np.sin((y - cy) * 4)) - 0.022
    paint(picture, smooth(0.003, -0.003, stem) * (y > cy), "#3c6e2f")
    angle, far = np.arctan2(y - cy, x - cx), np.hypot(x - cx, y - cy)
    for count, reach, turn, hues in (
        (17, 0.43, 0.18, ("#b5651d", "#e09f1f")),
        (19, 0.38, 0.0, ("#e8a317", "#ffd84d")),
    ):
        wave = np.abs(np.cos((angle + turn) * count / 2)) ** 0.55
        petal = smooth(0.004, -0.004, far - reach * (0.38 + 0.62 * wave))
        paint(picture, petal, ramp(wave * far / reach, *hues))
    paint(picture, disc(x, y, cx, cy, 0.17), "#3b2314")
    for i in range(420):
        turn, out = i * 2.399963, 0.165 * np.sqrt((i + 0.5) / 420)
        seed = (cx + out * np.cos(turn), cy + out * np.sin(turn))
        box = [
            value * H for value in (seed[0] - 4e-3, seed[1] - 4e-3, seed[0] + 4e-3, seed[1] + 4e-3)
        ]
        column, row = slice(int(box[0]), int(box[2]) + 1), slice(int(box[1]), int(box[3]) + 1)
        picture[row, column] = colour("#8a5a2b") * (0.6 + 0.9 * out / 0.165)
    return picture


def bauhaus(rng: Rng) -> Array:
    picture = np.broadcast_to(colour("#f1e7d3"), (H, W, 3)).copy()
    hues = ["#d62828", "#003049", "#f2b134", "#2a6f97", "#1b1b1b"]
    side = H // 4
    for row in range(4):
        for column in range(6):
            kind, hue, turn = (
                int(rng.integers(6)),
                hues[rng.integers(len(hues))],
                int(rng.integers(4)),
            )
            left, top = column * side, row * side
            tile = (left, top, left + side, top + side)
            paint(picture, drawing(partial(_tile, kind=kind, turn=turn, tile=tile)), hue)
    return picture * (0.97 + 0.05 * rng.random((H, W, 1)))


def _tile(draw: Draw, kind: int, turn: int, tile: tuple[int, int, int, int]) -> None:
    left, top, right, low = tile
    side = right - left
    corners = [(left, top), (right, top), (right, low), (left, low)]
    if kind == 0:
        draw.rectangle((left, top, right - 1, low - 1), fill=255)
    elif kind == 1:
        draw.ellipse((left + 8, top + 8, right - 8, low - 8), fill=255)
    elif kind == 2:
        draw.polygon([corners[(turn + i) % 4] for i in range(3)], fill=255)
    elif kind == 3:
        x, y = corners[turn]
        draw.pieslice((x - side, y - side, x + side, y + side), turn * 90, turn * 90 + 90, fill=255)
    elif kind == 4:
        for i in range(0, side, side // 3):
            draw.rectangle((left, top + i, right, top + i + side // 6), fill=255)


_TEXT = (
    "On a clear evening in winter, walk away from the lamps of the town and wait. Ten minutes "
    "are enough: the eye forgets the glare, and where there was a black lid there is depth. "
    "Orion stands in the south, three stars for a belt and a red one for a shoulder. Follow "
    "the belt down and you meet Sirius, which flickers in all colours because its light comes "
    "through so much air; follow it up and you come to the Seven Sisters, of whom most people "
    "count six. The moon, if she is up, spoils the faint ones and makes good for it with her "
    "own seas and craters, best seen along the edge where the sun is rising there. Bring a "
    "friend, and something hot to drink. Nobody has ever been sorry to have looked up."
)


def page_of_text(rng: Rng) -> Array:
    picture = np.broadcast_to(colour("#f7f3e8"), (H, W, 3)).copy()
    large, small = (ImageFont.load_default(size * FINE) for size in (64, 15))

    def title(draw: Draw) -> None:
        draw.text((36 * FINE, 24 * FINE), "The Night Sky", font=large, fill=255)

    def column(draw: Draw) -> None:
        for row, line in enumerate(textwrap.wrap(_TEXT, 46)):
            draw.text((38 * FINE, (128 + 19 * row) * FINE), line, font=small, fill=255)

    paint(picture, drawing(title), "#7b1e2b")
    paint(picture, drawing(column), "#2c2a28")
    x, y = grid()
    inside = (x > 0.9) & (x < 1.43) & (y > 0.28) & (y < 0.92)
    sky = ramp(clouds(rng, 4, 5), "#0b1437", "#26407c", "#8aa4d6")
    sky[rng.random((H, W)) > 0.998] = 1
    paint(picture, inside * 1.0, sky)
    paint(picture, disc(x, y, 1.16, 0.55, 0.13) * (1 - disc(x, y, 1.21, 0.51, 0.12)), "#f5e6a8")
    return picture


def cat_in_the_window(rng: Rng) -> Array:
    x, y = grid()
    wall = clouds(rng, 10, 4)
    picture = ramp(wall, "#7f4f3f", "#9c6450")
    pane = (np.abs(x - 0.75) < 0.42) & (np.abs(y - 0.46) < 0.36)
    evening = ramp((y - 0.1) / 0.72, "#243b6b", "#6d6fa8", "#f0a58b", "#ffd9a0")
    paint(picture, ((np.abs(x - 0.75) < 0.46) & (np.abs(y - 0.46) < 0.4)) * 1.0, "#f4ead7")
    paint(picture, pane * 1.0, evening)
    paint(picture, (pane & (y > 0.62 + 0.05 * np.sin(x * 7))) * 1.0, "#4b4470")
    bars = (np.abs(x - 0.75) < 0.012) | (np.abs(y - 0.36) < 0.012)
    paint(picture, (pane & bars) * 1.0, "#f4ead7")
    paint(picture, ((np.abs(x - 0.75) < 0.53) & (np.abs(y - 0.88) < 0.035)) * 1.0, "#e8d8bd")

    def cat(draw: Draw) -> None:
        draw.ellipse(box(0.86, 0.5, 1.14, 0.88), fill=255)
        draw.ellipse(box(0.8, 0.33, 1.02, 0.55), fill=255)
        draw.polygon(points([(0.815, 0.4), (0.82, 0.27), (0.9, 0.35)]), fill=255)
        draw.polygon(points([(0.92, 0.35), (1.0, 0.27), (1.005, 0.4)]), fill=255)
        draw.arc(box(1.02, 0.62, 1.3, 0.98), 150, 330, fill=255, width=34)

    paint(picture, drawing(cat), "#1d1a22")
    for cx in (0.87, 0.95):
        paint(picture, disc(x, y, cx, 0.43, 0.021), "#c8d94e")
        paint(
            picture, smooth(0.007, 0.004, np.abs(x - cx)) * disc(x, y, cx, 0.43, 0.018), "#111111"
        )
    return picture
