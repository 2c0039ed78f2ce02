"""Expressions as directions in which named landmarks of a frontal head move, and what keeps a face a face.

Lengths are head units (see ``head_model``): the eyes' middles are 0.54 apart. ``express`` and ``neutralised`` return
new (106, 3) points; the steps they are made of move that copy in place.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from . import landmark_layout as layout
from .head_model import AVERAGE_FACE


@dataclass(frozen=True)
class Expression:
    """What the expression sliders say; all 0 = the face as it is.

    Args:
        smile: -1 (corners of the mouth down) to 1 (up and apart).
        mouth_open: 0 to 1 (jaw dropped).
        eyebrows: -1 (down and together) to 1 (raised).
        eyes_closed: 0 to 1 (lids meet).
        squint: 0 to 1 (both lids narrow the eye).
        pucker: 0 to 1 (lips pushed forward and together).
        jaw_sideways: -1 (to the picture's left) to 1 (right).
    """

    smile: float = 0.0
    mouth_open: float = 0.0
    eyebrows: float = 0.0
    eyes_closed: float = 0.0
    squint: float = 0.0
    pucker: float = 0.0
    jaw_sideways: float = 0.0

    @property
    def is_neutral(self) -> bool:
        """Whether nothing moves."""
        return not any(astuple(self))


_EYES = (
    (layout.LEFT_EYE_UPPER, layout.LEFT_EYE_LOWER, layout.LEFT_EYE_CORNERS, layout.LEFT_PUPIL),
    (layout.RIGHT_EYE_UPPER, layout.RIGHT_EYE_LOWER, layout.RIGHT_EYE_CORNERS, layout.RIGHT_PUPIL),
)
_BROWS = (
    (layout.LEFT_BROW, layout.LEFT_EYE_UPPER),
    (layout.RIGHT_BROW, layout.RIGHT_EYE_UPPER),
)
_LIPS_MEET = ((layout.INNER_LIP_UPPER, layout.INNER_LIP_LOWER), (layout.OUTER_LIP_UPPER, layout.OUTER_LIP_LOWER))
_WHERE_LIDS_MEET = 0.8
_SMALLEST_BROW_GAP = 0.04


def _jaw_weights() -> np.ndarray:
    """(106,) how far each point follows the jaw: 1 at the chin, fading to 0 at the ears; lower lip in between."""
    weights = np.zeros(len(AVERAGE_FACE))
    contour = list(layout.CONTOUR)
    weights[contour] = np.clip((AVERAGE_FACE[contour, 1] - 0.05) / (AVERAGE_FACE[layout.CHIN, 1] - 0.05), 0, 1)
    weights[list(layout.LOWER_LIP)] = 0.95
    weights[list(layout.MOUTH_CORNERS + layout.INNER_MOUTH_CORNERS)] = 0.35
    return weights


_JAW = _jaw_weights()
_MOUTH = list(layout.MOUTH)
_CORNER_WEIGHT = np.clip(np.abs(AVERAGE_FACE[:, 0]) / abs(AVERAGE_FACE[layout.MOUTH_CORNERS[0], 0]), 0, 1) ** 2
_SIDE = np.sign(AVERAGE_FACE[:, 0])


def express(points: np.ndarray, expression: Expression) -> np.ndarray:
    """The head with an expression added to the one it has.

    Args:
        points: (106, 3) frontal head.
        expression: Slider values.

    Returns:
        (106, 3), a new array, within what a face can do.
    """
    moved = points.copy()
    _smile(moved, expression.smile)
    _pucker(moved, expression.pucker)
    _move_jaw(moved, expression.mouth_open, expression.jaw_sideways)
    _move_brows(moved, expression.eyebrows, expression.squint)
    _move_lids(moved, expression.eyes_closed, expression.squint, expression.smile)
    _keep_sane(moved, points)
    return moved


def neutralised(points: np.ndarray) -> np.ndarray:
    """The person's own proportions without an expression: lips closed, lids and brows where an average face has them.

    Args:
        points: (106, 3) frontal head.

    Returns:
        (106, 3), a new array.
    """
    calm = points.copy()
    corners = calm[list(layout.MOUTH_CORNERS)]
    middle = corners.mean(axis=0)
    average_corners = AVERAGE_FACE[list(layout.MOUTH_CORNERS)]
    width = np.clip(corners[1, 0] - corners[0, 0], 0.34, 0.46)
    stretch = width / (average_corners[1, 0] - average_corners[0, 0])
    rest = AVERAGE_FACE[_MOUTH] - average_corners.mean(axis=0)
    upper_lip = calm[list(layout.OUTER_LIP_UPPER), 1].mean() - AVERAGE_FACE[list(layout.OUTER_LIP_UPPER), 1].mean()
    calm[_MOUTH, 0] = middle[0] + rest[:, 0] * stretch
    calm[_MOUTH, 1] = AVERAGE_FACE[_MOUTH, 1] + upper_lip
    jaw = list(layout.CONTOUR)
    chin_drop = max(calm[layout.CHIN, 1] - AVERAGE_FACE[layout.CHIN, 1] - upper_lip, 0.0)
    calm[jaw, 1] -= _JAW[jaw] * chin_drop
    for upper, lower, (left, right), pupils in _EYES:
        line = (calm[left] + calm[right]) / 2 - (AVERAGE_FACE[left] + AVERAGE_FACE[right]) / 2
        eye = [*upper, *lower, *pupils]
        calm[eye, 1] = AVERAGE_FACE[eye, 1] + line[1]
    for brow, lids in _BROWS:
        gap = calm[list(lids), 1].mean() - calm[list(brow), 1].mean()
        average_gap = AVERAGE_FACE[list(lids), 1].mean() - AVERAGE_FACE[list(brow), 1].mean()
        calm[list(brow), 1] += gap - average_gap
    return calm


def _smile(points: np.ndarray, smile: float) -> None:
    up, apart = (0.085, 0.060) if smile > 0 else (0.065, 0.020)
    weight = _CORNER_WEIGHT[_MOUTH] * smile
    points[_MOUTH, 1] -= up * weight
    points[_MOUTH, 0] += apart * weight * _SIDE[_MOUTH]
    points[_MOUTH, 2] -= 0.03 * np.abs(weight)
    # Lips are drawn thin by a smile, the lower one follows the corners a little.
    points[list(layout.LOWER_LIP), 1] -= 0.015 * max(smile, 0.0)


def _pucker(points: np.ndarray, pucker: float) -> None:
    middle = points[list(layout.MOUTH_CORNERS)].mean(axis=0)
    points[_MOUTH, 0] += (middle[0] - points[_MOUTH, 0]) * 0.42 * pucker
    points[_MOUTH, 1] += (middle[1] - points[_MOUTH, 1]) * 0.10 * _CORNER_WEIGHT[_MOUTH] * pucker
    points[_MOUTH, 2] += 0.07 * pucker
    points[list(layout.OUTER_LIP_UPPER), 1] -= 0.018 * pucker
    points[list(layout.OUTER_LIP_LOWER), 1] += 0.018 * pucker


def _move_jaw(points: np.ndarray, mouth_open: float, jaw_sideways: float) -> None:
    points[:, 1] += 0.22 * mouth_open * _JAW
    points[:, 2] -= 0.05 * mouth_open * _JAW
    points[:, 0] += 0.09 * jaw_sideways * _JAW
    points[list(layout.UPPER_LIP), 1] -= 0.02 * mouth_open
    corners = list(layout.MOUTH_CORNERS + layout.INNER_MOUTH_CORNERS)
    points[corners, 0] -= 0.03 * mouth_open * _SIDE[corners]


def _move_brows(points: np.ndarray, eyebrows: float, squint: float) -> None:
    for brow, _ in _BROWS:
        brow = list(brow)
        inner = 1 - np.clip((np.abs(AVERAGE_FACE[brow, 0]) - 0.14) / (0.475 - 0.14), 0, 1)
        if eyebrows > 0:
            points[brow, 1] -= 0.10 * eyebrows
        else:
            points[brow, 1] -= (0.03 + 0.035 * inner) * eyebrows
            points[brow, 0] += 0.03 * inner * eyebrows * _SIDE[brow]
        points[brow, 1] += 0.02 * squint


def _move_lids(points: np.ndarray, eyes_closed: float, squint: float, smile: float) -> None:
    for upper, lower, _, pupils in _EYES:
        upper, lower, pupils = list(upper), list(lower), list(pupils)
        gap = np.maximum(points[lower, 1] - points[upper, 1], 0.0)
        top = points[lower, 1] - gap
        narrowed = np.clip(0.30 * squint + 0.12 * max(smile, 0.0), 0, 1)
        low = points[lower, 1] - narrowed * gap
        high = top + 0.30 * squint * gap
        meet = high + _WHERE_LIDS_MEET * (low - high)
        points[upper, 1] = high + (meet - high) * eyes_closed
        points[lower, 1] = low + (meet - low) * eyes_closed
        points[pupils, 1] = np.clip(points[pupils, 1], points[upper[1], 1], points[lower[1], 1])


def _keep_sane(points: np.ndarray, before: np.ndarray) -> None:
    """Lips cross no more than ``before``, brows stay above the eyes, the upper lip stays below the nose."""
    for upper, lower in _LIPS_MEET:
        upper, lower = list(upper), list(lower)
        crossed = np.maximum(points[upper, 1] - points[lower, 1], 0.0)
        was_crossed = np.maximum(before[upper, 1] - before[lower, 1], 0.0)
        points[lower, 1] += np.maximum(crossed - was_crossed, 0.0)
    for brow, lids in _BROWS:
        brow = list(brow)
        lid = points[list(lids), 1].min()
        allowed = np.minimum(lid - _SMALLEST_BROW_GAP, before[list(lids), 1].min())
        points[brow, 1] = np.minimum(points[brow, 1], np.maximum(allowed, before[brow, 1]))
    nose = points[list(layout.NOSE_BASE), 1].max()
    lips = list(layout.UPPER_LIP) + list(layout.MOUTH_CORNERS + layout.INNER_MOUTH_CORNERS)
    floor = np.minimum(before[lips, 1], nose + 0.02)
    points[lips, 1] = np.maximum(points[lips, 1], floor)
