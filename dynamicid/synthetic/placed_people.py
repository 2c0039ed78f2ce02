"""Pictures of given people in given boxes with given motions: what a benchmark asks for, drawn exactly."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from PIL import Image

from ..boxes import BoxXywhNorm
from .colours import SHIRTS, WALLS
from .identity import Identity, sample_identity
from .motion import EXPRESSIONS, DrawnMotion
from .render import render_portrait, render_scene
from .scene import PLACES, DrawnPerson, DrawnPortrait, Scene
from .splits import Split, number_in

_SEED = 0
_FACE_OF_WIDTH, _FACE_OF_HEIGHT = 0.66, 0.5
"""Height of a face as a share of its box's width and height; the smaller one counts."""
_CENTRE_DOWN = 0.4
"""How far down in its box the middle of a head lies, as a share of the box's height."""
_SHIFT = 0.02
"""Largest random shift of a head as a share of the picture, divided by the number of people."""
_GREY = 128


class Placement(Protocol):
    """Where one person is and what their face does.

    Attributes:
        box: x, y, width, height as shares of the picture.
        expression: A key of ``motion.EXPRESSIONS``.
        pitch, yaw: Degrees; positive = up, and towards the picture's right.
    """

    @property
    def box(self) -> BoxXywhNorm: ...
    @property
    def expression(self) -> str: ...
    @property
    def pitch(self) -> float: ...
    @property
    def yaw(self) -> float: ...


def held_out_identity(position: int) -> Identity:
    """The held-out person at a position, 0 to 1999.

    Raises:
        DynamicIDError: There are fewer.
    """
    return sample_identity(_SEED, number_in(Split.held_out, position, people=True))


def draw_passport_photo(identity: Identity, size: int) -> np.ndarray:
    """A neutral face from the front: (size, size, 3) uint8 RGB."""
    return render_portrait(DrawnPortrait(0, identity, DrawnMotion()), size)[0]


def draw_placed_people(
    placements: Sequence[Placement], identities: Sequence[Identity], seed: int, size: int
) -> np.ndarray:
    """A scene with each person in their box.

    Args:
        placements: One to three, from left to right.
        identities: Who fills them.
        seed: Decides place, wall, shirts, and small shifts of the heads.
        size: Pixels a side.

    Returns:
        (size, size, 3) uint8 RGB.

    Raises:
        DynamicIDError: Boxes so near to each other that the heads overlap.
    """
    random = np.random.default_rng([_SEED, seed])
    place = tuple(PLACES)[int(random.integers(len(PLACES)))]
    shirts = random.permutation(np.array(tuple(SHIRTS)))[: len(placements)]
    people = []
    for placement, identity, shirt in zip(placements, identities, shirts, strict=True):
        left, top, width, height = placement.box
        shift_x, shift_y = random.uniform(-_SHIFT, _SHIFT, 2) / len(placements)
        people.append(
            DrawnPerson(
                identity=identity,
                motion=replace(EXPRESSIONS[placement.expression], pitch=placement.pitch, yaw=placement.yaw),
                shirt=str(shirt),
                x=left + width / 2 + float(shift_x),
                y=top + _CENTRE_DOWN * height + float(shift_y),
                face_height=min(_FACE_OF_WIDTH * width, _FACE_OF_HEIGHT * height),
            )
        )
    wall = tuple(WALLS)[int(random.integers(len(WALLS)))]
    return render_scene(Scene(seed, place, tuple(people), wall=wall), size)[0]


def paste_photos(placements: Sequence[Placement], photos: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Photos as they are, each as large as its box allows, on grey: (size, size, 3) uint8 RGB."""
    picture = Image.fromarray(plain_grey(size))
    for placement, photo in zip(placements, photos, strict=True):
        left, top, width, height = (round(share * size) for share in placement.box)
        side = min(width, height)
        resized = Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS)
        picture.paste(resized, (left + (width - side) // 2, top))
    return np.asarray(picture)


def plain_grey(size: int) -> np.ndarray:
    """(size, size, 3) uint8, one grey."""
    return np.full((size, size, 3), _GREY, dtype=np.uint8)
