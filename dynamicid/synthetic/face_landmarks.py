"""The 106 landmarks, the five key points and the box of a drawn face, exact from its parameters.

Left and right are the picture's. Points that the turned head hides lie on its outline, where a detector guesses them.
"""

import numpy as np

from ..faces import landmark_layout as layout
from ..faces.landmarks import LANDMARK_COUNT
from .features import EYE_LINE, SIDES, brow, eye, mouth, nose
from .head import FOREHEAD, DrawnHead

NUMBERING: dict[str, tuple[int, ...]] = {
    "contour": layout.CONTOUR,
    "left eye": layout.LEFT_EYE_LOOP,
    "left pupil": layout.LEFT_PUPIL,
    "right eye": layout.RIGHT_EYE_LOOP,
    "right pupil": layout.RIGHT_PUPIL,
    # Upper edge from the left to the right, then the lower edge from the right to the left.
    "left brow": (*layout.LEFT_BROW_UPPER, *layout.LEFT_BROW_LOWER[::-1]),
    "right brow": (*layout.RIGHT_BROW_UPPER, *layout.RIGHT_BROW_LOWER[::-1]),
    "nose bridge": layout.NOSE_BRIDGE,
    "nose tip": (layout.NOSE_TIP,),
    # Down the left side, along the base, up the right side.
    "nose edge": (*layout.NOSE_LEFT_SIDE, *layout.NOSE_BASE, *layout.NOSE_RIGHT_SIDE[::-1]),
    "outer lips": layout.OUTER_LIP_LOOP,
    "inner lips": layout.INNER_LIP_LOOP,
}
"""The landmarks of ``faces.landmark_layout`` in drawing order: every one once."""

CONTOUR_TOP = -0.02
_CONTOUR_LEVELS = np.sin(np.linspace(np.arcsin(CONTOUR_TOP), np.pi / 2, 17))
_CONTOUR_Y = np.concatenate([_CONTOUR_LEVELS, _CONTOUR_LEVELS[-2::-1]])
_CONTOUR_AZIMUTH = np.pi / 2 * np.concatenate([-np.ones(16), [0], np.ones(16)])
_LID = np.array([-0.5, 0.0, 0.5])
_LIPS_OUTER = np.array([-0.7, -0.35, 0.0, 0.35, 0.7])
_LIPS_INNER = np.array([-0.45, 0.0, 0.45])
_ENDS = np.array([-1.0, 1.0])
INNER_CORNER = 0.88


def landmarks_106(head: DrawnHead) -> np.ndarray:
    """The landmarks of a head.

    Returns:
        (106, 2) float64, x and y in pixels of the picture, numbered as NUMBERING says; (0, 0) is the picture's upper
        left corner, so the middle of the first pixel is (0.5, 0.5).
    """
    points = np.zeros((LANDMARK_COUNT, 2))
    points[list(NUMBERING["contour"])] = head.project(head.place(_CONTOUR_Y, _CONTOUR_AZIMUTH))
    for side, name in zip(SIDES, ("left", "right"), strict=True):
        points[list(NUMBERING[f"{name} eye"])] = head.draw_on_face(_eye_loop(head, side))
        points[list(NUMBERING[f"{name} pupil"])] = head.draw_on_face(eye(head.identity, head.motion, side).iris[None])
        points[list(NUMBERING[f"{name} brow"])] = head.draw_on_face(_brow_loop(head, side))
    bridge, tip, edge = _nose(head)
    points[list(NUMBERING["nose bridge"])] = head.project(bridge)
    points[list(NUMBERING["nose tip"])] = head.project(tip)
    points[list(NUMBERING["nose edge"])] = head.project(edge)
    points[list(NUMBERING["outer lips"])] = head.draw_on_face(_lip_loop(head, outer=True))
    points[list(NUMBERING["inner lips"])] = head.draw_on_face(_lip_loop(head, outer=False))
    return points


def key_points_5(head: DrawnHead) -> np.ndarray:
    """(5, 2) pixels: middles of the left and the right eye, tip of the nose, left and right corner of the mouth."""
    eyes = [eye(head.identity, head.motion, side).middle for side in SIDES]
    lips = mouth(head.identity, head.motion).edge(_ENDS, upper=True, outer=True)
    flat = head.draw_on_face(np.array([*eyes, *lips]))
    return np.concatenate([flat[:2], head.project(_nose(head)[1]), flat[2:]])


def face_box(head: DrawnHead) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in pixels: around all landmarks and the forehead, as a face detector draws it."""
    forehead = head.project(head.place(np.full(5, FOREHEAD), np.radians([-60, -30, 0, 30, 60])))
    points = np.concatenate([landmarks_106(head), forehead])
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return (float(x0), float(y0), float(x1), float(y1))


def _eye_loop(head: DrawnHead, side: int) -> np.ndarray:
    what = eye(head.identity, head.motion, side)
    left, right = what.lid(_ENDS, upper=True)
    return np.concatenate([left[None], what.lid(_LID, True), right[None], what.lid(_LID[::-1], False)])


def _brow_loop(head: DrawnHead, side: int) -> np.ndarray:
    upper, lower = np.linspace(0, 1, 5), np.linspace(0, 0.8, 4)
    if side < 0:
        upper, lower = upper[::-1], lower[::-1]
    top = brow(head.identity, head.motion, side, upper, -1)
    bottom = brow(head.identity, head.motion, side, lower[::-1], 1)
    return np.concatenate([top, bottom])


def _nose(head: DrawnHead) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bridge (3, 3), tip (1, 3) and edge (11, 3) in head units."""
    what = nose(head.identity)
    share = np.array([0.0, 0.33, 0.66])
    bridge = head.on_face(np.stack([np.zeros(3), what.root + share * (what.tip - what.root)], axis=1), seen=False)
    bridge[:, 2] += share * what.forward
    return bridge, nose_tip(head), nose_edge(head)


def nose_tip(head: DrawnHead) -> np.ndarray:
    """(1, 3) head units: it may stand out over the head's outline."""
    what = nose(head.identity)
    return head.on_face(np.array([[0.0, what.tip]]), what.forward, seen=False)


def nose_edge(head: DrawnHead) -> np.ndarray:
    """(11, 3) head units: down the left side, along the base, up the right side."""
    what = nose(head.identity)
    x = np.array([0.35, 0.7, 1.0, 0.8, 0.4, 0.0]) * what.half_width
    y = np.array([EYE_LINE, what.tip - 0.14, what.tip - 0.02, what.tip + 0.05, what.tip + 0.06, what.tip + 0.07])
    forward = np.array([0.05, 0.12, 0.3, 0.45, 0.6, 0.7]) * what.forward
    points = head.on_face(np.concatenate([np.stack([-x, y], 1), np.stack([x, y], 1)[-2::-1]]), seen=False)
    points[:, 2] += np.concatenate([forward, forward[-2::-1]])
    return points


def _lip_loop(head: DrawnHead, outer: bool) -> np.ndarray:
    what = mouth(head.identity, head.motion)
    inside = _LIPS_OUTER if outer else _LIPS_INNER
    left, right = what.edge(_ENDS * (1 if outer else INNER_CORNER), upper=True, outer=outer)
    top, bottom = what.edge(inside, True, outer), what.edge(inside[::-1], False, outer)
    return np.concatenate([left[None], top, right[None], bottom])
