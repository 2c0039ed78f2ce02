"""Editing a face with the IMR: the same person with another expression or head pose (docs/method.md, IMR).

The nodes and the diffusers pipeline use these functions, each with its own CLIP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import DynamicIDError
from ..models import IMR, KeypointEncoder
from .face import Face
from .landmarks import keypoint_map
from .motion import Motion, described_motion

EncodePrompts = Callable[[Sequence[str]], Tensor]
"""Face prompts -> (B, 768) pooled CLIP-L embeddings: the final-layer-normed end-of-text states, no projection."""


def edit_tokens(
    imr: IMR, keypoint_encoder: KeypointEncoder, tokens: Tensor, maps: Tensor, pooled: Tensor, strength: float = 1.0
) -> Tensor:
    """Gives identity tokens another motion.

    Args:
        imr: Identity-Motion Reconfigurator.
        keypoint_encoder: Its key-point encoder, on the same device.
        tokens: (T, W) identity tokens of the photo.
        maps: (2, 1, 96, 96) key-point maps of source and target, in [-1, 1].
        pooled: (2, 768) pooled face prompts of source and target.
        strength: 0 = ``tokens``, 1 = the plain result of the IMR, in between and beyond linear.

    Returns:
        (T, W) float32 on the CPU.
    """
    if strength == 0:
        return tokens
    place = next(imr.parameters())
    with torch.no_grad():
        source, target = torch.cat([keypoint_encoder(maps.to(place)), pooled.to(place)], dim=1)
        predicted = imr(tokens[None].to(place), source[None], target[None])[0].float().cpu()
    return predicted if strength == 1 else torch.lerp(tokens, predicted, strength)


def edit_face(
    face: Face,
    imr: IMR,
    keypoint_encoder: KeypointEncoder,
    encode_prompts: EncodePrompts,
    target_prompt: str = "",
    source_prompt: str = "",
    motion: Motion | None = None,
    strength: float = 1.0,
) -> tuple[Face, str]:
    """The same person with another expression or head pose.

    Args:
        face: The person.
        imr: Identity-Motion Reconfigurator.
        keypoint_encoder: Its key-point encoder.
        encode_prompts: Encodes the two face prompts.
        target_prompt: Face prompt of the wanted motion; empty = the motion's own.
        source_prompt: Face prompt of the photo; empty = described from its pose and the emotion read off it.
        motion: Wanted landmarks and pose; None = the face's own landmarks, so that only the text drives the edit.
        strength: 0 = the face as it is, 1 = the plain result of the IMR, in between and beyond linear.

    Returns:
        The edited face and the source prompt that was used. The emotion of an edited face is unknown.

    Raises:
        DynamicIDError: A mixed face, no target, or a face without landmarks or pose.
    """
    if face.is_mixed:
        raise DynamicIDError("face", "A mix of two people cannot be edited.", "Edit both faces before mixing them.")
    landmarks = _landmarks(face)
    source_prompt = source_prompt.strip() or _describe(face)
    target_prompt = target_prompt.strip() or (motion.prompt if motion else "")
    if not target_prompt:
        raise DynamicIDError(
            "target_prompt", "It is empty and no motion is connected.", "Write an expression or connect a motion."
        )
    if strength == 0:
        return face, source_prompt
    target_landmarks = landmarks if motion is None else motion.landmarks_106
    maps = torch.stack([keypoint_map(landmarks), keypoint_map(target_landmarks)])
    pooled = encode_prompts([source_prompt, target_prompt])
    tokens = edit_tokens(imr, keypoint_encoder, face.id_tokens, maps, pooled, strength)
    edited = replace(face, id_tokens=tokens, emotion=None, prompt=target_prompt)
    if motion is not None:
        pose = motion.pose if face.pose is None else torch.lerp(face.pose, motion.pose, strength)
        edited = replace(edited, landmarks_106=torch.lerp(landmarks, motion.landmarks_106, strength), pose=pose)
    return edited, source_prompt


def _landmarks(face: Face) -> Tensor:
    if face.landmarks_106 is None:
        raise DynamicIDError(
            "face", "This face has no landmarks, so its motion is unknown.", "Encode it from a photo with Encode Face."
        )
    return face.landmarks_106


def _describe(face: Face) -> str:
    if face.pose is None:
        raise DynamicIDError(
            "source_prompt",
            "It is empty and the face has no pose to describe.",
            "Describe the photo's expression here.",
        )
    return described_motion(_landmarks(face), face.pose, face.emotion).prompt
