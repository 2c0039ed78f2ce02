"""A motion as a picture: the face, its landmarks before and after, and the face prompt."""

from __future__ import annotations

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .drawing import CHOSEN_COLOUR, OTHER_COLOUR
from .face import Face
from .landmark_layout import OUTLINES
from .landmarks import LANDMARK_SIZE
from .motion import Motion, numbered_prompt

SIDE = 512
_BACKGROUND = (24, 24, 28)
_TEXT_HEIGHT = 76


def draw_motion(face: Face | None, before: Motion, after: Motion) -> np.ndarray:
    """Landmarks before (amber) and after (green) over the face's crop, and the prompt below; of F frames the first.

    Args:
        face: Whose crop is shown; None, or a face that does not know where its crop lies, for an empty background.
        before: The motion that the sliders start from.
        after: The motion that comes out.

    Returns:
        (588, 512, 3) uint8 RGB.
    """
    picture = Image.new("RGB", (SIDE, SIDE + _TEXT_HEIGHT), _BACKGROUND)
    points = [motion.landmarks_106.numpy() for motion in (before, after)]
    placed = _placed_crop(face)
    window = _window(points if placed is None else [*points, placed[1]])
    if placed is not None:
        crop, box = placed
        (left, top), (right, bottom) = np.round((box - window[:2]) * (SIDE / window[2])).astype(int)
        shown = Image.fromarray(crop.numpy()).resize((max(right - left, 1), max(bottom - top, 1)))
        picture.paste(shown, (int(left), int(top)))
    draw = ImageDraw.Draw(picture)
    for landmarks, colour in zip(points, (OTHER_COLOUR, CHOSEN_COLOUR), strict=True):
        pixels = (landmarks - window[:2]) * (SIDE / window[2])
        for row in OUTLINES:
            draw.line([tuple(pixels[number]) for number in row], fill=tuple(value * 2 // 3 for value in colour))
        for x, y in pixels:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(0, 0, 0))
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
    draw.rectangle((0, SIDE, SIDE, SIDE + _TEXT_HEIGHT), fill=_BACKGROUND)
    font = ImageFont.load_default(20)
    text = "\n".join(textwrap.wrap(numbered_prompt(after.prompt, after.frame_count), 48)[:2])
    draw.multiline_text((12, SIDE + 12), text, font=font, fill=(235, 235, 235))
    return np.asarray(picture).copy()


def _placed_crop(face: Face | None) -> tuple[Tensor, np.ndarray] | None:
    """The crop and its two corners (2, 2) in landmark pixels; None where either is unknown."""
    if face is None or face.crop is None or face.crop_box_xyxy is None:
        return None
    return face.crop, np.asarray(face.crop_box_xyxy).reshape(2, 2)


def _window(points: list[np.ndarray]) -> tuple[float, float, float]:
    """Left, top and side, in landmark pixels, of a square that shows all points, (n, 2) each, with some room."""
    inside = np.concatenate(points).clip(-LANDMARK_SIZE, 2 * LANDMARK_SIZE)
    low, high = inside.min(axis=0), inside.max(axis=0)
    side = max(float((high - low).max()) * 1.08, 1.0)
    left, top = (low + high) / 2 - side / 2
    return float(left), float(top), side
