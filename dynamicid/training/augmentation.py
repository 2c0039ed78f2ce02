"""Variants of photos that ``cache`` computes besides the photos themselves: mirrored ones, and other crops."""

import math
import re

import numpy as np

from ..files.digests import sha256_hex

SMALLEST_CROP = 0.6
"""Side of a crop as a share of the photo's shortest side."""
_OTHER = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}


def mirror_words(text: str) -> str:
    """A text about the mirrored picture: the words "left" and "right" are exchanged."""
    return re.sub(r"\b(?:left|right)\b", lambda match: _OTHER.get(match[0], match[0]), text, flags=re.IGNORECASE)


def crop_boxes(
    box_xyxy: tuple[float, float, float, float], height: int, width: int, count: int, name: str
) -> list[tuple[int, int, int, int]]:
    """Squares of a photo: the middle one, then others of random sizes and places that hold the face if it fits.

    Args:
        box_xyxy: The face, in pixels of the photo.
        height: Of the photo.
        width: Of the photo.
        count: Number of squares.
        name: Of the photo; determines the random numbers.

    Returns:
        Left, top, right, bottom in pixels.
    """
    random = np.random.default_rng(int(sha256_hex(name)[:16], 16))
    short = min(height, width)
    left, top = (width - short) // 2, (height - short) // 2
    boxes = [(left, top, left + short, top + short)]
    for _ in range(count - 1):
        side = round(short * random.uniform(SMALLEST_CROP, 1))
        shares = random.uniform(size=2)
        left = _start(box_xyxy[0], box_xyxy[2], side, width, shares[0])
        top = _start(box_xyxy[1], box_xyxy[3], side, height, shares[1])
        boxes.append((left, top, left + side, top + side))
    return boxes


def _start(low: float, high: float, side: int, length: int, share: float) -> int:
    """Where a crop of ``side`` pixels begins, of ``length``, so that it holds low..high."""
    first, last = max(0, math.ceil(high) - side), min(math.floor(low), length - side)
    if first > last:
        return min(max(round((low + high - side) / 2), 0), length - side)
    return first + round(share * (last - first))
