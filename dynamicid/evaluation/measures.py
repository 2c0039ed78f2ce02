"""The sums behind the columns that faces give. Legend: N people of a picture, F faces in it, D an embedding's width."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..boxes import BoxXywhNorm
from ..faces.detected import DetectedFace
from ..faces.emotions import likeliest_emotion
from ..faces.matching import assign_by_likeness, assign_by_place, face_middle, likeness
from ..faces.prompts import EMOTIONS
from .benchmark import Item
from .metrics import AVERAGED, LIKENESSES, POSE_TOLERANCE, judge_key, mean_key

Assignment = Literal["boxes", "likeness"]
Columns = dict[str, float | int | None]
_SAME_ANGLE = 1e-3
"""Radians; an angle of two equal embeddings in float32 may be half of it."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What one recogniser sees of a picture and knows of its N people.

    Attributes:
        faces: F faces of the picture.
        size: Its height and width in pixels.
        photos: (N, D) embeddings of the people's photos.
        truth: Their embeddings (D,) in the ground truth; None for who is not found there. () = there is none.
    """

    faces: Sequence[DetectedFace]
    size: tuple[int, int]
    photos: np.ndarray
    truth: Sequence[np.ndarray | None] = ()


def measure_people(item: Item, sight: Sight, assignment: Assignment) -> list[Columns]:
    """What one picture shows of each person: everything that needs only the faces.

    Args:
        item: What was asked for; N subjects.
        sight: Of the face pack.
        assignment: See ``own_faces``.

    Returns:
        For each subject the columns of ``measure_likeness``, ``pose`` and what belongs to it.
    """
    rows = measure_likeness([subject.box for subject in item.people], sight, assignment)
    for row, subject in zip(rows, item.people, strict=True):
        row |= {"pose": 0.0, "pose_error": None}
        if row["face"] is not None:
            row |= _pose(sight.faces[int(row["face"])], subject.pitch, subject.yaw)
    return rows


def measure_likeness(boxes: Sequence[BoxXywhNorm], sight: Sight, assignment: Assignment) -> list[Columns]:
    """Whom the faces of one picture are like.

    Args:
        boxes: Of the N people; they count where the assignment is by them.
        sight: Of one recogniser.
        assignment: See ``own_faces``.

    Returns:
        For each person LIKENESSES, None where there is nothing to measure, ``found``, ``count``, and ``face``: the
        face's position, ``best``: the highest cosine with any face of the picture, ``like``: whose photo the face is
        most like.
    """
    faces = sight.faces
    cosines = likeness(sight.photos, faces)
    people, by_likeness = len(cosines), assign_by_likeness(cosines)
    several = people > 1
    once = np.bincount(cosines.argmax(axis=0), minlength=people) if len(faces) else np.zeros(people)
    rows: list[Columns] = []
    for place, number in enumerate(own_faces(boxes, sight, assignment)):
        row: Columns = dict.fromkeys(("like", *LIKENESSES))
        match = by_likeness[place]
        row |= {"face": number, "best": float(cosines[place].max()) if len(faces) else None}
        row |= {"found": float(number is not None), "face_sim": 0.0, "count": float(len(faces) == people)}
        row |= {"hungarian": 0.0 if match is None else float(cosines[place, match]), "each_once": float(all(once == 1))}
        if several and assignment == "boxes":
            row["assigned"] = float(number is not None and match == number)
        if number is not None:
            row["face_sim"] = own_cosine = float(cosines[place, number])
            row["like"] = int(cosines[:, number].argmax())
            if several:
                row["leakage"] = leakage = float(np.delete(cosines[:, number], place).max())
                row["margin"] = own_cosine - leakage
        truth = sight.truth[place] if len(sight.truth) else None
        if truth is not None:
            row["sim_gt"] = 0.0
            if number is not None:
                painted = faces[number].embedding
                row |= {"sim_gt": float(painted @ truth), "copy_paste": copy_paste(painted, truth, sight.photos[place])}
        rows.append(row)
    return rows


def own_faces(boxes: Sequence[BoxXywhNorm], sight: Sight, assignment: Assignment) -> list[int | None]:
    """For each person the position of their face; None = not found.

    Args:
        boxes: Of the N people.
        sight: Of one recogniser.
        assignment: "boxes": a person's face is the one in their box; a person alone gets the face most like them.
            "likeness": by cosines, for painters that take no boxes.
    """
    if assignment == "likeness" or len(sight.photos) == 1:
        return assign_by_likeness(likeness(sight.photos, sight.faces))
    return assign_by_place(boxes, [face_middle(face, *sight.size) for face in sight.faces])


def copy_paste(painted: np.ndarray, truth: np.ndarray, photo: np.ndarray) -> float | None:
    """(angle(painted, truth) - angle(painted, photo)) / angle(truth, photo) of embeddings of unit length.

    1 = the photo, -1 = the ground truth. None where photo and ground truth are the same to rounding; WithAnyone's code
    says 0 there. Source: WithAnyone, arXiv 2510.14975, and ``copy_geo`` of github.com/Doby-Xu/WithAnyone.
    """
    to_truth, to_photo, between = (
        float(np.arccos(np.clip(a @ b, -1, 1))) for a, b in ((painted, truth), (painted, photo), (truth, photo))
    )
    return (to_truth - to_photo) / between if between > _SAME_ANGLE else None


def compare_recognisers(rows: Sequence[Columns], judges: Sequence[Sequence[Columns]]) -> list[Columns]:
    """The columns of a picture's people that the judges add to those of the face pack.

    Args:
        rows: By the face pack, from ``measure_likeness``.
        judges: The same by each judge.
    """
    added: list[Columns] = []
    for place, row in enumerate(rows):
        by_judge = [judge[place] for judge in judges]
        columns = {
            judge_key(key, number): judged[key] for number, judged in enumerate(by_judge, 1) for key in LIKENESSES
        }
        if by_judge:
            columns |= {mean_key(key): _mean([row, *by_judge], key) for key in AVERAGED}
            likes = [one["like"] for one in (row, *by_judge)]
            columns["agree"] = float(len(set(likes)) == 1) if len(rows) > 1 and None not in likes else None
        added.append(columns)
    return added


def _mean(rows: Sequence[Mapping[str, float | int | None]], key: str) -> float | None:
    """None unless all have the column."""
    values = [value for row in rows if (value := row[key]) is not None]
    return float(np.mean(values)) if len(values) == len(rows) else None


def measure_expression(target: str, probabilities: np.ndarray | None) -> dict[str, float | str | None]:
    """Expression columns of one person from the emotion model's (7,) probabilities; None = nobody found."""
    if probabilities is None:
        return {"expr": 0.0, "expr_probability": 0.0, "read_expression": None}
    read = likeliest_emotion(probabilities)
    return {
        "expr": float(read == target),
        "expr_probability": float(probabilities[EMOTIONS.index(target)]),
        "read_expression": read,
    }


def _pose(face: DetectedFace, pitch: float, yaw: float) -> dict[str, float]:
    error = max(abs(float(face.pose[0]) - pitch), abs(float(face.pose[1]) - yaw))
    return {
        "pose": float(error <= POSE_TOLERANCE), "pose_error": error,
        "read_pitch": float(face.pose[0]), "read_yaw": float(face.pose[1]),
    }  # fmt: skip
