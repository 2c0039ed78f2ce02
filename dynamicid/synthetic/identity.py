"""Who somebody is: everything about a drawn face that stays the same whatever the face does."""

from dataclasses import dataclass

import numpy as np

from .colours import EYES, GLASSES, HAIRS, LIPS, RGB, SKINS
from .numbers import Topic, cycled, generator, pick

HAIR_STYLES = ("bald", "short", "parted", "spiky", "long", "bob", "bun", "curly")
MARKS = ("none", "freckles", "mole", "scar", "blush")
GLASSES_KINDS = ("none", "round", "none", "none", "square", "none")
BEARDS = ("none", "none", "none", "moustache", "goatee", "full")


@dataclass(frozen=True)
class Identity:
    """One person. Lengths are head units: half of the height from the crown to the chin (see ``head``).

    Args:
        number: The person's number in the sampling; not drawn.
        skin: RGB.
        face_width: Half of the head's width, 0.66..0.88.
        jaw: 0.5 (square) to 1.0 (pointed).
        cheeks: How much the cheeks bulge, -0.04..0.1.
        ears: Radius, 0.1..0.2.
        hair_style: One of HAIR_STYLES.
        hair_colour: RGB; brows and beard take it too.
        brow_thickness: 0.07..0.14.
        brow_arch: Height of the bow, 0..0.1.
        brow_slant: -0.05 (outer end lower) to 0.05 (higher).
        eye_width: Half of the eye's width, 0.16..0.24.
        eye_height: Height over width of the open eye, 0.85..1.2.
        eye_spacing: From the nose to an eye's middle, 0.25..0.43.
        eye_roundness: Exponent of the lid's curve: 0.5 (ellipse) to 0.85 (almond).
        eye_tilt: How much higher the outer corner lies, -0.04..0.05.
        eye_colour: RGB of the iris.
        nose_length: From the eyes' line to the tip, 0.26..0.42.
        nose_width: Half of its width, 0.07..0.15.
        mouth_width: Half of its width at rest, 0.25..0.37.
        mouth_height: How far below the eyes' line the mouth lies, 0.54..0.62.
        lip_thickness: 0.055..0.11.
        lip_colour: RGB.
        mark: One of MARKS.
        mark_x, mark_y: Where the mark is, from the left (-1) to the right (1) and from the eyes (0) to the chin (1).
        glasses: "none", "round" or "square".
        glasses_colour: RGB.
        beard: "none", "moustache", "goatee" or "full".
    """

    number: int
    skin: RGB
    face_width: float
    jaw: float
    cheeks: float
    ears: float
    hair_style: str
    hair_colour: RGB
    brow_thickness: float
    brow_arch: float
    brow_slant: float
    eye_width: float
    eye_height: float
    eye_spacing: float
    eye_roundness: float
    eye_tilt: float
    eye_colour: RGB
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_height: float
    lip_thickness: float
    lip_colour: RGB
    mark: str
    mark_x: float
    mark_y: float
    glasses: str
    glasses_colour: RGB
    beard: str


def sample_identity(seed: int, number: int) -> Identity:
    """The person with this number.

    The features that tell people apart from afar (hair style and colour, skin, glasses, beard) go round in shuffled
    cycles, so that people with near numbers seldom look alike; the rest is drawn at random.

    Args:
        seed: Seed of the whole data set, 0 or more.
        number: The person's number, 0 or more.
    """
    random = generator(seed, Topic.identity, number)

    def between(low: float, high: float) -> float:
        return _spread(random, low, high)

    face_width = between(0.66, 0.88)
    return Identity(
        number=number,
        skin=cycled(seed, 0, number, SKINS),
        face_width=face_width,
        jaw=between(0.5, 1.0),
        cheeks=between(-0.04, 0.1),
        ears=between(0.1, 0.2),
        hair_style=cycled(seed, 1, number, HAIR_STYLES),
        hair_colour=cycled(seed, 2, number, HAIRS),
        brow_thickness=between(0.07, 0.14),
        brow_arch=between(0.0, 0.1),
        brow_slant=between(-0.05, 0.05),
        eye_width=between(0.18, 0.24) * min(1.0, face_width / 0.74),
        eye_height=between(0.85, 1.2),
        eye_spacing=between(0.3, 0.38) * face_width / 0.78,
        eye_roundness=between(0.45, 0.85),
        eye_tilt=between(-0.04, 0.05),
        eye_colour=cycled(seed, 3, number, EYES),
        nose_length=between(0.26, 0.42),
        nose_width=between(0.07, 0.15),
        mouth_width=between(0.25, 0.37),
        mouth_height=between(0.54, 0.62),
        lip_thickness=between(0.055, 0.11),
        lip_colour=pick(random, LIPS),
        mark=cycled(seed, 4, number, MARKS),
        mark_x=between(-0.75, 0.75),
        mark_y=between(0.3, 0.8),
        glasses=cycled(seed, 5, number, GLASSES_KINDS),
        glasses_colour=pick(random, GLASSES),
        beard=cycled(seed, 6, number, BEARDS),
    )


def _spread(random: np.random.Generator, low: float, high: float) -> float:
    """A value that lies more often near the ends than in the middle: clear differences, few average faces."""
    return float(low + (high - low) * (0.5 - 0.5 * np.cos(np.pi * random.random())))
