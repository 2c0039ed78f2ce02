"""Draws a face: skin, ears, eyes, brows, nose, mouth, marks, glasses and beard, flat and with strong contrasts."""

import numpy as np

from .canvas import Canvas
from .colours import EYE_WHITE, MOUTH_INSIDE, PUPIL, RGB, TEETH, apart_from, brightness, darker, lighter, mixed
from .face_landmarks import nose_edge, nose_tip
from .features import EYE_LINE, SIDES, brow, eye, mouth, nose
from .head import DrawnHead

_ROUND = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_ACROSS = np.linspace(-1, 1, 11)
_FRECKLES = ((-0.5, 0.26), (-0.38, 0.36), (-0.26, 0.28), (-0.6, 0.38), (-0.44, 0.46))


def skin_shade(skin: RGB) -> RGB:
    """The colour of shaded skin: nose, ears' insides, neck."""
    return darker(mixed(skin, (150, 40, 30), 0.12), 0.16)


def draw_skin(canvas: Canvas, head: DrawnHead) -> None:
    """The whole head, without hair."""
    canvas.fill(head.outline(), head.identity.skin, smooth=True)


def draw_ear(canvas: Canvas, head: DrawnHead, side: int) -> None:
    """The ear of one side (-1 = the picture's left)."""
    who = head.identity
    out = head.place(np.array([0.12]), np.radians([92.0 * side]), seen=False)[0]
    middle = out + np.array([side * 0.35 * who.ears, 0.0, 0.0])
    flap = np.array([0.0, 1.0, 0.0]) * np.sin(_ROUND)[:, None] * 1.35 * who.ears
    spread = np.array([0.8 * side, 0.0, -0.6]) * np.cos(_ROUND)[:, None] * who.ears
    canvas.fill(head.project(middle + flap + spread), who.skin, smooth=True)
    canvas.fill(head.project(middle + 0.5 * (flap + spread)), skin_shade(who.skin), smooth=True)


def draw_features(canvas: Canvas, head: DrawnHead) -> None:
    """Everything on the skin, from the marks to the glasses; cut off at the head's outline, but for the nose."""
    with canvas.inside(head.outline(), smooth=True):
        _draw_marks(canvas, head)
        _draw_beard(canvas, head)
        for side in SIDES:
            _draw_eye(canvas, head, side)
            _draw_brow(canvas, head, side)
        _draw_mouth(canvas, head)
    _draw_nose(canvas, head)
    if head.identity.glasses != "none":
        _draw_glasses(canvas, head)


def _draw_eye(canvas: Canvas, head: DrawnHead, side: int) -> None:
    who = head.identity
    what = eye(who, head.motion, side)
    upper, lower = what.lid(_ACROSS, True), what.lid(_ACROSS, False)
    loop = head.draw_on_face(np.concatenate([upper, lower[-2:0:-1]]))
    lash = max(0.065 * head.unit, 0.9)
    if head.motion.eyelids < 0.85:
        canvas.fill(loop, EYE_WHITE)
        circle = np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1)
        with canvas.inside(loop):
            canvas.fill(head.draw_on_face(what.iris + what.iris_radius * circle), who.eye_colour)
            canvas.fill(head.draw_on_face(what.iris + 0.48 * what.iris_radius * circle), PUPIL)
            glint = head.draw_on_face(what.iris[None] + what.iris_radius * np.array([[0.35, -0.4]]))[0]
            canvas.circle(glint, 0.22 * what.iris_radius * head.unit, EYE_WHITE)
        canvas.line(head.draw_on_face(lower), skin_shade(who.skin), 0.5 * lash)
    canvas.line(head.draw_on_face(upper), PUPIL, lash)


def _draw_brow(canvas: Canvas, head: DrawnHead, side: int) -> None:
    along = np.linspace(0, 1, 8)
    upper, lower = (brow(head.identity, head.motion, side, along, edge) for edge in SIDES)
    hair = head.identity.hair_colour
    canvas.fill(
        head.draw_on_face(np.concatenate([upper, lower[::-1]])), apart_from(darker(hair, 0.4), head.identity.skin, 60)
    )


def _draw_nose(canvas: Canvas, head: DrawnHead) -> None:
    who = head.identity
    edge = head.project(nose_edge(head))
    tip = head.project(nose_tip(head))[0]
    shade = skin_shade(who.skin)
    root = head.draw_on_face(np.array([[0.0, nose(who).root]]), forward=0.03, seen=False)
    body = np.concatenate([edge[1:10], root])
    canvas.fill(body, mixed(who.skin, shade, 0.55), smooth=True)
    canvas.circle(tip, 0.75 * who.nose_width * head.unit, mixed(who.skin, shade, 0.9))
    canvas.line(edge[2:9], darker(shade, 0.38), max(0.045 * head.unit, 0.8), smooth=True)


def _draw_mouth(canvas: Canvas, head: DrawnHead) -> None:
    who, motion = head.identity, head.motion
    what = mouth(who, motion)
    lips = apart_from(who.lip_colour, who.skin, 44)

    def loop(outer: bool, reach: float = 1.0) -> np.ndarray:
        upper = what.edge(reach * _ACROSS, True, outer)
        return np.concatenate([upper, what.edge(reach * _ACROSS[-2:0:-1], False, outer)])

    canvas.fill(head.draw_on_face(loop(True)), lips)
    if motion.mouth_open < 0.05:
        canvas.line(head.draw_on_face(what.edge(_ACROSS, True, False)), MOUTH_INSIDE, max(0.05 * head.unit, 0.9))
        return
    inside = head.draw_on_face(loop(False, 0.94))
    canvas.fill(inside, MOUTH_INSIDE)
    if abs(motion.smile) < 0.25 and motion.mouth_open > 0.5:
        return
    with canvas.inside(inside):
        upper = what.edge(_ACROSS, True, False)
        below = upper + np.array([0.0, 0.45 * (what.rise + what.drop)])
        canvas.fill(head.draw_on_face(np.concatenate([upper, below[::-1]])), TEETH)


def _draw_marks(canvas: Canvas, head: DrawnHead) -> None:
    who = head.identity
    spot = np.array([who.mark_x * 0.75 * who.face_width, EYE_LINE + who.mark_y * (0.9 - EYE_LINE)])
    if who.mark == "freckles":
        for x, y in _FRECKLES:
            for side in SIDES:
                middle = head.draw_on_face(np.array([[side * x * who.face_width / 0.75, y]]))[0]
                canvas.circle(middle, 0.034 * head.unit, darker(mixed(who.skin, (150, 70, 20), 0.6), 0.1))
    elif who.mark == "mole":
        canvas.circle(head.draw_on_face(spot[None])[0], 0.06 * head.unit, darker(who.skin, 0.75))
    elif who.mark == "scar":
        along = np.linspace(-1, 1, 5)[:, None] * np.array([[0.12, 0.2]]) * np.array([[np.sign(who.mark_x) or 1.0, 1.0]])
        colour = (
            mixed(who.skin, (255, 190, 200), 0.7) if brightness(who.skin) < 150 else mixed(who.skin, (190, 30, 50), 0.7)
        )
        canvas.line(head.draw_on_face(spot + along), colour, 0.06 * head.unit)
    elif who.mark == "blush":
        circle = np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1)
        for side in SIDES:
            cheek = np.array([side * 0.66 * who.face_width, 0.42]) + np.array([0.17, 0.13]) * circle
            canvas.fill(head.draw_on_face(cheek), (240, 70, 90), smooth=True, opacity=0.45)


def _draw_beard(canvas: Canvas, head: DrawnHead) -> None:
    who = head.identity
    if who.beard == "none":
        return
    colour = apart_from(who.hair_colour, who.skin, 40)
    what = mouth(who, head.motion)
    lip = what.edge(_ACROSS, True, True)
    if who.beard in ("moustache", "full"):
        wings = np.array([1.15, 1.0]) * (lip - what.middle) + what.middle
        top = wings - np.array([0.0, 1.0]) * (0.11 * np.sqrt(1.05 - _ACROSS**2))[:, None]
        canvas.fill(head.draw_on_face(np.concatenate([wings + np.array([0.0, 0.03]), top[::-1]])), colour)
    if who.beard == "goatee":
        below = what.edge(np.array([0.0]), False, True)[0]
        circle = np.stack([0.17 * np.cos(_ROUND), 0.2 * np.sin(_ROUND)], axis=1)
        canvas.fill(head.draw_on_face(np.array([below[0], (below[1] + 1.0) / 2]) + circle), colour)
    if who.beard == "full":
        levels = np.linspace(0.18, 0.999, 12)
        angles = np.radians(90)
        jaw = np.concatenate([head.place(levels, -angles, 1.04), head.place(levels[::-1], angles, 1.04)])
        x = np.linspace(0.85, -0.85, 13)
        inner = 0.56 + EYE_LINE * np.ones(13) - 0.32 * np.abs(x / 0.85) ** 2.2
        rim = head.on_face(np.stack([x * who.face_width, inner], axis=1))
        canvas.fill(head.project(np.concatenate([jaw, rim])), colour)


def _draw_glasses(canvas: Canvas, head: DrawnHead) -> None:
    who = head.identity
    width, height = 1.28 * who.eye_width, 1.22 * who.eye_width
    corners = np.clip(1.35 * np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1), -1, 1)
    rim = corners if who.glasses == "square" else np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1)
    line = max(0.06 * head.unit, 1.0)
    colour = who.glasses_colour
    if abs(brightness(colour) - brightness(who.skin)) < 30:
        colour = darker(colour, 0.6) if brightness(who.skin) > 120 else lighter(colour, 0.7)
    for side in SIDES:
        middle = np.array([side * who.eye_spacing, EYE_LINE])
        canvas.line(head.draw_on_face(middle + rim * (width, height), 0.1), colour, line, closed=True)
        temple = head.place(np.array([EYE_LINE]), np.radians([88.0 * side]))
        hinge = head.on_face(middle + np.array([[side * width, 0.0]]), 0.1)
        canvas.line(head.project(np.concatenate([hinge, temple])), colour, line)
    bridge = np.array([[-1.0, 0.0], [1.0, 0.0]]) * max(who.eye_spacing - width, 0.02) + np.array([0.0, EYE_LINE - 0.02])
    canvas.line(head.draw_on_face(bridge, 0.14), colour, line)
