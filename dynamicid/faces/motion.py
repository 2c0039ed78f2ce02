"""Motion: where the landmarks of a face are, how the head is turned, and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .frames import Frames
from .prompts import NEUTRAL, describe_motion


@dataclass(frozen=True)
class Motion(Frames):
    """The expression and head pose of a photo, or of F frames (socket ``DYNAMICID_MOTION``).

    Args:
        landmarks_106: (106, 2) float32, x and y in pixels of the 512 x 512 image.
        pose: (3,) float32: pitch, yaw, roll in degrees.
        prompt: The face prompt that describes it.
    """

    landmarks_106: Tensor
    pose: Tensor
    prompt: str

    def __repr__(self) -> str:
        more = f", {self.frame_count} frames" if self.later else ""
        return f"Motion({self.prompt!r}{more})"


def described_motion(landmarks_106: Tensor, pose: Tensor, emotion: str | None = None) -> Motion:
    """A motion whose face prompt follows from emotion and pose (docs/method.md, IMR); unknown emotions are neutral."""
    return Motion(landmarks_106, pose, describe_motion(pose.tolist(), emotion or NEUTRAL))


def numbered_prompt(prompt: str, frame_count: int, frame: int = 0) -> str:
    """What is written where one of F frames is shown: its face prompt; of several with its number and F."""
    return prompt if frame_count == 1 else f"{frame + 1} of {frame_count}: {prompt}"
