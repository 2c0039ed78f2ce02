"""Control pictures: the benchmark drawn by ``synthetic``, so that the scores to expect are known."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from PIL import Image

from ..files.atomic import atomic_write
from ..synthetic import (
    Identity,
    draw_passport_photo,
    draw_placed_people,
    held_out_identity,
    paste_photos,
    plain_grey,
)
from .benchmark import Benchmark, Item, picture_name, seeds_of


class Control(Enum):
    """What the pictures show."""

    right = "right"
    """The right people with the right motions at their places."""
    pasted = "pasted"
    """The photos themselves, pasted into the boxes."""
    swapped = "swapped"
    """Each person in the next one's place; a person alone is replaced by a stranger."""
    constant = "constant"
    """Plain grey."""


@dataclass(frozen=True)
class DrawnBenchmark:
    """What is drawn.

    Attributes:
        benchmark: What is asked for.
        size: Pixels a side.
        seeds: Pictures an item.
        first_seed: Position of the first one among the item's seeds.
        most: Only the first items for each number of people; None = all.
    """

    benchmark: Benchmark
    size: int = 128
    seeds: int = 1
    first_seed: int = 0
    most: int | None = None

    def photo(self, slot: str) -> np.ndarray:
        """The photo of a slot's person: (size, size, 3) uint8 RGB."""
        return draw_passport_photo(self._identity(slot), self.size)

    def picture(self, control: Control, item: Item, seed: int) -> np.ndarray:
        """(size, size, 3) uint8 RGB."""
        slots = [subject.person for subject in item.people]
        if control is Control.constant:
            return plain_grey(self.size)
        if control is Control.pasted:
            return paste_photos(item.people, [self.photo(slot) for slot in slots], self.size)
        identities = [self._identity(slot) for slot in slots]
        if control is Control.swapped:
            identities = identities[1:] + identities[:1] if len(identities) > 1 else self._strangers(item)
        return draw_placed_people(item.people, identities, seed, self.size)

    def unpatched(self, item: Item, seed: int) -> np.ndarray:
        """The same scene with strangers: (size, size, 3) uint8 RGB."""
        return draw_placed_people(item.people, self._strangers(item), seed, self.size)

    def _identity(self, slot: str) -> Identity:
        return held_out_identity(self.benchmark.people.index(slot))

    def _strangers(self, item: Item) -> list[Identity]:
        """People who fill no slot."""
        first = len(self.benchmark.people)
        return [held_out_identity(first + place) for place, _ in enumerate(item.people)]


def write_drawn_benchmark(drawn: DrawnBenchmark, control: Control, out: Path, show: Callable[[int, int], None]) -> None:
    """Writes ``photos/<slot>.png``, ``pictures/``, ``unpatched/``, and ``ground_truth/<item>.png``.

    The ground truth is the right picture of the item's first seed.

    Args:
        drawn: What is drawn.
        control: What ``pictures/`` shows.
        out: The folder.
        show: Called after each picture with how many are done, and of how many.

    Raises:
        DynamicIDError: The folder cannot be written.
    """
    for slot in drawn.benchmark.people:
        _write(out / "photos" / f"{slot}.png", drawn.photo(slot))
    items = drawn.benchmark.first(drawn.most)
    for item in items:
        _write(out / "ground_truth" / f"{item.item}.png", drawn.picture(Control.right, item, item.seed))
    jobs = [(item, seed) for item in items for seed in seeds_of(item, drawn.seeds, drawn.first_seed)]
    for done, (item, seed) in enumerate(jobs, 1):
        name = picture_name(item.item, seed)
        _write(out / "pictures" / name, drawn.picture(control, item, seed))
        _write(out / "unpatched" / name, drawn.unpatched(item, seed))
        show(done, len(jobs))


def _write(path: Path, image: np.ndarray) -> None:
    with atomic_write(path) as partial:
        Image.fromarray(image).save(partial, "PNG")
