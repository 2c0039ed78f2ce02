"""What is measured of each person: definitions and sums. Legend: N people of a picture, F faces found in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..faces.detected import DetectedFace
from ..faces.emotions import likeliest_emotion
from ..faces.matching import assign_by_likeness, assign_by_place, face_middle, likeness
from ..faces.prompts import EMOTIONS
from .benchmark import Item

POSE_TOLERANCE = 15.0
"""Degrees."""
Assignment = Literal["boxes", "likeness"]


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    Attributes:
        key: Of the rows; several metrics may read one row.
        name: As the table shows it.
        definition: What the number is.
        differs: How it may differ from the paper's; "" where the paper has no such number.
        paper: The paper's figures of DynamicID for one person and for several; None where it has none.
        higher: Whether more is better.
        is_share: Whether it counts people, 0 or 1 each.
    """

    key: str
    name: str
    definition: str
    differs: str = ""
    paper: tuple[float, float] | None = None
    higher: bool = True
    is_share: bool = False


METRICS = (
    Metric(
        "clip_t", "CLIP-T",
        "Cosine of CLIP's embeddings of picture and prompt, not below 0 (torchmetrics' CLIPScore / 100). The prompt "
        "says nothing of expressions and poses.",
        "The paper names no CLIP version and its prompts are not published; other versions give other levels.",
        (0.239, 0.237),
    ),
    Metric(
        "face_sim", "FaceSim",
        "Cosine of ArcFace embeddings of the person's photo and of the painted face; nobody found = 0. A person alone: "
        "the face most like the photo, as the node Face Similarity says.",
        "The paper names no recognition network, and does not say how people of a group are matched or what a missing "
        "face counts.",
        (0.671, 0.664),
    ),
    Metric(
        "expr", "Expr",
        "Share of people whose painted expression is read as the target's: the likeliest of seven, by the emotion "
        "model; nobody found = 0.",
        "The paper does not say how Expr is computed. 1/7 is chance for a face that ignores the target.",
        (0.456, 0.431), is_share=True,
    ),
    Metric(
        "expr_probability", "Expr, probability",
        "Probability that the emotion model gives to the target's expression, the mean; nobody found = 0.",
        "Another reading of what the paper's Expr may be.",
    ),
    Metric(
        "pose", "Pose",
        f"Share of people whose pitch and yaw are both within {POSE_TOLERANCE:g} degrees of the target's, by the face "
        "pack's 3D landmarks; nobody found = 0.",
        "The paper does not say how Pose is computed, nor which angles its targets have.",
        (0.878, 0.867), is_share=True,
    ),
    Metric(
        "pose_error", "Pose error",
        "The larger of the two differences of pitch and yaw in degrees, over the faces found.",
        higher=False,
    ),
    Metric("found", "found", "Share of people for whom a face was found at their place.", is_share=True),
    Metric(
        "leakage", "leakage",
        "Several people: the highest cosine of a painted face with the photo of another person of the picture, over "
        "the faces found. Strangers' cosines lie near 0.",
        higher=False,
    ),
    Metric(
        "margin", "own - other",
        "Several people: FaceSim less leakage, over the faces found; below 0 the face is more like somebody else.",
    ),
    Metric(
        "assigned", "assigned right",
        "Several people: faces and photos are matched so that the sum of cosines is largest (Hungarian matching); "
        "share of people whom this gives the face at their own place; nobody found = 0.",
        is_share=True,
    ),
    Metric(
        "disturbance", "disturbance",
        "1 - SSIM (torchmetrics, Gaussian window, sigma 1.5) to the unpatched model's picture of the same seed, over "
        "the background: all that lies outside the people's boxes and outside the faces found, grown by half. "
        "0 = the same.",
        higher=False,
    ),
)  # fmt: skip
"""All columns, in the table's order."""


def measure_people(
    item: Item, faces: Sequence[DetectedFace], size: tuple[int, int], photos: np.ndarray, assignment: Assignment
) -> list[dict[str, float | int | None]]:
    """What one picture shows of each person: everything that needs only the faces.

    Args:
        item: What was asked for; N subjects.
        faces: F faces of the picture.
        size: Its height and width.
        photos: (N, 512) embeddings of the subjects' photos.
        assignment: "boxes": a person's face is the one in their box; a person alone gets the face most like them.
            "likeness": by cosines, for painters that take no boxes.

    Returns:
        For each subject the columns of METRICS that are known, None where there is nothing to measure, and ``face``:
        the face's position, ``best``: the highest cosine with any face of the picture.
    """
    cosines = likeness(photos, faces)
    by_likeness = assign_by_likeness(cosines)
    if assignment == "likeness" or len(item.people) == 1:
        own = by_likeness
    else:
        own = assign_by_place([subject.box for subject in item.people], [face_middle(face, *size) for face in faces])
    rows = []
    for place, (subject, number) in enumerate(zip(item.people, own, strict=True)):
        row = dict.fromkeys(("pose_error", "leakage", "margin", "assigned"))
        row |= {"face": number, "best": float(cosines[place].max()) if len(faces) else None}
        row |= {"found": float(number is not None), "face_sim": 0.0, "pose": 0.0}
        several = len(item.people) > 1
        if several and assignment == "boxes":
            row["assigned"] = float(number is not None and by_likeness[place] == number)
        if number is not None:
            row["face_sim"] = own_cosine = float(cosines[place, number])
            row |= _pose(faces[number], subject.pitch, subject.yaw)
            if several:
                row["leakage"] = leakage = float(np.delete(cosines[:, number], place).max())
                row["margin"] = own_cosine - leakage
        rows.append(row)
    return rows


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
