"""Training data of the evaluation's classifiers: pictures of the drawn world with any combination of attributes.

Unlike in the other training pictures, every expression occurs at every pose and every shirt at every place, and some
groups lack a person, so that a classifier cannot infer one attribute from another.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from dynamicid.synthetic import (
    EXPRESSIONS,
    POSES,
    DrawnPortrait,
    FaceAnnotation,
    Scene,
    Split,
    number_in,
    people_of,
    pictures_of,
    posed,
    render_portrait,
    render_scene,
    sample_identity,
    sample_portrait,
    sample_scene,
)
from dynamicid.synthetic.colours import OBJECTS, SHIRTS, WALLS
from dynamicid.synthetic.draw_background import new_background
from dynamicid.synthetic.draw_objects import draw_object
from dynamicid.synthetic.motion import DrawnMotion, jittered
from dynamicid.synthetic.scene import OBJECT_KINDS, PLACES

from ..places import PICTURE_SIZE, SEED
from .drawn_pictures import AnnotatedPictures, Columns, load_annotated
from .face_dataset import IGNORED

COUNTS = {Split.train: (8000, 2500), Split.held_out: (500, 300)}
"""Scenes and portraits by split."""
POOLS = {Split.train: 2500, Split.held_out: 150}
"""People by split: few enough that each of them comes up several times."""
FIRST = {Split.train: 600_000, Split.held_out: 60_000}
"""Position in the split of the first picture; all other training data uses lower ones."""
EMPTY_SHARE, INCOMPLETE_SHARE = 0.04, 0.15
"""Shares of scenes without people, and of groups without one of their people."""
_PLACES, _WALLS, _SHIRTS, _OBJECTS = (tuple(names) for names in (PLACES, WALLS, SHIRTS, OBJECTS))
_EXPRESSIONS = tuple(EXPRESSIONS)


@dataclass(frozen=True, eq=False)
class ClassifierPictures(AnnotatedPictures):
    """Pictures of any combination of attributes.

    Attributes:
        people: (N,) int, 0..3.
        place: (N,) int, position in PLACES.
        wall: (N,) int, position in WALLS, or IGNORED.
        objects: (N, 8) int, by kind of object 0 (none) or 1 + position in OBJECTS.
        pose: (F, 2) pitch and yaw in degrees.
    """

    people: np.ndarray
    place: np.ndarray
    wall: np.ndarray
    objects: np.ndarray
    pose: np.ndarray


def load_classifier_pictures(work: Path, split: Split) -> ClassifierPictures:
    """The pictures of a split, kept in ``work``."""
    counts = COUNTS[split]
    return load_annotated(
        ClassifierPictures, work / f"pictures_{split.value}", counts, partial(_render, split, counts[0])
    )


def _render(split: Split, scenes: int, position: int) -> tuple[np.ndarray, tuple[Columns, list[Columns]]]:
    random = np.random.default_rng([SEED, FIRST[split], position])
    number = number_in(split, FIRST[split] + position % (len(pictures_of(split)) - FIRST[split]))
    pool = np.asarray(people_of(split)[: POOLS[split]])
    if position >= scenes:
        portrait = _recombined_portrait(number, split, int(random.choice(pool)), random)
        image, annotation = render_portrait(portrait, PICTURE_SIZE)
        columns = _picture_columns(1, "wall", portrait.wall, {})
        return image, (columns, [_face_columns(annotation.faces[0], portrait.shirt)])
    chosen = random.choice(pool, random.integers(1, 4), replace=False)
    identities = [sample_identity(SEED, int(person)) for person in chosen]
    scene = _recombined_scene(sample_scene(SEED, number, split, identities=identities), random)
    objects = {item.kind: item.colour for item in scene.objects}
    if random.random() < EMPTY_SHARE:
        canvas = new_background(PICTURE_SIZE, scene.place, scene.wall, scene.number)
        for item in scene.objects:
            draw_object(canvas, item)
        return canvas.picture(), (_picture_columns(0, scene.place, scene.wall, objects), [])
    image, annotation = render_scene(scene, PICTURE_SIZE)
    faces = [_face_columns(face, person.shirt) for face, person in zip(annotation.faces, scene.people, strict=True)]
    return image, (_picture_columns(len(faces), scene.place, scene.wall, objects), faces)


def _recombined_scene(scene: Scene, random: np.random.Generator) -> Scene:
    """The scene with any motions and shirts, sometimes without one of its people."""
    shirts = iter(random.permutation(_SHIRTS).tolist())
    people = [replace(person, motion=_random_motion(random), shirt=next(shirts)) for person in scene.people]
    if len(people) > 1 and random.random() < INCOMPLETE_SHARE:
        people.pop(int(random.integers(len(people))))
    return replace(scene, people=tuple(people))


def _recombined_portrait(number: int, split: Split, person: int, random: np.random.Generator) -> DrawnPortrait:
    portrait = sample_portrait(SEED, number, split, sample_identity(SEED, person))
    return replace(portrait, motion=_random_motion(random))


def _random_motion(random: np.random.Generator) -> DrawnMotion:
    expression, pose = _EXPRESSIONS[random.integers(len(_EXPRESSIONS))], tuple(POSES)[random.integers(len(POSES))]
    return jittered(posed(expression, pose), random)


def _picture_columns(people: int, place: str, wall: str, objects: dict[str, str]) -> Columns:
    return {
        "people": people,
        "place": _PLACES.index(place),
        "wall": _WALLS.index(wall) if place == "wall" else IGNORED,
        "objects": [1 + _OBJECTS.index(objects[kind]) if kind in objects else 0 for kind in OBJECT_KINDS],
    }


def _face_columns(face: FaceAnnotation, shirt: str) -> Columns:
    return {
        "box": face.box_xyxy,
        "person": face.person,
        "pose": face.pose[:2],
        "expression": _EXPRESSIONS.index(face.motion.expression),
        "shirt": _SHIRTS.index(shirt),
    }
