"""What is in a picture: people at their places, objects, and the place behind them. Data only; drawing is elsewhere."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

from ..errors import DynamicIDError
from .colours import OBJECTS, RGB, SHIRTS, WALLS
from .head import FACE_HEIGHT
from .identity import Identity
from .motion import DrawnMotion

PLACES: dict[str, str] = {
    "park": "in a park",
    "beach": "at the beach",
    "room": "in a room",
    "street": "in a street",
    "night": "under a night sky",
    "snow": "in the snow",
    "forest": "in a forest",
    "wall": "in front of a {colour} wall",
}
"""Places, and how a caption says them."""

OBJECT_SHAPES: dict[str, tuple[float, float]] = {
    "tree": (0.39, -1.0),
    "ball": (0.49, -1.0),
    "house": (0.52, -1.02),
    "lamp": (0.3, -1.02),
    "car": (0.72, -0.97),
    "umbrella": (0.48, -1.01),
    "table": (0.7, -0.74),
    "balloon": (0.35, 1.22),
}
"""By kind of object, in sizes: half of its width, and how far down from its foot the other end is (up, if negative)."""

OBJECT_KINDS: tuple[str, ...] = tuple(OBJECT_SHAPES)
MOST_PEOPLE = 3
MOST_OBJECTS = 2
CLEARANCE = 1.0
"""Half of the width, in head units, that a head keeps free of other faces on each side."""


@dataclass(frozen=True)
class DrawnPerson:
    """One person at a place in the picture.

    Args:
        identity: Who it is.
        motion: What the face does.
        shirt: Name of the shirt's colour, a key of ``colours.SHIRTS``.
        x, y: The head's middle, as shares of the picture's width and height.
        face_height: Height of the face's box from the front, as a share of the picture's height.
    """

    identity: Identity
    motion: DrawnMotion
    shirt: str
    x: float
    y: float
    face_height: float

    @property
    def unit(self) -> float:
        """A head unit as a share of the picture's height."""
        return self.face_height / FACE_HEIGHT


@dataclass(frozen=True)
class SceneObject:
    """A thing in the picture.

    Args:
        kind: One of OBJECT_KINDS.
        colour: A key of ``colours.OBJECTS``.
        x, y: Middle of its foot (of a balloon: of its upper edge), as shares of the picture's sides.
        size: Its height, as a share of the picture's height.
    """

    kind: str
    colour: str
    x: float
    y: float
    size: float

    def box_xyxy(self, side: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of a picture of ``side`` pixels a side; may reach out of it."""
        half, far = OBJECT_SHAPES[self.kind]
        top, bottom = sorted((self.y, self.y + far * self.size))
        return (
            (self.x - half * self.size) * side,
            (top - 0.02 * self.size) * side,
            (self.x + half * self.size) * side,
            (bottom + 0.02 * self.size) * side,
        )


@dataclass(frozen=True)
class Scene:
    """A whole picture. All lengths are shares of its sides, which are equal.

    Args:
        number: The scene's number in the sampling; decides where grass, stars and the like lie.
        place: A key of PLACES.
        people: One to three, from left to right.
        objects: None to two.
        wall: The wall's colour, a key of ``colours.WALLS``; used with the place "wall" only.

    Raises:
        DynamicIDError: Too many or too few people, people not from left to right, heads that overlap, unknown names.
    """

    number: int
    place: str
    people: tuple[DrawnPerson, ...]
    objects: tuple[SceneObject, ...] = ()
    wall: str = "yellow"

    def __post_init__(self) -> None:
        if not 1 <= len(self.people) <= MOST_PEOPLE or len(self.objects) > MOST_OBJECTS:
            raise _error(
                f"Found {len(self.people)} people and {len(self.objects)} objects.",
                f"A scene has 1 to {MOST_PEOPLE} people and at most {MOST_OBJECTS} objects.",
            )
        _check_name(self.place, PLACES, "place")
        _check_name(self.wall, WALLS, "wall")
        for person in self.people:
            _check_name(person.shirt, SHIRTS, "shirt colour")
        for thing in self.objects:
            _check_name(thing.kind, OBJECT_KINDS, "object")
            _check_name(thing.colour, OBJECTS, "object colour")
        if any(left.x > right.x for left, right in zip(self.people, self.people[1:], strict=False)):
            raise _error("The people are not ordered by x.", "Name them from left to right.")
        for left, right in combinations(self.people, 2):
            reach = CLEARANCE * (left.unit + right.unit)
            if abs(left.x - right.x) < reach and abs(left.y - right.y) < 1.4 * reach:
                raise _error(
                    f"The heads at x = {left.x:.2f} and {right.x:.2f} overlap.",
                    f"Move them {reach:.2f} of the picture's width apart, or make them smaller.",
                )


@dataclass(frozen=True)
class DrawnPortrait:
    """A photo of one face, cut as the pack cuts reference photos.

    Args:
        number: The portrait's number in the sampling.
        identity: Who it is.
        motion: What the face does.
        shirt: A key of ``colours.SHIRTS``.
        wall: A key of ``colours.WALLS``: the ground behind.
        zoom: 1 = as large as the pack's own crop; more = tighter.
        shift_x, shift_y: How far the face lies off its place, as shares of the picture's sides.
        light: -1 (dark) to 1 (bright).
        tint: RGB of the light where it is bright.

    Raises:
        DynamicIDError: Unknown names of colours.
    """

    number: int
    identity: Identity
    motion: DrawnMotion
    shirt: str = "white"
    wall: str = "grey"
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    light: float = 0.0
    tint: RGB = (255, 244, 220)

    def __post_init__(self) -> None:
        _check_name(self.shirt, SHIRTS, "shirt colour")
        _check_name(self.wall, WALLS, "wall")


def _check_name(name: str, known: Collection[str], what: str) -> None:
    if name not in known:
        raise _error(f"'{name}' is no known {what}.", f"Use one of {', '.join(known)}.")


def _error(found: str, remedy: str) -> DynamicIDError:
    return DynamicIDError("scene", found, remedy)
