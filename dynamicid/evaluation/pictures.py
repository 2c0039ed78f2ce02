"""Pictures from folders: one photo for each of the benchmark's people, and the painted ones, ``<item>_<seed>.png``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DynamicIDError
from ..faces.analysis import FaceAnalyzer
from ..files.digests import sha256_hex
from ..files.folders import find_files, passed_over
from ..files.pictures import PHOTO_SUFFIXES, read_picture
from ..files.skipped import BadSample, Skipped, printable
from .benchmark import Benchmark, Item, picture_name
from .recognition import embedding_of

_NAME = re.compile(r"(?P<item>[a-z0-9-]{1,64})_(?P<seed>\d{1,18})\.[a-z]+", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, eq=False)
class BenchmarkPerson:
    """Who fills one of the benchmark's slots.

    Attributes:
        slot: One of the benchmark's people.
        photo: (height, width, 3) uint8 RGB.
        embedding: (512,) of unit length, of the photo's largest face.
        digest: 16 hex digits of the photo's pixels.
    """

    slot: str
    photo: np.ndarray
    embedding: np.ndarray
    digest: str


@dataclass(frozen=True)
class Picture:
    """A painted picture.

    Attributes:
        item: What was asked for.
        seed: Of its noise.
        path: The file.
        unpatched: The picture of the model without the people, from the same prompt and seed; None if there is none.
        truth: A picture of what was asked for; None if there is none.
    """

    item: Item
    seed: int
    path: Path
    unpatched: Path | None
    truth: Path | None = None


def read_people(
    folder: Path, benchmark: Benchmark, analyzer: FaceAnalyzer
) -> tuple[dict[str, BenchmarkPerson], list[Skipped]]:
    """The people by slot, and the photos that cannot be used.

    Photos in the order of their names fill the slots in their order. The slot of a photo that cannot be used stays
    empty, so that the others keep theirs.

    Raises:
        DynamicIDError: There is no such folder.
    """
    photos, skipped = picture_files(folder, "--photos")
    people: dict[str, BenchmarkPerson] = {}
    for path in photos[len(benchmark.people) :]:
        skipped.append(Skipped(printable(path.name), "more photos than the benchmark has people"))
    for slot, path in zip(benchmark.people, photos, strict=False):
        try:
            people[slot] = _read_person(slot, path, analyzer)
        except BadSample as error:
            skipped.append(Skipped(printable(path.name), f"photo of a person: {error}"))
    return people, skipped


def split_by_people(items: Sequence[Item], people: Mapping[str, BenchmarkPerson]) -> tuple[list[Item], list[Skipped]]:
    """The items all of whose people have a photo, and the others."""
    complete, skipped = [], []
    for item in items:
        if all(subject.person in people for subject in item.people):
            complete.append(item)
        else:
            skipped.append(Skipped(item.item, "no photo of one of its people"))
    return complete, skipped


def find_pictures(
    folder: Path, items: Sequence[Item], known: Sequence[Item], unpatched: Path | None, truth: Path | None = None
) -> tuple[list[Picture], list[Skipped]]:
    """The pictures of some items, in the items' order, and what is wrong with the folder.

    Args:
        folder: With the pictures.
        items: To be scored.
        known: All items of the benchmark: pictures of the others are no mistake.
        unpatched: Folder with pictures of the same names by the model alone.
        truth: Folder with ground truths, of the same names or one an item, ``<item>.png``.

    Raises:
        DynamicIDError: There is no such folder.
    """
    wanted = {item.item: item for item in items}
    names = {item.item for item in known}
    by_key: dict[tuple[str, int], Picture] = {}
    paths, skipped = picture_files(folder, "--pictures")
    unpatched_paths, passed = picture_files(unpatched, "--unpatched") if unpatched else ([], [])
    truth_paths, others = picture_files(truth, "--ground-truth") if truth else ([], [])
    skipped += [*passed, *others]
    plain = {path.stem.lower(): path for path in unpatched_paths}
    truths = {path.stem.lower(): path for path in truth_paths}
    for path in paths:
        match = _NAME.fullmatch(path.name)
        name = match["item"].lower() if match else ""
        if match is None or name not in names:
            skipped.append(Skipped(printable(path.name), "picture whose name is not <item>_<seed> of the benchmark"))
        elif (name, int(match["seed"])) in by_key:
            skipped.append(Skipped(path.name, "second picture of the same item and seed"))
        elif name in wanted:
            seed = int(match["seed"])
            stem = Path(picture_name(name, seed)).stem
            true = truths.get(stem, truths.get(name))
            by_key[name, seed] = Picture(wanted[name], seed, path, plain.get(stem), true)
    painted = {name for name, _ in by_key}
    skipped += [Skipped(item.item, "no picture of the item") for item in items if item.item not in painted]
    places = {item.item: place for place, item in enumerate(items)}
    pictures = sorted(by_key.values(), key=lambda picture: (places[picture.item.item], picture.seed))
    if unpatched:
        without = [picture for picture in pictures if picture.unpatched is None]
        skipped += [Skipped(picture.path.name, "no unpatched picture beside it") for picture in without]
    if truth:
        without = [picture for picture in pictures if picture.truth is None]
        skipped += [Skipped(picture.path.name, "no ground truth beside it") for picture in without]
    return pictures, skipped


def picture_files(folder: Path, where: str) -> tuple[list[Path], list[Skipped]]:
    """All pictures directly in a folder by their names, and what else is there, without hidden files.

    Raises:
        DynamicIDError: There is no such folder; ``where`` is the option that named it.
    """
    try:
        folder.stat()
        found = list(find_files(folder, PHOTO_SUFFIXES, recursive=False))
    except OSError as error:
        raise DynamicIDError(where, f"There is no folder {folder} ({error.strerror}).", "Name a folder.") from error
    return [path for path, reason in found if not reason], passed_over(folder, found)


def _read_person(slot: str, path: Path, analyzer: FaceAnalyzer) -> BenchmarkPerson:
    photo = read_picture(path)
    embedding = embedding_of(photo, analyzer)
    digest = sha256_hex(str(photo.shape).encode() + photo.tobytes())[:16]
    return BenchmarkPerson(slot, photo, embedding, digest)
