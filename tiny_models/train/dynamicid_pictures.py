"""What DynamicID's two stages learn from: people alone in a scene, and many portraits of each of many people."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dynamicid.synthetic import (
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
from .still_captions import still_portrait_caption, still_scene_caption

FIRST_PORTRAIT, FIRST_OF_GROUP = 500_000, 250_000
"""Portraits are numbered from here on, people out of groups, and scenes from 0."""


def write_single_people(folder: Path, scenes: int, portraits: int, of_groups: int = 0, first: int = 0) -> None:
    """Stage 1: pictures of one person, unless `folder` holds them all. What the face does no caption tells: it has to
    come from the face, or there would be nothing for the IMR to change.

    Args:
        folder: Emptied before.
        scenes, portraits: How many of each.
        of_groups: How many people of a group of three each, alone where they would stand, drawn at twice the size: of
            so small a face the reference would say little.
        first: Position of the first of each.
    """

    def pictures() -> Iterator[tuple[np.ndarray, PictureAnnotation]]:
        for position in range(first, first + scenes):
            scene = sample_scene(SEED, number_in(Split.train, position), people=(1, 1))
            picture, annotation = render_scene(scene, PICTURE_SIZE)
            yield picture, replace(annotation, caption=still_scene_caption(scene))
        for position in range(first, first + of_groups):
            group = sample_scene(SEED, number_in(Split.train, FIRST_OF_GROUP + position), people=(3, 3))
            scene = replace(group, people=(group.people[position % 3],))
            picture, annotation = render_scene(scene, 2 * PICTURE_SIZE)
            yield picture, replace(annotation, caption=still_scene_caption(scene))
        for position in range(first, first + portraits):
            number = number_in(Split.train, FIRST_PORTRAIT + position)
            portrait = sample_portrait(SEED, number)
            picture, annotation = render_portrait(portrait, PICTURE_SIZE)
            yield picture, replace(annotation, caption=still_portrait_caption(portrait))

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
