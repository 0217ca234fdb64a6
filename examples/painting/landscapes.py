"""Landscapes of the example pictures, each painted from a generator of its own."""

from functools import partial

import numpy as np

from painting.canvas import (
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
    polygon,
    ramp,
    rectangle,
    ridge,
    smooth,
)


def mountain_sunset(rng: Rng) -> Array:
    x, y = grid()
    picture = ramp(smooth(0, 0.75, y), "#2b2f6b", "#8a4a8c", "#f2785c", "#ffd27d")
    paint(picture, smooth(0.5, 0.9, clouds(rng, 3, 5, 4.0)) * smooth(0.6, 0.1, y), "#ffc9a3", 0.6)
    paint(picture, blur(disc(x, y, 0.98, 0.48, 0.16), 60), "#ffe9b0", 0.8)
    paint(picture, disc(x, y, 0.98, 0.48, 0.075), "#fff6d8")
    layers = [("#a0567f", 0.62, 0.2, 4), ("#6a3c6f", 0.74, 0.26, 3), ("#3a2450", 0.9, 0.32, 3)]
    for hue, base, height, cells in layers:
        paint(picture, smooth(0, 0.004, y - ridge(rng, base, height, cells)), hue)
    paint(picture, smooth(0, 0.004, y - ridge(rng, 1.0, 0.12, 9)), "#1a1230")
    return picture


def moonlit_sea(rng: Rng) -> Array:
    x, y = grid()
    picture = ramp(y / 0.56, "#050a1f", "#0f2348", "#2d4f7c")
    stars = rng.random((H, W)) > 0.9993
    paint(picture, blur(stars * 1.0, 1.2) * 7 * smooth(0.5, 0.1, y), "#ffffff")
    paint(picture, blur(disc(x, y, 0.42, 0.22, 0.12), 45), "#7c93bb", 0.8)
    moon = disc(x, y, 0.42, 0.22, 0.085)
    craters = clouds(rng, 14, 4)
    paint(picture, moon, ramp(craters, "#bfc6d6", "#fbf8ea"))
    sea = smooth(0.559, 0.563, y)
    depth = np.clip((y - 0.56) / 0.44, 0.003, 1)
    paint(picture, sea, ramp(depth, "#24456b", "#0d2140", "#060d20"))
    waves = np.sin(9 / depth**0.6 * 3 + 6 * clouds(rng, 6, 4, 3.0) * 6)
    glitter = smooth(0.35, 0.95, waves) * np.exp(-(((x - 0.42) / (0.05 + 0.24 * depth)) ** 2))
    paint(picture, glitter * sea, "#e9eedd", 0.9)
    hull = [(0.98, 0.585), (1.22, 0.585), (1.18, 0.63), (1.03, 0.63)]
    sail = [(1.09, 0.58), (1.09, 0.36), (1.22, 0.565)]
    for shape, hue in ((hull, "#04070f"), (sail, "#dfe3e6")):
        paint(picture, polygon(shape), hue)
    return picture


def desert_dunes(rng: Rng) -> Array:
    x, y = grid()
    picture = ramp(y / 0.5, "#2f86c9", "#9fd0ea", "#f8ead2")
    paint(picture, disc(x, y, 0.24, 0.17, 0.06), "#fffdf0")
    paint(picture, blur(disc(x, y, 0.24, 0.17, 0.1), 40), "#fffbe6", 0.6)
    for i, base in enumerate((0.42, 0.52, 0.64, 0.82)):
        phase, swing = rng.uniform(0, 6), 0.07 + 0.02 * i
        crest = base + swing * np.sin(x * (3.2 - 0.4 * i) + phase) + 0.02 * np.sin(x * 9 + phase)
        sunny = np.gradient(crest, axis=1) * H
        ripples = 0.04 * np.sin((y - crest) * 260 / (1 + i) + 8 * x)
        light = np.clip(0.55 - 1.4 * sunny + ripples - 0.5 * (y - crest), 0, 1)
        sand = ramp(light, "#7a3d1d", "#c9792f", "#f3c078", "#ffe7bd")
        paint(picture, smooth(0, 0.003, y - crest), sand)
    return picture * 0.9  # so that brightening it does not bleach the sand


def misty_forest(rng: Rng) -> Array:
    _, y = grid()
    picture = ramp(y, "#dfe8e4", "#b9cfc8", "#8fb0a5")
    for layer in range(4):
        share = layer / 3
        hue = (1 - share) * colour("#a9c3ba") + share * colour("#10251f")

        def trees(draw: Draw, layer: int = layer) -> None:
            count = (22, 14, 9, 6)[layer]
            for place in (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count * W:
                tall = H * rng.uniform(0.32, 0.5) * (0.7 + 0.33 * layer)
                foot = H * (0.66 + 0.13 * layer)
                _fir(draw, place, foot, tall)

        mask = drawing(trees)
        hills = smooth(0, 0.01, y - ridge(rng, 0.68 + 0.1 * layer, 0.06, 3))
        paint(picture, np.maximum(mask, hills), hue)
        fog = smooth(0.3, 0.9, clouds(rng, 3, 4, 2.0)) * smooth(0.35, 0.95, y)
        paint(picture, fog, "#d5e2dd", 0.55 * (1 - share))
    return picture


def _fir(draw: Draw, place: float, foot: float, tall: float) -> None:
    draw.rectangle(
        (place - tall * 0.012, foot - tall * 0.1, place + tall * 0.012, foot + H), fill=255
    )
    for step in range(9):
        top = foot - tall * (1 - step * 0.1)
        half, low = tall * (0.025 + 0.017 * step), top + tall * 0.17
        draw.polygon([(place, top), (place - half, low), (place + half, low)], fill=255)


def city_night(rng: Rng) -> Array:
    _, y = grid()
    picture = ramp(y, "#0b1030", "#3b2a63", "#c65b6b", "#f4a261")
    for layer, hue in enumerate(("#4b3a66", "#2a2247", "#120f26")):
        left = -20.0
        while left < W:
            width, top = (
                rng.uniform(60, 130),
                H * rng.uniform(0.18 + 0.16 * layer, 0.6 + 0.1 * layer),
            )
            house = (left, top, left + width, float(H))
            paint(picture, rectangle(house), hue)
            if layer:
                lit = drawing(partial(_windows, house=house, rng=rng))
                paint(picture, lit, "#ffd98a", 0.5 + 0.25 * layer)
            left += width + rng.uniform(0, 26)
    return picture


def _windows(draw: Draw, house: tuple[float, float, float, float], rng: Rng) -> None:
    left, top, right, _ = house
    for row in np.arange(top + 18, H, 26):
        for column in np.arange(left + 12, right - 14, 20):
            if rng.random() < 0.45:
                draw.rectangle((column, row, column + 9, row + 13), fill=255)


def summer_sky(rng: Rng) -> Array:
    x, y = grid()
    picture = ramp(y, "#1f6fc4", "#5ba7e4", "#cfe8f6")
    shape = clouds(rng, 3, 7, 1.4) + 0.25 * (y - 0.4)
    light = clouds(rng, 5, 5, 1.2)
    paint(picture, smooth(0.5, 0.72, shape), ramp(light, "#b9c7d8", "#ffffff", "#ffffff"))
    balloons = [(0.36, 0.36, 0.15, "#d8343f", "#f7d154"), (1.08, 0.58, 0.1, "#2a7f86", "#f3ede0")]
    for cx, cy, size, one, two in balloons:
        angle = np.arcsin(np.clip((x - cx) / size, -1, 1))
        stripes = (np.floor((angle + np.pi / 2) / np.pi * 7) % 2)[..., None]
        skin = stripes * colour(one) + (1 - stripes) * colour(two)
        shade = np.clip(1.1 - 0.75 * np.hypot(x - cx + size / 3, y - cy + size / 3) / size, 0.45, 1)
        body = np.maximum(
            disc(x, y, cx, cy, size),
            smooth(0.002, -0.002, np.abs(x - cx) - (cy + 1.45 * size - y) * 0.62)
            * smooth(cy + 0.3 * size, cy + 0.32 * size, y)
            * smooth(cy + 1.28 * size, cy + 1.26 * size, y),
        )
        paint(picture, body, skin * shade[..., None])
        left, top, right, low = -0.16, 1.5, 0.16, 1.75
        basket = box(cx + left * size, cy + top * size, cx + right * size, cy + low * size)
        paint(picture, rectangle(basket), "#6b4423")
    return picture
