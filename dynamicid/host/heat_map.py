"""Activation maps as pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import DynamicIDError
from ..faces.colours import PERSON_COLOURS
from .images import checked_images
from .recorder import ActivationRecord

ALL_STEPS = -1
EVERYBODY = 0
_COLOURS = torch.tensor([[0.05, 0.05, 0.35], [0.15, 0.35, 0.85], [0.95, 0.85, 0.25], [0.9, 0.15, 0.1]])
_OPACITY = 0.6


def heat_map(record: ActivationRecord, images: Tensor, step: int, person: int) -> tuple[Tensor, Tensor]:
    """Where the gate opened.

    Args:
        record: Filled by sampling.
        images: (B, height, width, 3) IMAGE that was sampled.
        step: Step from 0, or -1 for the mean of all.
        person: Person from 1, or 0 for everybody.

    Returns:
        The pictures with the maps over them, (B, height, width, 3), several people each in their own colour; and the
        maps, (B, height, width) in 0..1. At a weight of 0 the pictures as they are, and zeros.

    Raises:
        DynamicIDError: Nothing was recorded, or there is no such step or person.
    """
    pictures = checked_images(images, "image")
    if record.idle:
        return pictures, torch.zeros(pictures.shape[:3])
    if not record.steps:
        raise DynamicIDError(
            "activation",
            "Nothing was recorded.",
            "Sample with the model output of the same Apply node, and wire `image` after it.",
        )
    if not ALL_STEPS <= step < len(record.steps):
        raise DynamicIDError(
            "step", f"There is no step {step}; {len(record.steps)} were recorded.", "Use 0 and up, or -1 for all."
        )
    if not 0 <= person <= len(record.counts):
        raise DynamicIDError(
            "person", f"There is no person {person}.", f"Use 1 to {len(record.counts)}, or 0 for everybody."
        )
    maps = _over(record.maps(None if step == ALL_STEPS else step), pictures)
    chosen = maps if person == EVERYBODY else maps[:, person - 1 : person]
    mask = chosen.sum(dim=1)
    return paint(pictures, chosen, float(mask.max())), mask.clamp(0, 1)


def paint(pictures: Tensor, maps: Tensor, peak: float) -> Tensor:
    """Maps over pictures: one map from blue to red, several each in its person's colour.

    Args:
        pictures: (B, height, width, 3) in 0..1.
        maps: (B, N, height, width), at least 0.
        peak: The value that is painted strongest.

    Returns:
        (B, height, width, 3)
    """
    scaled = maps / peak if peak > 0 else maps
    if maps.shape[1] == 1:
        colours = _coloured(scaled[:, 0])
    else:
        people = torch.tensor(PERSON_COLOURS[: maps.shape[1]]) / 255
        colours = torch.einsum("bnhw,nc->bhwc", scaled, people).clamp(0, 1)
    return pictures * (1 - _OPACITY) + colours * _OPACITY


def _over(maps: Tensor, pictures: Tensor) -> Tensor:
    """(n, N, h, w) -> (B, N, height, width) of the pictures; their mean where the two counts differ."""
    if maps.shape[0] != pictures.shape[0]:
        maps = maps.mean(dim=0, keepdim=True).expand(pictures.shape[0], -1, -1, -1)
    return F.interpolate(maps, size=pictures.shape[1:3], mode="bilinear", align_corners=False)


def _coloured(values: Tensor) -> Tensor:
    """(B, height, width) in 0..1 -> (B, height, width, 3), dark blue over yellow to red."""
    scaled = values.clamp(0, 1) * (len(_COLOURS) - 1)
    lower = scaled.long().clamp(max=len(_COLOURS) - 2)
    return torch.lerp(_COLOURS[lower], _COLOURS[lower + 1], (scaled - lower).unsqueeze(-1))
