"""Editing a face with the IMR: the same person with another expression or head pose (docs/method.md, IMR).

The nodes and the diffusers pipeline use these functions, each with its own CLIP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import DynamicIDError
from ..models import IMR, KeypointEncoder
from .face import Face
from .frames import common_frame_count, join_frames
from .landmarks import keypoint_map
from .motion import Motion, described_motion

EncodePrompts = Callable[[Sequence[str]], Tensor]
"""Face prompts -> (B, 768) pooled CLIP-L embeddings: the final-layer-normed end-of-text states, no projection."""

MOTIONS_AT_ONCE = 64
"""Motions that are put in together; each takes about 3 MB while it is."""


@dataclass(frozen=True)
class EditingNetworks:
    """The networks that edit a face.

    Args:
        imr: Identity-Motion Reconfigurator.
        keypoint_encoder: Its key-point encoder, on the same device.
        encode_prompts: Encodes all face prompts that differ.
        on_progress: Called with the number of motions, at most ``MOTIONS_AT_ONCE``, that have been put in since the
            last call. What it raises ends the edit.
    """

    imr: IMR
    keypoint_encoder: KeypointEncoder
    encode_prompts: EncodePrompts
    on_progress: Callable[[int], None] = lambda count: None

    def motion_vectors(self, landmarks: Sequence[Tensor], pooled: Tensor) -> Tensor:
        """Landmarks, B times (106, 2), and pooled face prompts (B, 768) -> motion vectors (B, 1536)."""
        place = next(self.imr.parameters())
        maps = torch.stack([keypoint_map(points) for points in landmarks])
        return torch.cat([self.keypoint_encoder(maps.to(place)), pooled.to(place)], dim=1)


def edit_tokens(
    networks: EditingNetworks, tokens: Tensor, landmarks: Sequence[Tensor], pooled: Tensor, strength: float = 1.0
) -> Tensor:
    """Gives identity tokens other motions: phi1 runs once for each source, phi2 once for each target.

    Args:
        networks: What edits.
        tokens: (S, T, W) identity tokens; S = 1, or F.
        landmarks: (106, 2) each, of the S sources, then of the targets; there are F targets, or 1.
        pooled: (S + targets, 768) pooled face prompts in the same order.
        strength: 0 = ``tokens``, 1 = the plain result of the IMR, in between and beyond linear.

    Returns:
        (F, T, W) float32 on the CPU.
    """
    sources, targets = len(tokens), len(landmarks) - len(tokens)
    count = max(sources, targets)
    if strength == 0:
        return tokens.expand(count, -1, -1)
    imr, features, parts = networks.imr, None, []
    with torch.no_grad():
        for start in range(0, count, MOTIONS_AT_ONCE):
            size = min(MOTIONS_AT_ONCE, count - start)
            own, wanted = (slice(start, start + size) if held > 1 else slice(1) for held in (sources, targets))
            if features is None or sources > 1:
                source = networks.motion_vectors(landmarks[:sources][own], pooled[:sources][own])
                features = imr.disentangle(tokens[own].to(source), source)
            target = networks.motion_vectors(landmarks[sources:][wanted], pooled[sources:][wanted])
            parts.append(imr.entangle(features.expand(size, -1, -1), target.expand(size, -1)).float().cpu())
            networks.on_progress(size)
    predicted = torch.cat(parts)
    return predicted if strength == 1 else torch.lerp(tokens.expand_as(predicted), predicted, strength)


def edit_face(
    face: Face,
    networks: EditingNetworks,
    target_prompt: str = "",
    source_prompt: str = "",
    motion: Motion | None = None,
    strength: float = 1.0,
) -> tuple[Face, str]:
    """The same person with another expression or head pose, or with F of them.

    Args:
        face: The person.
        networks: What edits.
        target_prompt: Face prompt of the wanted motion; empty = the motion's own.
        source_prompt: Face prompt of the photo; empty = described from its pose and the emotion read off it.
        motion: Wanted landmarks and pose; None = the face's own landmarks, so that only the text drives the edit.
        strength: 0 = the face as it is, 1 = the plain result of the IMR, in between and beyond linear.

    Returns:
        The edited face, with F motions where the motion or the face holds F, and the source prompt that was used (of
        the first). The emotion of an edited face is unknown.

    Raises:
        DynamicIDError: A mixed face, no target, a face without landmarks or pose, or a face and a motion that hold
            different numbers of motions above 1.
    """
    if face.is_mixed:
        raise DynamicIDError("face", "A mix of two people cannot be edited.", "Edit both faces before mixing them.")
    sources = face.frames
    landmarks = [_landmarks(source) for source in sources]
    source_prompts = [source_prompt.strip() or _describe(source) for source in sources]
    targets = motion.frames if motion else ()
    target_prompts = [target_prompt.strip()] if target_prompt.strip() else [target.prompt for target in targets]
    if not target_prompts or not all(target_prompts):
        raise DynamicIDError(
            "target_prompt", "It is empty and no motion is connected.", "Write an expression or connect a motion."
        )
    count = common_frame_count({"face": len(sources), "motion": len(targets)})
    if strength == 0:
        return face, source_prompts[0]
    target_landmarks = [target.landmarks_106 for target in targets] or landmarks
    target_prompts *= len(target_landmarks) if len(target_prompts) == 1 else 1
    pooled = _encode_once(networks.encode_prompts, [*source_prompts, *target_prompts])
    own_tokens = torch.stack([source.id_tokens for source in sources])
    tokens = edit_tokens(networks, own_tokens, [*landmarks, *target_landmarks], pooled, strength)
    edited = [
        _edited(face.frame(i), tokens[i], target_prompts[i % len(target_prompts)], motion and motion.frame(i), strength)
        for i in range(count)
    ]
    return join_frames(edited), source_prompts[0]


def _edited(source: Face, tokens: Tensor, prompt: str, motion: Motion | None, strength: float) -> Face:
    edited = replace(source, id_tokens=tokens, emotion=None, prompt=prompt)
    if motion is None:
        return edited
    pose = motion.pose if source.pose is None else torch.lerp(source.pose, motion.pose, strength)
    landmarks = torch.lerp(_landmarks(source), motion.landmarks_106, strength)
    return replace(edited, landmarks_106=landmarks, pose=pose)


def _encode_once(encode_prompts: EncodePrompts, prompts: Sequence[str]) -> Tensor:
    """(len(prompts), 768): a prompt that many frames share is encoded once."""
    different = list(dict.fromkeys(prompts))
    return encode_prompts(different)[[different.index(prompt) for prompt in prompts]]


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
