"""Numbers on pictures of faces and places."""

from __future__ import annotations

from PIL import ImageDraw, ImageFont

_MARGIN = 0.2


def draw_label(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    font_size: float,
    colour: tuple[int, int, int],
    size: tuple[int, int],
    above: bool = False,
) -> None:
    """Draws black text on a filled rectangle, moved inside the picture where it would stick out.

    Args:
        draw: What draws on the picture.
        text: A few characters.
        corner: x and y in pixels of the label's upper left corner, or its lower left one where ``above`` is set.
        font_size: Pixels.
        colour: Of the rectangle.
        size: Width and height of the picture.
        above: Whether the label ends at the corner instead of beginning there.
    """
    font = ImageFont.load_default(max(1.0, font_size))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    margin = font_size * _MARGIN
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    x = min(max(corner[0], 0), max(0, size[0] - width))
    y = min(max(corner[1] - (height if above else 0), 0), max(0, size[1] - height))
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    draw.text((x + margin - left, y + margin - top), text, font=font, fill=(0, 0, 0))
