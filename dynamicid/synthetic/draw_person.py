"""Draws a person down to the chest: hair behind, body, head, hair, face."""

import numpy as np

from .canvas import Canvas
from .colours import RGB, darker, lighter
from .draw_face import draw_ear, draw_features, draw_skin, skin_shade
from .draw_hair import covers_ears, draw_hair_behind, draw_hair_cap
from .features import SIDES
from .head import DrawnHead

SHOULDERS = 1.25
"""Half of the shoulders' width in head units."""
NECK_BASE = 1.3
_SHOULDER_LINE = np.array(
    [[-0.34, NECK_BASE - 0.06], [-0.75, 1.45], [-1.12, 1.66], [-SHOULDERS, 2.1], [-SHOULDERS, 9.0]], dtype=np.float64
)


def draw_person(canvas: Canvas, head: DrawnHead, shirt: RGB) -> None:
    """The person whose head it is, in a shirt that reaches down to the picture's edge."""
    near = 1 if head.motion.yaw < 0 else -1
    ears = not covers_ears(head.identity.hair_style)
    draw_hair_behind(canvas, head)
    _draw_body(canvas, head, shirt)
    if ears:
        draw_ear(canvas, head, -near)
    draw_skin(canvas, head)
    draw_hair_cap(canvas, head)
    if ears:
        draw_ear(canvas, head, near)
        # From the front both ears are seen in full.
        if abs(head.motion.yaw) < 6:
            draw_ear(canvas, head, -near)
    draw_features(canvas, head)


def _draw_body(canvas: Canvas, head: DrawnHead, shirt: RGB) -> None:
    """Neck and shirt; upright, however the head is turned."""
    unit = head.unit
    middle = np.asarray(head.centre)
    left = middle + unit * _SHOULDER_LINE
    right = middle + unit * _SHOULDER_LINE * (-1, 1)
    shoulders = np.concatenate([left, right[::-1]])
    shade = skin_shade(head.identity.skin)
    throat = head.project(np.array([[0.0, 0.45, -0.15]]))[0]
    base = middle + np.array([0.0, (NECK_BASE + 0.08) * unit])
    canvas.line(np.stack([throat, base]), shade, 0.62 * unit)
    canvas.fill(shoulders, shirt)
    canvas.ellipse((base[0] - 0.34 * unit, base[1] - 0.3 * unit, base[0] + 0.34 * unit, base[1] + 0.16 * unit), shade)
    fold = darker(shirt, 0.3) if sum(shirt) > 150 else lighter(shirt, 0.25)
    for side in SIDES:
        arm = middle + unit * np.array([[side * 0.92, 2.25], [side * 0.9, 9.0]])
        canvas.line(arm, fold, max(0.05 * unit, 0.7))
