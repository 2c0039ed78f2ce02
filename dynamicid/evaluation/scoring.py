"""Scores pictures: one row for each person of each picture."""

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
from .image_metrics import PromptFit, background_mask, disturbance
from .measures import Assignment, measure_expression, measure_people
from .pictures import BenchmarkPerson, Picture
from .recognition import Detector, Recognition, Truth, embedding_of, judged

Row = dict[str, Any]
ProgressCallback = Callable[[str, int, int], None]
"""Called with the stage, how many are done, and of how many."""


@dataclass(frozen=True, eq=False)
class MetricNetworks:
    """The networks that read pictures; where ``emotions`` or ``prompt_fit`` is None its columns stay empty.

    Attributes:
        analyzer: The face pack.
        emotions: Reads expressions.
        prompt_fit: Compares pictures and prompts.
        judges: Further recognisers, at most ``metrics.MOST_JUDGES``.
    """

    analyzer: FaceAnalyzer
    emotions: EmotionReader | None = None
    prompt_fit: PromptFit | None = None
    judges: tuple[Detector, ...] = ()


def score_pictures(
    pictures: Sequence[Picture],
    people: Mapping[str, BenchmarkPerson],
    networks: MetricNetworks,
    assignment: Assignment,
    show: ProgressCallback,
) -> tuple[list[Row], list[Skipped]]:
    """Reads all pictures.

    Args:
        pictures: Of items all of whose people are there.
        people: By slot.
        networks: What reads the pictures.
        assignment: How faces find their people; see ``metrics.measure_people``.
        show: Called after each picture.

    Returns:
        One row a person of a picture, in the pictures' order, and the pictures that could not be read.
    """
    rows: list[Row] = []
    pack = Recognition(networks.analyzer, {slot: person.embedding for slot, person in people.items()})
    judges, skipped = know_people({slot: person.photo for slot, person in people.items()}, networks.judges)
    for done, picture in enumerate(pictures, 1):
        truth, faults = _read_truth(picture)
        try:
            image = read_picture(picture.path)
            rows += _score(picture, image, (pack, *judges), truth, networks, assignment)
        except BadSample as error:
            faults.append(f"picture: {error}")
        else:
            faults += _add_disturbance(rows[-len(picture.item.people) :], picture, image)
        skipped += [Skipped(picture.path.name, fault) for fault in faults]
        show("scoring", done, len(pictures))
    return [{name: value for name, value in row.items() if name != "face_boxes"} for row in rows], skipped


def know_people(
    photos: Mapping[str, np.ndarray], judges: Sequence[Detector]
) -> tuple[list[Recognition], list[Skipped]]:
    """The judges with their embeddings of people's photos, and the photos in which one of them finds no face."""
    known, skipped = [], []
    for number, judge in enumerate(judges, 1):
        embeddings = {}
        for person, photo in photos.items():
            try:
                embeddings[person] = embedding_of(photo, judge)
            except BadSample as error:
                skipped.append(Skipped(person, f"photo of a person: judge {number}: {error}"))
        known.append(Recognition(judge, embeddings))
    return known, skipped


def _read_truth(picture: Picture) -> tuple[Truth | None, list[str]]:
    """The picture's ground truth, and why it cannot be read."""
    if picture.truth is None:
        return None, []
    try:
        return Truth(picture.truth.name, read_picture(picture.truth)), []
    except BadSample as error:
        return None, [f"ground truth: {error}"]


def _score(
    picture: Picture,
    image: np.ndarray,
    recognisers: Sequence[Recognition],
    truth: Truth | None,
    networks: MetricNetworks,
    assignment: Assignment,
) -> list[Row]:
    item = picture.item
    people, boxes = [subject.person for subject in item.people], [subject.box for subject in item.people]
    sight, *judges = (recogniser.look(image, people, boxes, assignment, truth) for recogniser in recognisers)
    assert sight is not None
    faces = sight.faces
    clip_t = networks.prompt_fit.score(image, item.prompt) if networks.prompt_fit else None
    rows = []
    measured = measure_people(item, sight, assignment)
    added = judged(measured, judges, boxes, assignment)
    for place, (subject, columns, of_judges) in enumerate(zip(item.people, measured, added, strict=True)):
        number = columns["face"]
        face = None if number is None else faces[int(number)]
        rows.append({
            "item": item.item, "seed": picture.seed, "picture": picture.path.name, "people": len(item.people),
            "place": place, "person": subject.person, "faces": len(faces),
            "expression": subject.expression, "pitch": subject.pitch, "yaw": subject.yaw,
            **columns, **of_judges, **_expression(subject.expression, image, face, networks.emotions),
            "clip_t": clip_t, "disturbance": None, "face_boxes": [face.box_xyxy for face in faces],
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


def _add_disturbance(rows: list[Row], picture: Picture, image: np.ndarray) -> list[str]:
    """Fills ``disturbance`` in; returns why it could not."""
    if picture.unpatched is None:
        return []
    mask = background_mask(image.shape[:2], [subject.box for subject in picture.item.people], rows[0]["face_boxes"])
    try:
        value = disturbance(image, read_picture(picture.unpatched), mask)
    except BadSample as error:
        return [f"unpatched: {error}"]
    for row in rows:
        row["disturbance"] = value
    return []
