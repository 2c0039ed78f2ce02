"""The motion that the sliders node gives out, and what its canvas starts from."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..errors import DynamicIDError
from ..faces.face import Face
from ..faces.frames import join_frames
from ..faces.motion import Motion, described_motion
from ..faces.motion_drawing import draw_motion
from ..faces.motion_frames import preset_motions
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
    before = motion or own_motion(face)
    after = before if sliders.is_neutral else join_frames([move(frame, sliders) for frame in before.frames])
    # Another person's landmarks do not fit this crop.
    shown = None if motion is not None else face
    owner = motion or face or after
    return after, to_image(draw_motion(shown, before, after)), keep(owner, shown, before)


def motion_presets(face: Face | None, expressions: str, views: str, strength: float) -> tuple[Motion, str]:
    """``faces.motion_frames.preset_motions`` for a face, or for an average one; the labels as lines.

    Raises:
        DynamicIDError: As there, or as ``own_motion``.
    """
    motion, labels = preset_motions(own_motion(face).frames[0], expressions, views, strength)
    return motion, "\n".join(labels)


def own_motion(face: Face | None) -> Motion:
    """The motion of a face, F of them where it holds F; an average face's without one.

    Raises:
        DynamicIDError: The face is a mix of two, or knows no landmarks or pose.
    """
    if face is None:
        return average_motion()
    return join_frames([_own_motion(frame) for frame in face.frames])


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
