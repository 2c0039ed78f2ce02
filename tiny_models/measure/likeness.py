"""Likeness by two recognisers: the readers' network, which conditions nothing, and the face pack's, which conditions.

The sums are those of ``dynamicid.evaluation.measures``; the ground truth of a case is its drawn picture.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from dynamicid.evaluation.measures import Columns, measure_likeness
from dynamicid.evaluation.metrics import AVERAGED, LIKENESSES, METRICS, judge_key, mean_key
from dynamicid.evaluation.recognition import Detector, Recognition, Truth, embedding_of, judged
from dynamicid.faces.detected import DetectedFace

from ..train.classifiers import Classifiers, FacePrediction, face_crop
from .benchmark import Case
from .metrics import Scores, Summary, differences

JUDGE = 1
"""The face pack stands in the place of the first judge; the readers are the first recogniser."""
SHOWN = ("face_sim", "hungarian", "assigned", "each_once", "sim_gt", "copy_paste")
KEYS = (
    *(key for shown in SHOWN for key in (shown, judge_key(shown, JUDGE))),
    *(mean_key(key) for key in AVERAGED),
    "agree",
)
"""Of a picture's scores."""
_BY_KEY = {metric.key: metric for metric in METRICS}
NAMES = {
    key: _BY_KEY[key].name.replace(f", judge {JUDGE}", ", face pack") for key in KEYS
}  # fmt: skip
MEANINGS = {key: _BY_KEY[key].definition for key in (*SHOWN, "agree")}


class ReadersDetector:
    """The classifiers of the evaluation as a recogniser: boxes and embeddings of faces, no landmarks and poses."""

    def __init__(self, classifiers: Classifiers) -> None:
        self._classifiers = classifiers

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """All faces of a picture (128, 128, 3) uint8, from left to right."""
        return [_detected(face) for face in self._classifiers.predict(image[None])[0].faces]


class TwoRecognisers:
    """Both recognisers; photos and drawn pictures are read once.

    Args:
        classifiers: The readers.
        pack: The face pack.
    """

    def __init__(self, classifiers: Classifiers, pack: Detector) -> None:
        self._classifiers = classifiers
        self._readers, self._pack = Recognition(ReadersDetector(classifiers), {}), Recognition(pack, {})

    def score(self, case: Case, picture: np.ndarray) -> dict[str, float]:
        """KEYS of a picture (size, size, 3) uint8; means over its people, NaN where there is nothing to measure."""
        people = [f"{case.number}-{place}" for place in range(len(case.subjects))]
        for person, subject in zip(people, case.subjects, strict=True):
            if person not in self._readers.photos:
                crop = face_crop(subject.photo, subject.photo_box)
                (face,) = self._classifiers.predict_faces([crop], [subject.photo_box])
                self._readers.photos[person] = face.embedding
                self._pack.photos[person] = embedding_of(subject.photo, self._pack.detector)
        boxes = [subject.box for subject in case.subjects]
        truth = Truth(str(case.number), case.render()[0])
        readers, pack = (one.look(picture, people, boxes, "boxes", truth) for one in (self._readers, self._pack))
        assert readers is not None
        rows = measure_likeness(boxes, readers, "boxes")
        added = judged(rows, [pack], boxes, "boxes")
        merged = [{**row, **more} for row, more in zip(rows, added, strict=True)]
        return {key: _mean(merged, key) for key in KEYS}


def order_disagreements(rows: Mapping[str, Scores]) -> list[str]:
    """A sentence for each two rows that the recognisers put in opposite orders, both intervals excluding 0.

    Args:
        rows: By variant, seed after seed, the scores of the same cases.
    """
    texts = []
    for key in (key for key in SHOWN if key in LIKENESSES):
        other = judge_key(key, JUDGE)
        for one, two in combinations(rows, 2):
            row = differences(rows[one], rows[two], (key, other))
            if _sign(row[key]) * _sign(row[other]) < 0:
                texts.append(
                    f"{NAMES[key]}: '{one}' less '{two}' is {row[key].mean:+.3f} by the readers and "
                    f"{row[other].mean:+.3f} by the face pack"
                )
    return texts


def _sign(summary: Summary) -> int:
    """0 where the interval holds 0."""
    return (summary.low > 0) - (summary.high < 0)


def _detected(face: FacePrediction) -> DetectedFace:
    nothing = np.zeros((0, 2), dtype=np.float32)
    return DetectedFace(face.box, face.is_face, nothing, nothing[:, 0], face.embedding)


def _mean(rows: Sequence[Columns], key: str) -> float:
    values = [value for row in rows if (value := row.get(key)) is not None]
    return float(np.mean(values)) if values else float("nan")
