"""The head as a body in space: a stack of ellipses that is turned and seen without perspective.

Axes as in InsightFace's pose estimate: x to the picture's right, y down, z towards the viewer, origin in the middle of
the head, and R = Rz(roll) Ry(yaw) Rx(pitch). The unit is half of the height from the crown (y = -1) to the chin
(y = 1). So pitch is positive when the face looks up, yaw when it turns to the picture's right, roll when the head leans
clockwise in the picture.

A place on the head is a height y and an azimuth: 0 in front, 90 degrees at the picture's right ear.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .identity import Identity
from .motion import DrawnMotion

DEPTH = 0.86
CHIN_FORWARD = 0.5
JAW_DROP = 0.13
FOREHEAD = -0.6
"""Height of the upper edge of a face's box."""
FACE_HEIGHT = 1.0 - FOREHEAD
"""Height of a face's box from the front, in head units."""

_LEVELS = np.sin(np.radians(np.linspace(-90, 90, 21)))
_AZIMUTHS = np.radians(np.arange(-180, 180, 10))
_DIRECTIONS = np.radians(np.arange(0, 360, 6))
_DIRECTIONS = np.stack([np.cos(_DIRECTIONS), np.sin(_DIRECTIONS)])


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """(3, 3) rotation of angles in degrees: Rz(roll) Ry(yaw) Rx(pitch)."""
    (a, b, c), (d, e, f) = np.cos(np.radians([pitch, yaw, roll])), np.sin(np.radians([pitch, yaw, roll]))
    around_x = np.array([[1, 0, 0], [0, a, -d], [0, d, a]])
    around_y = np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    around_z = np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return around_z @ around_y @ around_x


@dataclass(frozen=True)
class DrawnHead:
    """A turned head at its place in the picture.

    Args:
        identity: Whose head.
        motion: How it is turned, and how far the jaw has dropped.
        centre: x and y in pixels of the head's middle.
        unit: Pixels a head unit.
    """

    identity: Identity
    motion: DrawnMotion
    centre: tuple[float, float]
    unit: float

    @cached_property
    def turn(self) -> np.ndarray:
        """(3, 3) rotation of the head."""
        return rotation(*self.motion.pose)

    def half_width(self, y: np.ndarray) -> np.ndarray:
        """Half of the head's width at heights ``y`` (n,)."""
        who = self.identity
        rest = np.sqrt(np.clip(1 - y**2, 0, None))
        bulge = 1 + who.cheeks * np.exp(-(((y - 0.4) / 0.25) ** 2))
        return who.face_width * bulge * rest ** np.where(y < 0, 0.8, who.jaw)

    def place(self, y: np.ndarray, azimuth: np.ndarray, puffed: float = 1.0, seen: bool = True) -> np.ndarray:
        """Points on the head.

        Args:
            y: (n,) heights.
            azimuth: (n,) radians.
            puffed: 1 = the skin; more = hair that stands off.
            seen: Whether points that the head hides move to its outline at their height.

        Returns:
            (n, 3) head units, not yet turned.
        """
        y, azimuth = np.broadcast_arrays(np.asarray(y, dtype=np.float64), np.asarray(azimuth, dtype=np.float64))
        width = self.half_width(y)
        depth = DEPTH * np.clip(1 - y**2, 0, None) ** 0.45
        if seen:
            to_left, to_right = self._visible(width, depth)
            azimuth = np.clip(azimuth, -to_left, to_right)
        points = np.stack([width * np.sin(azimuth), y, depth * np.cos(azimuth)], axis=-1) * puffed
        points[..., 2] += CHIN_FORWARD * np.clip(y, 0, None) ** 2
        return points

    def on_face(self, flat: np.ndarray, forward: float = 0.0, seen: bool = True) -> np.ndarray:
        """A drawing on the face's front, laid onto the head.

        Args:
            flat: (n, 2) x and y as seen from the front.
            forward: How far it stands off the skin.
            seen: As in ``place``.

        Returns:
            (n, 3) head units, not yet turned.
        """
        flat = np.asarray(flat, dtype=np.float64)
        width = np.maximum(self.half_width(flat[:, 1]), 1e-6)
        points = self.place(flat[:, 1], np.arcsin(np.clip(flat[:, 0] / width, -1, 1)), seen=seen)
        points[:, 2] += forward
        return points

    def project(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) head units -> (n, 2) pixels: the jaw dropped, the head turned, z left out."""
        dropped = points[:, 1] + JAW_DROP * self.motion.mouth_open * _rise(points[:, 1], 0.6, 1.0)
        points = np.stack([points[:, 0], dropped, points[:, 2]], axis=1)
        return np.asarray(self.centre) + self.unit * (points @ self.turn[:2].T)

    def draw_on_face(self, flat: np.ndarray, forward: float = 0.0, seen: bool = True) -> np.ndarray:
        """``on_face``, then ``project``: (n, 2) pixels."""
        return self.project(self.on_face(flat, forward, seen))

    def outline(self, puffed: float = 1.0, lowest_front: float = 1.0, lowest_back: float = 1.0) -> np.ndarray:
        """The convex outline of the head or of its upper part.

        Args:
            puffed: As in ``place``.
            lowest_front, lowest_back: Down to which height y it reaches, in front of the ears and behind them.

        Returns:
            (n, 2) pixels, once around.
        """
        y, azimuth = (grid.ravel() for grid in np.meshgrid(_LEVELS, _AZIMUTHS))
        lowest = np.where(np.abs(azimuth) > np.pi / 2, lowest_back, lowest_front)
        points = self.place(np.minimum(y, lowest), azimuth, puffed, seen=False)
        return hull(self.project(points))

    def _visible(self, width: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far round to the left and to the right ellipses are seen, in radians: up to their outline in x."""
        pitch, yaw = np.radians([self.motion.pitch, self.motion.yaw])
        to_right = np.arctan2(np.cos(yaw) * width, np.sin(yaw) * np.cos(pitch) * depth)
        return np.pi - to_right, to_right


def hull(points: np.ndarray) -> np.ndarray:
    """The farthest of (n, 2) points in each of 60 directions: a convex outline, once around."""
    return points[np.argmax(points @ _DIRECTIONS, axis=0)]


def _rise(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)
