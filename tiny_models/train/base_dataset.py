"""Training data of the base model and its autoencoder: scenes with portraits among them, portraits alone, and portraits
whose captions describe expression and pose."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dynamicid.boxes import BoxXyxyPx
from dynamicid.synthetic import (
    EXPRESSIONS,
    DrawnMotion,
    DrawnPortrait,
    PictureAnnotation,
    Scene,
    Split,
    caption,
    number_in,
    portrait_caption,
    render_portrait,
    render_scene,
    sample_portrait,
    sample_scene,
)

from ..places import PICTURE_SIZE, SEED, WORK
from .drawn_pictures import render_to_file

PORTRAIT_EVERY = 8
PORTRAIT_PROMPT = "a portrait of a person"
FIRST_PORTRAIT, FIRST_MOVING = 100_000, 200_000
"""First numbers of the portraits alone and of the moving portraits; the other pictures start at 0."""


@dataclass(frozen=True, eq=False)
class CaptionedPictures:
    """Training pictures, mapped from the disk.

    Attributes:
        pixels: (N, size, size, 3) uint8.
        captions: N.
        faces: The boxes of the faces of every picture.
        motions: The motions of the faces of every picture: position in EXPRESSIONS, pitch and yaw in degrees.
    """

    pixels: np.ndarray
    captions: list[str]
    faces: list[list[BoxXyxyPx]]
    motions: list[list[tuple[int, float, float]]]

    def first(self, count: int) -> "CaptionedPictures":
        """The first ``count`` of them."""
        return CaptionedPictures(self.pixels[:count], self.captions[:count], self.faces[:count], self.motions[:count])


def load_pictures(count: int) -> CaptionedPictures:
    """The first `count` scenes and portraits, rendered once and kept in WORK."""
    return _load("pictures", count, _mixed)


def load_portraits(count: int) -> CaptionedPictures:
    """The first `count` portraits alone, rendered once and kept in WORK."""
    return _load("portraits", count, _portrait_alone)


def load_moving_portraits(count: int) -> CaptionedPictures:
    """The first `count` portraits with three kinds of captions in turn, rendered once and kept in WORK."""
    return _load("moving", count, _moving_portrait)


def motionless_caption(drawing: Scene | DrawnPortrait) -> str:
    """The caption without expressions and poses, such as "a photo of a person in a red shirt, at the beach".

    It is the prompt for faces whose motion comes from a photo or from the IMR.
    """
    if isinstance(drawing, DrawnPortrait):
        return portrait_caption(replace(drawing, motion=DrawnMotion()))
    return caption(replace(drawing, people=tuple(replace(person, motion=DrawnMotion()) for person in drawing.people)))


def _load(name: str, count: int, render: Callable[[int], tuple[np.ndarray, dict]]) -> CaptionedPictures:
    pixels: Path = WORK / f"{name}_{count}.npy"
    table = pixels.with_suffix(".json")
    if not (pixels.is_file() and table.is_file()):
        rows = render_to_file(pixels, count, render)
        columns = {key: [row[key] for row in rows] for key in ("captions", "faces", "motions")}
        table.write_text(json.dumps(columns), encoding="utf-8")
    columns = json.loads(table.read_text(encoding="utf-8"))
    return CaptionedPictures(np.load(pixels, mmap_mode="r"), **columns)


def _annotated(picture: np.ndarray, annotation: PictureAnnotation, text: str) -> tuple[np.ndarray, dict]:
    motions = [face.motion for face in annotation.faces]
    return picture, {
        "captions": text,
        "faces": [face.box_xyxy for face in annotation.faces],
        "motions": [(tuple(EXPRESSIONS).index(motion.expression), motion.pitch, motion.yaw) for motion in motions],
    }


def _mixed(position: int) -> tuple[np.ndarray, dict]:
    number = number_in(Split.train, position)
    if position % PORTRAIT_EVERY == 0:
        return _portrait(number, says_motion=bool(position % (2 * PORTRAIT_EVERY)))
    picture, annotation = render_scene(sample_scene(SEED, number), PICTURE_SIZE)
    return _annotated(picture, annotation, annotation.caption)


def _portrait_alone(position: int) -> tuple[np.ndarray, dict]:
    return _portrait(number_in(Split.train, FIRST_PORTRAIT + position), says_motion=bool(position % 2))


def _portrait(number: int, says_motion: bool) -> tuple[np.ndarray, dict]:
    """``says_motion``: the caption describes the motion by a face prompt, so that the model learns its words."""
    picture, annotation = render_portrait(sample_portrait(SEED, number), PICTURE_SIZE)
    text = f"{PORTRAIT_PROMPT} {annotation.faces[0].prompt}" if says_motion else annotation.caption
    return _annotated(picture, annotation, text)


def _moving_portrait(position: int) -> tuple[np.ndarray, dict]:
    """Captioned without the motion, by a face prompt, or by everything."""
    portrait = sample_portrait(SEED, number_in(Split.train, FIRST_MOVING + position))
    picture, annotation = render_portrait(portrait, PICTURE_SIZE)
    prompt = annotation.faces[0].prompt
    captions = motionless_caption(portrait), f"{PORTRAIT_PROMPT} {prompt}", f"{annotation.caption}, {prompt}"
    return _annotated(picture, annotation, captions[position % len(captions)])
