"""Training crops as InsightFace and the pack cut them, from pictures augmented to look like those of a small diffusion
model."""

import cv2
import numpy as np
from insightface.utils import face_align

from dynamicid.faces.detected import LANDMARK_SIZE
from dynamicid.faces.drawing import portrait_crop_box

from ..places import PICTURE_SIZE
from .face_dataset import FacePictures

LANDMARK_CROP = 192
RECOGNITION_CROP = 112
UPSCALING = LANDMARK_SIZE / PICTURE_SIZE
"""Enlargement of the stored pictures for the landmark networks."""
_INTERPOLATIONS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)


def augment(picture: np.ndarray, random: np.random.Generator, colour: float = 1.0) -> np.ndarray:
    """A picture with random changes: light, blur, small distortions, JPEG compression, noise.

    Args:
        picture: (height, width, 3) uint8; not changed.
        random: Random generator.
        colour: Strength of the colour changes; 0 = none.
    """
    height, width = picture.shape[:2]
    out = picture
    if random.random() < 0.35:
        out = cv2.remap(
            out, *_distortion_maps(height, width, random), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    if random.random() < 0.45:
        share = random.uniform(0.35, 0.95)
        small = cv2.resize(out, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
        out = cv2.resize(small, (width, height), interpolation=_INTERPOLATIONS[random.integers(2)])
    if random.random() < 0.8 and colour > 0:
        gain = 1 + colour * (random.uniform(-0.18, 0.18) + random.uniform(-0.06, 0.06, 3))
        offset = colour * random.uniform(-18, 18)
        table = np.clip((np.arange(256)[:, None] - 128) * gain + 128 + offset, 0, 255).astype(np.uint8)
        out = cv2.LUT(out, table[None].transpose(1, 0, 2))
    if random.random() < 0.2:
        done, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(30, 90))])
        decoded = cv2.imdecode(code, cv2.IMREAD_COLOR) if done else None
        out = out if decoded is None else decoded
    if random.random() < 0.3:
        grain = random.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32) * random.uniform(2, 12)
        grain = cv2.resize(grain, (2 * grain.shape[1], 2 * grain.shape[0]))[:height, :width]
        out = np.clip(out + grain, 0, 255).astype(np.uint8)
    return out


def _distortion_maps(height: int, width: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Maps for cv2.remap that shift pixels smoothly by up to about 1 in 128."""
    cells = int(random.integers(5, 14))
    shifts = random.standard_normal((cells, cells, 2), dtype=np.float32) * random.uniform(0.3, 0.9) * width / 128
    shifts = cv2.resize(shifts, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x + shifts[..., 0], y + shifts[..., 1]


def recognition_crop(picture: np.ndarray, key_points: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
    """(112, 112, 3) as InsightFace's ``norm_crop``; with ``random``, the key points have errors like a detector's.

    Args:
        picture: (height, width, 3) uint8.
        key_points: (5, 2) pixels.
    """
    points = np.asarray(key_points, dtype=np.float32) - 0.5
    if random is not None:
        size = np.linalg.norm(points[:2].mean(0) - points[3:].mean(0))
        points = points + size * (random.normal(0, 0.035, (5, 2)) + random.normal(0, 0.03, 2)).astype(np.float32)
    return cv2.warpAffine(picture, _similarity_transform(points), (RECOGNITION_CROP, RECOGNITION_CROP), borderValue=0.0)


def _similarity_transform(points: np.ndarray) -> np.ndarray:
    """(2, 3) least-squares similarity onto ArcFace's template, as skimage computes it, but faster."""
    target = face_align.arcface_dst
    first, second = points.mean(0), target.mean(0)
    a, b = points - first, target - second
    norm = (a**2).sum()
    cos = (a * b).sum() / norm
    sin = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / norm
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([turn, (second - turn @ first)[:, None]], axis=1)


def landmark_crop(
    picture: np.ndarray, box: np.ndarray, random: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """The crop of InsightFace's ``Landmark`` from the picture enlarged to 512 x 512.

    Args:
        picture: (128, 128, 3) uint8.
        box: (4,) pixels; with ``random``, it has errors like a detector's.

    Returns:
        (192, 192, 3) uint8, and (2, 3) from the stored picture's pixels to the network's units, [-1, 1] in the crop.
    """
    x0, y0, x1, y1 = np.asarray(box, dtype=np.float64) * UPSCALING
    middle, side = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0)
    if random is not None:
        middle = middle + side * random.normal(0, 0.025, 2)
        side *= np.exp(random.normal(0, 0.04))
    scale = LANDMARK_CROP / (side * 1.5)
    shift = LANDMARK_CROP / 2 - scale * middle
    # cv2 counts from the middle of the first pixel, here and in the enlarging.
    half = (UPSCALING - 1) / 2
    both = scale * UPSCALING
    matrix = np.array([[both, 0, shift[0] + scale * half], [0, both, shift[1] + scale * half]])
    crop = cv2.warpAffine(picture, matrix, (LANDMARK_CROP, LANDMARK_CROP), borderValue=0.0)
    unit = 2 / LANDMARK_CROP
    onto = np.array([[both * unit, 0, shift[0] * unit - 1], [0, both * unit, shift[1] * unit - 1]])
    return crop, onto


def portrait_crop(
    picture: np.ndarray, box: np.ndarray, random: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture that the pack shows to the image encoder; with ``random``, the box has small errors.

    Returns:
        (side, side, 3) uint8, and (3,) its left, top and side in the picture's pixels.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    if random is not None:
        width, height = x1 - x0, y1 - y0
        x0, x1 = x0 + width * random.normal(0, 0.03), x1 + width * random.normal(0, 0.03)
        y0, y1 = y0 + height * random.normal(0, 0.03), y1 + height * random.normal(0, 0.03)
    left, top, right, bottom = portrait_crop_box((x0, y0, x1, y1), *picture.shape[:2])
    return picture[top:bottom, left:right], np.array([left, top, right - left], dtype=np.float32)


def augmented_picture(
    faces: FacePictures, face: int, random: np.random.Generator | None, colour: float = 1.0
) -> np.ndarray:
    """The picture of a face, augmented with ``random``."""
    picture = np.asarray(faces.pictures[faces.picture[face]])
    return picture if random is None else augment(picture, random, colour)
