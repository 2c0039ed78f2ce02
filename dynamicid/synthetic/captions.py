"""Captions and the attributes they prompt for, both read off the scene."""

from dataclasses import dataclass

from .motion import DrawnMotion
from .scene import PLACES, DrawnPortrait, Scene

NUMBERS = {1: "a person", 2: "two people", 3: "three people"}
POSITIONS: dict[int, tuple[str, ...]] = {
    1: ("",),
    2: ("the left one", "the right one"),
    3: ("the left one", "the middle one", "the right one"),
}
EXPRESSION_WORDS: dict[str, str] = {
    "happy": "smiling",
    "surprise": "looking surprised",
    "sad": "looking sad",
    "anger": "looking angry",
    "disgust": "looking disgusted",
    "fear": "looking afraid",
    "neutral": "",
}
"""How a caption says an expression; "" = not at all."""


@dataclass(frozen=True)
class Attribute:
    """One thing that a caption asks for.

    Args:
        name: "people", "place", "wall", "shirt", "expression", "object" or "object colour".
        value: What is asked for: "2", "beach", "red", "happy", "ball".
        subject: Position of the person (from the left) or of the object it belongs to; None = the whole picture.
    """

    name: str
    value: str
    subject: int | None = None


def caption(scene: Scene) -> str:
    """ "a photo of a person in a red shirt, smiling, at the beach, next to a blue ball" and the like."""
    count = len(scene.people)
    place = PLACES[scene.place].format(colour=scene.wall)
    if count == 1:
        parts = [f"a photo of {NUMBERS[1]} {_clothes(scene.people[0].shirt, scene.people[0].motion)}", place]
    else:
        each = (
            f"{position} {_clothes(person.shirt, person.motion)}"
            for position, person in zip(POSITIONS[count], scene.people, strict=True)
        )
        parts = [f"a photo of {NUMBERS[count]} {place}", *each]
    if scene.objects:
        parts.append("next to " + " and ".join(f"{_article(one.colour)} {one.kind}" for one in scene.objects))
    return ", ".join(parts)


def portrait_caption(portrait: DrawnPortrait) -> str:
    """ "a portrait of a person in a red shirt, smiling, in front of a grey wall"."""
    place = PLACES["wall"].format(colour=portrait.wall)
    return f"a portrait of {NUMBERS[1]} {_clothes(portrait.shirt, portrait.motion)}, {place}"


def portrait_attributes(portrait: DrawnPortrait) -> tuple[Attribute, ...]:
    """Everything that ``portrait_caption`` asks for, as data."""
    return (
        Attribute("people", "1"),
        Attribute("place", "wall"),
        Attribute("wall", portrait.wall),
        Attribute("shirt", portrait.shirt, 0),
        Attribute("expression", portrait.motion.expression, 0),
    )


def attributes(scene: Scene) -> tuple[Attribute, ...]:
    """Everything that ``caption`` asks for, as data; a neutral expression is asked for by saying none."""
    requested = [Attribute("people", str(len(scene.people))), Attribute("place", scene.place)]
    if scene.place == "wall":
        requested.append(Attribute("wall", scene.wall))
    for position, person in enumerate(scene.people):
        requested += [
            Attribute("shirt", person.shirt, position),
            Attribute("expression", person.motion.expression, position),
        ]
    for position, one in enumerate(scene.objects):
        requested += [Attribute("object", one.kind, position), Attribute("object colour", one.colour, position)]
    return tuple(requested)


def _clothes(shirt: str, motion: DrawnMotion) -> str:
    words = EXPRESSION_WORDS[motion.expression]
    clothes = f"in {_article(shirt)} shirt"
    return f"{clothes}, {words}" if words else clothes


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
