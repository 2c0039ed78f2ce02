"""What the face networks learn to tell: identity and motion as numbers of about the same size."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dynamicid.synthetic import sample_identity
from dynamicid.synthetic.colours import GLASSES, HAIRS, LIPS, SKINS
from dynamicid.synthetic.identity import BEARDS, GLASSES_KINDS, HAIR_STYLES, MARKS

from ..places import SEED
from .face_pictures import FacePictures

SHAPES: dict[str, tuple[float, float]] = {
    "face_width": (0.66, 0.88),
    "jaw": (0.5, 1.0),
    "cheeks": (-0.04, 0.1),
    "ears": (0.1, 0.2),
    "brow_thickness": (0.07, 0.14),
    "brow_arch": (0.0, 0.1),
    "brow_slant": (-0.05, 0.05),
    "eye_width": (0.16, 0.24),
    "eye_height": (0.85, 1.2),
    "eye_spacing": (0.25, 0.43),
    "eye_roundness": (0.45, 0.85),
    "eye_tilt": (-0.04, 0.05),
    "nose_length": (0.26, 0.42),
    "nose_width": (0.07, 0.15),
    "mouth_width": (0.25, 0.37),
    "mouth_height": (0.54, 0.62),
    "lip_thickness": (0.055, 0.11),
}
"""Lengths of ``Identity`` and their ranges."""
COLOURS = ("skin", "hair_colour", "eye_colour", "lip_colour")
KINDS: dict[str, tuple] = {
    "hair_style": HAIR_STYLES,
    "mark": MARKS,
    "glasses": tuple(dict.fromkeys(GLASSES_KINDS)),
    "beard": tuple(dict.fromkeys(BEARDS)),
    "skin": SKINS,
    "hair_colour": HAIRS,
    "lip_colour": LIPS,
    "glasses_colour": GLASSES,
}
"""Properties of ``Identity`` that are one of a few."""
NUMBERS = len(SHAPES) + 3 * len(COLOURS)
MOTION_SCALE = np.array([20, 20, 12, 0.5, 1, 0.5, 1, 1, 0.4, 0.6, 0.6], dtype=np.float32)
"""MOTION_FIELDS are divided by these."""


@dataclass(frozen=True, eq=False)
class FaceTruth:
    """Truth about F faces.

    Attributes:
        numbers: (F, 29) float, SHAPES in [-1, 1], then COLOURS as RGB in [-1, 1].
        kinds: Name -> (F,) long, position in KINDS[name]; -100 where it cannot be seen.
        motion: (F, 11) float, MOTION_FIELDS over MOTION_SCALE.
        expression, shirt: (F,) long.
    """

    numbers: Tensor
    kinds: dict[str, Tensor]
    motion: Tensor
    expression: Tensor
    shirt: Tensor


def truth_of(faces: FacePictures) -> FaceTruth:
    """The truth about all faces of a set of pictures."""
    people, rows = np.unique(faces.person, return_inverse=True)
    who = [sample_identity(SEED, int(number)) for number in people]
    numbers = np.zeros((len(who), NUMBERS), dtype=np.float32)
    for column, (name, (low, high)) in enumerate(SHAPES.items()):
        numbers[:, column] = [2 * (getattr(one, name) - low) / (high - low) - 1 for one in who]
    for place, name in enumerate(COLOURS):
        first = len(SHAPES) + 3 * place
        numbers[:, first : first + 3] = np.array([getattr(one, name) for one in who]) / 127.5 - 1
    kinds = {name: np.array([values.index(getattr(one, name)) for one in who]) for name, values in KINDS.items()}
    kinds["glasses_colour"][kinds["glasses"] == KINDS["glasses"].index("none")] = -100
    return FaceTruth(
        numbers=torch.from_numpy(numbers[rows]),
        kinds={name: torch.from_numpy(values[rows]).long() for name, values in kinds.items()},
        motion=torch.from_numpy((faces.motion / MOTION_SCALE).astype(np.float32)),
        expression=torch.from_numpy(faces.expression).long(),
        shirt=torch.from_numpy(faces.shirt).long(),
    )
