"""What the demo paints: one person, the same with five expressions in three views, several people in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
EXPRESSIONS = ("neutral", "happy", "surprised", "sad", "angry")
VIEWS = ("front", "right", "up")
"""Of the Motion Presets node, as the expressions are."""
ONE_PERSON, ONE_PERSON_MOVED = "one_person", "one_person_moved"
SHIRTS = ("red", "blue", "green", "yellow", "orange", "purple", "white", "black")
POSITIONS: dict[int, tuple[str, ...]] = {
    2: ("the left one", "the right one"),
    3: ("the left one", "the middle one", "the right one"),
}


@dataclass(frozen=True)
class Prompts:
    """The prompts for a base model.

    Attributes:
        one: One person.
        moved: One person with a target motion.
        several: Several people, by their number.
        portraits: Each of several people alone, by their number: a line for each person, or one for all.
        negative: Negative prompt of all pictures.
    """

    one: str
    moved: str
    several: Mapping[int, str]
    portraits: Mapping[int, str]
    negative: str


class TargetMotion(NamedTuple):
    """What a face gets: one of EXPRESSIONS and one of VIEWS."""

    expression: str
    view: str


@dataclass(frozen=True)
class PictureSpec:
    """One picture to paint.

    Attributes:
        name: File name without suffix.
        prompt: Prompt of the base model.
        people: Positions in the list of people. Several people stand side by side in equal slices, left to right.
        motion: Target motion of a single person; None keeps the photo's motion.
        portraits: Prompt of the crops in which each of several people is painted again.
    """

    name: str
    prompt: str
    people: tuple[int, ...]
    motion: TargetMotion | None = None
    portraits: str = ""

    @property
    def repainted_name(self) -> str | None:
        """File name of the picture with every face repainted by itself; None for one person."""
        return f"{self.name}_repainted" if self.boxes else None

    @property
    def boxes(self) -> tuple[tuple[float, float, float, float], ...]:
        """x, y, width and height of each person's box as shares of the picture; empty for one person."""
        count = len(self.people)
        if count == 1:
            return ()
        return tuple((round(n / count, 4), 0.0, round(1 / count, 4), 1.0) for n in range(count))

    def activation_names(self) -> list[str]:
        """File names of the activation maps, one for each person; none with a target motion."""
        return [] if self.motion else [f"{self.name}_activation_{n}" for n in range(1, len(self.people) + 1)]


def picture_specs(people: int, prompts: Prompts) -> dict[str, list[PictureSpec]]:
    """The pictures, grouped by the graph that paints them.

    Args:
        people: Number of people. Two of them, three of them and all of them are painted together.
        prompts: Prompts of the base model.
    """
    motions = [TargetMotion(expression, view) for view in VIEWS for expression in EXPRESSIONS]
    specs = {
        ONE_PERSON: [PictureSpec(ONE_PERSON, prompts.one, (0,))],
        ONE_PERSON_MOVED: [PictureSpec("_".join(motion), prompts.moved, (0,), motion) for motion in motions],
    }
    for count in sorted({2, 3, people}):
        if 1 < count <= people:
            name = f"{NUMBER_WORDS[count]}_people"
            specs[name] = [
                PictureSpec(name, prompts.several[count], tuple(range(count)), portraits=prompts.portraits[count])
            ]
    return specs


def photo_prompts(prompt: str | None) -> Prompts:
    """Prompts for a model of photos; ``prompt``, where given, replaces all of them."""
    several = "photo of {count} people side by side in a cafe, natural light, highly detailed"
    one = prompt or "portrait photo of a person in a cafe, natural light, highly detailed"
    counts = range(2, len(NUMBER_WORDS))
    return Prompts(
        one=one,
        moved=prompt or "portrait, cinematic photo, film, professional, 4k, highly detailed",
        several={n: prompt or several.format(count=NUMBER_WORDS[n]) for n in counts},
        portraits=dict.fromkeys(counts, one),
        negative="lowres, blurry, worst quality, deformed",
    )


def drawn_prompts(prompt: str | None) -> Prompts:
    """Prompts for the tiny models, in the words of their training captions."""

    def several(count: int) -> str:
        people = (f"{position} in a {shirt} shirt" for position, shirt in zip(POSITIONS[count], SHIRTS, strict=False))
        return ", ".join([f"a photo of {NUMBER_WORDS[count]} people at the beach", *people])

    def portraits(count: int) -> str:
        return "\n".join(f"a portrait of a person in a {shirt} shirt, at the beach" for shirt in SHIRTS[:count])

    return Prompts(
        one=prompt or "a photo of a person in a green shirt, in a park",
        moved=prompt or "a portrait of a person in a red shirt, in front of a grey wall",
        several={n: prompt or several(n) for n in POSITIONS},
        portraits={n: prompt or portraits(n) for n in POSITIONS},
        negative="",
    )
