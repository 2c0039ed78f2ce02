"""Who fills the benchmark's slots: one photo a person, from a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DynamicIDError
from ..faces.analysis import FaceAnalyzer
from ..faces.detected import order_faces
from ..faces.similarity import mean_embedding
from ..files.digests import sha256_hex
from ..files.pictures import PHOTO_SUFFIXES, read_picture
from ..files.skipped import BadSample, Skipped
from .benchmark import Benchmark, Item


@dataclass(frozen=True, eq=False)
class Person:
    """A slot that is filled.

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


def read_people(folder: Path, benchmark: Benchmark, analyzer: FaceAnalyzer) -> tuple[dict[str, Person], list[Skipped]]:
    """The slots' people, by slot, and the photos that cannot be used.

    Photos in the order of their names fill the slots in their order. The slot of a photo that cannot be used stays
    empty, so that the others keep theirs.

    Raises:
        DynamicIDError: There is no such folder.
    """
    photos = picture_files(folder, "--photos")
    people: dict[str, Person] = {}
    skipped = [
        Skipped(shown_name(path), "more photos than the benchmark has people")
        for path in photos[len(benchmark.people) :]
    ]
    for slot, path in zip(benchmark.people, photos, strict=False):
        try:
            people[slot] = _read_person(slot, path, analyzer)
        except BadSample as error:
            skipped.append(Skipped(shown_name(path), f"photo of a person: {error}"))
    return people, skipped


def filled_items(items: Sequence[Item], people: Mapping[str, Person]) -> tuple[list[Item], list[Skipped]]:
    """The items all of whose people are there, and the others."""
    filled, skipped = [], []
    for item in items:
        if all(subject.person in people for subject in item.people):
            filled.append(item)
        else:
            skipped.append(Skipped(item.item, "no photo of one of its people"))
    return filled, skipped


def picture_files(folder: Path, where: str) -> list[Path]:
    """All pictures directly in a folder by their names, without hidden files.

    Raises:
        DynamicIDError: There is no such folder; ``where`` is the option that named it.
    """
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DynamicIDError(where, f"There is no folder {folder} ({error.strerror}).", "Name a folder.") from error
    return [path for path in paths if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")]


def shown_name(path: Path) -> str:
    """A file's name that can be printed: line breaks and bytes that are no text are written as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in path.name)


def _read_person(slot: str, path: Path, analyzer: FaceAnalyzer) -> Person:
    photo = read_picture(path)
    faces = order_faces(analyzer.detect(photo), "largest")
    if not faces:
        raise BadSample("no face")
    digest = sha256_hex(str(photo.shape).encode() + photo.tobytes())[:16]
    return Person(slot, photo, mean_embedding([faces[0].embedding]), digest)
