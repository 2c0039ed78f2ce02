"""What a face does: how the head is turned, the expression and the gaze. Nothing in it depends on who does it."""

from dataclasses import dataclass, replace

import numpy as np

from ..faces.prompts import NEUTRAL, describe_motion
from .numbers import Topic, generator, pick
from .splits import Split, allowed_motions


@dataclass(frozen=True)
class DrawnMotion:
    """The motion of one face; all defaults = looking straight at the viewer, at rest.

    Args:
        yaw: Degrees, positive = the face turns to the picture's right.
        pitch: Degrees, positive = up.
        roll: Degrees, positive = the head leans clockwise in the picture.
        mouth_open: 0 (closed) to 1 (jaw dropped).
        smile: -1 (corners of the mouth down) to 1 (up and apart).
        mouth_skew: -1 to 1, how much higher the corner on the picture's right (left, if negative) is pulled.
        brows: -1 (low) to 1 (raised).
        brow_tilt: -1 (inner ends down, angry) to 1 (inner ends up, worried).
        eyelids: 0 (wide open) to 1 (closed); 0.2 at rest.
        gaze_x: -1 to 1, positive = to the picture's right.
        gaze_y: -1 to 1, positive = up.
        expression: The word for the expression, one of ``faces.prompts.EMOTIONS``; not drawn.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    mouth_open: float = 0.0
    smile: float = 0.0
    mouth_skew: float = 0.0
    brows: float = 0.0
    brow_tilt: float = 0.0
    eyelids: float = 0.2
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    expression: str = NEUTRAL

    @property
    def pose(self) -> tuple[float, float, float]:
        """Pitch, yaw, roll in degrees: InsightFace's order and signs."""
        return (self.pitch, self.yaw, self.roll)


EXPRESSIONS: dict[str, DrawnMotion] = {
    "happy": DrawnMotion(smile=1.0, mouth_open=0.45, brows=0.2, eyelids=0.25, expression="happy"),
    "surprise": DrawnMotion(mouth_open=1.0, brows=1.0, eyelids=0.0, expression="surprise"),
    "sad": DrawnMotion(smile=-0.9, brows=-0.1, brow_tilt=1.0, eyelids=0.45, gaze_y=-0.6, expression="sad"),
    "anger": DrawnMotion(smile=-0.6, brows=-0.9, brow_tilt=-1.0, eyelids=0.3, expression="anger"),
    "disgust": DrawnMotion(
        smile=-0.3, mouth_open=0.25, mouth_skew=0.9, brows=-0.5, brow_tilt=-0.3, eyelids=0.6, expression="disgust"
    ),
    "fear": DrawnMotion(smile=-0.8, mouth_open=0.6, brows=0.7, brow_tilt=0.9, eyelids=0.0, expression="fear"),
    NEUTRAL: DrawnMotion(),
}
"""The seven basic expressions from the front, without jitter."""

POSES: dict[str, tuple[float, float]] = {
    "front": (0.0, 0.0),
    "left": (0.0, -28.0),
    "right": (0.0, 28.0),
    "up": (22.0, 0.0),
    "down": (-22.0, 0.0),
    "up left": (20.0, -28.0),
    "up right": (20.0, 28.0),
    "down left": (-20.0, -28.0),
    "down right": (-20.0, 28.0),
}
"""Head poses as pitch and yaw in degrees; left and right are the picture's."""

_JITTER = {"mouth_open": 0.08, "smile": 0.1, "mouth_skew": 0.06, "brows": 0.1, "brow_tilt": 0.1, "eyelids": 0.06}
_LOWEST = {"mouth_open": 0.0, "eyelids": 0.0}
YAW_JITTER, PITCH_JITTER, ROLL_JITTER = 8.0, 7.0, 12.0


def posed(expression: str, pose: str) -> DrawnMotion:
    """An expression (a key of EXPRESSIONS) at a head pose (a key of POSES), without jitter."""
    pitch, yaw = POSES[pose]
    return replace(EXPRESSIONS[expression], pitch=pitch, yaw=yaw)


def sample_motion(seed: int, number: int, split: Split = Split.train) -> DrawnMotion:
    """The motion with this number: an expression and a pose that the split allows, jittered.

    Jitter never takes a pose over the thresholds of the face prompt (10 degrees).

    Args:
        seed: Seed of the whole data set, 0 or more.
        number: The motion's number, 0 or more.
        split: Which combinations of expression and pose may come up (see ``splits``).
    """
    random = generator(seed, Topic.motion, number)
    expression, pose = pick(random, allowed_motions(split, tuple(EXPRESSIONS), tuple(POSES)))
    return jittered(posed(expression, pose), random)


def jittered(motion: DrawnMotion, random: np.random.Generator) -> DrawnMotion:
    """``motion`` with small random changes of everything; the expression stays the one it was."""
    changes = {}
    for name, amount in _JITTER.items():
        value = getattr(motion, name) + amount * random.uniform(-1, 1)
        changes[name] = float(np.clip(value, _LOWEST.get(name, -1.0), 1.0))
    # A closed mouth stays closed.
    if motion.mouth_open == 0:
        changes["mouth_open"] = 0.0
    return replace(
        motion,
        yaw=motion.yaw + random.uniform(-YAW_JITTER, YAW_JITTER),
        pitch=motion.pitch + random.uniform(-PITCH_JITTER, PITCH_JITTER),
        roll=motion.roll + random.uniform(-ROLL_JITTER, ROLL_JITTER),
        gaze_x=float(np.clip(motion.gaze_x + random.uniform(-0.6, 0.6), -1, 1)),
        gaze_y=float(np.clip(motion.gaze_y + random.uniform(-0.3, 0.3), -1, 1)),
        **changes,
    )


def motion_prompt(motion: DrawnMotion) -> str:
    """The face prompt: "in a happy expression, facing up, in front view" (``faces.prompts``)."""
    return describe_motion(motion.pose, motion.expression)
