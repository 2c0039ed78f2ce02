"""A picture to draw on: skia's antialiased shapes on a numpy array. The only file that knows skia."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import skia

from .colours import RGB

Points = np.ndarray | Sequence[Sequence[float]]


class Canvas:
    """A drawing area; coordinates are pixels, (0, 0) the upper left corner, shapes antialiased.

    Args:
        width, height: Pixels.
        ground: Colour that fills it.
    """

    def __init__(self, width: int, height: int, ground: RGB) -> None:
        self.width = width
        self.height = height
        self._pixels = np.zeros((height, width, 4), dtype=np.uint8)
        self._surface = skia.Surface(self._pixels, colorType=skia.kRGBA_8888_ColorType)
        self._canvas = self._surface.getCanvas()
        self._canvas.clear(_argb(ground, 1.0))

    def picture(self) -> np.ndarray:
        """(height, width, 3) uint8 RGB, a copy."""
        return self._pixels[:, :, :3].copy()

    def fill(self, points: Points, colour: RGB, smooth: bool = False, opacity: float = 1.0) -> None:
        """A filled shape through (n, 2) points; ``smooth`` rounds its corners."""
        self._canvas.drawPath(_path(points, True, smooth), _paint(colour, opacity))

    def line(self, points: Points, colour: RGB, width: float, smooth: bool = False, closed: bool = False) -> None:
        """A line of ``width`` pixels with round ends through (n, 2) points."""
        paint = _paint(colour, 1.0)
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(width)
        paint.setStrokeCap(skia.Paint.kRound_Cap)
        paint.setStrokeJoin(skia.Paint.kRound_Join)
        self._canvas.drawPath(_path(points, closed, smooth), paint)

    def circle(self, middle: Sequence[float] | np.ndarray, radius: float, colour: RGB, opacity: float = 1.0) -> None:
        """A filled circle."""
        self._canvas.drawCircle(float(middle[0]), float(middle[1]), radius, _paint(colour, opacity))

    def ellipse(self, box: tuple[float, float, float, float], colour: RGB, opacity: float = 1.0) -> None:
        """A filled ellipse in the box left, top, right, bottom."""
        self._canvas.drawOval(skia.Rect(*box), _paint(colour, opacity))

    def box(self, box: tuple[float, float, float, float], colour: RGB, radius: float = 0.0) -> None:
        """A filled rectangle, left, top, right, bottom; ``radius`` rounds its corners."""
        self._canvas.drawRoundRect(skia.Rect(*box), radius, radius, _paint(colour, 1.0))

    def light(self, amount: float, tint: RGB) -> None:
        """Changes the light of what is there: -1 (dark) to 1 (bright), towards ``tint``."""
        paint = _paint(tint, min(0.5 * abs(amount), 0.5))
        paint.setBlendMode(skia.BlendMode.kSoftLight if amount > 0 else skia.BlendMode.kMultiply)
        self._canvas.drawPaint(paint)

    @contextmanager
    def inside(self, points: Points, smooth: bool = False) -> Iterator[None]:
        """Within it, nothing is drawn outside the shape through (n, 2) points."""
        self._canvas.save()
        self._canvas.clipPath(_path(points, True, smooth), doAntiAlias=True)
        yield
        self._canvas.restore()


def _argb(colour: RGB, opacity: float) -> int:
    return skia.Color(*colour, round(255 * opacity))


def _paint(colour: RGB, opacity: float) -> skia.Paint:
    return skia.Paint(AntiAlias=True, Color=_argb(colour, opacity))


def _path(points: Points, closed: bool, smooth: bool) -> skia.Path:
    places = points.tolist() if isinstance(points, np.ndarray) else [tuple(place) for place in points]
    if not smooth or len(places) < 3:
        return skia.Path.Polygon([skia.Point(x, y) for x, y in places], closed)
    path = skia.Path()
    # Arcs from middle to middle of the edges, with the points as their handles.
    middles = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in zip(places, places[1:] + places[:1], strict=True)]
    if closed:
        path.moveTo(*middles[-1])
        for (x, y), middle in zip(places, middles, strict=True):
            path.quadTo(x, y, *middle)
        path.close()
        return path
    path.moveTo(*places[0])
    for (x, y), middle in zip(places[1:-2], middles[1:-2], strict=True):
        path.quadTo(x, y, *middle)
    path.quadTo(*places[-2], *places[-1])
    return path
