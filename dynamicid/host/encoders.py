"""CLIP vision and CLIP text as the host runs them, read where DynamicID wants them."""

from __future__ import annotations

import re
import weakref
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ..errors import DynamicIDError

_VIT_H = "CLIP-ViT-H-14-laion2B-s32B-b79K"
_VIT_H_WIDTH, _VIT_H_POSITIONS, _VIT_H_LAYERS = 1280, 257, 32
_zero_states: weakref.WeakKeyDictionary[Any, Tensor] = weakref.WeakKeyDictionary()
_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")
_LONGEST_PROMPT = 2000
"""Letters."""
_SPECIAL = str.maketrans({"\\": "\\\\", "(": "\\(", ")": "\\)"})


def check_clip_vision(clip_vision: Any, width: int) -> None:
    """The image encoder is the one that the weights were trained with.

    Args:
        clip_vision: The host's ClipVisionModel.
        width: Hidden width that the face projector expects: 1280 for ViT-H/14, then its positions and layers count,
            too; another one for weights that were trained with another encoder.

    Raises:
        DynamicIDError: Another encoder, or none.
    """
    if clip_vision is None:
        raise DynamicIDError(
            "clip_vision",
            "The connected loader found no image encoder in its file.",
            f"Load {_VIT_H}.safetensors with Load CLIP Vision.",
        )
    vision = getattr(clip_vision.model, "vision_model", None)
    embedding = getattr(getattr(vision, "embeddings", None), "position_embedding", None)
    layers = len(vision.encoder.layers) if embedding is not None and vision is not None else 0
    shape = tuple(embedding.weight.shape) if embedding is not None else None
    actual = f"{layers} layers, positions x width {shape}" if shape else type(clip_vision.model).__name__
    if width != _VIT_H_WIDTH and (shape is None or shape[1] != width):
        raise DynamicIDError(
            "clip_vision",
            f"The loaded DynamicID weights expect an image encoder of width {width} ({actual}).",
            "Load the image encoder that these weights were trained with.",
        )
    if width == _VIT_H_WIDTH and (shape != (_VIT_H_POSITIONS, width) or layers != _VIT_H_LAYERS):
        raise DynamicIDError(
            "clip_vision",
            f"This image encoder is not ViT-H/14 ({actual}).",
            f"Load {_VIT_H}.safetensors with Load CLIP Vision.",
        )


def clip_hidden_states(clip_vision: Any, images: Tensor) -> Tensor:
    """Penultimate hidden states: shortest side to 224, centre crop, CLIP mean and std (docs/method.md, Face encoder).

    Args:
        clip_vision: The host's ViT-H/14.
        images: (B, height, width, 3) in 0..1.

    Returns:
        (B, 257, 1280) float32 on the CPU.
    """
    return clip_vision.encode_image(images, crop=True)["penultimate_hidden_states"].float().cpu()


def zero_hidden_states(clip_vision: Any) -> Tensor:
    """The same states for an all-zero *normalised* pixel tensor, (1, 257, 1280): the negative branch's picture.

    They do not depend on the photo, so they are computed once for each loaded encoder.
    """
    cached = _zero_states.get(clip_vision)
    if cached is not None:
        return cached
    comfy.model_management.load_model_gpu(clip_vision.patcher)
    size = clip_vision.image_size
    pixels = torch.zeros(1, 3, size, size, device=clip_vision.load_device)
    output = clip_vision.model(pixel_values=pixels, intermediate_output=-2)
    states = _zero_states[clip_vision] = output[1].float().cpu()
    return states


def check_clip_text(clip: Any, width: int) -> None:
    """The text encoder is a CLIP-L alone.

    Args:
        clip: The host's CLIP.
        width: Width of its pooled embedding that the IMR expects (768).

    Raises:
        DynamicIDError: Another or a combined text encoder, or none.
    """
    if clip is None:
        raise DynamicIDError(
            "clip",
            "The connected loader found no text encoder in its file.",
            "Connect the CLIP output of an SD1.5 checkpoint.",
        )
    encoder = clip.cond_stage_model
    clip_l = getattr(encoder, "clip_l", None)
    others = [name for name, _ in encoder.named_children() if name != "clip_l"]
    mismatch = None
    if clip_l is None:
        mismatch = f"This text encoder is {type(encoder).__name__}, not CLIP-L."
    elif others:
        mismatch = f"This text encoder is CLIP-L together with {', '.join(others)}."
    elif clip_l.transformer.get_input_embeddings().weight.shape[-1] != width:
        mismatch = f"This CLIP is {clip_l.transformer.get_input_embeddings().weight.shape[-1]} wide, not {width}."
    if mismatch:
        raise DynamicIDError("clip", mismatch, "Connect the CLIP output of an SD1.5 checkpoint.")


def check_face_prompt(clip: Any, prompt: str, where: str) -> None:
    """CLIP can read the whole of a face prompt.

    Raises:
        DynamicIDError: It is longer than the 75 tokens that CLIP-L reads at once, or holds half characters.
    """
    if _HALF_CHARACTERS.search(prompt):
        raise DynamicIDError(where, "It holds half characters, which are no text.", "Type it again.")
    # A token stands for a handful of letters; to count those of a megabyte takes half a minute.
    if len(prompt) <= _LONGEST_PROMPT:
        chunks = next(iter(clip.tokenize(prompt.translate(_SPECIAL)).values()))
        if len(chunks) == 1:
            return
    raise DynamicIDError(
        where, "It is longer than the 75 tokens that CLIP reads.", "Describe expression and view in one sentence."
    )


def pooled_face_prompt(clip: Any, prompt: str) -> Tensor:
    """CLIP-L's final-layer-normed hidden state at the end-of-text token, without text projection (docs/method.md, IMR).

    A clip-skip node and prompt weights have no say here: brackets are taken literally.

    Args:
        clip: The host's CLIP-L; left as it is.
        prompt: Face prompt.

    Returns:
        (1, 768) float32 on the CPU.
    """
    tokens = clip.tokenize(prompt.translate(_SPECIAL))
    pooled = clip.encode_from_tokens(tokens, return_pooled="unprojected", return_dict=True)["pooled_output"]
    return pooled.float().cpu()
