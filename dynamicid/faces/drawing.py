"""Faces as pictures: previews with boxes and numbers, and crops."""

from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image, ImageDraw

from .detected import LANDMARK_SIZE, DetectedFace
from .labels import draw_label

CHOSEN_COLOUR = (64, 224, 96)
OTHER_COLOUR = (255, 200, 64)
# A tight portrait: forehead hair and some neck and shoulder around InsightFace's box (brows' top to chin, roughly).
PORTRAIT_FACTOR = 2.2
# The box sits from forehead to chin; hair above and neck below it balance when the crop's middle lies this share of the
# box height below the box's middle, which leaves 0.52 box heights above the box and 0.68 below.
PORTRAIT_SHIFT = 0.08


def draw_faces(
    image: np.ndarray,
    faces: Sequence[DetectedFace],
    chosen: Collection[int] | None = None,
    first_number: int = 0,
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """The picture with each face's box, number and landmarks.

    Args:
        image: (height, width, 3) uint8 RGB; not changed.
        faces: In the order in which they are numbered.
        chosen: Positions (from 0) to highlight, in another colour and with a thicker box; None or empty: none.
        first_number: The first face's number: 0 where `index` counts, 1 where people are counted.
        labels: A short text for each face instead of its number.

    Returns:
        (height, width, 3) uint8 RGB, a new array.
    """
    height, width = image.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(picture)
    short_side = min(height, width)
    line = max(1, round(short_side / 250))
    for position, face in enumerate(faces):
        is_chosen = chosen is not None and position in chosen
        colour = CHOSEN_COLOUR if is_chosen else OTHER_COLOUR
        x0, y0, x1, y1 = _visible_box(face.box_xyxy, height, width)
        _draw_landmarks(draw, face, (width, height), radius=max(0.0, (y1 - y0) / 200), colour=colour)
        draw.rectangle((x0, y0, x1, y1), outline=colour, width=line * 2 if is_chosen else line)
        font_size = min(max(8.0, short_side / 28, min((y1 - y0) / 6, short_side / 14)), short_side / 3)
        label = str(first_number + position) if labels is None else labels[position]
        draw_label(draw, label, (x0, y0), font_size, colour, picture.size, above=True)
    return np.asarray(picture).copy()


def _visible_box(box: Sequence[float], height: int, width: int) -> tuple[float, float, float, float]:
    """The box cut to the picture; at least one pixel remains, so that something is drawn."""
    x0, y0 = min(max(box[0], 0), width - 1), min(max(box[1], 0), height - 1)
    return (x0, y0, max(x0, min(box[2], width - 1)), max(y0, min(box[3], height - 1)))


def _draw_landmarks(
    draw: ImageDraw.ImageDraw, face: DetectedFace, size: tuple[int, int], radius: float, colour: tuple[int, int, int]
) -> None:
    for x, y in face.landmarks_106 * (np.asarray(size) / LANDMARK_SIZE):
        if radius < 1:
            draw.point((x, y), fill=colour)
        else:
            # A dark rim keeps the dots visible on light skin.
            rim = radius + 1
            draw.ellipse((x - rim, y - rim, x + rim, y + rim), fill=(0, 0, 0))
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def face_crop_box(
    box_xyxy: Sequence[float], height: int, width: int, margin: float = 0.25
) -> tuple[int, int, int, int]:
    """A square around a face, without padding: moved inside the picture, and never larger than it.

    Args:
        box_xyxy: Left, top, right, bottom in pixels.
        height, width: Size of the picture in pixels.
        margin: Room on each side, as a share of the box's longer side.

    Returns:
        Left, top, right, bottom in whole pixels.
    """
    x0, y0, x1, y1 = box_xyxy
    side = max(x1 - x0, y1 - y0) * (1 + 2 * margin)
    return _square_inside((x0 + x1) / 2, (y0 + y1) / 2, side, height, width)


def portrait_crop_box(box_xyxy: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """The part of a reference photo that CLIP should see, with `crop` on "auto".

    DynamicID hands the whole reference picture to CLIP, whose transform then cuts out its middle square, and was
    trained on tight portrait crops (docs/method.md, Training). So a photo with more in it than a portrait is cut
    to a square of 2.2 face heights, hair and upper shoulders included, which lies inside the picture. A picture that
    the face already fills (its shorter side is no longer than that square) is taken whole, as the published code would,
    unless CLIP's middle square would cut into the face: then the largest square around the face is taken.

    Args:
        box_xyxy: Left, top, right, bottom of the face in pixels.
        height, width: Size of the photo in pixels.

    Returns:
        Left, top, right, bottom in whole pixels.
    """
    tall = face_height(box_xyxy) * PORTRAIT_FACTOR >= min(height, width)
    if tall and _is_in_middle_square(box_xyxy, height, width):
        return (0, 0, width, height)
    return portrait_square(box_xyxy, height, width)


def portrait_square(box_xyxy: Sequence[float], height: int, width: int, grow: float = 1.0) -> tuple[int, int, int, int]:
    """The square around head and shoulders, moved inside the picture and never larger than it.

    Args:
        box_xyxy: Left, top, right, bottom of the face in pixels.
        height, width: Size of the picture in pixels.
        grow: Factor on the side; 1 = 2.2 face heights.

    Returns:
        Left, top, right, bottom in whole pixels.
    """
    x0, y0, x1, y1 = box_xyxy
    unit = face_height(box_xyxy)
    side = unit * PORTRAIT_FACTOR * grow
    return _square_inside((x0 + x1) / 2, (y0 + y1) / 2 + PORTRAIT_SHIFT * unit, side, height, width)


def face_height(box_xyxy: Sequence[float]) -> float:
    """The longer side of a face's box: a profile's is narrower than the head is deep, a laughing one's wider."""
    return max(box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1])


def _is_in_middle_square(box_xyxy: Sequence[float], height: int, width: int) -> bool:
    """Whether the middle square holds as much of the box as the whole picture does."""
    cut_x, cut_y = max(0, width - height) / 2, max(0, height - width) / 2
    x0, y0, x1, y1 = _visible_box(box_xyxy, height, width)
    return x0 >= cut_x and y0 >= cut_y and x1 <= width - cut_x and y1 <= height - cut_y


def _square_inside(middle_x: float, middle_y: float, side: float, height: int, width: int) -> tuple[int, int, int, int]:
    length = min(max(1, round(side)), height, width)
    left = min(max(0, round(middle_x - length / 2)), width - length)
    top = min(max(0, round(middle_y - length / 2)), height - length)
    return (left, top, left + length, top + length)
