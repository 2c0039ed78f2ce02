"""What the evaluation paints: held-out people, each with a photo, with motions they do not show: portraits of one, and
held-out scenes of one to three.

Legend: a sitter is one person of a case; all pixels count in pictures of PICTURE_SIZE a side.
"""

from dataclasses import dataclass, replace

import numpy as np

from dynamicid.synthetic import (
    Attribute,
    PictureAnnotation,
    Scene,
    Split,
    attributes,
    caption,
    motion_prompt,
    number_in,
    people_of,
    portrait_attributes,
    portrait_caption,
    render_portrait,
    render_scene,
    sample_identity,
    sample_portrait,
    sample_scene,
)
from dynamicid.synthetic.identity import Identity
from dynamicid.synthetic.motion import Motion
from dynamicid.synthetic.scene import Person, Portrait

from ..places import PICTURE_SIZE, SEED
from ..train.measure_readers import POSE_TOLERANCE
from ..train.still_captions import still_portrait_caption, still_scene_caption

FIRST_TARGET, FIRST_PHOTO = 20_000, 40_000
"""Positions in the held-out split of what is to be painted and of photos; the readers are measured on later ones."""
_MOST_CASES = 5000
_NUMBERS = ("One person", "Two people", "Three people")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Group:
    """Cases of one kind; each has its own table.

    Attributes:
        name: In files and on the command line.
        title: Of the table.
        people: In each case.
        is_portrait: One face as large as the photo's, instead of a scene.
    """

    name: str
    title: str
    people: int
    is_portrait: bool = False

    @property
    def first(self) -> int:
        """Position of its first case; no two groups share one."""
        return 0 if self.is_portrait else self.people * _MOST_CASES


PORTRAITS = Group("portraits", "One person, a portrait", 1, is_portrait=True)
SCENES = tuple(Group(str(n + 1), f"{number} in a scene", n + 1) for n, number in enumerate(_NUMBERS))
GROUPS: dict[str, Group] = {group.name: group for group in (PORTRAITS, *SCENES)}


@dataclass(frozen=True, eq=False)
class Sitter:
    """One person to be painted.

    Attributes:
        person: Number of the person.
        photo: (size, size, 3) uint8, the reference: neither the target's expression nor its pose.
        photo_box: The face in it, left, top, right, bottom in pixels.
        photo_prompt: Face prompt of the reference.
        model: (size, size, 3) uint8, another person's photo in the target motion: the IMR's landmarks.
        ideal: (size, size, 3) uint8, the person's own photo in the target motion: what no method gets.
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
    ideal: np.ndarray
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
        subject: What the drawn world would draw.
        caption: Of it, expressions left out.
        expressive_caption: With them.
        prompted: What ``caption`` asks for; no expressions.
        sitters: One to three, from left to right.
    """

    number: int
    subject: Scene | Portrait
    caption: str
    expressive_caption: str
    prompted: tuple[Attribute, ...]
    sitters: tuple[Sitter, ...]

    def drawn(self) -> tuple[np.ndarray, PictureAnnotation]:
        """The subject as the drawn world draws it: the best that could be painted."""
        if isinstance(self.subject, Portrait):
            return render_portrait(self.subject, PICTURE_SIZE)
        return render_scene(self.subject, PICTURE_SIZE)


def make_cases(group: Group, count: int, skipped: int = 0) -> list[Case]:
    """``count`` cases of a group after the first ``skipped``, the same ones every time."""
    positions = range(group.first + skipped, group.first + skipped + count)
    if group.is_portrait:
        return [_make_portrait(position) for position in positions]
    return [_make_scene(group.people, position) for position in positions]


def _make_portrait(position: int) -> Case:
    portrait = sample_portrait(SEED, number_in(Split.held_out, FIRST_TARGET + position), Split.held_out)
    whole = (0.0, 0.0, 1.0, 1.0)
    sitter = _make_sitter(portrait.identity, portrait.motion, portrait.shirt, 4 * position, 0.5, whole, whole)
    prompted = tuple(one for one in portrait_attributes(portrait) if one.name != "expression")
    return Case(position, portrait, still_portrait_caption(portrait), portrait_caption(portrait), prompted, (sitter,))


def _make_scene(people: int, position: int) -> Case:
    number = number_in(Split.held_out, FIRST_TARGET + position)
    scene = sample_scene(SEED, number, Split.held_out, (people, people))
    prompted = tuple(one for one in attributes(scene) if one.name != "expression")
    sitters = tuple(
        _make_sitter(
            person.identity, person.motion, person.shirt, 4 * position + place, person.x,
            _box_around(person, 1.5, 2.1), _box_around(person, 1.1, 1.1),
        )
        for place, person in enumerate(scene.people)
    )  # fmt: skip
    return Case(position, scene, still_scene_caption(scene), caption(scene), prompted, sitters)


def _make_sitter(
    identity: Identity, target: Motion, shirt: str, position: int, x: float, box: Box, head_box: Box
) -> Sitter:
    """``position``: seeds the choice of photo and model."""
    random = np.random.default_rng([SEED, FIRST_PHOTO, position])
    portrait = _portrait_unlike(identity, target, random)
    photo, annotation = render_portrait(portrait, PICTURE_SIZE)
    two = random.choice(np.asarray(people_of(Split.held_out)), 2, replace=False)
    others = [number for number in two if number != identity.number]
    other = sample_portrait(SEED, _portrait_number(random), Split.held_out, sample_identity(SEED, int(others[0])))
    model, _ = render_portrait(replace(other, motion=target), PICTURE_SIZE)
    ideal, _ = render_portrait(replace(portrait, motion=target), PICTURE_SIZE)
    return Sitter(
        person=identity.number,
        photo=photo,
        photo_box=annotation.faces[0].box_xyxy,
        photo_prompt=annotation.faces[0].prompt,
        model=model,
        ideal=ideal,
        target=target,
        prompt=motion_prompt(target),
        shirt=shirt,
        x=x,
        box=box,
        head_box=head_box,
    )


def _portrait_unlike(identity: Identity, target: Motion, random: np.random.Generator) -> Portrait:
    """A photo of a person with another expression and another pose than the target's."""
    while True:
        portrait = sample_portrait(SEED, _portrait_number(random), Split.held_out, identity)
        motion = portrait.motion
        turned = max(abs(motion.pitch - target.pitch), abs(motion.yaw - target.yaw))
        if motion.expression != target.expression and turned > POSE_TOLERANCE:
            return portrait


def _portrait_number(random: np.random.Generator) -> int:
    return number_in(Split.held_out, FIRST_PHOTO + int(random.integers(20_000)))


def _box_around(person: Person, reach: float, below: float) -> Box:
    """A box as somebody would draw it: ``reach`` head units from the head's middle to each side and above, ``below``
    down."""
    unit = person.unit
    left, right = max(person.x - reach * unit, 0.0), min(person.x + reach * unit, 1.0)
    top, bottom = max(person.y - reach * unit, 0.0), min(person.y + below * unit, 1.0)
    return (left, top, right - left, bottom - top)
