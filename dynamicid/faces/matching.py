"""Which face of a picture belongs to which person: by their places, or by likeness.

The nodes that crop and check people use it, and so does the evaluation. Legend: N people, F faces found in a picture.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..boxes import BoxXywhNorm
from .detected import DetectedFace

Place = BoxXywhNorm | Tensor
"""A box, or a soft mask (height, width) over the whole picture."""
MATCHES = ("place", "likeness")
_NEVER = 1e3
"""Cost of a face outside the place: more than any distance within a picture."""


def assign_faces(
    embeddings: np.ndarray,
    places: Sequence[Place],
    faces: Sequence[DetectedFace],
    size: tuple[int, ...],
    match: str,
) -> list[int | None]:
    """For each person the position of their face among the F faces of a picture; None where it was not found.

    Args:
        embeddings: (N, 512) of the people.
        places: Of the people.
        faces: Of the picture.
        size: Its height and width in pixels.
        match: One of ``MATCHES``: the face at the person's place, or the one most like them.
    """
    if match == "likeness":
        return assign_by_likeness(likeness(embeddings, faces))
    return assign_by_place(places, [face_middle(face, size[0], size[1]) for face in faces])


def face_middle(face: DetectedFace, height: int, width: int) -> tuple[float, float]:
    """Middle of a face's box as shares of a picture of this size in pixels."""
    left, top, right, bottom = face.box_xyxy
    return (left + right) / 2 / width, (top + bottom) / 2 / height


def assign_by_place(places: Sequence[Place], middles: Sequence[tuple[float, float]]) -> list[int | None]:
    """For each person the face at their place: Hungarian matching of the distances between the middles of places and
    faces; a face outside somebody's place is not theirs.

    Args:
        places: Of the N people.
        middles: F middles of faces as shares of the picture.
    """
    cost = np.full((len(places), len(middles)), _NEVER)
    for row, place in enumerate(places):
        middle = _middle(place)
        for column, point in enumerate(middles):
            if _holds(place, point):
                cost[row, column] = np.hypot(point[0] - middle[0], point[1] - middle[1])
    matched = enumerate(_match_rows(cost))
    return [None if face is None or cost[row, face] >= _NEVER else face for row, face in matched]


def assign_by_likeness(cosines: np.ndarray) -> list[int | None]:
    """For each person the face that Hungarian matching gives them: (N, F) cosines, their sum as large as can be."""
    return _match_rows(-cosines)


def likeness(people: np.ndarray, faces: Sequence[DetectedFace]) -> np.ndarray:
    """(N, F) cosines of people's embeddings (N, 512), of unit length, and the faces of a picture."""
    return people @ np.array([face.embedding for face in faces]).reshape(len(faces), people.shape[1]).T


def _middle(place: Place) -> tuple[float, float]:
    if not isinstance(place, Tensor):
        left, top, width, height = place
        return left + width / 2, top + height / 2
    rows, columns = place.sum(dim=1).double(), place.sum(dim=0).double()
    y, x = (((np.arange(len(sums)) + 0.5) * sums.numpy()).sum() / sums.sum() for sums in (rows, columns))
    return float(x) / place.shape[1], float(y) / place.shape[0]


def _holds(place: Place, point: tuple[float, float]) -> bool:
    x, y = point
    if not isinstance(place, Tensor):
        left, top, width, height = place
        return left <= x <= left + width and top <= y <= top + height
    height, width = place.shape
    return 0 <= x < 1 and 0 <= y < 1 and bool(place[int(y * height), int(x * width)] > 0)


def _match_rows(cost: np.ndarray) -> list[int | None]:
    """Column of each row at the lowest sum; None for rows that are left over."""
    from scipy.optimize import linear_sum_assignment

    columns: list[int | None] = [None] * cost.shape[0]
    for row, column in zip(*linear_sum_assignment(cost), strict=True):
        columns[int(row)] = int(column)
    return columns
