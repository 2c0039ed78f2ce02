"""What a recogniser knows of the people, and what it sees of a picture: the face pack's and the judges'."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..boxes import BoxXywhNorm
from ..faces.detected import DetectedFace, order_faces
from ..files.skipped import BadSample
from .measures import Assignment, Columns, Sight, compare_recognisers, measure_likeness, own_faces


class Detector(Protocol):
    """What is needed of a face pack."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """All faces of an RGB uint8 picture."""
        ...


class Truth(NamedTuple):
    """A picture of what was asked for: its ``name``, and (height, width, 3) uint8 RGB."""

    name: str
    image: np.ndarray


class Recognition:
    """One recogniser and the people as it knows them.

    Args:
        detector: Its networks.
        photos: (D,) embeddings of unit length, by person; more may be added.
    """

    def __init__(self, detector: Detector, photos: dict[str, np.ndarray]) -> None:
        self.detector, self.photos = detector, photos
        self._truths: dict[str, list[np.ndarray | None]] = {}

    def look(
        self,
        image: np.ndarray,
        people: Sequence[str],
        boxes: Sequence[BoxXywhNorm],
        assignment: Assignment,
        truth: Truth | None,
    ) -> Sight | None:
        """What it sees of a picture (height, width, 3); None where it does not know one of the ``people``.

        Args:
            image: The picture.
            people: N names.
            boxes: Their places, as ``measures.own_faces`` takes them.
            assignment: How faces find their people, in the picture and in the ground truth.
            truth: The ground truth; its faces are looked for once.
        """
        if any(person not in self.photos for person in people):
            return None
        photos = np.stack([self.photos[person] for person in people])
        sight = Sight(self.detector.detect(image), image.shape[:2], photos)
        if truth is None:
            return sight
        if truth.name not in self._truths:
            seen = Sight(self.detector.detect(truth.image), truth.image.shape[:2], photos)
            own = own_faces(boxes, seen, assignment)
            self._truths[truth.name] = [None if number is None else seen.faces[number].embedding for number in own]
        return Sight(sight.faces, sight.size, photos, self._truths[truth.name])


def embedding_of(photo: np.ndarray, detector: Detector) -> np.ndarray:
    """(D,) of unit length, of the largest face of a photo (height, width, 3) uint8 RGB.

    Raises:
        BadSample: There is no face.
    """
    faces = order_faces(detector.detect(photo), "largest")
    if not faces:
        raise BadSample("no face")
    return faces[0].embedding / max(float(np.linalg.norm(faces[0].embedding)), 1e-12)


def judged(
    rows: Sequence[Columns], sights: Sequence[Sight | None], boxes: Sequence[BoxXywhNorm], assignment: Assignment
) -> list[Columns]:
    """The columns that the judges add to a picture's ``rows`` by the face pack; none where one of them saw nothing."""
    seen = [sight for sight in sights if sight is not None]
    if len(seen) < len(sights):
        return [{} for _ in rows]
    return compare_recognisers(rows, [measure_likeness(boxes, sight, assignment) for sight in seen])
