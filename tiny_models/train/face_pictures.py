"""Drawn pictures and the truth about their faces, rendered once for all face networks and the image encoder."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

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
from dynamicid.synthetic.colours import SHIRTS

from ..places import PICTURE_SIZE, SEED

MOTION_FIELDS = (
    "pitch",
    "yaw",
    "roll",
    "mouth_open",
    "smile",
    "mouth_skew",
    "brows",
    "brow_tilt",
    "eyelids",
    "gaze_x",
    "gaze_y",
)
POOLS = {Split.train: 4000, Split.held_out: 200}
"""People by split: few enough that each of them comes up several times."""
COUNTS = {Split.train: (9000, 6000), Split.held_out: (500, 500)}
"""Scenes and portraits by split."""
_FIRST_PICTURE = 500_000
"""Position in the split of the first picture, so that the base model's pictures are others."""


@dataclass(frozen=True, eq=False)
class FacePictures:
    """Pictures, and F faces in them. Pixels count from the picture's upper left corner.

    Attributes:
        pictures: (N, 128, 128, 3) uint8 RGB, scenes first; mapped from the file, read only.
        scene_count: How many of them are scenes.
        picture: (F,) int, the face's picture.
        box: (F, 4) left, top, right, bottom in pixels.
        key_points: (F, 5, 2) pixels.
        landmarks: (F, 106, 2) pixels.
        person: (F,) int, the person's number.
        motion: (F, 11) float, MOTION_FIELDS; the first three in degrees.
        expression: (F,) int, position in EXPRESSIONS.
        shirt: (F,) int, position in SHIRTS.
    """

    pictures: np.ndarray
    scene_count: np.ndarray
    picture: np.ndarray
    box: np.ndarray
    key_points: np.ndarray
    landmarks: np.ndarray
    person: np.ndarray
    motion: np.ndarray
    expression: np.ndarray
    shirt: np.ndarray

    def __len__(self) -> int:
        return len(self.picture)

    def faces_of(self, picture: int) -> np.ndarray:
        """Rows of the faces in a picture."""
        low, high = np.searchsorted(self.picture, [picture, picture + 1])
        return np.arange(low, high)


def load_pictures(work: Path, split: Split) -> FacePictures:
    """The pictures of a split; rendered into ``work`` where they are not there yet (two minutes for training)."""
    truth, pictures = work / f"faces_{split.value}.npz", work / f"faces_{split.value}.npy"
    if not (truth.is_file() and pictures.is_file()):
        work.mkdir(parents=True, exist_ok=True)
        _render(split, truth, pictures)
    with np.load(truth) as file:
        return FacePictures(np.load(pictures, mmap_mode="r"), **{name: file[name] for name in file.files})


def _render(split: Split, truth: Path, pictures: Path) -> None:
    scenes, portraits = COUNTS[split]
    people = np.asarray(people_of(split))[: POOLS[split]]
    first = pictures_of(split)[_FIRST_PICTURE % len(pictures_of(split))]
    images = np.zeros((scenes + portraits, PICTURE_SIZE, PICTURE_SIZE, 3), dtype=np.uint8)
    rows: dict[str, list] = {field.name: [] for field in fields(FacePictures)[2:]}
    for place in range(scenes + portraits):
        random = np.random.default_rng([SEED, place, scenes])
        number = first + place
        if place < scenes:
            who = [sample_identity(SEED, int(n)) for n in random.choice(people, random.integers(1, 4), replace=False)]
            scene = sample_scene(SEED, number, split, identities=who)
            images[place], annotation = render_scene(scene, PICTURE_SIZE)
            shirts = [person.shirt for person in scene.people]
        else:
            portrait = sample_portrait(SEED, number, split, sample_identity(SEED, int(random.choice(people))))
            images[place], annotation = render_portrait(portrait, PICTURE_SIZE)
            shirts = [portrait.shirt]
        for face, shirt in zip(annotation.faces, shirts, strict=True):
            _add(rows, place, face, shirt)
    columns: dict[str, Any] = {name: np.asarray(values) for name, values in rows.items()}
    columns = {name: x.astype(np.float32) if x.dtype == np.float64 else x for name, x in columns.items()}
    np.save(pictures, images)
    np.savez(truth, scene_count=scenes, **columns)


def _add(rows: dict[str, list], place: int, face: FaceAnnotation, shirt: str) -> None:
    rows["picture"].append(place)
    rows["box"].append(face.box_xyxy)
    rows["key_points"].append(face.key_points_5)
    rows["landmarks"].append(face.landmarks_106)
    rows["person"].append(face.person)
    rows["motion"].append([getattr(face.motion, name) for name in MOTION_FIELDS])
    rows["expression"].append(list(EXPRESSIONS).index(face.motion.expression))
    rows["shirt"].append(list(SHIRTS).index(shirt))
