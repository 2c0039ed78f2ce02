"""Edit Face: ``faces.editing`` with the host's text encoder."""

from __future__ import annotations

from typing import Any

import torch

from ..checkpoints.weights import DynamicIDWeights
from ..errors import DynamicIDError, check_range
from ..faces import editing
from ..faces.face import Face
from ..faces.motion import Motion
from .encoders import check_clip_text, check_face_prompt, pooled_face_prompt

LARGEST_STRENGTH = 1.5


def edit_face(
    weights: DynamicIDWeights,
    face: Face,
    clip: Any,
    target_prompt: str,
    source_prompt: str = "",
    motion: Motion | None = None,
    strength: float = 1.0,
) -> tuple[Face, str]:
    """See ``faces.editing.edit_face``.

    Args:
        weights: Loaded networks with an IMR.
        face: The person.
        clip: The host's CLIP-L.
        target_prompt: Face prompt of the wanted motion; empty = the motion's own.
        source_prompt: Face prompt of the photo; empty = described from the face.
        motion: Wanted landmarks and pose.
        strength: 0 = the face as it is, 1 = the plain result of the IMR.

    Raises:
        DynamicIDError: No IMR, no CLIP-L, a prompt that CLIP cannot read, a strength out of range, or as
            ``faces.editing.edit_face``.
    """
    imr, encoder = weights.imr, weights.keypoint_encoder
    if imr is None or encoder is None:
        raise DynamicIDError(
            "dynamicid",
            "The loader was asked for no IMR.",
            "Choose IMR.bin (or the combined file) at the loader's `imr`.",
        )
    check_range("strength", strength, 0, LARGEST_STRENGTH)
    check_clip_text(clip, imr.motion_width - encoder.out_width)
    check_face_prompt(clip, target_prompt, "target_prompt")
    check_face_prompt(clip, source_prompt, "source_prompt")

    def encode_prompts(prompts: Any) -> torch.Tensor:
        return torch.cat([pooled_face_prompt(clip, prompt) for prompt in prompts])

    return editing.edit_face(face, imr, encoder, encode_prompts, target_prompt, source_prompt, motion, strength)
