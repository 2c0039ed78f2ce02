"""Image quality of a face: sharpness, occlusion, and the direction of the light."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ..faces import landmark_layout as layout
from ..faces.landmarks import LANDMARK_SIZE

FACE_SIDE = 112
"""Pixels a side to which a face's box is resized before its sharpness is measured: ArcFace's input size."""
SKIN_SIDE = 128
_CHROMA_REACH = 22.0
_FEWEST_PIXELS = 60


@dataclass(frozen=True)
class SkinLight:
    """Measured on the skin of nose and cheeks; mouth and chin are left out because of beards.

    Attributes:
        occlusion: 0..1, share of this skin that is outside the picture or of another colour than the rest: masks,
            hair, scarves, sunglasses, microphones. A hand of the same colour is not detected.
        level: Mean brightness, 0..1.
        side: -1..1, brightness of the picture's right half minus that of its left half, divided by their sum.
    """

    occlusion: float
    level: float
    side: float


def sharpness(image: np.ndarray, box_xyxy: tuple[float, float, float, float]) -> float:
    """Variance of the Laplacian (0..255 grey) over the face's box, resized to 112 x 112 pixels.

    Args:
        image: (height, width, 3) uint8 RGB.
        box_xyxy: Left, top, right, bottom in pixels.
    """
    height, width = image.shape[:2]
    left, top = max(0, int(box_xyxy[0])), max(0, int(box_xyxy[1]))
    right, bottom = min(width, int(box_xyxy[2]) + 1), min(height, int(box_xyxy[3]) + 1)
    if right - left < 3 or bottom - top < 3:
        return 0.0
    face = Image.fromarray(image[top:bottom, left:right]).convert("L")
    grey = np.asarray(face.resize((FACE_SIDE, FACE_SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
    middle = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    return float(laplacian.var())


def skin_light(image: np.ndarray, landmarks_106: np.ndarray) -> SkinLight:
    """Occlusion and light of a face.

    Args:
        image: (height, width, 3) uint8 RGB.
        landmarks_106: (106, 2) in the picture resized to 512 x 512.
    """
    small = Image.fromarray(image).resize((SKIN_SIDE, SKIN_SIDE), Image.Resampling.BOX)
    points = landmarks_106 * (SKIN_SIDE / LANDMARK_SIZE)
    mask, beyond = _skin(points)
    colours = np.asarray(small.convert("YCbCr"), dtype=np.float32)[mask]
    if len(colours) < _FEWEST_PIXELS:
        return SkinLight(1.0, 0.0, 0.0)
    chroma = colours[:, 1:]
    strange = np.linalg.norm(chroma - np.median(chroma, axis=0), axis=1) > _CHROMA_REACH
    occlusion = beyond + (1 - beyond) * float(strange.mean())
    own = colours[~strange, 0]
    rows, columns = np.nonzero(mask)
    # Left and right of the line from the nose's bridge to the chin.
    (x0, y0), (x1, y1) = points[layout.NOSE_BRIDGE[0]], points[layout.CHIN]
    right = (columns - x0) * (y1 - y0) > (rows - y0) * (x1 - x0)
    sides = [own[right[~strange] == half] for half in (False, True)]
    side = 0.0
    if min(map(len, sides)) >= _FEWEST_PIXELS // 4:
        left_mean, right_mean = (float(part.mean()) for part in sides)
        side = (right_mean - left_mean) / max(left_mean + right_mean, 1.0)
    return SkinLight(occlusion, float(own.mean()) / 255, side)


def _skin(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Mask (128, 128) of the skin, and the share of the face's outline that lies outside the picture."""
    beyond = float(((points < 0) | (points > SKIN_SIDE)).any(axis=1).mean())
    canvas = Image.new("1", (SKIN_SIDE, SKIN_SIDE))
    draw = ImageDraw.Draw(canvas)
    _polygon(draw, points[list(layout.CONTOUR)], 1)
    floor = points[list(layout.MOUTH_CORNERS), 1].min() - 3
    draw.rectangle((0, float(floor), SKIN_SIDE, SKIN_SIDE), fill=0)
    for part in (layout.LEFT_EYE, layout.RIGHT_EYE, layout.LEFT_BROW, layout.RIGHT_BROW, layout.NOSE_BASE):
        low, high = points[list(part)].min(axis=0) - 2, points[list(part)].max(axis=0) + 2
        draw.rectangle((*low.tolist(), *high.tolist()), fill=0)
    return np.asarray(canvas), beyond


def _polygon(draw: ImageDraw.ImageDraw, points: np.ndarray, fill: int) -> None:
    # A little smaller than the contour, whose rim is hair and background.
    middle = points.mean(axis=0)
    draw.polygon([tuple(point) for point in (middle + 0.9 * (points - middle)).tolist()], fill=fill)
