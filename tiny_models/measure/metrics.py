"""The scores of a picture, defined in ``MEANINGS``, and their summary over many pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..places import PICTURE_SIZE, SEED
from ..train.classifier_accuracy import POSE_TOLERANCE
from ..train.classifiers import FacePrediction, ScenePrediction
from .benchmark import Case, CaseSubject

MEANINGS: dict[str, str] = {
    "prompt": "share of what the caption asks for (number of people, place, colour of the wall, each shirt, each "
    "object and its colour) that is read off the picture; expressions do not count",
    "shirts": "of that, the shirts alone: each person's, at their place",
    "face_sim": "cosine of the face classifier's embeddings of photo and painted face, over the faces found",
    "expr": "share of people whose painted expression is read as the target's; nobody found = wrong",
    "pose": "share of people whose pitch and yaw are both read within 15 degrees of the target's; nobody found = wrong",
    "assigned": "share of people whose painted face is more like their own photo than like anybody else's in the "
    "picture (a person alone: than a stranger's); nobody found = wrong",
    "each_once": "share of pictures in which every face is assigned right",
    "count": "share of pictures in which as many faces are found as people were asked for",
}
"""Name of a score -> what it means."""
BOOTSTRAPS = 1000
Scores = Sequence[Sequence[Mapping[str, float]]]
"""Seed after seed, in each the scores of all cases by name."""


def score_picture(
    case: Case, prediction: ScenePrediction, photos: np.ndarray, stranger: np.ndarray
) -> dict[str, float]:
    """All scores of one picture, by name; NaN where there is nothing to score.

    Args:
        case: What was wanted.
        prediction: Of the picture.
        photos: (N, 64) embeddings of the subjects' photos.
        stranger: (64,) of somebody else's.
    """
    faces = faces_at_places(case.subjects, prediction.faces)
    rivals = list(photos) if len(photos) > 1 else [photos[0], stranger]
    similar, expr, pose, own = [], [], [], []
    for number, (subject, face) in enumerate(zip(case.subjects, faces, strict=True)):
        if face is None:
            for scores in (expr, pose, own):
                scores.append(0.0)
            continue
        cosines = [float(face.embedding @ rival) for rival in rivals]
        similar.append(cosines[number])
        own.append(float(cosines[number] == max(cosines) and cosines.count(max(cosines)) == 1))
        expr.append(float(face.expression == subject.target.expression))
        pose.append(float(is_pose(face.pose, subject)))
    shown = prompted_attributes(case, prediction, faces)
    return {
        "prompt": float(np.mean(list(shown.values()))),
        "shirts": float(np.mean([right for name, right in shown.items() if name.startswith("shirt")])),
        "face_sim": float(np.mean(similar)) if similar else float("nan"),
        "expr": float(np.mean(expr)),
        "pose": float(np.mean(pose)),
        "assigned": float(np.mean(own)),
        "each_once": float(all(own)),
        "count": float(len(prediction.faces) == len(case.subjects)),
    }


def is_pose(pose: np.ndarray, subject: CaseSubject) -> bool:
    """Whether pitch and yaw (2,) in degrees are the subject's target, within POSE_TOLERANCE."""
    target = np.array([subject.target.pitch, subject.target.yaw])
    return bool((np.abs(np.asarray(pose) - target) <= POSE_TOLERANCE).all())


def faces_at_places(subjects: Sequence[CaseSubject], faces: Sequence[FacePrediction]) -> list[FacePrediction | None]:
    """The nearest face to each subject's place; None beyond half of the distance to a neighbour."""
    reach = 0.5 if len(subjects) == 1 else min(b.x - a.x for a, b in pairwise(subjects)) / 2
    middles = [(face.box[0] + face.box[2]) / 2 / PICTURE_SIZE for face in faces]
    nearest: list[FacePrediction | None] = []
    for subject in subjects:
        near = [(abs(x - subject.x), place) for place, x in enumerate(middles)]
        distance, place = min(near, default=(1.0, 0))
        nearest.append(faces[place] if distance < reach else None)
    return nearest


def prompted_attributes(
    case: Case, prediction: ScenePrediction, faces: Sequence[FacePrediction | None]
) -> dict[str, bool]:
    """Whether each prompted attribute is predicted: "shirt 0", "object 1", ... -> right.

    Args:
        case: Its ``prompted``.
        prediction: Of the picture.
        faces: Of the subjects, from ``faces_at_places``.
    """
    kinds = {attribute.subject: attribute.value for attribute in case.prompted if attribute.name == "object"}
    right = {}
    for attribute in case.prompted:
        face = faces[attribute.subject] if attribute.name == "shirt" and attribute.subject is not None else None
        answers = {
            "people": str(prediction.people),
            "place": prediction.place,
            "wall": prediction.wall if prediction.place == "wall" else None,
            "shirt": None if face is None else face.shirt,
            "object": attribute.value if attribute.value in prediction.objects else None,
            "object colour": prediction.objects.get(kinds.get(attribute.subject, "")),
        }
        right[f"{attribute.name} {attribute.subject or 0}"] = answers[attribute.name] == attribute.value
    return right


@dataclass(frozen=True)
class Summary:
    """A score over many pictures.

    Attributes:
        mean: Over pictures.
        low, high: 95 % interval, from drawing whole cases anew.
        spread: Standard deviation between the seeds' means.
    """

    mean: float
    low: float
    high: float
    spread: float


def summarise(scores: np.ndarray) -> Summary:
    """Mean, interval and spread.

    Args:
        scores: (seeds, cases); NaN where there is nothing to score.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).any():
        return Summary(*[float("nan")] * 4)
    random = np.random.default_rng(SEED)
    drawn = random.integers(scores.shape[1], size=(BOOTSTRAPS, scores.shape[1]))
    totals, counts = np.nansum(scores, axis=0), np.isfinite(scores).sum(axis=0)
    means = totals[drawn].sum(1) / np.maximum(counts[drawn].sum(1), 1)
    low, high = np.percentile(means, [2.5, 97.5])
    seeds = np.nansum(scores, axis=1) / np.maximum(np.isfinite(scores).sum(axis=1), 1)
    spread = float(seeds.std(ddof=1)) if len(seeds) > 1 else 0.0
    return Summary(float(np.nanmean(scores)), float(low), float(high), spread)


def summaries(rows: Scores, names: Iterable[str] = MEANINGS) -> dict[str, Summary]:
    """The named scores' summaries."""
    return {name: summarise(np.array([[row[name] for row in seed] for seed in rows])) for name in names}


def differences(rows: Scores, others: Scores, names: Iterable[str] = MEANINGS) -> dict[str, Summary]:
    """The named scores' differences, picture by picture; a picture that only one of the two can score is left out."""
    paired = [list(zip(a, b, strict=True)) for a, b in zip(rows, others, strict=True)]
    return {name: summarise(np.array([[a[name] - b[name] for a, b in seed] for seed in paired])) for name in names}
