"""Motion editing with the IMR: landmarks and face prompts become motion vectors, the tokens get a new motion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.weights import DynamicIDWeights
from ..errors import DynamicIDError
from ..faces.face import Face
from ..faces.landmarks import keypoint_map
from ..faces.motion import Motion, described_motion
from .encoders import check_clip_text, pooled_face_prompt


def edit_face(
    weights: DynamicIDWeights,
    face: Face,
    clip: Any,
    target_prompt: str,
    source_prompt: str = "",
    motion: Motion | None = None,
    strength: float = 1.0,
) -> tuple[Face, str]:
    """The same person with another expression or pose (spec section 4).

    Args:
        weights: Loaded networks with an IMR.
        face: The person.
        clip: The host's CLIP-L.
        target_prompt: Face prompt wanted; empty = the motion's own.
        source_prompt: Face prompt of the photo; empty = described from its pose and the emotion read off it.
        motion: Landmarks wanted; without, the face's own are used and only the text drives the edit.
        strength: 0 = the face as it is, 1 = the plain IMR result, in between and beyond linear.

    Returns:
        The edited face and the source prompt that was used. The emotion read off the photo is no longer known of an
        edited face.

    Raises:
        DynamicIDError: No IMR, no CLIP-L, a mixed face, no target, or a face file without landmarks or pose.
    """
    imr, encoder = weights.imr, weights.keypoint_encoder
    if imr is None or encoder is None:
        raise DynamicIDError(
            "dynamicid",
            "The loader was asked for no IMR.",
            "Choose IMR.bin (or the combined file) at the loader's `imr`.",
        )
    if face.is_mixed:
        raise DynamicIDError("face", "A mix of two people cannot be edited.", "Edit both faces before mixing them.")
    check_clip_text(clip, imr.motion_width - encoder.out_width)
    landmarks = _landmarks(face)
    source_prompt = source_prompt.strip() or _described(face)
    target_prompt = target_prompt.strip() or (motion.prompt if motion else "")
    if not target_prompt:
        raise DynamicIDError(
            "target_prompt", "It is empty and no motion is connected.", "Write an expression or connect a motion."
        )
    target_landmarks = landmarks if motion is None else motion.landmarks_106
    with torch.no_grad():
        maps = torch.stack([keypoint_map(landmarks), keypoint_map(target_landmarks)])
        prompts = torch.cat([pooled_face_prompt(clip, text) for text in (source_prompt, target_prompt)])
        source, target = torch.cat([encoder(maps), prompts], dim=1)
        predicted = imr(face.id_tokens[None], source[None], target[None])[0]
    return _edited(face, predicted, motion, strength), source_prompt


def _edited(face: Face, predicted: Tensor, motion: Motion | None, strength: float) -> Face:
    if strength == 0:
        return face
    tokens = predicted if strength == 1 else torch.lerp(face.id_tokens, predicted, strength)
    if motion is None or face.landmarks_106 is None:
        return replace(face, id_tokens=tokens, emotion=None)
    pose = motion.pose if face.pose is None else torch.lerp(face.pose, motion.pose, strength)
    landmarks = torch.lerp(face.landmarks_106, motion.landmarks_106, strength)
    return replace(face, id_tokens=tokens, landmarks_106=landmarks, pose=pose, emotion=None)


def _landmarks(face: Face) -> Tensor:
    if face.landmarks_106 is None:
        raise DynamicIDError(
            "face", "This face has no landmarks, so its motion is unknown.", "Encode it from a photo with Encode Face."
        )
    return face.landmarks_106


def _described(face: Face) -> str:
    if face.pose is None:
        raise DynamicIDError(
            "source_prompt",
            "It is empty and the face has no pose to describe.",
            "Describe the photo's expression here.",
        )
    return described_motion(_landmarks(face), face.pose, face.emotion).prompt
