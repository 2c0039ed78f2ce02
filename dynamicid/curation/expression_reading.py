"""Expressions read from a face. ``ExpressionReader`` is the interface; a network can stand in for the landmarks.

What a reader measures is compared with the same person's other photos before it becomes a word: people's brows and lips
differ more from one another than from themselves.
"""

from typing import Protocol

import numpy as np

from ..faces import landmark_layout as layout
from ..faces.detected import DetectedFace
from ..faces.head_model import AVERAGE_FACE, lift
from ..faces.prompts import NEUTRAL

MEASURES = ("mouth_open", "smile", "brows", "brow_tilt", "eyes_open")


class ExpressionReader(Protocol):
    """Reads an expression."""

    def read(self, image: np.ndarray, face: DetectedFace) -> np.ndarray:
        """(5,) float32 MEASURES of a portrait (height, width, 3) uint8 RGB and the face in it.

        Of any unit in which 0 is an average face and 1 about as far as faces go.
        """
        ...


class NoExpression:
    """Calls every face neutral, for packs whose landmarks do not follow the lips."""

    def read(self, image: np.ndarray, face: DetectedFace) -> np.ndarray:
        """Zeros."""
        return np.zeros(len(MEASURES), dtype=np.float32)


class LandmarkExpression:
    """Reads the 106 landmarks, turned to the front by the head model (``faces.head_model``)."""

    def read(self, image: np.ndarray, face: DetectedFace) -> np.ndarray:
        """How far each of MEASURES is from an average face."""
        height, width = image.shape[:2]
        points = lift(face.landmarks_106 * (np.array([width, height]) / 512), face.pose).points
        return ((_lengths(points) - _REST) / _REACH).astype(np.float32)


# In the order of MEASURES, by the action units that make the seven basic expressions.
_PROTOTYPES = {
    "happy": (0.3, 1.0, 0.0, 0.0, -0.2),
    "surprise": (1.0, 0.0, 1.0, 0.0, 0.7),
    "sad": (0.0, -0.8, 0.0, 0.9, -0.4),
    "anger": (0.0, -0.4, -1.0, -0.8, -0.2),
    "disgust": (0.1, -0.5, -0.5, -0.3, -0.6),
    "fear": (0.5, -0.6, 0.7, 0.8, 0.6),
}
_FAINT, _SIMILAR = 0.45, 0.6


def word_of(values: np.ndarray) -> str:
    """One of ``faces.prompts.EMOTIONS``: the basic expression of the smallest angle; neutral if faint or like none.

    Args:
        values: (5,) MEASURES less those of the same person at rest.
    """
    length = float(np.linalg.norm(values))
    if length < _FAINT:
        return NEUTRAL
    cosines = {word: float(values @ np.array(one)) / length / np.linalg.norm(one) for word, one in _PROTOTYPES.items()}
    word = max(cosines, key=lambda key: cosines[key])
    return word if cosines[word] >= _SIMILAR else NEUTRAL


def _lengths(points: np.ndarray) -> np.ndarray:
    """Head units, in the order of MEASURES."""

    def y(numbers: tuple[int, ...]) -> float:
        return float(points[list(numbers), 1].mean())

    lids = [(layout.LEFT_EYE_UPPER, layout.LEFT_EYE_LOWER), (layout.RIGHT_EYE_UPPER, layout.RIGHT_EYE_LOWER)]
    brows = [layout.LEFT_BROW, layout.RIGHT_BROW]
    eyes = [layout.LEFT_EYE_CORNERS, layout.RIGHT_EYE_CORNERS]
    gap = y(layout.INNER_LIP_LOWER) - y(layout.INNER_LIP_UPPER)
    corners = 0.5 * (y(layout.OUTER_LIP_UPPER) + y(layout.OUTER_LIP_LOWER)) - 0.5 * gap - y(layout.MOUTH_CORNERS)
    raised = np.mean([y(eye) - y(brow) for eye, brow in zip(eyes, brows, strict=True)])
    tilt = np.mean([_inner_less_outer(points, brow) for brow in brows])
    opened = np.mean([y(lower) - y(upper) for upper, lower in lids])
    return np.array([gap, corners, raised, tilt, opened])


def _inner_less_outer(points: np.ndarray, brow: tuple[int, ...]) -> float:
    """How much higher a brow's inner third lies than its outer third."""
    order = sorted(brow, key=lambda number: abs(AVERAGE_FACE[number, 0]))
    return float(points[order[-3:], 1].mean() - points[order[:3], 1].mean())


_REST = _lengths(AVERAGE_FACE)
_REACH = np.array([0.16, 0.07, 0.06, 0.06, 0.05])
"""Head units from rest to a full expression."""
