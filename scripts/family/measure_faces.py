"""How good the trained face networks are on held-out people, motions and scenes, as the pack itself uses them."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from dynamicid.faces.analysis import intersection_over_union, load_face_analysis
from dynamicid.faces.detected import LANDMARK_SIZE, DetectedFace
from dynamicid.training.synthetic import Split

from .face_crops import UPSCALING, worsened
from .face_pictures import FacePictures, load_pictures

FOUND = 0.5
"""Overlap from which a face counts as found."""


@dataclass
class _Findings:
    """Counts and deviations over pictures; lists have one entry for each face that was found."""

    faces: int = 0
    false: int = 0
    overlaps: list[float] = field(default_factory=list)
    landmark_errors: list[float] = field(default_factory=list)
    pose_errors: list[np.ndarray] = field(default_factory=list)
    embeddings: list[np.ndarray] = field(default_factory=list)
    people: list[int] = field(default_factory=list)


def measure_faces(
    work: Path, pack: Path, scenes: int = 150, portraits: int = 100, worse: bool = False
) -> dict[str, float]:
    """Figures of a pack on held-out pictures, through the pack's ``load_face_analysis``.

    Args:
        work: Where the pictures are kept.
        pack: The folder of the ONNX files.
        scenes, portraits: How many of each, at most 500.
        worse: Whether the pictures are blurred, bent, tinted and so on.

    Returns:
        Recall and precision; mean overlap; mean landmark error as a share of the box's longer side; median and 90th
        percentile of the pose errors in degrees; AUC, equal error rate and mean cosines of the embeddings.
    """
    faces = load_pictures(work, Split.held_out)
    analyzer = load_face_analysis(pack, "cpu")
    random = np.random.default_rng(0)
    found = _Findings()
    first_portrait = int(faces.scene_count)
    for number in [*range(scenes), *range(first_portrait, first_portrait + portraits)]:
        picture = np.asarray(faces.pictures[number])
        picture = worsened(picture, random) if worse else picture
        _compare(found, faces, faces.faces_of(number), analyzer.detect(picture))
    errors = np.abs(np.stack(found.pose_errors))
    figures = {
        "faces": float(found.faces),
        "recall": len(found.overlaps) / found.faces,
        "precision": len(found.overlaps) / (len(found.overlaps) + found.false),
        "overlap": float(np.mean(found.overlaps)),
        "landmark error": float(np.mean(found.landmark_errors)),
    }
    for place, name in enumerate(("pitch", "yaw", "roll")):
        figures[f"{name} error, median"] = float(np.median(errors[:, place]))
        figures[f"{name} error, 90%"] = float(np.percentile(errors[:, place], 90))
    return figures | verification(np.stack(found.embeddings), np.asarray(found.people))


def _compare(found: _Findings, faces: FacePictures, rows: np.ndarray, detected: list[DetectedFace]) -> None:
    """Adds one picture's faces to the findings; each detected face answers for one true one."""
    left = list(detected)
    for row in rows:
        found.faces += 1
        overlaps = [intersection_over_union(np.asarray(face.box_xyxy), faces.box[row]) for face in left]
        overlap = max(overlaps, default=0.0)
        if overlap < FOUND:
            continue
        best = left.pop(overlaps.index(overlap))
        x0, y0, x1, y1 = faces.box[row] * UPSCALING
        off = np.linalg.norm(best.landmarks_106 - faces.landmarks[row] * UPSCALING, axis=1).mean()
        found.overlaps.append(overlap)
        found.landmark_errors.append(float(off / max(x1 - x0, y1 - y0)))
        found.pose_errors.append(best.pose - faces.motion[row, :3])
        found.embeddings.append(best.embedding)
        found.people.append(int(faces.person[row]))
    found.false += len(left)


def verification(embeddings: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """How well cosines of unit vectors (N, 512) tell pairs of the same person from pairs of others (N,)."""
    first, second = np.triu_indices(len(people), 1)
    cosines, same = (embeddings @ embeddings.T)[first, second], people[first] == people[second]
    order = np.argsort(cosines)
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    positives, negatives = same.sum(), (~same).sum()
    area = (rank[same].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    missed = np.cumsum(same[order]) / positives
    accepted = 1 - np.cumsum(~same[order]) / negatives
    place = np.argmin(np.abs(missed - accepted))
    return {
        "same pairs": float(positives),
        "AUC": float(area),
        "EER": float((missed[place] + accepted[place]) / 2),
        "cosine of the same": float(cosines[same].mean()),
        "cosine of others": float(cosines[~same].mean()),
    }


def draw_findings(work: Path, pack: Path, path: Path, numbers: tuple[int, ...]) -> None:
    """Writes a strip of held-out pictures with the boxes and landmarks that the pack finds."""
    faces, analyzer = load_pictures(work, Split.held_out), load_face_analysis(pack, "cpu")
    strip = []
    for number in numbers:
        picture = np.asarray(faces.pictures[number])
        canvas = cv2.resize(picture, (LANDMARK_SIZE, LANDMARK_SIZE))[..., ::-1].copy()
        for face in analyzer.detect(picture):
            x0, y0, x1, y1 = (round(value * UPSCALING) for value in face.box_xyxy)
            cv2.rectangle(canvas, (x0, y0), (x1, y1), (0, 255, 0), 2)
            for x, y in face.landmarks_106:
                cv2.circle(canvas, (round(float(x)), round(float(y))), 2, (255, 255, 0), -1)
        strip.append(canvas)
    cv2.imwrite(str(path), np.concatenate(strip, axis=1))
