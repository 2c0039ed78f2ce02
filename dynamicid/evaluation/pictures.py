"""Which pictures there are to be scored, told by their names: ``<item>_<seed>.png``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.skipped import Skipped
from .benchmark import Item, picture_name
from .people import picture_files, shown_name

_NAME = re.compile(r"(?P<item>[a-z0-9-]{1,64})_(?P<seed>\d{1,18})\.[a-z]+", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Picture:
    """A painted picture.

    Attributes:
        item: What was asked for.
        seed: Of its noise.
        path: The file.
        unpatched: The picture of the model without the people, from the same prompt and seed; None if there is none.
    """

    item: Item
    seed: int
    path: Path
    unpatched: Path | None


def find_pictures(
    folder: Path, items: Sequence[Item], known: Sequence[Item], unpatched: Path | None
) -> tuple[list[Picture], list[Skipped]]:
    """The pictures of some items, in the items' order, and what is wrong with the folder.

    Args:
        folder: With the pictures.
        items: To be scored.
        known: All of the benchmark: pictures of the others are no mistake.
        unpatched: Folder with pictures of the same names by the model alone.

    Raises:
        DynamicIDError: There is no such folder.
    """
    wanted = {item.item: item for item in items}
    names = {item.item for item in known}
    found: dict[tuple[str, int], Picture] = {}
    skipped = []
    plain = {path.stem.lower(): path for path in picture_files(unpatched, "--unpatched")} if unpatched else {}
    for path in picture_files(folder, "--pictures"):
        match = _NAME.fullmatch(path.name)
        name = match["item"].lower() if match else ""
        if match is None or name not in names:
            skipped.append(Skipped(shown_name(path), "picture whose name is not <item>_<seed> of the benchmark"))
        elif (name, int(match["seed"])) in found:
            skipped.append(Skipped(path.name, "second picture of the same item and seed"))
        elif name in wanted:
            seed = int(match["seed"])
            found[name, seed] = Picture(wanted[name], seed, path, plain.get(Path(picture_name(name, seed)).stem))
    have = {name for name, _ in found}
    skipped += [Skipped(item.item, "no picture of the item") for item in items if item.item not in have]
    places = {item.item: place for place, item in enumerate(items)}
    pictures = sorted(found.values(), key=lambda one: (places[one.item.item], one.seed))
    if unpatched:
        missing = [one for one in pictures if one.unpatched is None]
        skipped += [Skipped(one.path.name, "no unpatched picture beside it") for one in missing]
    return pictures, skipped
