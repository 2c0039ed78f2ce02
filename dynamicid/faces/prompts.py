"""Face prompts: the sentence that describes expression and pose (docs/method.md, IMR)."""

from collections.abc import Sequence

import numpy as np

from ..errors import DynamicIDError

# ResEmoteNet's classes, in the words of the published code.
EMOTIONS = ("happy", "surprise", "sad", "anger", "disgust", "fear", "neutral")
NEUTRAL = "neutral"
TURN_DEGREES = 10.0


def describe_pose(pitch: float, yaw: float) -> str:
    """ "facing up, in side view" and the like.

    Args:
        pitch: Degrees, positive = up. Named only beyond 10 degrees either way.
        yaw: Degrees. Below 10 either way is the front view; 10 itself is a side view.
    """
    view = "in front view" if abs(yaw) < TURN_DEGREES else "in side view"
    if pitch > TURN_DEGREES:
        return f"facing up, {view}"
    if pitch < -TURN_DEGREES:
        return f"facing down, {view}"
    return view


def describe_motion(pose: Sequence[float] | np.ndarray, emotion: str = NEUTRAL, details: Sequence[str] = ()) -> str:
    """ "in a happy expression, in front view" and the like.

    Args:
        pose: (3,) pitch, yaw, roll in degrees; roll is not described.
        emotion: A word for the expression, usually one of EMOTIONS.
        details: What else is to be seen, such as "eyes closed".

    Raises:
        DynamicIDError: a pose of other than three finite numbers.
    """
    angles = np.asarray(pose, dtype=np.float64)
    if angles.shape != (3,) or not np.isfinite(angles).all():
        raise DynamicIDError(
            "pose", f"Expected pitch, yaw and roll in degrees, found {angles.tolist()}.", "Encode the photo again."
        )
    article = "an" if emotion[:1] in "aeiou" else "a"
    parts = [f"in {article} {emotion} expression", *details, describe_pose(float(angles[0]), float(angles[1]))]
    return ", ".join(parts)
