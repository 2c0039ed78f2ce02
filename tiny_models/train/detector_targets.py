"""Training pictures for the detector, and what it should say about them, in SCRFD's layout of anchors."""

from typing import NamedTuple

import cv2
import numpy as np

from dynamicid.faces.detected import LANDMARK_SIZE

from ..places import PICTURE_SIZE
from .face_crops import UPSCALING, worsened
from .face_pictures import FacePictures

STRIDES = (8, 16, 32)
ANCHORS: dict[int, tuple[tuple[float, float, float], ...]] = {
    8: ((24, 34, 46), (40, 56, 76)),
    16: ((66, 85, 112), (96, 128, 165)),
    32: ((140, 190, 250), (220, 300, 430)),
}
"""By stride: for each of the two anchors the smallest face, the unit of its distances, and the largest face, in pixels
of the longer side at 512 x 512."""
_CENTRE, _NEAR = 0.16, 0.32
"""Anchors within the first share of the face's size around its middle answer for it; those up to the second may."""
_LEAST_SEEN = 0.6
_SIGNS = np.array([-1.0, -1.0] + [1.0] * 12)
_CELLS = {stride: LANDMARK_SIZE // stride for stride in STRIDES}


class Targets(NamedTuple):
    """By stride, with two anchors a cell.

    Args:
        score: (cells, cells, 2) float32: 1 = a face, 0 = none, -1 = either.
        places: (cells, cells, 2, 14) float32: left, top, right, bottom, then five x, y, from the cell's corner in units
            of the anchor; right where score is 1.
    """

    score: np.ndarray
    places: np.ndarray


def training_picture(
    faces: FacePictures, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A picture moved and scaled, or four small ones; the colours' order is either one.

    Returns:
        (128, 128, 3) uint8; boxes (n, 4), key points (n, 5, 2) in pixels at 512 x 512; whether to ignore each (n,).
    """
    if random.random() < 0.3:
        half = PICTURE_SIZE // 2
        canvas = np.zeros((PICTURE_SIZE, PICTURE_SIZE, 3), dtype=np.uint8)
        parts = []
        for top, left in ((0, 0), (0, half), (half, 0), (half, half)):
            window = np.array([left, top, left + half, top + half], dtype=np.float64)
            canvas[top : top + half, left : left + half], *truth = _placed(faces, random, window)
            parts.append(truth)
        boxes, points, ignored = (np.concatenate(values) for values in zip(*parts, strict=True))
    else:
        window = np.array([0, 0, PICTURE_SIZE, PICTURE_SIZE], dtype=np.float64)
        canvas, boxes, points, ignored = _placed(faces, random, window)
    canvas = worsened(canvas, random)
    if random.random() < 0.5:
        canvas = canvas[..., ::-1]
    return canvas, boxes, points, ignored


def _placed(
    faces: FacePictures, random: np.random.Generator, window: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One picture in a window (left, top, right, bottom) of the canvas, as ``training_picture``."""
    number = int(random.integers(len(faces.pictures)))
    side = int(window[2] - window[0])
    fit = side / PICTURE_SIZE
    # Portraits are as large as they come; scenes may be any size.
    largest = 1.35 if number >= faces.scene_count else 1.9
    scale = fit * (1.0 if random.random() < 0.35 else float(np.exp(random.uniform(np.log(0.5), np.log(largest)))))
    room = side - PICTURE_SIZE * scale
    shift = (np.array([random.random(), random.random()]) * room) if scale != fit else np.zeros(2)
    matrix = np.array([[scale, 0, shift[0] + scale / 2 - 0.5], [0, scale, shift[1] + scale / 2 - 0.5]])
    border = cv2.BORDER_CONSTANT if random.random() < 0.6 else cv2.BORDER_REPLICATE
    picture = np.asarray(faces.pictures[number])
    if scale < 0.75:
        # Smaller without aliasing.
        side_now = round(PICTURE_SIZE * scale)
        picture = cv2.resize(picture, (side_now, side_now), interpolation=cv2.INTER_AREA)
        matrix = np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]])
    picture = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    rows = faces.faces_of(number)
    inside = faces.box[rows].astype(np.float64).reshape(-1, 2, 2) * scale + shift
    points = faces.key_points[rows].astype(np.float64) * scale + shift
    seen = np.clip(inside, 0, side)
    area, seen_area = (np.prod(boxes[:, 1] - boxes[:, 0], axis=1) for boxes in (inside, seen))
    share = seen_area / area
    kept = share > 0.05
    corner = window[:2]
    boxes = ((inside + corner) * UPSCALING).reshape(-1, 4)
    return picture, boxes[kept], ((points + corner) * UPSCALING)[kept], (share < _LEAST_SEEN)[kept]


def targets_of(boxes: np.ndarray, points: np.ndarray, ignored: np.ndarray) -> dict[int, Targets]:
    """What the detector should say, by stride."""
    out = {}
    for stride in STRIDES:
        cells = _CELLS[stride]
        score = np.zeros((cells, cells, 2), dtype=np.float32)
        places = np.zeros((cells, cells, 2, 14), dtype=np.float32)
        y, x = np.mgrid[:cells, :cells] * float(stride)
        for box, five, skip in zip(boxes, points, ignored, strict=True):
            size = max(box[2] - box[0], box[3] - box[1])
            off = np.maximum(np.abs(x - (box[0] + box[2]) / 2), np.abs(y - (box[1] + box[3]) / 2))
            for anchor, (low, unit, high) in enumerate(ANCHORS[stride]):
                if not 0.75 * low < size < 1.3 * high:
                    continue
                near = off <= max(_NEAR * size, stride)
                score[..., anchor][near & (score[..., anchor] == 0)] = -1
                if skip or not low <= size <= high:
                    continue
                mine = off <= max(_CENTRE * size, 0.55 * stride)
                score[..., anchor][mine] = 1
                # Distances to the left and to the top count the other way round.
                corner = np.stack([x[mine], y[mine]] * 7, axis=-1)
                places[..., anchor, :][mine] = (np.concatenate([box, five.reshape(-1)]) - corner) * _SIGNS / unit
        out[stride] = Targets(score, places)
    return out
