"""Painted faces that the stand-in detector (``onnx_pack``) finds."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

DEFAULT_TONES = ((240, 196, 172), (150, 104, 82), (214, 162, 126), (112, 79, 61), (250, 216, 196), (184, 131, 105))
HAIR_TONES = ((40, 28, 22), (90, 20, 30), (20, 60, 30), (170, 170, 176), (204, 150, 50), (28, 32, 84))

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


def draw_test_faces(
    size: tuple[int, int],
    boxes: Sequence[Box],
    tones: Sequence[Colour] | None = None,
    shades: Sequence[float] | None = None,
    mouths: Sequence[float] | None = None,
) -> np.ndarray:
    """Plain painted faces that the stand-in detector finds.

    Args:
        size: (height, width) of the picture.
        boxes: x0, y0, x1, y1 of each face in pixels; best 0.76 times as wide as high, and 20 to 300 pixels high
            where the picture's longer side is 512.
        tones: RGB of each face's skin; DEFAULT_TONES in turn where None. Hair follows HAIR_TONES in turn.
        shades: Share of light taken from the right half of each face, 0 (default) to 0.5; from about 0.3 the
            stand-in's yaw makes it a side view. Negative shades the left half.
        mouths: Height of each mouth in box heights, 0.1 (default, closed) to 0.3 (wide open).

    Returns:
        (height, width, 3) uint8 RGB.
    """
    height, width = size
    image = Image.new("RGB", (width, height), (96, 112, 108))
    for index, box in enumerate(boxes):
        tone = (tones or DEFAULT_TONES)[index % len(tones or DEFAULT_TONES)]
        mouth = 0.1 if mouths is None else mouths[index % len(mouths)]
        _paint_face(ImageDraw.Draw(image), box, tone, HAIR_TONES[index % len(HAIR_TONES)], mouth)
    pixels = np.asarray(image).copy()
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        shade = 0.0 if shades is None else shades[index % len(shades)]
        left, right = ((x0 + x1) / 2, x1) if shade >= 0 else (x0, (x0 + x1) / 2)
        half = pixels[max(0, round(y0)) : max(0, round(y1)), max(0, round(left)) : max(0, round(right))]
        half[:] = half * (1 - abs(shade))
    return pixels


def _paint_face(draw: ImageDraw.ImageDraw, box: Box, skin: Colour, hair: Colour, mouth: float) -> None:
    x0, y0, x1, y1 = box
    # Middle x, y and half sizes in units of the box, colour.
    ellipses = [(0, -0.12, 0.58, 0.5, hair), (0, 0, 0.5, 0.5, skin), (0, 0.27, 0.17, mouth / 2, (150, 50, 60))]
    for side in (-1, 1):
        ellipses.append((side * 0.22, -0.1, 0.09, 0.04, (250, 250, 250)))
        ellipses.append((side * 0.22, -0.1, 0.04, 0.035, (30, 40, 50)))
    for x, y, half_width, half_height, colour in ellipses:
        middle_x, middle_y = (x0 + x1) / 2 + x * (x1 - x0), (y0 + y1) / 2 + y * (y1 - y0)
        half_width, half_height = half_width * (x1 - x0), half_height * (y1 - y0)
        corners = (middle_x - half_width, middle_y - half_height, middle_x + half_width, middle_y + half_height)
        draw.ellipse(corners, fill=colour)
