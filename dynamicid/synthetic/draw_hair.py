"""Draws hair: what hangs behind the head, the cap that leaves the face free, and buns, curls and spikes."""

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas
from .colours import RGB, darker, lighter
from .head import DrawnHead, hull


@dataclass(frozen=True)
class HairCut:
    """One hair style. Heights are y of the head, angles degrees.

    Args:
        puffed: How far the hair stands off the head, 1 = not at all.
        hairline: Height of the hairline above the nose.
        hairline_side: The same at the side of the forehead.
        parting: How much lower the hairline is on the picture's right than on the left.
        frame: Azimuth at which hair begins beside the face, at the eyes' height.
        side_end: How far down the hair beside the face reaches.
        back_end: How far down the hair hangs behind the head.
        back_width: Half of its width at the end.
        teeth: Depth of a zigzag of the hairline.
    """

    puffed: float = 1.07
    hairline: float = -0.6
    hairline_side: float = -0.45
    parting: float = 0.0
    frame: float = 78.0
    side_end: float = 0.1
    back_end: float = 0.45
    back_width: float = 0.0
    teeth: float = 0.0


HAIR_CUTS: dict[str, HairCut] = {
    "short": HairCut(puffed=1.05, side_end=0.0, back_end=0.35, hairline=-0.62),
    "parted": HairCut(puffed=1.1, hairline=-0.52, hairline_side=-0.5, parting=0.42, side_end=0.12),
    "spiky": HairCut(puffed=1.04, hairline=-0.48, hairline_side=-0.45, teeth=0.17, side_end=0.0, back_end=0.3),
    "long": HairCut(
        puffed=1.12, hairline=-0.66, hairline_side=-0.2, frame=70.0, side_end=0.2, back_end=1.95, back_width=1.0
    ),
    "bob": HairCut(
        puffed=1.13, hairline=-0.34, hairline_side=-0.3, frame=71.0, side_end=0.2, back_end=1.0, back_width=1.06
    ),
    "bun": HairCut(puffed=1.06, hairline=-0.6, hairline_side=-0.36, side_end=0.05, back_end=0.4),
    "curly": HairCut(puffed=1.17, hairline=-0.5, hairline_side=-0.3, frame=70.0, side_end=0.2, back_end=0.6),
}
_NAPE = 0.5
_CURLS = np.radians(np.arange(-125, 126, 25))
_SPIKES = np.radians(np.linspace(-72, 72, 8))


def covers_ears(style: str) -> bool:
    """Whether hair of this style hangs over the ears."""
    return style in HAIR_CUTS and HAIR_CUTS[style].frame < 72


def draw_hair_behind(canvas: Canvas, head: DrawnHead) -> None:
    """What lies behind the head, neck and shoulders: long hair, curls, spikes, a bun that looks over the crown."""
    style, colour = head.identity.hair_style, head.identity.hair_colour
    cut = HAIR_CUTS.get(style)
    if cut is None:
        return
    if cut.back_width:
        _draw_hanging(canvas, head, cut, darker(colour, 0.16))
    if style == "curly":
        _draw_curls(canvas, head, darker(colour, 0.12), 0.27, 1.12)
    if style == "spiky":
        _draw_spikes(canvas, head, colour)
    if style == "bun":
        middle = head.project(np.array([[0.0, -1.24, -0.22]]))[0]
        canvas.circle(middle, 0.36 * head.unit, darker(colour, 0.12))
        canvas.circle(middle - (0, 0.02 * head.unit), 0.27 * head.unit, colour)


def draw_hair_cap(canvas: Canvas, head: DrawnHead) -> None:
    """The hair on the head, with the face left free: drawn over the skin, before the features."""
    cut = HAIR_CUTS.get(head.identity.hair_style)
    if cut is None:
        return
    colour = head.identity.hair_colour
    canvas.fill(head.outline(cut.puffed, cut.side_end, min(cut.back_end, _NAPE)), colour, smooth=True)
    canvas.fill(_face_opening(head, cut), head.identity.skin)
    shine = np.array([[-0.3, -0.92], [-0.12, -0.95], [0.06, -0.95]])
    places = head.place(shine[:, 1] + 0.12, np.radians([-50.0, -32.0, -14.0]), cut.puffed)
    canvas.line(head.project(places), lighter(colour, 0.3), max(0.05 * head.unit, 0.7), smooth=True)


def _face_opening(head: DrawnHead, cut: HairCut) -> np.ndarray:
    """The edge of the skin that the hair leaves free, once around: hairline, sides, chin."""
    across = np.linspace(-1, 1, 17)
    line = cut.hairline + (cut.hairline_side - cut.hairline) * np.abs(across) ** 3 + cut.parting * across * 0.5
    line = line + cut.teeth * (np.arange(17) % 2)
    top = head.place(line, np.radians(cut.frame * across))
    down = np.linspace(0.0, 1.0, 12)
    levels = line[-1] + down * (0.995 - line[-1])
    widening = np.clip((levels - 0.15) / 0.6, 0, 1) if cut.frame < 72 else np.clip((levels + 0.1) / 0.2, 0, 1)
    azimuth = np.radians(cut.frame + (90 - cut.frame) * widening)
    left_levels = line[0] + down * (0.995 - line[0])
    right, left = head.place(levels, azimuth), head.place(left_levels[::-1], -azimuth[::-1])
    return head.project(np.concatenate([top, right[1:], left[:-1]]))


def _draw_hanging(canvas: Canvas, head: DrawnHead, cut: HairCut, colour: RGB) -> None:
    """Hair behind the head that falls straight down in the picture, whatever way the head is turned."""
    turned = head.outline(cut.puffed, 0.3, 0.5)
    back = head.project(np.array([[0.0, 0.2, -0.35]]))[0]
    end = cut.back_end * head.unit + head.centre[1]
    half = cut.back_width * head.identity.face_width / 0.78 * head.unit
    ends = np.array([(back[0] + x * half, end - abs(x) * 0.06 * head.unit) for x in (-1.0, -0.6, 0.6, 1.0)])
    canvas.fill(hull(np.concatenate([turned, ends])), colour)


def _draw_curls(canvas: Canvas, head: DrawnHead, colour: RGB, radius: float, puffed: float) -> None:
    who = head.identity
    flat = np.stack([who.face_width * puffed * np.sin(_CURLS), -puffed * np.cos(_CURLS), np.full(len(_CURLS), -0.1)], 1)
    for middle in head.project(flat):
        canvas.circle(middle, radius * head.unit, colour)


def _draw_spikes(canvas: Canvas, head: DrawnHead, colour: RGB) -> None:
    who = head.identity
    for angle in _SPIKES:
        fan = np.array([angle - 0.22, angle, angle + 0.22])
        reach = np.array([0.92, 1.36, 0.92])
        flat = np.stack([who.face_width * reach * np.sin(fan), -reach * np.cos(fan), np.full(3, -0.1)], axis=1)
        canvas.fill(head.project(flat), colour)
