"""Scenes and portraits drawn at random, the same ones for the same seed, number and split."""

from collections.abc import Sequence

import numpy as np

from ..errors import DynamicIDError
from .colours import OBJECTS, SHIRTS, WALLS
from .identity import Identity, sample_identity
from .motion import sample_motion
from .numbers import Topic, generator, pick
from .scene import MOST_PEOPLE, OBJECT_KINDS, PLACES, DrawnPerson, DrawnPortrait, Scene, SceneObject
from .splits import Split, allowed_shirts, people_of

# By number of people: the range of face heights, and the heads' places in x.
_FACES: dict[int, tuple[float, float]] = {1: (0.32, 0.44), 2: (0.27, 0.32), 3: (0.21, 0.235)}
_COLUMNS: dict[int, tuple[float, ...]] = {1: (0.5,), 2: (0.26, 0.74), 3: (0.185, 0.5, 0.815)}
_SHIFT: dict[int, float] = {1: 0.05, 2: 0.03, 3: 0.012}
_HEIGHTS: dict[int, tuple[float, float]] = {1: (0.42, 0.5), 2: (0.4, 0.45), 3: (0.38, 0.53)}
# One person makes room for objects.
_FACE_BESIDE_OBJECTS = (0.28, 0.34)
_HEIGHTS_BESIDE_OBJECTS = (0.4, 0.44)
_SIDE_COLUMN = 0.34
# Heights of objects by number of people; a pair of objects is smaller.
_OBJECT_SIZE: dict[int, float] = {1: 0.42, 2: 0.24, 3: 0.22}
_PAIR_SIZE = 0.3
_LOW_KINDS = ("ball", "car", "table", "balloon")


def sample_person_number(random: np.random.Generator, split: Split) -> int:
    """The number of one of a split's people."""
    numbers = people_of(split)
    return int(random.integers(numbers.start, numbers.stop))


def sample_scene(
    seed: int,
    number: int,
    split: Split = Split.train,
    people: tuple[int, int] = (1, 3),
    identities: Sequence[Identity] | None = None,
) -> Scene:
    """The scene with this number.

    Args:
        seed: Seed of the whole data set, 0 or more.
        number: The scene's number; ``splits.pictures_of`` says which belong to which split.
        split: Whose people, which motions and which shirts at which places.
        people: Fewest and most people.
        identities: Who is in it, from left to right, instead of people of the split; their number then counts.

    Raises:
        DynamicIDError: Numbers of people beyond 1..3.
    """
    low, high = people if identities is None else (len(identities), len(identities))
    if not 1 <= low <= high <= MOST_PEOPLE:
        raise DynamicIDError(
            "--people",
            f"Expected 1 to {MOST_PEOPLE} people, found {low}-{high}.",
            "Use 1, 2, 3 or a range like 1-3.",
        )
    random = generator(seed, Topic.scene, number)
    count = int(random.integers(low, high + 1))
    place = pick(random, tuple(PLACES))
    who = list(identities) if identities is not None else _strangers(seed, random, split, count)
    object_count = int(random.integers(0, 3)) if count == 1 else int(random.integers(0, 2))
    centre = _centre_column(random, count, object_count)
    group = _place_people(seed, number, random, split, place, who, centre, object_count)
    objects = _place_objects(random, group, object_count)
    return Scene(number, place, group, objects, pick(random, tuple(WALLS)))


def sample_portrait(
    seed: int, number: int, split: Split = Split.train, identity: Identity | None = None
) -> DrawnPortrait:
    """The portrait with this number.

    Args:
        seed: Seed of the whole data set, 0 or more.
        number: The portrait's number.
        split: Whose people (unless ``identity`` is given) and which motions.
        identity: Who it shows.
    """
    random = generator(seed, Topic.portrait, number)
    who = identity or sample_identity(seed, sample_person_number(random, split))
    return DrawnPortrait(
        number=number,
        identity=who,
        motion=sample_motion(seed, _motion_number(number, 3), split),
        shirt=pick(random, tuple(SHIRTS)),
        wall=pick(random, tuple(WALLS)),
        zoom=float(random.uniform(0.92, 1.08)),
        shift_x=float(random.uniform(-0.04, 0.04)),
        shift_y=float(random.uniform(-0.03, 0.03)),
        light=float(random.uniform(-0.6, 0.6)),
        tint=pick(random, ((255, 244, 220), (255, 214, 160), (190, 214, 255))),
    )


def _motion_number(picture: int, position: int) -> int:
    """Motions are numbered through: four a picture, three for a scene's people and one for a portrait."""
    return 4 * picture + position


def _strangers(seed: int, random: np.random.Generator, split: Split, count: int) -> list[Identity]:
    numbers: list[int] = []
    while len(numbers) < count:
        number = sample_person_number(random, split)
        if number not in numbers:
            numbers.append(number)
    return [sample_identity(seed, number) for number in numbers]


def _centre_column(random: np.random.Generator, count: int, object_count: int) -> tuple[float, ...]:
    """Where the heads are; one person beside one object steps aside for it."""
    if count == 1 and object_count == 1:
        return (pick(random, (_SIDE_COLUMN, 1 - _SIDE_COLUMN)),)
    return _COLUMNS[count]


def _place_people(
    seed: int,
    number: int,
    random: np.random.Generator,
    split: Split,
    place: str,
    who: Sequence[Identity],
    columns: tuple[float, ...],
    object_count: int,
) -> tuple[DrawnPerson, ...]:
    count = len(who)
    beside = count == 1 and object_count > 0
    sizes, heights = (_FACE_BESIDE_OBJECTS, _HEIGHTS_BESIDE_OBJECTS) if beside else (_FACES[count], _HEIGHTS[count])
    shirts = list(allowed_shirts(split, tuple(SHIRTS), tuple(PLACES).index(place)))
    group = []
    for position, (identity, column) in enumerate(zip(who, columns, strict=True)):
        # Different shirts while there are any, so that a caption tells people apart.
        shirt = shirts[int(random.integers(len(shirts)))]
        if len(shirts) > 1:
            shirts.remove(shirt)
        group.append(
            DrawnPerson(
                identity=identity,
                motion=sample_motion(seed, _motion_number(number, position), split),
                shirt=shirt,
                x=column + float(random.uniform(-_SHIFT[count], _SHIFT[count])),
                y=float(random.uniform(*heights)),
                face_height=float(random.uniform(*sizes)),
            )
        )
    return tuple(group)


def _place_objects(random: np.random.Generator, group: tuple[DrawnPerson, ...], count: int) -> tuple[SceneObject, ...]:
    """Objects of different kinds where they hide no face: in the lower corners, or above between heads."""
    kinds = list(OBJECT_KINDS)
    if len(group) == 1:
        spots = [0.15, 0.85] if count == 2 else [0.82 if group[0].x < 0.5 else 0.18]
    else:
        spots = [0.5 if len(group) == 2 else pick(random, (0.34, 0.66))]
    size = _PAIR_SIZE if count == 2 else _OBJECT_SIZE[len(group)]
    objects = []
    for x in spots[:count]:
        kind = pick(random, tuple(kinds))
        kinds.remove(kind)
        # Balloons hang from above, everything else stands.
        foot = 0.04 if kind == "balloon" else float(random.uniform(0.95, 0.98))
        height = size * float(random.uniform(0.9, 1.02)) * (0.72 if kind in _LOW_KINDS else 1.0)
        objects.append(SceneObject(kind, pick(random, tuple(OBJECTS)), x, foot, height))
    return tuple(objects)
