"""Landmarks as the key-point encoder sees them: white dots on a small black map (docs/method.md, IMR)."""

import numpy as np
import torch
from torch import Tensor

from ..errors import DynamicIDError
from .detected import LANDMARK_SIZE

LANDMARK_COUNT = 106
MAP_SIZE = 96


def keypoint_map(landmarks_106: np.ndarray | Tensor) -> Tensor:
    """Draws 106 landmarks as one white pixel each.

    Coordinates are divided by 512 / 96 and truncated; of the truncated ones, those outside the open interval (0, 96)
    are dropped, so row 0 and column 0 stay black.

    Args:
        landmarks_106: (106, 2), x and y in pixels of the picture resized to 512 x 512.

    Returns:
        (1, 96, 96) float32, black = -1 and white = 1, rows = y.

    Raises:
        DynamicIDError: another shape, or values that are no finite numbers.
    """
    points = np.asarray(landmarks_106.detach().cpu() if isinstance(landmarks_106, Tensor) else landmarks_106)
    if points.shape != (LANDMARK_COUNT, 2):
        raise DynamicIDError(
            "landmarks",
            f"Expected {LANDMARK_COUNT} points of x and y, found an array of shape {points.shape}.",
            "Take the landmarks from a face that this pack has encoded.",
        )
    points = points.astype(np.float64)
    if not np.isfinite(points).all():
        raise DynamicIDError(
            "landmarks", "Some coordinates are not finite numbers.", "Encode the photo again, or use another one."
        )
    cells = np.trunc(points / (LANDMARK_SIZE / MAP_SIZE)).clip(-1, MAP_SIZE).astype(np.int64)
    cells = cells[((cells > 0) & (cells < MAP_SIZE)).all(axis=1)]
    dots = torch.full((1, MAP_SIZE, MAP_SIZE), -1.0)
    dots[0, torch.from_numpy(cells[:, 1]), torch.from_numpy(cells[:, 0])] = 1.0
    return dots
