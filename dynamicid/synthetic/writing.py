"""Writes data sets: plain folders of pictures and captions for stage 1, people's folders for stage 2 (VariFace)."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DynamicIDError
from ..faces.landmarks import LANDMARK_SIZE, keypoint_map
from ..files.atomic import atomic_write, remove_partials, translate_io_errors
from ..files.versions import check_stamp, stamp
from .annotations import PictureAnnotation
from .identity import sample_identity
from .render import render_portrait
from .sampling import sample_portrait
from .splits import Split, number_in

ANNOTATIONS = "annotations.jsonl"
"""One JSON object a line and picture: ``PictureAnnotation.as_json``, ``file`` (the picture's path in the folder) and
the stamp of ``files.versions``."""
FORMAT = 1


def prepare_folder(folder: Path, overwrite: bool) -> None:
    """Makes the folder to write into.

    Args:
        folder: Where the data goes.
        overwrite: Whether data that these functions wrote there before may go; other files always stay.

    Raises:
        DynamicIDError: The folder is not empty and ``overwrite`` is off, it is a file, or it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise DynamicIDError("OUT", f"'{folder}' is a file.", "Name a folder.")
    with translate_io_errors(folder, "OUT"):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            if not overwrite:
                remedy = "Name another one, or add --overwrite."
                raise DynamicIDError("OUT", f"The folder '{folder}' is not empty.", remedy)
            _remove_former(folder)


def write_pictures(folder: Path, pictures: Iterable[tuple[np.ndarray, PictureAnnotation]]) -> Iterator[Path]:
    """Stage 1: ``<number>.png``, ``<number>.txt`` with the caption, and ``annotations.jsonl``.

    Args:
        folder: An empty folder (``prepare_folder``).
        pictures: What ``render_scene`` and ``render_portrait`` return.

    Yields:
        The path of each picture, once it is written.
    """
    with (folder / ANNOTATIONS).open("w", encoding="utf-8") as lines:
        for picture, annotation in pictures:
            path = folder / f"{annotation.number:07d}.png"
            path.with_suffix(".txt").write_text(annotation.caption + "\n", encoding="utf-8")
            _write_png(path, picture)
            _write_line(lines, folder, path, annotation)
            yield path


def write_variface(
    folder: Path, people: Iterable[int], photos: int, size: int, seed: int, split: Split
) -> Iterator[Path]:
    """Stage 2: ``<person>/<photo>.png``, ``<photo>.txt`` with the face prompt, ``<photo>_landmark.png``.

    The photos of a person vary in expression, pose, light, ground and cut. The landmark map has 96 x 96 pixels, black
    with one white pixel a landmark, as ``faces.landmarks.keypoint_map`` makes it.

    Args:
        folder: An empty folder (``prepare_folder``).
        people: The people's numbers.
        photos: Photos of each.
        size: Pixels a side.
        seed: Seed of the whole data set.
        split: Which motions come up.

    Yields:
        The path of each photo, once it is written.
    """
    with (folder / ANNOTATIONS).open("w", encoding="utf-8") as lines:
        for person in people:
            identity = sample_identity(seed, person)
            home = folder / f"{person:05d}"
            home.mkdir(exist_ok=True)
            for photo in range(photos):
                portrait = sample_portrait(seed, variface_number(person, photo), split, identity)
                picture, annotation = render_portrait(portrait, size)
                path = home / f"{photo:03d}.png"
                face = annotation.faces[0]
                path.with_suffix(".txt").write_text(face.prompt + "\n", encoding="utf-8")
                _write_png(path.with_name(f"{path.stem}_landmark.png"), landmark_picture(face.landmarks_106, size))
                _write_png(path, picture)
                _write_line(lines, folder, path, annotation)
                yield path


def variface_number(person: int, photo: int) -> int:
    """The number of a VariFace photo among the portraits: beyond those that ``splits`` counts."""
    return 10_000_000 + 1000 * person + photo


def landmark_picture(landmarks_106: np.ndarray, size: int) -> np.ndarray:
    """(106, 2) landmarks in pixels of a picture of ``size`` pixels a side -> (96, 96) uint8, 0 and 255."""
    dots = keypoint_map(landmarks_106 * (LANDMARK_SIZE / size))
    return ((dots[0].numpy() + 1) * 127.5).astype(np.uint8)


def people_numbers(split: Split, count: int) -> list[int]:
    """The numbers of a split's first ``count`` people.

    Raises:
        DynamicIDError: The split has fewer.
    """
    number_in(split, count - 1, people=True)
    return [number_in(split, position, people=True) for position in range(count)]


def _write_png(path: Path, picture: np.ndarray) -> None:
    with atomic_write(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG", compress_level=3)


def _write_line(lines, folder: Path, path: Path, annotation: PictureAnnotation) -> None:
    entry = {"file": path.relative_to(folder).as_posix(), **stamp(FORMAT), **annotation.as_json()}
    lines.write(json.dumps(entry) + "\n")
    lines.flush()


def _remove_former(folder: Path) -> None:
    """Removes what a former run listed in the folder's annotations or left unfinished, and nothing else."""
    listing = folder / ANNOTATIONS
    if not listing.exists():
        return
    remove_partials(folder)
    for line in listing.read_text(encoding="utf-8").splitlines():
        path = (folder / _listed_file(listing, line)).resolve()
        if folder.resolve() not in path.parents:
            continue
        for file in (path, path.with_suffix(".txt"), path.with_name(f"{path.stem}_landmark.png")):
            file.unlink(missing_ok=True)
        if path.parent != folder.resolve() and path.parent.exists() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    listing.unlink()


def _listed_file(listing: Path, line: str) -> str:
    try:
        entry = json.loads(line)
        file = str(entry["file"])
    except (ValueError, KeyError, TypeError) as error:
        raise DynamicIDError(
            "OUT", f"'{listing}' was not written by this command: {line[:60]!r}.", "Name another folder."
        ) from error
    check_stamp("OUT", entry, FORMAT)
    return file
