"""Several pictures on one sheet, each with its label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import DynamicIDError, check_range

MOST_COLUMNS = 64
_BACKGROUND, _TEXT = (24, 24, 28), (235, 235, 235)
_SMALLEST_FONT, _FONT_SHARE = 8.0, 0.6


def contact_sheet(pictures: np.ndarray, labels: Sequence[str], columns: int) -> np.ndarray:
    """One picture of all pictures, row after row, with the labels below.

    Args:
        pictures: (N, height, width, 3) uint8.
        labels: N texts, or none for a sheet without labels.
        columns: Pictures in a row; 0 = so many that the sheet has about as many rows as columns.

    Returns:
        (sheet height, sheet width, 3) uint8.

    Raises:
        DynamicIDError: Another number of labels than of pictures, or ``columns`` out of range.
    """
    check_range("columns", columns, 0, MOST_COLUMNS)
    count, height, width, _ = pictures.shape
    if labels and len(labels) != count:
        raise DynamicIDError(
            "labels",
            f"There are {len(labels)} lines for {count} pictures.",
            "Write one line for each picture, or none at all.",
        )
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    strip = max(16, round(width / 10)) if labels else 0
    gap = max(2, round(width / 64))
    rows = -(-count // columns)
    size = (columns * (width + gap) + gap, rows * (height + strip + gap) + gap)
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        left, top = gap + column * (width + gap), gap + row * (height + strip + gap)
        sheet.paste(Image.fromarray(picture), (left, top))
        if labels:
            text, font = _fitted(labels[number].strip(), width, strip)
            draw.text((left + width / 2, top + height + strip / 2), text, _TEXT, font, anchor="mm")
    return np.asarray(sheet).copy()


def _fitted(text: str, width: int, height: int) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """``text`` and the default font at a size that fits into ``width`` x ``height`` pixels; long texts are cut."""
    size = height * _FONT_SHARE
    length = ImageFont.load_default(size).getlength(text)
    font = ImageFont.load_default(max(min(size, size * width / max(length, 1.0)), _SMALLEST_FONT))
    shown = text
    while text and font.getlength(shown) > width:
        text = text[:-1]
        shown = f"{text}…"
    return shown, font
