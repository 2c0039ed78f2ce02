"""The evaluation's benchmark: held-out people with target motions that their photos do not show, in portraits of one
person and in held-out scenes of one to three.

A subject is one person of a case. All pixels are those of pictures of PICTURE_SIZE a side.
"""

from dataclasses import dataclass, replace

import numpy as np

from dynamicid.boxes import BoxXywhNorm, BoxXyxyPx
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
from dynamicid.synthetic.motion import DrawnMotion
from dynamicid.synthetic.scene import DrawnPerson, DrawnPortrait

from ..places import PICTURE_SIZE, SEED
from ..train.base_dataset import motionless_caption
from ..train.classifier_accuracy import POSE_TOLERANCE

FIRST_TARGET, FIRST_PHOTO = 20_000, 40_000
"""First positions in the held-out split of the cases and of the photos; the classifiers are measured on later ones."""
_CASES_OF_A_GROUP = 5000
_NUMBERS = ("One person", "Two people", "Three people")


@dataclass(frozen=True)
class Group:
    """Cases of one kind; each group has a table.

    Attributes:
        name: In files and on the command line.
        title: Of the table.
        people: In each case.
        is_portrait: A portrait framed like the photo instead of a scene.
    """

    name: str
    title: str
    people: int
    is_portrait: bool = False

    @property
    def first(self) -> int:
        """Position of its first case; groups do not overlap."""
        return 0 if self.is_portrait else self.people * _CASES_OF_A_GROUP


PORTRAITS = Group("portraits", "One person, a portrait", 1, is_portrait=True)
SCENES = tuple(Group(str(n + 1), f"{number} in a scene", n + 1) for n, number in enumerate(_NUMBERS))
GROUPS: dict[str, Group] = {group.name: group for group in (PORTRAITS, *SCENES)}


@dataclass(frozen=True, eq=False)
class CaseSubject:
    """One person to paint.

    Attributes:
        person: Number of the person.
        photo: (size, size, 3) uint8, the reference photo: neither the target's expression nor its pose.
        photo_box: The face in it.
        photo_prompt: Face prompt of the reference photo.
        driving_photo: (size, size, 3) uint8, another person in the target motion; gives the IMR its landmarks.
        ideal_photo: (size, size, 3) uint8, the person in the target motion; an upper bound for the IMR.
        target: Target motion.
        prompt: Face prompt of the target motion.
        shirt: Key of SHIRTS.
        x: Horizontal position of the head, 0..1.
        box: Head and shoulders in the drawn scene.
        head_box: The head alone.
    """

    person: int
    photo: np.ndarray
    photo_box: BoxXyxyPx
    photo_prompt: str
    driving_photo: np.ndarray
    ideal_photo: np.ndarray
    target: DrawnMotion
    prompt: str
    shirt: str
    x: float
    box: BoxXywhNorm
    head_box: BoxXywhNorm


@dataclass(frozen=True, eq=False)
class Case:
    """One picture to paint.

    Attributes:
        number: Position in the benchmark.
        drawing: The scene or portrait as the drawn world defines it.
        caption: Of the drawing, without expressions.
        expressive_caption: With expressions.
        prompted: What ``caption`` asks for; no expressions.
        subjects: One to three, from left to right.
    """

    number: int
    drawing: Scene | DrawnPortrait
    caption: str
    expressive_caption: str
    prompted: tuple[Attribute, ...]
    subjects: tuple[CaseSubject, ...]

    def render(self) -> tuple[np.ndarray, PictureAnnotation]:
        """The rendered drawing: an upper bound for every method."""
        if isinstance(self.drawing, DrawnPortrait):
            return render_portrait(self.drawing, PICTURE_SIZE)
        return render_scene(self.drawing, PICTURE_SIZE)


def make_cases(group: Group, count: int, skipped: int = 0) -> list[Case]:
    """``count`` cases of a group after the first ``skipped``, the same ones every time."""
    positions = range(group.first + skipped, group.first + skipped + count)
    if group.is_portrait:
        return [_make_portrait(position) for position in positions]
    return [_make_scene(group.people, position) for position in positions]


def _make_portrait(position: int) -> Case:
    portrait = sample_portrait(SEED, number_in(Split.held_out, FIRST_TARGET + position), Split.held_out)
    whole = (0.0, 0.0, 1.0, 1.0)
    subject = _make_subject(portrait.identity, portrait.motion, portrait.shirt, 4 * position, 0.5, whole, whole)
    prompted = tuple(attribute for attribute in portrait_attributes(portrait) if attribute.name != "expression")
    return Case(position, portrait, motionless_caption(portrait), portrait_caption(portrait), prompted, (subject,))


def _make_scene(people: int, position: int) -> Case:
    number = number_in(Split.held_out, FIRST_TARGET + position)
    scene = sample_scene(SEED, number, Split.held_out, (people, people))
    prompted = tuple(attribute for attribute in attributes(scene) if attribute.name != "expression")
    subjects = tuple(
        _make_subject(
            person.identity, person.motion, person.shirt, 4 * position + place, person.x,
            _box_around(person, 1.5, 2.1), _box_around(person, 1.1, 1.1),
        )
        for place, person in enumerate(scene.people)
    )  # fmt: skip
    return Case(position, scene, motionless_caption(scene), caption(scene), prompted, subjects)


def _make_subject(
    identity: Identity,
    target: DrawnMotion,
    shirt: str,
    position: int,
    x: float,
    box: BoxXywhNorm,
    head_box: BoxXywhNorm,
) -> CaseSubject:
    """The subject of an identity; ``position`` seeds the choice of its photos."""
    random = np.random.default_rng([SEED, FIRST_PHOTO, position])
    portrait = _portrait_unlike(identity, target, random)
    photo, annotation = render_portrait(portrait, PICTURE_SIZE)
    two = random.choice(np.asarray(people_of(Split.held_out)), 2, replace=False)
    others = [number for number in two if number != identity.number]
    other = sample_portrait(SEED, _portrait_number(random), Split.held_out, sample_identity(SEED, int(others[0])))
    driving, _ = render_portrait(replace(other, motion=target), PICTURE_SIZE)
    ideal, _ = render_portrait(replace(portrait, motion=target), PICTURE_SIZE)
    return CaseSubject(
        person=identity.number,
        photo=photo,
        photo_box=annotation.faces[0].box_xyxy,
        photo_prompt=annotation.faces[0].prompt,
        driving_photo=driving,
        ideal_photo=ideal,
        target=target,
        prompt=motion_prompt(target),
        shirt=shirt,
        x=x,
        box=box,
        head_box=head_box,
    )


def _portrait_unlike(identity: Identity, target: DrawnMotion, random: np.random.Generator) -> DrawnPortrait:
    """A portrait of a person with another expression and another pose than the target's."""
    while True:
        portrait = sample_portrait(SEED, _portrait_number(random), Split.held_out, identity)
        motion = portrait.motion
        turned = max(abs(motion.pitch - target.pitch), abs(motion.yaw - target.yaw))
        if motion.expression != target.expression and turned > POSE_TOLERANCE:
            return portrait


def _portrait_number(random: np.random.Generator) -> int:
    return number_in(Split.held_out, FIRST_PHOTO + int(random.integers(20_000)))


def _box_around(person: DrawnPerson, reach: float, below: float) -> BoxXywhNorm:
    """The box that reaches ``reach`` head units from the head's middle to the sides and up, and ``below`` down."""
    unit = person.unit
    left, right = max(person.x - reach * unit, 0.0), min(person.x + reach * unit, 1.0)
    top, bottom = max(person.y - reach * unit, 0.0), min(person.y + below * unit, 1.0)
    return (left, top, right - left, bottom - top)
