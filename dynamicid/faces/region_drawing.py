"""Places as a picture: numbered, coloured boxes with the people's crops; and the crops of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..boxes import BoxXywhNorm
from .colours import PERSON_COLOURS
from .crops import PersonCrop
from .face import Face
from .labels import draw_label

_FILL_OPACITY = 0.28
_THUMBNAIL_SHARE = 0.45


def draw_places(background: np.ndarray, places: Mapping[int, tuple[Face, BoxXywhNorm]]) -> np.ndarray:
    """The background with each person's box, number and crop; where boxes overlap, both colours show.

    Args:
        background: (height, width, 3) uint8 RGB; not changed.
        places: Person number (from 1) -> the person and x, y, width, height in shares of the picture.

    Returns:
        (height, width, 3) uint8 RGB, a new array.
    """
    height, width = background.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(background))
    line = max(1, round(min(height, width) / 200))
    corners = {number: _pixels(box, height, width) for number, (_, box) in places.items()}
    for number, corner in corners.items():
        tint = Image.new("RGB", picture.size, PERSON_COLOURS[number - 1])
        opacity = Image.new("L", picture.size, 0)
        ImageDraw.Draw(opacity).rectangle(corner, fill=round(255 * _FILL_OPACITY))
        picture = Image.composite(tint, picture, opacity)
    draw = ImageDraw.Draw(picture)
    for number, (face, _) in places.items():
        colour = PERSON_COLOURS[number - 1]
        draw.rectangle(corners[number], outline=colour, width=line)
        _draw_crop(picture, face, corners[number], colour, line)
        left, top, right, bottom = corners[number]
        font_size = max(8, min(right - left, bottom - top) // 6)
        draw_label(draw, str(number), (left, top), font_size, colour, picture.size)
    return np.asarray(picture).copy()


def draw_crops(picture: np.ndarray, people: Sequence[PersonCrop]) -> np.ndarray:
    """The picture with each person's square and number, and their mask in their colour.

    Args:
        picture: (height, width, 3) uint8 RGB; not changed.
        people: The crops of this picture.

    Returns:
        (height, width, 3) uint8 RGB, a new array.
    """
    drawn = Image.fromarray(np.ascontiguousarray(picture))
    line = max(1, round(min(drawn.size) / 200))
    for crop in people:
        tint = Image.new("RGB", (crop.side, crop.side), PERSON_COLOURS[crop.person])
        opacity = (crop.mask.numpy() * 255 * _FILL_OPACITY).astype(np.uint8)
        drawn.paste(tint, crop.square_xyxy[:2], Image.fromarray(opacity))
    draw = ImageDraw.Draw(drawn)
    for crop in people:
        left, top, right, bottom = crop.square_xyxy
        draw.rectangle((left, top, right - 1, bottom - 1), outline=PERSON_COLOURS[crop.person], width=line)
        label = (str(crop.person + 1), (left, top), max(8, crop.side // 8), PERSON_COLOURS[crop.person])
        draw_label(draw, *label, drawn.size)
    return np.asarray(drawn).copy()


def _pixels(box: BoxXywhNorm, height: int, width: int) -> tuple[int, int, int, int]:
    x, y, box_width, box_height = box
    left, top = min(round(x * width), width - 1), min(round(y * height), height - 1)
    right = max(min(round((x + box_width) * width), width) - 1, left)
    return (left, top, right, max(min(round((y + box_height) * height), height) - 1, top))


def _draw_crop(
    picture: Image.Image, face: Face, corner: tuple[int, int, int, int], colour: tuple[int, int, int], line: int
) -> None:
    left, top, right, bottom = corner
    side = round(min(right - left, bottom - top) * _THUMBNAIL_SHARE)
    if face.crop is None or side < 8:
        return
    crop = Image.fromarray(face.crop.numpy())
    crop.thumbnail((side, side))
    place = ((left + right - crop.width) // 2, (top + bottom - crop.height) // 2)
    picture.paste(crop, place)
    frame = (place[0] - line, place[1] - line, place[0] + crop.width, place[1] + crop.height)
    ImageDraw.Draw(picture).rectangle(frame, outline=colour, width=line)
