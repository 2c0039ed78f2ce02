"""Training data of DynamicID's two stages: people alone, many portraits a person; and the demo's reference photos."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dynamicid.synthetic import (
    DrawnMotion,
    PictureAnnotation,
    Split,
    number_in,
    people_of,
    render_portrait,
    render_scene,
    sample_portrait,
    sample_scene,
    write_pictures,
    write_variface,
)
from dynamicid.synthetic.writing import prepare_folder

from ..places import PICTURE_SIZE, SEED
from .base_dataset import motionless_caption

FIRST_PORTRAIT, FIRST_OF_GROUP = 500_000, 250_000
"""First numbers of portraits and of people out of groups; scenes start at 0."""
REFERENCE_POSITIONS = (16, 8, 22)
"""Positions in the held-out portraits of three people who are easy to tell apart."""
REFERENCE_SIZE = 256


def write_single_people(folder: Path, scenes: int, portraits: int, of_groups: int = 0, first: int = 0) -> None:
    """Stage 1: pictures of one person, unless `folder` holds them all.

    The captions describe no motion: identity tokens have to carry it, so that the IMR can edit it.

    Args:
        folder: Emptied first.
        scenes, portraits: Number of each.
        of_groups: Number of people taken out of a group of three each. They stand where they would in the group, and
            are drawn at twice the size, since a reference of so small a face would show little.
        first: Position of the first of each.
    """

    def pictures() -> Iterator[tuple[np.ndarray, PictureAnnotation]]:
        for position in range(first, first + scenes):
            scene = sample_scene(SEED, number_in(Split.train, position), people=(1, 1))
            picture, annotation = render_scene(scene, PICTURE_SIZE)
            yield picture, replace(annotation, caption=motionless_caption(scene))
        for position in range(first, first + of_groups):
            group = sample_scene(SEED, number_in(Split.train, FIRST_OF_GROUP + position), people=(3, 3))
            scene = replace(group, people=(group.people[position % 3],))
            picture, annotation = render_scene(scene, 2 * PICTURE_SIZE)
            yield picture, replace(annotation, caption=motionless_caption(scene))
        for position in range(first, first + portraits):
            portrait = sample_portrait(SEED, number_in(Split.train, FIRST_PORTRAIT + position))
            picture, annotation = render_portrait(portrait, PICTURE_SIZE)
            yield picture, replace(annotation, caption=motionless_caption(portrait))

    count = scenes + of_groups + portraits
    if len(list(folder.glob("*.png"))) == count:
        return
    prepare_folder(folder, overwrite=True)
    for _ in tqdm(write_pictures(folder, pictures()), total=count, unit="picture", desc="people alone"):
        pass


def write_many_photos(folder: Path, people: int, photos: int) -> None:
    """Stage 2: `photos` portraits of each of `people` people in the VariFace layout, unless `folder` holds them all."""
    if len(list(folder.glob("*/[0-9][0-9][0-9].png"))) == people * photos:
        return
    prepare_folder(folder, overwrite=True)
    written = write_variface(folder, people_of(Split.train)[:people], photos, PICTURE_SIZE, SEED, Split.train)
    for _ in tqdm(written, total=people * photos, unit="picture", desc="many photos"):
        pass


def write_reference_photos(folder: Path) -> list[Path]:
    """The demo's photos: a neutral front view of three held-out people, ``person_1.png`` and so on.

    Args:
        folder: Created where missing.

    Returns:
        The paths, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for person, position in enumerate(REFERENCE_POSITIONS, 1):
        portrait = sample_portrait(SEED, number_in(Split.held_out, position), Split.held_out)
        picture, _ = render_portrait(replace(portrait, motion=DrawnMotion()), REFERENCE_SIZE)
        paths.append(folder / f"person_{person}.png")
        Image.fromarray(picture).save(paths[-1], optimize=True)
    return paths
