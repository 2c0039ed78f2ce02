"""Draws the places: park, beach, room, street, night, snow, forest, or a plain wall."""

from collections.abc import Callable

import numpy as np

from .canvas import Canvas
from .colours import RGB, WALLS, darker, lighter
from .numbers import Topic, generator

SKY: RGB = (150, 206, 246)
_Painter = Callable[[Canvas, np.random.Generator], None]


def new_background(size: int, place: str, wall: str, number: int) -> Canvas:
    """A square canvas with the place on it.

    Args:
        size: Pixels a side.
        place: A key of ``scene.PLACES``.
        wall: The wall's colour, where the place is one.
        number: Decides where grass, stars and the like lie.
    """
    if place == "wall":
        return new_wall(size, wall)
    canvas = Canvas(size, size, SKY)
    _PAINTERS[place](canvas, generator(0, Topic.background, number))
    return canvas


def new_wall(size: int, wall: str) -> Canvas:
    """A square canvas in one colour of ``colours.WALLS``."""
    return Canvas(size, size, WALLS[wall])


def _ground(canvas: Canvas, horizon: float, colour: RGB) -> None:
    canvas.box((0, horizon * canvas.height, canvas.width, canvas.height), colour)


def _hill(canvas: Canvas, x: float, y: float, width: float, height: float, colour: RGB) -> None:
    side = canvas.width
    canvas.ellipse(((x - width) * side, (y - height) * side, (x + width) * side, (y + height) * side), colour)


def _dot(canvas: Canvas, x: float, y: float, radius: float, colour: RGB) -> None:
    canvas.circle((x * canvas.width, y * canvas.height), radius * canvas.width, colour)


def _box(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, colour: RGB) -> None:
    canvas.box((x0 * canvas.width, y0 * canvas.height, x1 * canvas.width, y1 * canvas.height), colour)


def _peak(canvas: Canvas, x: float, top: float, half: float, foot: float, colour: RGB) -> None:
    canvas.fill(np.array([(x - half, foot), (x, top), (x + half, foot)]) * canvas.width, colour)


def _cloud(canvas: Canvas, x: float, y: float) -> None:
    for across, radius in ((-0.07, 0.045), (0.0, 0.065), (0.07, 0.045)):
        _dot(canvas, x + across, y, radius, (255, 255, 255))


def _park(canvas: Canvas, random: np.random.Generator) -> None:
    _cloud(canvas, random.uniform(0.1, 0.9), random.uniform(0.06, 0.16))
    for x in random.uniform(0, 1, 3):
        _hill(canvas, x, 0.62, 0.3, 0.18, (96, 178, 84))
    _ground(canvas, 0.58, (122, 200, 92))
    for x, y in random.uniform((0, 0.62), (1, 1), (9, 2)):
        _dot(canvas, x, y, 0.014, ((250, 90, 120), (255, 230, 80), (255, 255, 255))[int(random.integers(3))])


def _beach(canvas: Canvas, random: np.random.Generator) -> None:
    _dot(canvas, random.uniform(0.1, 0.9), 0.12, 0.08, (255, 226, 90))
    _box(canvas, 0, 0.42, 1, 0.66, (32, 140, 196))
    for y in (0.47, 0.53, 0.59):
        start = random.uniform(0, 0.6)
        _box(canvas, start, y, start + 0.35, y + 0.012, (190, 230, 246))
    _ground(canvas, 0.64, (244, 220, 150))
    for x, y in random.uniform((0, 0.68), (1, 1), (6, 2)):
        _dot(canvas, x, y, 0.01, (206, 172, 104))


def _room(canvas: Canvas, random: np.random.Generator) -> None:
    _box(canvas, 0, 0, 1, 1, (240, 214, 186))
    _ground(canvas, 0.72, (150, 96, 58))
    for y in (0.8, 0.88, 0.96):
        _box(canvas, 0, y, 1, y + 0.01, (122, 76, 44))
    left = random.uniform(0.04, 0.66)
    _box(canvas, left, 0.08, left + 0.3, 0.4, (255, 255, 255))
    _box(canvas, left + 0.025, 0.105, left + 0.275, 0.375, (160, 214, 250))
    _box(canvas, left + 0.14, 0.1, left + 0.16, 0.38, (255, 255, 255))


def _street(canvas: Canvas, random: np.random.Generator) -> None:
    x = -0.05
    while x < 1:
        width, top = random.uniform(0.17, 0.27), random.uniform(0.1, 0.34)
        wall = ((186, 110, 92), (150, 150, 166), (206, 178, 140), (128, 142, 160))[int(random.integers(4))]
        _box(canvas, x, top, x + width, 0.75, wall)
        for column in (0.2, 0.6):
            for y in np.arange(top + 0.05, 0.66, 0.12):
                _box(canvas, x + column * width, y, x + (column + 0.22) * width, y + 0.06, (250, 236, 160))
        x += width + 0.01
    _ground(canvas, 0.72, (92, 92, 100))
    for x in np.arange(random.uniform(-0.2, 0), 1, 0.28):
        _box(canvas, x, 0.86, x + 0.15, 0.885, (240, 240, 240))


def _night(canvas: Canvas, random: np.random.Generator) -> None:
    _box(canvas, 0, 0, 1, 1, (18, 24, 66))
    x = random.uniform(0.12, 0.88)
    _dot(canvas, x, 0.14, 0.085, (250, 244, 200))
    _dot(canvas, x + 0.04, 0.12, 0.07, (18, 24, 66))
    for x, y in random.uniform((0, 0), (1, 0.68), (16, 2)):
        _dot(canvas, x, y, 0.009, (255, 255, 230))
    _hill(canvas, random.uniform(0, 1), 0.98, 0.9, 0.26, (26, 50, 56))


def _snow(canvas: Canvas, random: np.random.Generator) -> None:
    _box(canvas, 0, 0, 1, 1, (186, 206, 226))
    for x in random.uniform(0, 1, 3):
        _peak(canvas, x, 0.14, 0.36, 0.64, (116, 134, 166))
        _peak(canvas, x, 0.14, 0.13, 0.32, (250, 252, 255))
    _ground(canvas, 0.6, (240, 246, 252))
    for x, y in random.uniform(0, 1, (16, 2)):
        _dot(canvas, x, y, 0.011, (255, 255, 255))


def _forest(canvas: Canvas, random: np.random.Generator) -> None:
    _box(canvas, 0, 0, 1, 1, (190, 220, 190))
    greens: tuple[RGB, ...] = ((30, 92, 54), (44, 116, 62), (22, 74, 46))
    for x in np.arange(0.04, 1.1, 0.13) + random.uniform(-0.03, 0.03, 9):
        colour = greens[int(random.integers(3))]
        _box(canvas, x - 0.02, 0.5, x + 0.02, 0.75, (88, 58, 36))
        top = random.uniform(0.02, 0.2)
        for step in range(3):
            _peak(
                canvas,
                x,
                top + 0.13 * step,
                0.08 + 0.025 * step,
                top + 0.25 + 0.13 * step,
                lighter(colour, 0.05 * step),
            )
    _ground(canvas, 0.7, darker((110, 130, 60), 0.1))


_PAINTERS: dict[str, _Painter] = {
    "park": _park,
    "beach": _beach,
    "room": _room,
    "street": _street,
    "night": _night,
    "snow": _snow,
    "forest": _forest,
}
