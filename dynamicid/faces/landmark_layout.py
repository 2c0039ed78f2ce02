"""Which of InsightFace's 106 landmarks is what: groups by name, and each point's twin on the other half.

The numbering is that of `2d106det` (https://github.com/deepinsight/insightface, alignment/coordinate_reg). Left and
right are the picture's. Rows run from left to right, contours from the ear down to the chin.
"""

import numpy as np

from .landmarks import LANDMARK_COUNT

LEFT_CONTOUR = (1, 9, 10, 11, 12, 13, 14, 15, 16, 2, 3, 4, 5, 6, 7, 8)
RIGHT_CONTOUR = (17, 25, 26, 27, 28, 29, 30, 31, 32, 18, 19, 20, 21, 22, 23, 24)
CHIN = 0

LEFT_EYE_UPPER = (41, 40, 42)
LEFT_EYE_LOWER = (36, 33, 37)
LEFT_EYE_CORNERS = (35, 39)
LEFT_PUPIL = (34, 38)
RIGHT_EYE_UPPER = (95, 94, 96)
RIGHT_EYE_LOWER = (90, 87, 91)
RIGHT_EYE_CORNERS = (89, 93)
RIGHT_PUPIL = (92, 88)

LEFT_BROW_UPPER = (43, 48, 49, 51, 50)
LEFT_BROW_LOWER = (44, 45, 47, 46)
RIGHT_BROW_UPPER = (102, 103, 104, 105, 101)
RIGHT_BROW_LOWER = (97, 98, 99, 100)

NOSE_BRIDGE = (72, 73, 74)
NOSE_TIP = 86
NOSE_LEFT_SIDE = (75, 76, 77)
NOSE_RIGHT_SIDE = (81, 82, 83)
NOSE_BASE = (78, 79, 80, 85, 84)

MOUTH_CORNERS = (52, 61)
OUTER_LIP_UPPER = (64, 63, 71, 67, 68)
OUTER_LIP_LOWER = (55, 56, 53, 59, 58)
INNER_MOUTH_CORNERS = (65, 69)
INNER_LIP_UPPER = (66, 62, 70)
INNER_LIP_LOWER = (54, 60, 57)

CONTOUR = (*LEFT_CONTOUR, CHIN, *RIGHT_CONTOUR[::-1])
LEFT_EYE = (*LEFT_EYE_CORNERS, *LEFT_EYE_UPPER, *LEFT_EYE_LOWER, *LEFT_PUPIL)
RIGHT_EYE = (*RIGHT_EYE_CORNERS, *RIGHT_EYE_UPPER, *RIGHT_EYE_LOWER, *RIGHT_PUPIL)
LEFT_BROW = (*LEFT_BROW_UPPER, *LEFT_BROW_LOWER)
RIGHT_BROW = (*RIGHT_BROW_UPPER, *RIGHT_BROW_LOWER)
NOSE = (*NOSE_BRIDGE, NOSE_TIP, *NOSE_LEFT_SIDE, *NOSE_RIGHT_SIDE, *NOSE_BASE)
UPPER_LIP = (*OUTER_LIP_UPPER, *INNER_LIP_UPPER)
LOWER_LIP = (*OUTER_LIP_LOWER, *INNER_LIP_LOWER)
MOUTH = (*MOUTH_CORNERS, *INNER_MOUTH_CORNERS, *UPPER_LIP, *LOWER_LIP)


def _loop(corners: tuple[int, int], upper: tuple[int, ...], lower: tuple[int, ...]) -> tuple[int, ...]:
    return (corners[0], *upper, corners[1], *lower[::-1])


LEFT_EYE_LOOP = _loop(LEFT_EYE_CORNERS, LEFT_EYE_UPPER, LEFT_EYE_LOWER)
RIGHT_EYE_LOOP = _loop(RIGHT_EYE_CORNERS, RIGHT_EYE_UPPER, RIGHT_EYE_LOWER)
OUTER_LIP_LOOP = _loop(MOUTH_CORNERS, OUTER_LIP_UPPER, OUTER_LIP_LOWER)
INNER_LIP_LOOP = _loop(INNER_MOUTH_CORNERS, INNER_LIP_UPPER, INNER_LIP_LOWER)
"""From the left corner over the upper edge to the right corner and back along the lower edge."""

OUTLINES = (
    CONTOUR,
    *((*loop, loop[0]) for loop in (LEFT_EYE_LOOP, RIGHT_EYE_LOOP, OUTER_LIP_LOOP, INNER_LIP_LOOP)),
    LEFT_BROW_UPPER,
    RIGHT_BROW_UPPER,
    (*NOSE_BRIDGE, NOSE_TIP),
    NOSE_BASE,
)
"""Rows of landmarks that a drawing joins with lines."""

_ROWS_LEFT_TO_RIGHT = (
    OUTER_LIP_UPPER, OUTER_LIP_LOWER, INNER_LIP_UPPER, INNER_LIP_LOWER, MOUTH_CORNERS, INNER_MOUTH_CORNERS,
    NOSE_BASE, NOSE_BRIDGE[:1], NOSE_BRIDGE[1:2], NOSE_BRIDGE[2:], (NOSE_TIP,), (CHIN,),
)  # fmt: skip
_TWINS = (
    (LEFT_CONTOUR, RIGHT_CONTOUR),
    (LEFT_EYE_UPPER, RIGHT_EYE_UPPER[::-1]),
    (LEFT_EYE_LOWER, RIGHT_EYE_LOWER[::-1]),
    (LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS[::-1]),
    (LEFT_PUPIL, RIGHT_PUPIL),
    (LEFT_BROW_UPPER, RIGHT_BROW_UPPER[::-1]),
    (LEFT_BROW_LOWER, RIGHT_BROW_LOWER[::-1]),
    (NOSE_LEFT_SIDE, NOSE_RIGHT_SIDE),
)


def _mirror() -> np.ndarray:
    twin = np.full(LANDMARK_COUNT, -1)
    for left, right in (*_TWINS, *((row, row[::-1]) for row in _ROWS_LEFT_TO_RIGHT)):
        twin[list(left)], twin[list(right)] = right, left
    return twin


MIRROR = _mirror()
"""(106,) the number of each point's twin on the other half; points on the middle line are their own twins."""
