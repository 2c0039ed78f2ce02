"""Motion from ComfyUI's own face landmarks: 52 ARKit blendshapes and a head pose (socket ``FACE_LANDMARKS``).

Each blendshape is 0 to 1. Left and right are the person's own, so left is the picture's right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DynamicIDError
from .expressions import Expression
from .head_model import limited_pose
from .motion_sliders import RANGES, Sliders

WEIGHTS: dict[str, dict[str, float]] = {
    "smile": {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "mouthFrownLeft": -0.5, "mouthFrownRight": -0.5},
    "mouth_open": {"jawOpen": 1.0},
    "eyebrows": {
        "browInnerUp": 0.5, "browOuterUpLeft": 0.25, "browOuterUpRight": 0.25, "browDownLeft": -0.5,
        "browDownRight": -0.5,
    },
    "eyes_closed": {"eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5},
    "squint": {"eyeSquintLeft": 0.5, "eyeSquintRight": 0.5},
    "pucker": {"mouthPucker": 1.0, "mouthFunnel": 0.5},
    "jaw_sideways": {"jawLeft": 1.0, "jawRight": -1.0},
}  # fmt: skip
"""Expression slider -> weight of each blendshape; the sum is held within the slider's range."""


def sliders_of(blendshapes: Mapping[str, float], transformation_matrix: np.ndarray) -> Sliders:
    """What moves a face at rest from the front as ``expression_of`` and ``pose_of`` say."""
    pitch, yaw, roll = pose_of(transformation_matrix)
    return Sliders(float(yaw), float(pitch), float(roll), expression_of(blendshapes), neutralise=True)


def expression_of(blendshapes: Mapping[str, float]) -> Expression:
    """The sliders that move a face as the blendshapes say.

    Args:
        blendshapes: ARKit name -> 0..1.
    """
    sums = {
        slider: sum(weight * float(blendshapes[name]) for name, weight in weights.items())
        for slider, weights in WEIGHTS.items()
    }
    return Expression(**{slider: float(np.clip(value, *RANGES[slider])) for slider, value in sums.items()})


def pose_of(transformation_matrix: np.ndarray) -> np.ndarray:
    """Pitch, yaw and roll of a face.

    Args:
        transformation_matrix: (4, 4) from a head seen from the front to the camera: x to the picture's right, y up, z
            towards the viewer, with one factor on all three.

    Returns:
        (3,) degrees, held within what can be drawn.
    """
    turned = np.asarray(transformation_matrix, dtype=np.float64)[:3, :3]
    flip = np.diag([1.0, -1.0, 1.0])  # to y down
    x, y, z = flip @ (turned / np.linalg.norm(turned[:, 0])) @ flip
    angles = (np.arctan2(z[1], z[2]), np.arcsin(np.clip(-z[0], -1, 1)), np.arctan2(y[0], x[0]))
    return limited_pose(np.degrees(angles))


def chosen_faces(face_landmarks: Any, index: int) -> list[Mapping[str, Any] | None]:
    """Face ``index`` of each frame; None where a frame has fewer.

    Args:
        face_landmarks: The value of a ``FACE_LANDMARKS`` socket.
        index: Counted from 0.

    Raises:
        DynamicIDError: No frame has such a face, or the value has another format.
    """
    try:
        if not isinstance(face_landmarks, Mapping):
            raise TypeError
        frames = [list(frame) for frame in face_landmarks["frames"]]
        faces = [frame[index] if index < len(frame) else None for frame in frames]
        for face in faces:
            if face is not None:
                expression_of(face["blendshapes"])
                with np.errstate(invalid="raise"):
                    pose_of(face["transformation_matrix"])
    except (TypeError, KeyError, ValueError, IndexError, FloatingPointError) as error:
        raise DynamicIDError(
            "face_landmarks",
            "It holds no faces with the 52 ARKit blendshapes and a transformation matrix.",
            "Connect Detect Face Landmarks (MediaPipe) of ComfyUI; landmarks of other nodes have another format.",
        ) from error
    if all(face is None for face in faces):
        raise DynamicIDError(
            "face_landmarks",
            f"None of its {len(frames)} frames shows a face {index} (counted from 0).",
            "Use pictures that show the face, raise num_faces where they were found, or lower index.",
        )
    return faces
