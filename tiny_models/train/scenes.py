"""What the base model and its autoencoder learn from: scenes with portraits among them, portraits alone, and portraits
whose captions say what the face does."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dynamicid.synthetic import (
    EXPRESSIONS,
    DrawnMotion,
    PictureAnnotation,
    Split,
    number_in,
    render_portrait,
    render_scene,
    sample_portrait,
    sample_scene,
)

from ..places import PICTURE_SIZE, SEED, WORK
from .still_captions import still_portrait_caption

PORTRAIT_EVERY = 8
PORTRAIT_PROMPT = "a portrait of a person"
FIRST_PORTRAIT, FIRST_MOVING = 100_000, 200_000
"""Portraits alone and moving portraits are numbered from here on, the other pictures from 0."""
CHUNK = 500
Box = tuple[float, float, float, float]
Drawn = tuple[np.ndarray, PictureAnnotation, str]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Training pictures, mapped from the disk.

    Attributes:
        pixels: (N, size, size, 3) uint8.
        captions: N.
        faces: Of every picture the boxes of its faces: left, top, right, bottom in pixels.
        motions: Of every picture what its faces do: expression (its place in EXPRESSIONS), pitch and yaw in degrees.
    """

    pixels: np.ndarray
    captions: list[str]
    faces: list[list[Box]]
    motions: list[list[tuple[int, float, float]]]

    def first(self, count: int) -> "Pictures":
        """The first ``count`` of them."""
        return Pictures(self.pixels[:count], self.captions[:count], self.faces[:count], self.motions[:count])


def draw_pictures(count: int) -> Pictures:
    """The first `count` scenes and portraits, drawn once and kept in WORK."""
    return _kept("pictures", count, _mixed)


def draw_portraits(count: int) -> Pictures:
    """The first `count` portraits alone, drawn once and kept in WORK."""
    return _kept("portraits", count, _portrait_alone)


def draw_moving_portraits(count: int) -> Pictures:
    """The first `count` portraits with three kinds of captions in turn; drawn once and kept in WORK."""
    return _kept("moving", count, _moving_portrait)


def _kept(name: str, count: int, draw: Callable[[int], Drawn]) -> Pictures:
    path = WORK / f"{name}_{count}.npy"
    if not path.exists():
        _draw(path, count, draw)
    table = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return Pictures(np.load(path, mmap_mode="r"), table["captions"], table["faces"], table["motions"])


def _draw(path: Path, count: int, draw: Callable[[int], Drawn]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npy")
    shape = (count, PICTURE_SIZE, PICTURE_SIZE, 3)
    pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    captions: list[str] = []
    faces: list[list[Box]] = []
    motions: list[list[tuple[int, float, float]]] = []
    with ProcessPoolExecutor() as pool, tqdm(total=count, unit="picture", desc="drawing") as progress:
        drawn = pool.map(draw, range(count), chunksize=CHUNK)
        for position, (picture, annotation, caption) in enumerate(drawn):
            pixels[position] = picture
            captions.append(caption)
            faces.append([face.box_xyxy for face in annotation.faces])
            motions.append([_numbers(face.motion) for face in annotation.faces])
            progress.update()
    pixels.flush()
    table = {"captions": captions, "faces": faces, "motions": motions}
    path.with_suffix(".json").write_text(json.dumps(table), encoding="utf-8")
    partial.rename(path)


def _numbers(motion: DrawnMotion) -> tuple[int, float, float]:
    return tuple(EXPRESSIONS).index(motion.expression), motion.pitch, motion.yaw


def _mixed(position: int) -> Drawn:
    number = number_in(Split.train, position)
    if position % PORTRAIT_EVERY == 0:
        return _portrait(number, says_motion=bool(position % (2 * PORTRAIT_EVERY)))
    picture, annotation = render_scene(sample_scene(SEED, number), PICTURE_SIZE)
    return picture, annotation, annotation.caption


def _portrait_alone(position: int) -> Drawn:
    return _portrait(number_in(Split.train, FIRST_PORTRAIT + position), says_motion=bool(position % 2))


def _portrait(number: int, says_motion: bool) -> Drawn:
    """``says_motion``: the caption says the face's motion as a face prompt does, so that those words mean something."""
    picture, annotation = render_portrait(sample_portrait(SEED, number), PICTURE_SIZE)
    caption = f"{PORTRAIT_PROMPT} {annotation.faces[0].prompt}" if says_motion else annotation.caption
    return picture, annotation, caption


def _moving_portrait(position: int) -> Drawn:
    """Captioned without what the face does, by a face prompt, or by everything."""
    portrait = sample_portrait(SEED, number_in(Split.train, FIRST_MOVING + position))
    picture, annotation = render_portrait(portrait, PICTURE_SIZE)
    prompt = annotation.faces[0].prompt
    captions = still_portrait_caption(portrait), f"{PORTRAIT_PROMPT} {prompt}", f"{annotation.caption}, {prompt}"
    return picture, annotation, captions[position % len(captions)]
