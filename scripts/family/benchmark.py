"""What the evaluation paints: held-out people, each with a photo, in held-out scenes, with motions they do not show.

Legend: a sitter is one person of a case; all pixels count in pictures of PICTURE_SIZE a side.
"""

from dataclasses import dataclass, replace

import numpy as np

from dynamicid.training.synthetic import (
    Attribute,
    PictureAnnotation,
    Scene,
    Split,
    attributes,
    caption,
    motion_prompt,
    number_in,
    people_of,
    render_portrait,
    render_scene,
    sample_identity,
    sample_portrait,
    sample_scene,
)
from dynamicid.training.synthetic.motion import Motion
from dynamicid.training.synthetic.scene import Person, Portrait

from .measure_readers import POSE_TOLERANCE
from .places import PICTURE_SIZE, SEED

FIRST_SCENE, FIRST_PORTRAIT = 20_000, 40_000
"""Positions in the held-out split; the readers are measured on later ones."""
_MOST_CASES = 5000
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Sitter:
    """One person to be painted.

    Attributes:
        person: Number of the person.
        photo: (size, size, 3) uint8, the reference: neither the target's expression nor its pose.
        photo_box: The face in it, left, top, right, bottom in pixels.
        photo_prompt: Face prompt of the reference.
        model: (size, size, 3) uint8, another person's photo in the target motion: the IMR's landmarks.
        target: The motion wanted.
        prompt: Its face prompt.
        shirt: Key of SHIRTS.
        x: Where the head is to be across the picture, 0..1.
        box: x, y, width, height as shares of the picture: head and shoulders in the drawn scene.
        head_box: The same around the head alone.
    """

    person: int
    photo: np.ndarray
    photo_box: Box
    photo_prompt: str
    model: np.ndarray
    target: Motion
    prompt: str
    shirt: str
    x: float
    box: Box
    head_box: Box


@dataclass(frozen=True, eq=False)
class Case:
    """One picture to paint.

    Attributes:
        number: Position in the benchmark.
        scene: What the drawn world would draw.
        caption: Of the scene, expressions left out.
        expressive_caption: With them.
        prompted: What ``caption`` asks for; no expressions.
        sitters: One to three, from left to right.
    """

    number: int
    scene: Scene
    caption: str
    expressive_caption: str
    prompted: tuple[Attribute, ...]
    sitters: tuple[Sitter, ...]

    def drawn(self) -> tuple[np.ndarray, PictureAnnotation]:
        """The scene as the drawn world draws it: the best that could be painted."""
        return render_scene(self.scene, PICTURE_SIZE)


def make_cases(people: int, count: int) -> list[Case]:
    """The first ``count`` cases with this many people in each, the same ones every time."""
    return [_make_case(people, number) for number in range(count)]


def _make_case(people: int, number: int) -> Case:
    position = people * _MOST_CASES + number
    scene = sample_scene(SEED, number_in(Split.held_out, FIRST_SCENE + position), Split.held_out, (people, people))
    plain = replace(
        scene, people=tuple(replace(p, motion=replace(p.motion, expression="neutral")) for p in scene.people)
    )
    prompted = tuple(one for one in attributes(scene) if one.name != "expression")
    sitters = tuple(_make_sitter(person, 4 * position + place) for place, person in enumerate(scene.people))
    return Case(position, scene, caption(plain), caption(scene), prompted, sitters)


def _make_sitter(person: Person, position: int) -> Sitter:
    target, random = person.motion, np.random.default_rng([SEED, FIRST_PORTRAIT, position])
    portrait = _portrait_unlike(person, target, random)
    photo, annotation = render_portrait(portrait, PICTURE_SIZE)
    two = random.choice(np.asarray(people_of(Split.held_out)), 2, replace=False)
    others = [number for number in two if number != person.identity.number]
    other = sample_portrait(SEED, _portrait_number(random), Split.held_out, sample_identity(SEED, int(others[0])))
    model, _ = render_portrait(replace(other, motion=target), PICTURE_SIZE)
    return Sitter(
        person=person.identity.number,
        photo=photo,
        photo_box=annotation.faces[0].box_xyxy,
        photo_prompt=annotation.faces[0].prompt,
        model=model,
        target=target,
        prompt=motion_prompt(target),
        shirt=person.shirt,
        x=person.x,
        box=_box_around(person, 1.5, 2.1),
        head_box=_box_around(person, 1.1, 1.1),
    )


def _portrait_unlike(person: Person, target: Motion, random: np.random.Generator) -> Portrait:
    """A photo of the person with another expression and another pose than the target's."""
    while True:
        portrait = sample_portrait(SEED, _portrait_number(random), Split.held_out, person.identity)
        motion = portrait.motion
        turned = max(abs(motion.pitch - target.pitch), abs(motion.yaw - target.yaw))
        if motion.expression != target.expression and turned > POSE_TOLERANCE:
            return portrait


def _portrait_number(random: np.random.Generator) -> int:
    return number_in(Split.held_out, FIRST_PORTRAIT + int(random.integers(20_000)))


def _box_around(person: Person, reach: float, below: float) -> Box:
    """A box as somebody would draw it: ``reach`` head units from the head's middle to each side and above, ``below``
    down."""
    unit = person.unit
    left, right = max(person.x - reach * unit, 0.0), min(person.x + reach * unit, 1.0)
    top, bottom = max(person.y - reach * unit, 0.0), min(person.y + below * unit, 1.0)
    return (left, top, right - left, bottom - top)
