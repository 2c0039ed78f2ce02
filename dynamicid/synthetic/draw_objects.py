"""Draws the objects of a scene: each in one strong colour, with a dark rim that sets it off the ground."""

from collections.abc import Callable

import numpy as np

from .canvas import Canvas
from .colours import OBJECTS, RGB, darker, lighter
from .scene import SceneObject

WOOD: RGB = (116, 74, 42)
METAL: RGB = (60, 62, 70)


class _Pen:
    """Draws in an object's own coordinates: x from -0.5 to 0.5, y from 0 (foot) to -1 (top), times its height."""

    def __init__(self, canvas: Canvas, one: SceneObject) -> None:
        self.canvas = canvas
        self.colour = OBJECTS[one.colour]
        self.rim = darker(self.colour, 0.55)
        self.scale = one.size * canvas.height
        self.origin = np.array([one.x * canvas.width, one.y * canvas.height])
        self.thin = max(0.03 * self.scale, 0.8)

    def at(self, points: list[tuple[float, float]]) -> np.ndarray:
        return self.origin + self.scale * np.array(points)

    def shape(self, points: list[tuple[float, float]], colour: RGB, smooth: bool = False) -> None:
        places = self.at(points)
        self.canvas.fill(places, colour, smooth)
        self.canvas.line(places, darker(colour, 0.55), self.thin, smooth, closed=True)

    def disc(self, x: float, y: float, radius: float, colour: RGB) -> None:
        middle = self.at([(x, y)])[0]
        self.canvas.circle(middle, radius * self.scale + 0.5 * self.thin, darker(colour, 0.55))
        self.canvas.circle(middle, radius * self.scale - 0.5 * self.thin, colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: RGB) -> None:
        self.shape([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def line(self, points: list[tuple[float, float]], colour: RGB, width: float = 0.05) -> None:
        self.canvas.line(self.at(points), colour, max(width * self.scale, 0.8))


def draw_object(canvas: Canvas, one: SceneObject) -> None:
    """One object at its place."""
    _PAINTERS[one.kind](_Pen(canvas, one))


def _tree(pen: _Pen) -> None:
    pen.box(-0.06, -0.4, 0.06, 0.0, WOOD)
    for x, y in ((-0.15, -0.5), (0.15, -0.5), (0.0, -0.74)):
        pen.disc(x, y, 0.22, pen.colour)
    pen.canvas.circle(pen.at([(0.0, -0.56)])[0], 0.2 * pen.scale, pen.colour)


def _ball(pen: _Pen) -> None:
    pen.disc(0.0, -0.48, 0.46, pen.colour)
    band = [(x, -0.48 + 0.16 * (1 - (x / 0.43) ** 2)) for x in np.linspace(-0.43, 0.43, 9)]
    pen.line(band, lighter(pen.colour, 0.7) if sum(pen.colour) < 650 else pen.rim, 0.1)


def _house(pen: _Pen) -> None:
    pen.box(-0.4, -0.58, 0.4, 0.0, pen.colour)
    pen.shape([(-0.5, -0.56), (0.0, -1.0), (0.5, -0.56)], (92, 44, 40))
    pen.box(-0.09, -0.32, 0.09, 0.0, WOOD)
    for x in (-0.26, 0.26):
        pen.box(x - 0.09, -0.42, x + 0.09, -0.24, (190, 228, 250))


def _lamp(pen: _Pen) -> None:
    pen.line([(0.0, 0.0), (0.0, -0.66)], METAL, 0.06)
    pen.line([(-0.16, 0.0), (0.16, 0.0)], METAL, 0.08)
    pen.shape([(-0.15, -1.0), (0.15, -1.0), (0.28, -0.62), (-0.28, -0.62)], pen.colour)


def _car(pen: _Pen) -> None:
    pen.shape([(-0.38, -0.55), (-0.22, -0.95), (0.24, -0.95), (0.44, -0.55)], pen.colour)
    pen.shape([(-0.26, -0.56), (-0.16, -0.84), (0.18, -0.84), (0.3, -0.56)], (190, 228, 250))
    pen.box(-0.7, -0.56, 0.7, -0.18, pen.colour)
    for x in (-0.4, 0.4):
        pen.disc(x, -0.18, 0.18, (40, 40, 46))
        pen.canvas.circle(pen.at([(x, -0.18)])[0], 0.07 * pen.scale, (200, 200, 206))


def _umbrella(pen: _Pen) -> None:
    pen.line([(0.0, -0.9), (0.0, -0.08), (0.07, -0.02), (0.13, -0.08)], METAL, 0.05)
    dome = [(0.46 * np.cos(a), -0.55 - 0.44 * np.sin(a)) for a in np.linspace(0, np.pi, 13)]
    pen.shape(dome, pen.colour)
    for x in (-0.15, 0.15):
        pen.line([(x, -0.56), (0.0, -0.98)], pen.rim, 0.025)


def _table(pen: _Pen) -> None:
    for x in (-0.5, 0.5):
        pen.line([(x, -0.55), (x * 1.1, -0.04)], darker(pen.colour, 0.4), 0.11)
    pen.box(-0.68, -0.72, 0.68, -0.52, pen.colour)


def _balloon(pen: _Pen) -> None:
    pen.line([(0.0, 0.6), (0.06, 0.8), (-0.04, 1.0), (0.03, 1.2)], METAL, 0.03)
    oval = [(0.33 * np.sin(a), 0.34 - 0.36 * np.cos(a)) for a in np.linspace(0, 2 * np.pi, 16, endpoint=False)]
    pen.shape(oval, pen.colour, smooth=True)
    pen.canvas.circle(pen.at([(-0.12, 0.2)])[0], 0.07 * pen.scale, lighter(pen.colour, 0.7))


_PAINTERS: dict[str, Callable[[_Pen], None]] = {
    "tree": _tree,
    "ball": _ball,
    "house": _house,
    "lamp": _lamp,
    "car": _car,
    "umbrella": _umbrella,
    "table": _table,
    "balloon": _balloon,
}
