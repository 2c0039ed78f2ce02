"""The motion that the sliders node gives out, and what its canvas starts from."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..errors import DynamicIDError
from ..faces.face import Face
from ..faces.motion import Motion, described_motion
from ..faces.motion_drawing import draw_motion
from ..faces.motion_sliders import Sliders, average_motion, move
from .images import to_image
from .previews import keep


def slider_motion(face: Face | None, motion: Motion | None, sliders: Sliders) -> tuple[Motion, Tensor, dict[str, Any]]:
    """Moves ``motion``, or else the face's own, or else an average face's.

    Args:
        face: The person shown behind the landmarks; None for nobody.
        motion: What to start from; None for the face's own.
        sliders: What to change.

    Returns:
        The motion, a preview IMAGE, and the entry for the node's ``ui``.

    Raises:
        DynamicIDError: The face is a mix of two, or knows no landmarks or pose.
    """
    before = motion or (average_motion() if face is None else _own_motion(face))
    after = move(before, sliders)
    # Another person's landmarks do not fit this crop.
    shown = None if motion is not None else face
    owner = motion or face or after
    return after, to_image(draw_motion(shown, before, after)), keep(owner, shown, before)


def _own_motion(face: Face) -> Motion:
    if face.is_mixed:
        raise DynamicIDError(
            "face", "A mix of two people has no motion of its own.", "Use the sliders on both faces before mixing them."
        )
    if face.landmarks_106 is None or face.pose is None:
        raise DynamicIDError(
            "face",
            "This face has no landmarks or no pose, so its motion is unknown.",
            "Encode it from a photo with Encode Face, or connect a motion.",
        )
    return described_motion(face.landmarks_106, face.pose, face.emotion)
