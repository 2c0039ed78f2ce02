"""What the demo paints: one person, the same with five expressions in three poses, several people in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamicid.faces.motion_sliders import EXPRESSIONS as PRESETS
from dynamicid.faces.prompts import NEUTRAL, describe_motion

COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
_PRESETS = {NEUTRAL: NEUTRAL, "happy": "happy", "surprise": "surprised", "sad": "sad", "anger": "angry"}
EXPRESSIONS: dict[str, dict[str, float]] = {word: vars(PRESETS[name]) for word, name in _PRESETS.items()}
"""The face prompt's word for it, and the sliders of Motion Sliders."""
POSES: dict[str, dict[str, float]] = {"front": {}, "side": {"yaw": 28.0}, "up": {"pitch": 20.0}}
ALONE, MOVED = "one_person", "one_person_moved"
SHIRTS = ("red", "blue", "green", "yellow", "orange", "purple", "white", "black")
POSITIONS: dict[int, tuple[str, ...]] = {
    2: ("the left one", "the right one"),
    3: ("the left one", "the middle one", "the right one"),
}


@dataclass(frozen=True)
class Words:
    """The prompts of a base model; ``several`` by the number of people."""

    one: str
    moved: str
    several: Mapping[int, str]
    negative: str


@dataclass(frozen=True)
class Move:
    """A wanted motion: its face prompt, and the sliders that move a face at rest there."""

    expression: str
    pose: str

    @property
    def sliders(self) -> dict[str, float]:
        """Of Motion Sliders, beside ``neutralise``."""
        return {**EXPRESSIONS[self.expression], **POSES[self.pose]}

    @property
    def prompt(self) -> str:
        """ "in a happy expression, in side view" and the like."""
        turned = POSES[self.pose]
        return describe_motion((turned.get("pitch", 0.0), turned.get("yaw", 0.0), 0.0), self.expression)


@dataclass(frozen=True)
class Shot:
    """One picture.

    Args:
        name: Of its file.
        prompt: What to paint.
        people: Positions in the list of people; several stand side by side in equal slices, from left to right.
        move: What the one person's face does instead of the photo's motion.
    """

    name: str
    prompt: str
    people: tuple[int, ...]
    move: Move | None = None

    @property
    def boxes(self) -> tuple[tuple[float, float, float, float], ...]:
        """x, y, width and height of each person's place, as shares of the picture; empty for one person."""
        count = len(self.people)
        if count == 1:
            return ()
        return tuple((round(n / count, 4), 0.0, round(1 / count, 4), 1.0) for n in range(count))

    def activations(self) -> list[str]:
        """Names of the activation maps, person by person; none for a moved face."""
        return [] if self.move else [f"{self.name}_activation_{n}" for n in range(1, len(self.people) + 1)]


def make_shots(people: int, words: Words) -> dict[str, list[Shot]]:
    """The pictures by the graph that makes them.

    Args:
        people: How many there are; two and three of them are painted together, and all of them.
        words: Prompts.
    """
    moves = [Move(expression, pose) for pose in POSES for expression in EXPRESSIONS]
    shots = {
        ALONE: [Shot(ALONE, words.one, (0,))],
        MOVED: [Shot(f"{move.expression}_{move.pose}", words.moved, (0,), move) for move in moves],
    }
    for count in sorted({2, 3, people}):
        if 1 < count <= people:
            name = f"{COUNTS[count]}_people"
            shots[name] = [Shot(name, words.several[count], tuple(range(count)))]
    return shots


def photo_words(prompt: str | None) -> Words:
    """Prompts for a model of photos; ``prompt`` instead of all of them, where it is given."""
    several = "photo of {count} people side by side in a cafe, natural light, highly detailed"
    return Words(
        one=prompt or "portrait photo of a person in a cafe, natural light, highly detailed",
        moved=prompt or "portrait, cinematic photo, film, professional, 4k, highly detailed",
        several={n: prompt or several.format(count=COUNTS[n]) for n in range(2, len(COUNTS))},
        negative="lowres, blurry, worst quality, deformed",
    )


def drawn_words(prompt: str | None) -> Words:
    """Prompts for the drawn family, in the words of the captions that it learnt from."""

    def several(count: int) -> str:
        dressed = (f"{where} in a {shirt} shirt" for where, shirt in zip(POSITIONS[count], SHIRTS, strict=False))
        return ", ".join([f"a photo of {COUNTS[count]} people at the beach", *dressed])

    return Words(
        one=prompt or "a photo of a person in a green shirt, in a park",
        moved=prompt or "a portrait of a person in a red shirt, in front of a grey wall",
        several={n: prompt or several(n) for n in POSITIONS},
        negative="",
    )
