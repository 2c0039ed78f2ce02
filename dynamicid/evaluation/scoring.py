"""From pictures to rows: one row a person of a picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DynamicIDError
from ..faces.analysis import FaceAnalyzer
from ..faces.detected import DetectedFace
from ..faces.emotions import EmotionReader
from ..files.pictures import read_picture
from ..files.skipped import BadSample, Skipped
from .background import background_mask, disturbance
from .metrics import Assignment, measure_expression, measure_people
from .people import Person
from .picture_text import PictureText
from .pictures import Picture

Row = dict[str, Any]
Show = Callable[[str, int, int], None]
"""Called with the stage, how many are done, and of how many."""


@dataclass(frozen=True, eq=False)
class Readers:
    """The networks that read pictures; without one of the latter two its columns stay empty."""

    analyzer: FaceAnalyzer
    emotions: EmotionReader | None = None
    text: PictureText | None = None


def score_pictures(
    pictures: Sequence[Picture], people: Mapping[str, Person], readers: Readers, assignment: Assignment, show: Show
) -> tuple[list[Row], list[Skipped]]:
    """Reads all pictures.

    Args:
        pictures: Of items all of whose people are there.
        people: By slot.
        readers: The networks.
        assignment: How faces find their people; see ``metrics.measure_people``.
        show: Told after each picture.

    Returns:
        One row a person of a picture, in the pictures' order, and the pictures that could not be read.
    """
    rows: list[Row] = []
    skipped = []
    for done, picture in enumerate(pictures, 1):
        try:
            image = read_picture(picture.path)
            rows += _score(picture, image, people, readers, assignment)
        except BadSample as error:
            skipped.append(Skipped(picture.path.name, f"picture: {error}"))
        else:
            fault = _add_disturbance(rows[-len(picture.item.people) :], picture, image)
            skipped += [Skipped(picture.path.name, fault)] if fault else []
        show("scoring", done, len(pictures))
    return [{name: value for name, value in row.items() if name != "face_boxes"} for row in rows], skipped


def _score(
    picture: Picture, image: np.ndarray, people: Mapping[str, Person], readers: Readers, assignment: Assignment
) -> list[Row]:
    item = picture.item
    faces = readers.analyzer.detect(image)
    photos = np.stack([people[subject.person].embedding for subject in item.people])
    fit = readers.text.score(image, item.prompt) if readers.text else None
    rows = []
    measured = measure_people(item, faces, image.shape[:2], photos, assignment)
    for place, (subject, found) in enumerate(zip(item.people, measured, strict=True)):
        number = found["face"]
        face = None if number is None else faces[int(number)]
        rows.append({
            "item": item.item, "seed": picture.seed, "picture": picture.path.name, "people": len(item.people),
            "place": place, "person": subject.person, "faces": len(faces),
            "expression": subject.expression, "pitch": subject.pitch, "yaw": subject.yaw,
            **found, **_expression(subject.expression, image, face, readers.emotions),
            "clip_t": fit, "disturbance": None, "face_boxes": [face.box_xyxy for face in faces],
        })  # fmt: skip
    return rows


def _expression(
    target: str, image: np.ndarray, face: DetectedFace | None, emotions: EmotionReader | None
) -> dict[str, float | str | None]:
    if emotions is None:
        return {"expr": None, "expr_probability": None, "read_expression": None}
    try:
        return measure_expression(target, None if face is None else emotions.read(image, face))
    except DynamicIDError as error:
        raise BadSample("the emotion network cannot read a face") from error


def _add_disturbance(rows: list[Row], picture: Picture, image: np.ndarray) -> str:
    """Fills ``disturbance`` in; returns why it could not, or ""."""
    if picture.unpatched is None:
        return ""
    mask = background_mask(image.shape[:2], [one.box for one in picture.item.people], rows[0]["face_boxes"])
    try:
        found = disturbance(image, read_picture(picture.unpatched), mask)
    except BadSample as error:
        return f"unpatched: {error}"
    for row in rows:
        row["disturbance"] = found
    return ""
