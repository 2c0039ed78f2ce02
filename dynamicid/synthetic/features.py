"""Eyes, brows, nose and mouth as flat drawings: curves of x and y as the face is seen from the front.

Units and axes are those of ``head``. Everything is a pure function of who it is and what the face does; the landmarks
and the drawing both use these curves, so the landmarks lie exactly on what is drawn.
"""

from dataclasses import dataclass

import numpy as np

from .identity import Identity
from .motion import DrawnMotion

EYE_LINE = 0.06
SIDES = (-1, 1)
"""The picture's left and right, seen from the front."""


@dataclass(frozen=True)
class Eye:
    """One eye.

    Args:
        side: -1 = the picture's left, 1 = right.
        middle: (2,) its middle, which no lid moves.
        half_width: Half of its width.
        up, down: How far the lids' middles are above and below ``middle``; ``up`` is negative in a closed eye.
        iris: (2,) middle of the iris.
        iris_radius: Its radius.
        roundness, tilt: As in ``Identity``.
    """

    side: int
    middle: np.ndarray
    half_width: float
    up: float
    down: float
    iris: np.ndarray
    iris_radius: float
    roundness: float
    tilt: float

    def lid(self, across: np.ndarray, upper: bool) -> np.ndarray:
        """(n, 2) points of a lid; ``across`` (n,) runs from -1 (the picture's left corner) to 1."""
        bow = np.clip(1 - across**2, 0, None) ** self.roundness
        height = -self.up if upper else self.down
        y = self.middle[1] + height * bow - self.tilt * across * self.side
        return np.stack([self.middle[0] + across * self.half_width, y], axis=1)


def eye(who: Identity, motion: DrawnMotion, side: int) -> Eye:
    """The eye on one side."""
    height = who.eye_width * who.eye_height
    smile = max(motion.smile, 0.0)
    middle = np.array([side * who.eye_spacing, EYE_LINE])
    # The iris is as large as the open eye and the lids cover it; it never leaves the eye's width.
    radius = min(0.72 * height, 0.62 * who.eye_width)
    gaze = np.array([0.32 * motion.gaze_x * who.eye_width, -0.22 * motion.gaze_y * height])
    return Eye(
        side=side,
        middle=middle,
        half_width=who.eye_width,
        up=height * (1.0 - 1.35 * motion.eyelids),
        down=height * (0.8 - 0.45 * motion.eyelids - 0.25 * smile * (1 - motion.eyelids)),
        iris=middle + gaze + np.array([0.0, 0.04 + 0.1 * motion.eyelids]) * height,
        iris_radius=radius,
        roundness=who.eye_roundness,
        tilt=who.eye_tilt,
    )


def brow(who: Identity, motion: DrawnMotion, side: int, along: np.ndarray, edge: int) -> np.ndarray:
    """Points of a brow.

    Args:
        who, motion: Whose brow, and what the face does.
        side: -1 = the picture's left, 1 = right.
        along: (n,) 0 = the end near the nose, 1 = the outer end.
        edge: -1 = upper edge, 1 = lower edge.

    Returns:
        (n, 2).
    """
    inner = who.eye_spacing - 0.95 * who.eye_width - 0.04 * max(-motion.brows, 0.0)
    length = 2.05 * who.eye_width
    y = EYE_LINE - 0.9 * who.eye_width * who.eye_height - 0.16 - 0.13 * motion.brows
    y = y + 0.04 * max(-motion.brow_tilt, 0.0)
    y = y - who.brow_arch * np.sin(np.pi * along) - who.brow_slant * along
    y = y + motion.brow_tilt * 0.26 * (along - 0.5)
    half_thickness = who.brow_thickness * (1 - 0.45 * along) / 2 * np.clip(12 * along + 0.6, 0, 1)
    return np.stack([side * (inner + length * along), y + edge * half_thickness], axis=1)


@dataclass(frozen=True)
class Nose:
    """The nose: ``root`` between the eyes, ``tip``, and half widths at the wings; all heights y."""

    root: float
    tip: float
    half_width: float
    forward: float


def nose(who: Identity) -> Nose:
    """The nose, which no expression moves. ``forward`` is how far the tip stands off the skin."""
    return Nose(EYE_LINE - 0.04, EYE_LINE + who.nose_length, who.nose_width, 0.16 + 0.45 * who.nose_length)


@dataclass(frozen=True)
class Mouth:
    """Lips and opening.

    Args:
        middle: (2,) between the lips' middles, when the mouth is shut.
        half_width: Half of its width.
        corner_left, corner_right: How far the corners lie below ``middle`` (negative: above).
        rise, drop: How far the opening reaches above and below the line between the lips, in the middle.
        thickness: Of each lip.
    """

    middle: np.ndarray
    half_width: float
    corner_left: float
    corner_right: float
    rise: float
    drop: float
    thickness: float

    def line(self, across: np.ndarray) -> np.ndarray:
        """(n,) height y of the line where shut lips meet; ``across`` from -1 (the picture's left) to 1."""
        corner = np.where(across < 0, self.corner_left, self.corner_right)
        return self.middle[1] + corner * across**2

    def edge(self, across: np.ndarray, upper: bool, outer: bool) -> np.ndarray:
        """(n, 2) points of a lip's edge; the inner edges are those of the opening and end before the corners."""
        bow = np.sqrt(np.clip(1 - across**2, 0, None))
        y = self.line(across)
        if upper:
            # A dent in the middle, as lips have.
            thickness = self.thickness * (1 - 0.3 * np.exp(-((across / 0.18) ** 2)))
            y = y - bow * (self.rise + (thickness if outer else 0.0))
        else:
            y = y + bow * (self.drop + (1.2 * self.thickness if outer else 0.0))
        return np.stack([self.middle[0] + self.half_width * across, y], axis=1)


def mouth(who: Identity, motion: DrawnMotion) -> Mouth:
    """The mouth: a smile widens it and lifts its corners, opening it without a smile makes it round."""
    smile, opening = motion.smile, motion.mouth_open
    widened = 1 + 0.3 * max(smile, 0.0) - 0.08 * max(-smile, 0.0) - 0.42 * opening * (1 - abs(smile)) ** 2
    bend = -0.2 * smile
    skew = 0.13 * motion.mouth_skew
    return Mouth(
        middle=np.array([0.03 * motion.mouth_skew, EYE_LINE + who.mouth_height + 0.05 * smile - 0.01 * opening]),
        half_width=who.mouth_width * widened,
        corner_left=bend + skew,
        corner_right=bend - skew,
        rise=0.05 * opening,
        drop=0.24 * opening,
        thickness=who.lip_thickness * (1 - 0.25 * abs(smile)),
    )
