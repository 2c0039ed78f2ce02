"""What several tests need: a person whose features are easy to find, and pixels."""

from dataclasses import replace

import numpy as np

from dynamicid.synthetic import DrawnMotion, DrawnPerson, DrawnPortrait, Identity, Scene, sample_identity


def plain_person(number: int = 0, **changes: object) -> Identity:
    """A person without hair, glasses, beard and marks, and with colours that nothing else in a picture has."""
    plain = {
        "hair_style": "bald",
        "glasses": "none",
        "beard": "none",
        "mark": "none",
        "skin": (246, 200, 164),
        "eye_colour": (0, 60, 255),
        "lip_colour": (200, 0, 60),
    }
    return replace(sample_identity(0, number), **{**plain, **changes})


def portrait_of(identity: Identity, motion: DrawnMotion | None = None) -> DrawnPortrait:
    return DrawnPortrait(0, identity, motion or DrawnMotion())


def scene_of(*people: tuple[float, str, DrawnMotion], height: float = 0.2) -> Scene:
    """A scene at a wall, of (x, shirt, motion)."""
    group = tuple(
        DrawnPerson(sample_identity(0, number), motion, shirt, x, 0.45, height)
        for number, (x, shirt, motion) in enumerate(people)
    )
    return Scene(0, "wall", group)


def colour_at(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The pixel that a point (x, y) falls into."""
    x, y = np.floor(place).astype(int)
    return picture[y, x].astype(int)


def is_close(colour: np.ndarray, wanted: tuple[int, int, int], within: int = 60) -> bool:
    return bool(np.abs(np.asarray(colour, dtype=int) - np.array(wanted)).max() <= within)


def mask_of(picture: np.ndarray, colour: tuple[int, int, int], within: int = 40) -> np.ndarray:
    """(height, width) where the picture has a colour."""
    return np.abs(picture.astype(int) - np.array(colour)).max(axis=2) <= within
