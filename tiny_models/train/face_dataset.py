"""Training data of the face networks and of the image encoder: drawn pictures, and labels of their faces."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dynamicid.synthetic import (
    EXPRESSIONS,
    FaceAnnotation,
    Split,
    people_of,
    pictures_of,
    render_portrait,
    render_scene,
    sample_identity,
    sample_portrait,
    sample_scene,
)
from dynamicid.synthetic.colours import GLASSES, HAIRS, LIPS, SHIRTS, SKINS
from dynamicid.synthetic.identity import BEARDS, GLASSES_KINDS, HAIR_STYLES, MARKS

from ..places import PICTURE_SIZE, SEED
from .drawn_pictures import AnnotatedPictures, Columns, load_annotated

MOTION_SCALES = {
    "pitch": 20, "yaw": 20, "roll": 12, "mouth_open": 0.5, "smile": 1, "mouth_skew": 0.5, "brows": 1, "brow_tilt": 1,
    "eyelids": 0.4, "gaze_x": 0.6, "gaze_y": 0.6,
}  # fmt: skip
"""Parameters of a motion -> the values that count as 1 in the labels."""
MOTION_FIELDS = tuple(MOTION_SCALES)
POOLS = {Split.train: 4000, Split.held_out: 200}
"""People by split: few enough that each of them comes up several times."""
COUNTS = {Split.train: (9000, 6000), Split.held_out: (500, 500)}
"""Scenes and portraits by split."""
_FIRST_PICTURE = 500_000
"""Position in the split of the first picture; the base model uses lower ones."""
TRAIT_RANGES: dict[str, tuple[float, float]] = {
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
"""Continuous parameters of ``Identity`` and their ranges."""
COLOURS = ("skin", "hair_colour", "eye_colour", "lip_colour")
CATEGORIES: dict[str, tuple] = {
    "hair_style": HAIR_STYLES,
    "mark": MARKS,
    "glasses": tuple(dict.fromkeys(GLASSES_KINDS)),
    "beard": tuple(dict.fromkeys(BEARDS)),
    "skin": SKINS,
    "hair_colour": HAIRS,
    "lip_colour": LIPS,
    "glasses_colour": GLASSES,
}
"""Categorical parameters of ``Identity`` and their values."""
TRAIT_COUNT = len(TRAIT_RANGES) + 3 * len(COLOURS)
IGNORED = -100
"""Label of a category that cannot be seen; cross entropy ignores it."""


@dataclass(frozen=True, eq=False)
class FacePictures(AnnotatedPictures):
    """Pictures of faces; floats are float32.

    Attributes:
        key_points: (F, 5, 2) pixels.
        landmarks: (F, 106, 2) pixels.
        motion: (F, 11) MOTION_FIELDS; the first three in degrees.
    """

    key_points: np.ndarray
    landmarks: np.ndarray
    motion: np.ndarray


@dataclass(frozen=True, eq=False)
class FaceLabels:
    """Labels of F faces.

    Attributes:
        traits: (F, 29) float, TRAIT_RANGES scaled to [-1, 1], then COLOURS as RGB in [-1, 1].
        categories: Name -> (F,) long, position in CATEGORIES[name], or IGNORED.
        motion: (F, 11) float, MOTION_FIELDS over MOTION_SCALES.
        expression, shirt: (F,) long.
    """

    traits: Tensor
    categories: dict[str, Tensor]
    motion: Tensor
    expression: Tensor
    shirt: Tensor


def load_face_pictures(work: Path, split: Split) -> FacePictures:
    """The pictures of a split, kept in ``work``."""
    return load_annotated(
        FacePictures, work / f"faces_{split.value}", COUNTS[split], partial(_render, split, COUNTS[split][0])
    )


def _render(split: Split, scenes: int, position: int) -> tuple[np.ndarray, tuple[Columns, list[Columns]]]:
    people = np.asarray(people_of(split)[: POOLS[split]])
    random = np.random.default_rng([SEED, position, scenes])
    number = pictures_of(split)[_FIRST_PICTURE % len(pictures_of(split))] + position
    if position < scenes:
        chosen = random.choice(people, random.integers(1, 4), replace=False)
        scene = sample_scene(SEED, number, split, identities=[sample_identity(SEED, int(person)) for person in chosen])
        picture, annotation = render_scene(scene, PICTURE_SIZE)
        shirts = [person.shirt for person in scene.people]
    else:
        portrait = sample_portrait(SEED, number, split, sample_identity(SEED, int(random.choice(people))))
        picture, annotation = render_portrait(portrait, PICTURE_SIZE)
        shirts = [portrait.shirt]
    return picture, ({}, [_columns(face, shirt) for face, shirt in zip(annotation.faces, shirts, strict=True)])


def _columns(face: FaceAnnotation, shirt: str) -> Columns:
    return {
        "box": np.asarray(face.box_xyxy, np.float32),
        "key_points": np.asarray(face.key_points_5, np.float32),
        "landmarks": np.asarray(face.landmarks_106, np.float32),
        "person": face.person,
        "motion": np.array([getattr(face.motion, name) for name in MOTION_FIELDS], np.float32),
        "expression": list(EXPRESSIONS).index(face.motion.expression),
        "shirt": list(SHIRTS).index(shirt),
    }


def face_labels(faces: FacePictures) -> FaceLabels:
    """The labels of all faces of a set of pictures."""
    people, rows = np.unique(faces.person, return_inverse=True)
    identities = [sample_identity(SEED, int(number)) for number in people]
    traits = np.zeros((len(identities), TRAIT_COUNT), dtype=np.float32)
    for column, (name, (low, high)) in enumerate(TRAIT_RANGES.items()):
        traits[:, column] = [2 * (getattr(identity, name) - low) / (high - low) - 1 for identity in identities]
    for place, name in enumerate(COLOURS):
        first = len(TRAIT_RANGES) + 3 * place
        traits[:, first : first + 3] = np.array([getattr(identity, name) for identity in identities]) / 127.5 - 1
    categories = {
        name: np.array([values.index(getattr(identity, name)) for identity in identities])
        for name, values in CATEGORIES.items()
    }
    without_glasses = categories["glasses"] == CATEGORIES["glasses"].index("none")
    categories["glasses_colour"][without_glasses] = IGNORED
    scales = np.array(list(MOTION_SCALES.values()), dtype=np.float32)
    return FaceLabels(
        traits=torch.from_numpy(traits[rows]),
        categories={name: torch.from_numpy(values[rows]).long() for name, values in categories.items()},
        motion=torch.from_numpy((faces.motion / scales).astype(np.float32)),
        expression=torch.from_numpy(faces.expression).long(),
        shirt=torch.from_numpy(faces.shirt).long(),
    )
