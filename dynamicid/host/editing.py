"""Edit Face: ``faces.editing`` with the host's text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.utils
import torch

from ..checkpoints.weights import DynamicIDWeights
from ..errors import DynamicIDError, check_range
from ..faces import editing
from ..faces.face import Face
from ..faces.motion import Motion, numbered_prompt
from .encoders import check_clip_text, check_face_prompt, pooled_face_prompt
from .graph import show_on_node

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
    """See ``faces.editing.edit_face``; with many motions it shows progress, can be interrupted, and says on the node
    how many there are.

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

    def encode_prompts(prompts: Sequence[str]) -> torch.Tensor:
        return torch.cat([pooled_face_prompt(clip, prompt) for prompt in prompts])

    progress = comfy.utils.ProgressBar(max(face.frame_count, motion.frame_count if motion else 1))

    def on_progress(count: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        progress.update(count)

    networks = editing.EditingNetworks(imr, encoder, encode_prompts, on_progress)
    edited, used = editing.edit_face(face, networks, target_prompt, source_prompt, motion, strength)
    if edited.frame_count > 1:
        show_on_node(numbered_prompt(edited.prompt or used, edited.frame_count))
    return edited, used
