"""Pictures of the drawn world with the truth about them, rendered for the evaluation's readers alone.

Unlike in the other training pictures, every expression comes at every pose and every shirt at every place, and now and
then somebody of a group is left out: nothing but the pixels tells a reader what is there.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
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

COUNTS = {Split.train: (8000, 2500), Split.held_out: (500, 300)}
"""Scenes and portraits by split."""
POOLS = {Split.train: 2500, Split.held_out: 150}
"""People by split: few enough that each of them comes up several times."""
FIRST = {Split.train: 600_000, Split.held_out: 60_000}
"""Position in the split of the first picture; all other training pictures have lower ones."""
EMPTY, INCOMPLETE = 0.04, 0.15
"""Shares of the scenes with nobody, and with one person of the group left out."""
HIDDEN = -100
"""Stands where there is nothing to tell, such as the colour of a wall in a forest."""
_CHUNK = 250
_PLACES, _WALLS, _SHIRTS, _OBJECTS = (tuple(names) for names in (PLACES, WALLS, SHIRTS, OBJECTS))
_EXPRESSIONS = tuple(EXPRESSIONS)


@dataclass(frozen=True, eq=False)
class ReaderPictures:
    """N pictures, scenes first, then portraits, and F faces in them.

    Attributes:
        pictures: (N, 128, 128, 3) uint8 RGB, mapped from the file, read only.
        scene_count: How many of them are scenes.
        people: (N,) int, 0..3.
        place: (N,) int, position in PLACES.
        wall: (N,) int, position in WALLS, or HIDDEN.
        objects: (N, 8) int, by kind of object 0 (none) or 1 + position in OBJECTS.
        picture: (F,) int, the face's picture.
        box: (F, 4) left, top, right, bottom in pixels.
        person: (F,) int, the person's number.
        pose: (F, 2) pitch and yaw in degrees.
        expression: (F,) int, position in EXPRESSIONS.
        shirt: (F,) int, position in SHIRTS.
    """

    pictures: np.ndarray
    scene_count: int
    people: np.ndarray
    place: np.ndarray
    wall: np.ndarray
    objects: np.ndarray
    picture: np.ndarray
    box: np.ndarray
    person: np.ndarray
    pose: np.ndarray
    expression: np.ndarray
    shirt: np.ndarray

    def faces_of(self, picture: int) -> np.ndarray:
        """Rows of the faces in a picture."""
        low, high = np.searchsorted(self.picture, [picture, picture + 1])
        return np.arange(low, high)


def load_reader_pictures(work: Path, split: Split) -> ReaderPictures:
    """The pictures of a split; rendered into ``work`` where they are not there yet."""
    truth, pictures = work / f"pictures_{split.value}.npz", work / f"pictures_{split.value}.npy"
    if not (truth.is_file() and pictures.is_file()):
        work.mkdir(parents=True, exist_ok=True)
        _render(split, truth, pictures)
    with np.load(truth) as file:
        columns = {name: file[name] for name in file.files}
    return ReaderPictures(np.load(pictures, mmap_mode="r"), COUNTS[split][0], **columns)


def _render(split: Split, truth: Path, pictures: Path) -> None:
    count = sum(COUNTS[split])
    images = np.lib.format.open_memmap(pictures, "w+", np.uint8, (count, PICTURE_SIZE, PICTURE_SIZE, 3))
    rows: dict[str, list] = {field.name: [] for field in fields(ReaderPictures)[2:]}
    starts = range(0, count, _CHUNK)
    with ProcessPoolExecutor() as pool:
        for start, drawn in zip(starts, pool.map(_render_chunk, [split] * len(starts), starts), strict=True):
            for offset, (image, about, faces) in enumerate(drawn):
                images[start + offset] = image
                for name, value in about.items():
                    rows[name].append(value)
                for face in faces:
                    for name, value in {"picture": start + offset, **face}.items():
                        rows[name].append(value)
    images.flush()
    np.savez(truth, **{name: np.asarray(values) for name, values in rows.items()})  # pyright: ignore[reportArgumentType]


def _render_chunk(split: Split, start: int) -> list[tuple[np.ndarray, dict, list[dict]]]:
    return [_draw(split, position) for position in range(start, min(start + _CHUNK, sum(COUNTS[split])))]


def _draw(split: Split, position: int) -> tuple[np.ndarray, dict, list[dict]]:
    """One picture, what is in it, and its faces."""
    random = np.random.default_rng([SEED, FIRST[split], position])
    number = number_in(split, FIRST[split] + position % (len(pictures_of(split)) - FIRST[split]))
    pool = np.asarray(people_of(split))[: POOLS[split]]
    if position >= COUNTS[split][0]:
        portrait = _any_portrait(number, split, int(random.choice(pool)), random)
        image, annotation = render_portrait(portrait, PICTURE_SIZE)
        about = _about(1, "wall", portrait.wall, {})
        return image, about, [_face(annotation.faces[0], portrait.shirt)]
    who = [sample_identity(SEED, int(n)) for n in random.choice(pool, random.integers(1, 4), replace=False)]
    scene = _any_scene(sample_scene(SEED, number, split, identities=who), random)
    objects = {one.kind: one.colour for one in scene.objects}
    if random.random() < EMPTY:
        canvas = new_background(PICTURE_SIZE, scene.place, scene.wall, scene.number)
        for one in scene.objects:
            draw_object(canvas, one)
        return canvas.picture(), _about(0, scene.place, scene.wall, objects), []
    image, annotation = render_scene(scene, PICTURE_SIZE)
    faces = [_face(face, person.shirt) for face, person in zip(annotation.faces, scene.people, strict=True)]
    return image, _about(len(faces), scene.place, scene.wall, objects), faces


def _any_scene(scene: Scene, random: np.random.Generator) -> Scene:
    """The scene with motions and shirts of all combinations, sometimes without one of its people."""
    shirts = iter(random.permutation(_SHIRTS).tolist())
    people = [replace(person, motion=_any_motion(random), shirt=next(shirts)) for person in scene.people]
    if len(people) > 1 and random.random() < INCOMPLETE:
        people.pop(int(random.integers(len(people))))
    return replace(scene, people=tuple(people))


def _any_portrait(number: int, split: Split, person: int, random: np.random.Generator) -> DrawnPortrait:
    portrait = sample_portrait(SEED, number, split, sample_identity(SEED, person))
    return replace(portrait, motion=_any_motion(random))


def _any_motion(random: np.random.Generator) -> DrawnMotion:
    expression, pose = _EXPRESSIONS[random.integers(len(_EXPRESSIONS))], tuple(POSES)[random.integers(len(POSES))]
    return jittered(posed(expression, pose), random)


def _about(people: int, place: str, wall: str, objects: dict[str, str]) -> dict:
    return {
        "people": people,
        "place": _PLACES.index(place),
        "wall": _WALLS.index(wall) if place == "wall" else HIDDEN,
        "objects": [1 + _OBJECTS.index(objects[kind]) if kind in objects else 0 for kind in OBJECT_KINDS],
    }


def _face(face: FaceAnnotation, shirt: str) -> dict:
    return {
        "box": face.box_xyxy,
        "person": face.person,
        "pose": face.pose[:2],
        "expression": _EXPRESSIONS.index(face.motion.expression),
        "shirt": _SHIRTS.index(shirt),
    }
