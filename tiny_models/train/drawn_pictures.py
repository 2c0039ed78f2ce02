"""Sets of drawn pictures with annotated faces, rendered in parallel and kept on disk."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from ..places import PICTURE_SIZE

Annotation = TypeVar("Annotation")
Columns = dict[str, Any]
Annotated = TypeVar("Annotated", bound="AnnotatedPictures")
_POSITIONS_A_TASK = 250


@dataclass(frozen=True, eq=False)
class AnnotatedPictures:
    """N pictures, scenes first, then portraits, and F faces in them, in the order of their pictures.

    Attributes:
        pictures: (N, 128, 128, 3) uint8 RGB, mapped from the file, read only.
        scene_count: Number of scenes.
        picture: (F,) int, the face's picture.
        box: (F, 4) left, top, right, bottom in pixels.
        person: (F,) int, the person's number.
        expression: (F,) int, position in EXPRESSIONS.
        shirt: (F,) int, position in SHIRTS.
    """

    pictures: np.ndarray
    scene_count: int
    picture: np.ndarray
    box: np.ndarray
    person: np.ndarray
    expression: np.ndarray
    shirt: np.ndarray

    def __len__(self) -> int:
        """F."""
        return len(self.picture)

    def faces_of(self, picture: int) -> np.ndarray:
        """Rows of the faces in a picture."""
        low, high = np.searchsorted(self.picture, [picture, picture + 1])
        return np.arange(low, high)


def load_annotated(
    kind: type[Annotated],
    path: Path,
    counts: tuple[int, int],
    render: Callable[[int], tuple[np.ndarray, tuple[Columns, list[Columns]]]],
) -> Annotated:
    """Loads a set of pictures; renders it first where it does not exist.

    Args:
        kind: The class of the set.
        path: Path of its files without suffix: pictures in ``.npy``, annotations in ``.npz``.
        counts: Number of scenes and of portraits.
        render: Position -> picture, its own columns, and the columns of each of its faces. Runs in other processes.
    """
    pictures, annotations = path.with_suffix(".npy"), path.with_suffix(".npz")
    if not (pictures.is_file() and annotations.is_file()):
        columns: dict[str, list] = {field.name: [] for field in fields(kind)[2:]}
        for position, (of_picture, faces) in enumerate(render_to_file(pictures, sum(counts), render)):
            for row in (of_picture, *({"picture": position, **face} for face in faces)):
                for name, value in row.items():
                    columns[name].append(value)
        np.savez(annotations, **{name: np.asarray(values) for name, values in columns.items()})  # pyright: ignore
    with np.load(annotations) as file:
        columns = {field.name: file[field.name] for field in fields(kind)[2:]}
    return kind(np.load(pictures, mmap_mode="r"), counts[0], **columns)  # pyright: ignore[reportArgumentType]


def render_to_file(path: Path, count: int, render: Callable[[int], tuple[np.ndarray, Annotation]]) -> list[Annotation]:
    """Renders pictures into a NumPy file of shape (count, 128, 128, 3), uint8.

    Args:
        path: The file; it exists once it is complete.
        count: Number of pictures.
        render: Position -> picture and annotation. Runs in other processes, so it has to be importable.

    Returns:
        The annotations in order.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npy")
    shape = (count, PICTURE_SIZE, PICTURE_SIZE, 3)
    pictures = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    annotations = []
    with ProcessPoolExecutor() as pool, tqdm(total=count, unit="picture", desc=f"rendering {path.stem}") as progress:
        rendered = pool.map(render, range(count), chunksize=_POSITIONS_A_TASK)
        for position, (picture, annotation) in enumerate(rendered):
            pictures[position] = picture
            annotations.append(annotation)
            progress.update()
    pictures.flush()
    partial.rename(path)
    return annotations
