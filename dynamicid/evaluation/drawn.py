"""The benchmark painted by the drawn world: pictures whose scores are known, to see what the metrics say of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
from PIL import Image

from ..files.atomic import atomic_write
from ..synthetic import (
    EXPRESSIONS,
    DrawnMotion,
    DrawnPerson,
    DrawnPortrait,
    Identity,
    Scene,
    Split,
    number_in,
    render_portrait,
    render_scene,
    sample_identity,
)
from ..synthetic.colours import SHIRTS, WALLS
from ..synthetic.scene import PLACES
from .benchmark import Benchmark, Item, picture_name, seeds_of

_SEED = 0
_FACE_OF_WIDTH, _FACE_OF_HEIGHT, _DOWN = 0.66, 0.5, 0.4
"""Height of a face in a box's width and height, and how far down in the box its middle lies."""
_SHIFT = 0.02
"""Of the picture, by which seeds differ."""
_GREY = 128


class Control(Enum):
    """What is painted."""

    right = "right"
    """The right people with the right motions at their places."""
    pasted = "pasted"
    """The photos themselves, pasted into the boxes."""
    swapped = "swapped"
    """Each person in the next one's place; a person alone is somebody else."""
    constant = "constant"
    """Plain grey."""


@dataclass(frozen=True)
class World:
    """What is drawn.

    Attributes:
        benchmark: What is asked for.
        size: Pixels a side.
        seeds: Pictures an item.
        first_seed: Of these, counted from the item's.
        most: Only the first items for each number of people; None = all.
    """

    benchmark: Benchmark
    size: int = 128
    seeds: int = 1
    first_seed: int = 0
    most: int | None = None

    def identity(self, slot: str) -> Identity:
        """Who fills a slot: held-out people of the drawn world."""
        return sample_identity(_SEED, number_in(Split.held_out, self.benchmark.people.index(slot), people=True))


def draw(world: World, control: Control, out: Path, show: Callable[[int, int], None]) -> None:
    """Writes ``photos/<slot>.png``, ``pictures/`` and ``unpatched/`` (the same scenes with strangers).

    Raises:
        DynamicIDError: The folder cannot be written.
    """
    items = world.benchmark.first(world.most)
    slots = world.benchmark.people
    photos = {slot: _photo(world, slot) for slot in slots}
    for slot, photo in photos.items():
        _write(out / "photos" / f"{slot}.png", photo)
    jobs = [(item, seed) for item in items for seed in seeds_of(item, world.seeds, world.first_seed)]
    for done, (item, seed) in enumerate(jobs, 1):
        name = picture_name(item.item, seed)
        _write(out / "pictures" / name, _picture(world, control, item, seed, photos))
        _write(out / "unpatched" / name, _drawn(world, item, seed, _strangers(world, item)))
        show(done, len(jobs))


def _picture(world: World, control: Control, item: Item, seed: int, photos: dict[str, np.ndarray]) -> np.ndarray:
    if control is Control.constant:
        return np.full((world.size, world.size, 3), _GREY, dtype=np.uint8)
    if control is Control.pasted:
        return _pasted(world, item, [photos[sitter.person] for sitter in item.people])
    who = [world.identity(sitter.person) for sitter in item.people]
    if control is Control.swapped:
        who = who[1:] + who[:1] if len(who) > 1 else _strangers(world, item)
    return _drawn(world, item, seed, who)


def _drawn(world: World, item: Item, seed: int, who: Sequence[Identity]) -> np.ndarray:
    random = np.random.default_rng([_SEED, seed])
    place = tuple(PLACES)[int(random.integers(len(PLACES)))]
    shirts = random.permutation(np.array(tuple(SHIRTS)))
    people = []
    for sitter, identity, shirt in zip(item.people, who, shirts, strict=False):
        left, top, width, height = sitter.box
        shift = random.uniform(-_SHIFT, _SHIFT, 2) / len(item.people)
        people.append(
            DrawnPerson(
                identity=identity,
                motion=_motion(sitter.expression, sitter.pitch, sitter.yaw),
                shirt=str(shirt),
                x=left + width / 2 + float(shift[0]),
                y=top + _DOWN * height + float(shift[1]),
                face_height=min(_FACE_OF_WIDTH * width, _FACE_OF_HEIGHT * height),
            )
        )
    wall = tuple(WALLS)[int(random.integers(len(WALLS)))]
    return render_scene(Scene(seed, place, tuple(people), wall=wall), world.size)[0]


def _motion(expression: str, pitch: float, yaw: float) -> DrawnMotion:
    return replace(EXPRESSIONS[expression], pitch=pitch, yaw=yaw)


def _photo(world: World, slot: str) -> np.ndarray:
    """Neutral and from the front, as a photo for a passport."""
    return render_portrait(DrawnPortrait(0, world.identity(slot), DrawnMotion()), world.size)[0]


def _pasted(world: World, item: Item, photos: Sequence[np.ndarray]) -> np.ndarray:
    canvas = Image.new("RGB", (world.size, world.size), (_GREY, _GREY, _GREY))
    for sitter, photo in zip(item.people, photos, strict=True):
        left, top, width, height = (round(share * world.size) for share in sitter.box)
        side = min(width, height)
        resized = Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS)
        canvas.paste(resized, (left + (width - side) // 2, top))
    return np.asarray(canvas)


def _strangers(world: World, item: Item) -> list[Identity]:
    """People who fill no slot."""
    first = len(world.benchmark.people)
    numbers = [number_in(Split.held_out, first + place, people=True) for place, _ in enumerate(item.people)]
    return [sample_identity(_SEED, number) for number in numbers]


def _write(path: Path, image: np.ndarray) -> None:
    with atomic_write(path) as partial:
        Image.fromarray(image).save(partial, "PNG")
