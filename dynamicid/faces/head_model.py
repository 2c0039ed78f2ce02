"""A head in three dimensions for 106 flat landmarks: lifting them, turning them, and an average face.

Axes as InsightFace's pose estimate has them: x to the picture's right, y down, z towards the viewer, and
R = Rz(roll) Ry(yaw) Rx(pitch). So pitch is positive when the face looks up, yaw when it turns to the picture's right,
roll when the head leans clockwise in the picture. The unit is 1 / 0.54 of the distance between the eyes' middles.

A flat landmark says nothing about depth: z is the average face's. A point of the contour that turns away is no fixed
place on the jaw but the outline of the cheek, taken as a half ellipse between the two sides of the jaw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import landmark_layout as layout
from .landmarks import LANDMARK_COUNT

LARGEST_POSE = np.array([45.0, 70.0, 90.0])
"""Pitch, yaw and roll in degrees, beyond which a turned head shows too little to be lifted or drawn."""

# x, y, z of the picture's left half, smoothed and made symmetrical from common face proportions.
_CONTOUR = (
    (-0.627, -0.300, -0.310), (-0.614, -0.212, -0.303), (-0.601, -0.125, -0.292), (-0.588, -0.038, -0.275),
    (-0.572, 0.050, -0.252), (-0.553, 0.132, -0.220), (-0.531, 0.212, -0.175), (-0.505, 0.285, -0.115),
    (-0.474, 0.350, -0.045), (-0.436, 0.402, 0.020), (-0.393, 0.446, 0.078), (-0.346, 0.481, 0.132),
    (-0.297, 0.510, 0.186), (-0.244, 0.534, 0.250), (-0.189, 0.555, 0.312), (-0.100, 0.574, 0.360),
)  # fmt: skip
_LEFT_HALF: dict[tuple[int, ...], tuple[tuple[float, float, float], ...]] = {
    layout.LEFT_CONTOUR: _CONTOUR,
    (layout.CHIN,): ((0.0, 0.584, 0.388),),
    layout.LEFT_EYE_CORNERS: ((-0.387, -0.313, 0.260), (-0.155, -0.315, 0.314)),
    layout.LEFT_EYE_UPPER: ((-0.328, -0.345, 0.318), (-0.276, -0.356, 0.333), (-0.222, -0.348, 0.330)),
    layout.LEFT_EYE_LOWER: ((-0.326, -0.288, 0.305), (-0.274, -0.280, 0.322), (-0.220, -0.287, 0.324)),
    layout.LEFT_PUPIL: ((-0.274, -0.318, 0.330), (-0.272, -0.318, 0.330)),
    layout.LEFT_BROW_UPPER: (
        (-0.475, -0.420, 0.236), (-0.417, -0.472, 0.316), (-0.348, -0.490, 0.366), (-0.261, -0.486, 0.399),
        (-0.140, -0.464, 0.420),
    ),
    layout.LEFT_BROW_LOWER: (
        (-0.412, -0.440, 0.318), (-0.344, -0.453, 0.364), (-0.260, -0.447, 0.396), (-0.145, -0.425, 0.416),
    ),
    layout.NOSE_BRIDGE: ((0.0, -0.323, 0.462), (0.0, -0.256, 0.510), (0.0, -0.199, 0.553)),
    (layout.NOSE_TIP,): ((0.0, -0.135, 0.599),),
    layout.NOSE_LEFT_SIDE: ((-0.070, -0.300, 0.400), (-0.105, -0.080, 0.440), (-0.150, 0.000, 0.400)),
    layout.NOSE_BASE[:2]: ((-0.115, 0.036, 0.440), (-0.060, 0.036, 0.485)),
    layout.NOSE_BASE[2:3]: ((0.0, 0.044, 0.515),),
    layout.MOUTH_CORNERS[:1]: ((-0.201, 0.235, 0.380),),
    layout.OUTER_LIP_UPPER[:3]: ((-0.137, 0.186, 0.465), (-0.066, 0.160, 0.505), (0.0, 0.169, 0.516)),
    layout.OUTER_LIP_LOWER[:3]: ((-0.143, 0.276, 0.438), (-0.074, 0.298, 0.481), (0.0, 0.303, 0.487)),
    layout.INNER_MOUTH_CORNERS[:1]: ((-0.178, 0.232, 0.396),),
    layout.INNER_LIP_UPPER[:2]: ((-0.074, 0.217, 0.465), (0.0, 0.216, 0.483)),
    layout.INNER_LIP_LOWER[:2]: ((-0.074, 0.230, 0.467), (0.0, 0.229, 0.475)),
}  # fmt: skip


def _average_face() -> np.ndarray:
    points = np.zeros((LANDMARK_COUNT, 3))
    for numbers, places in _LEFT_HALF.items():
        points[list(numbers)] = places
        points[layout.MIRROR[list(numbers)]] = np.array(places) * (-1, 1, 1)
    return points


AVERAGE_FACE = _average_face()
"""(106, 3) a neutral face from the front, in head units."""

_IS_CONTOUR = np.isin(np.arange(LANDMARK_COUNT), layout.CONTOUR)
_CHEEK_DEPTH = np.where(_IS_CONTOUR, np.clip(0.45 - AVERAGE_FACE[:, 2], 0, None), 0.0)
"""(106,) how far the cheek bulges forward of a contour point; 0 for points that are fixed to the skin."""


def _outward(row: tuple[int, ...], to_the_right: bool) -> list[int]:
    """The numbers of a row that lie in one half, from the face's middle outwards."""
    half = [n for n in row if (AVERAGE_FACE[n, 0] >= 0) == to_the_right]
    return sorted(half, key=lambda n: abs(AVERAGE_FACE[n, 0]))


_ROWS = (
    layout.LEFT_BROW_UPPER, layout.LEFT_BROW_LOWER, layout.RIGHT_BROW_UPPER, layout.RIGHT_BROW_LOWER,
    *((corners[0], *lid, corners[1]) for corners, lid in (
        (layout.LEFT_EYE_CORNERS, layout.LEFT_EYE_UPPER), (layout.LEFT_EYE_CORNERS, layout.LEFT_EYE_LOWER),
        (layout.RIGHT_EYE_CORNERS, layout.RIGHT_EYE_UPPER), (layout.RIGHT_EYE_CORNERS, layout.RIGHT_EYE_LOWER),
        (layout.MOUTH_CORNERS, layout.OUTER_LIP_UPPER), (layout.MOUTH_CORNERS, layout.OUTER_LIP_LOWER),
        (layout.INNER_MOUTH_CORNERS, layout.INNER_LIP_UPPER), (layout.INNER_MOUTH_CORNERS, layout.INNER_LIP_LOWER),
    )),
)  # fmt: skip
_OUTWARD_ROWS = {right: [half for row in _ROWS if (half := _outward(row, right))] for right in (False, True)}


def _farthest_so_far(x: np.ndarray, yaw: float) -> np.ndarray:
    return np.maximum.accumulate(x) if yaw > 0 else np.minimum.accumulate(x)


@dataclass(frozen=True)
class Head:
    """Landmarks as a head that can be turned.

    Args:
        points: (106, 3) in head units, seen from the front.
        scale: Pixels a head unit.
        centre: (2,) pixels where the head's origin lies.
        pose: (3,) pitch, yaw, roll in degrees, at which the landmarks were seen.
        residual: (106, 2) pixels by which the landmarks differ from this model of them.
    """

    points: np.ndarray
    scale: float
    centre: np.ndarray
    pose: np.ndarray
    residual: np.ndarray

    def seen(self, points: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """(106, 2) landmarks in pixels of other ``points`` (106, 3) at another ``pose`` (3,) degrees."""
        return self.centre + self.scale * project(points, pose) + self.residual


def limited_pose(pose: np.ndarray) -> np.ndarray:
    """``pose`` (3,) in degrees, held within ``LARGEST_POSE``."""
    return np.clip(pose, -LARGEST_POSE, LARGEST_POSE)


def project(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Head points as the viewer sees them, without perspective.

    Args:
        points: (106, 3) in head units.
        pose: (3,) pitch, yaw, roll in degrees.

    Returns:
        (106, 2) x and y in head units.
    """
    pitch, yaw, roll = np.radians(pose)
    x, y, z = points.T
    y_turned = y * np.cos(pitch) - z * np.sin(pitch)
    depth = y * np.sin(pitch) + z * np.cos(pitch)
    across = x * np.cos(yaw)
    # The far cheek's outline; x and yaw of the same sign turn away.
    outline = np.sign(x) * np.hypot(across, _CHEEK_DEPTH * np.sin(yaw))
    x_turned = np.where(x * yaw > 0, outline, across) + depth * np.sin(yaw)
    # What lies behind the outline of brow, eye or lips is drawn on it.
    if yaw:
        for row in _OUTWARD_ROWS[bool(yaw > 0)]:
            x_turned[row] = _farthest_so_far(x_turned[row], yaw)
    return np.stack(
        [x_turned * np.cos(roll) - y_turned * np.sin(roll), x_turned * np.sin(roll) + y_turned * np.cos(roll)], axis=1
    )


def lift(landmarks_106: np.ndarray, pose: np.ndarray) -> Head:
    """The head behind flat landmarks.

    Args:
        landmarks_106: (106, 2) pixels.
        pose: (3,) pitch, yaw, roll in degrees.

    Returns:
        A head for which ``seen(points, pose)`` gives the landmarks back exactly.
    """
    pose = limited_pose(np.asarray(pose, dtype=np.float64))
    landmarks = np.asarray(landmarks_106, dtype=np.float64)
    expected = project(AVERAGE_FACE, pose)
    spread = expected - expected.mean(axis=0)
    scale = float((spread * (landmarks - landmarks.mean(axis=0))).sum() / (spread**2).sum())
    scale = max(scale, 1e-3)
    centre = landmarks.mean(axis=0) - scale * expected.mean(axis=0)
    points = _frontal((landmarks - centre) / scale, pose)
    head = Head(points, scale, centre, pose, np.zeros_like(landmarks))
    return Head(points, scale, centre, pose, landmarks - head.seen(points, pose))


def _frontal(flat: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(106, 2) in head units at ``pose`` -> (106, 3) from the front: ``project`` undone, with the average depth."""
    pitch, yaw, roll = np.radians(pose)
    x_turned = flat[:, 0] * np.cos(roll) + flat[:, 1] * np.sin(roll)
    y_turned = -flat[:, 0] * np.sin(roll) + flat[:, 1] * np.cos(roll)
    z = AVERAGE_FACE[:, 2]
    y = (y_turned + z * np.sin(pitch)) / np.cos(pitch)
    across = x_turned - (y * np.sin(pitch) + z * np.cos(pitch)) * np.sin(yaw)
    outline = np.sqrt(np.maximum(across**2 - (_CHEEK_DEPTH * np.sin(yaw)) ** 2, 0.0)) * np.sign(across)
    turns_away = AVERAGE_FACE[:, 0] * yaw > 0
    x = np.where(turns_away & (_CHEEK_DEPTH > 0), outline, across) / np.cos(yaw)
    # A detector's far half is a guess; what it says is held near the average face.
    x = np.clip(x, AVERAGE_FACE[:, 0] - 0.25, AVERAGE_FACE[:, 0] + 0.25)
    y = np.clip(y, AVERAGE_FACE[:, 1] - 0.35, AVERAGE_FACE[:, 1] + 0.35)
    return np.stack([x, y, z], axis=1)
