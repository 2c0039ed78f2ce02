"""A face that was found in a picture, and which of several is meant."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..boxes import BoxXyxyPx
from ..errors import DynamicIDError

LANDMARK_SIZE = 512
"""Pixels a side of the resized picture in which landmarks are counted."""
_VISIBLE = "the face from the front or the side, sharp, uncovered, at least 50 pixels high"
PICKS = ("largest", "leftmost", "rightmost", "topmost", "most confident")


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One face of one picture.

    Attributes:
        box_xyxy: Left, top, right, bottom in pixels of the given picture; may reach past its edges.
        score: The detector's confidence, 0..1.
        landmarks_106: (106, 2) float32, x and y in pixels of the picture resized to 512 x 512 (x * 512 / width).
        pose: (3,) float32, pitch, yaw, roll in degrees.
        embedding: (512,) float32 of unit length.
    """

    box_xyxy: BoxXyxyPx
    score: float
    landmarks_106: np.ndarray = field(repr=False)
    pose: np.ndarray = field(repr=False)
    embedding: np.ndarray = field(repr=False)


def check_picture(image: np.ndarray) -> None:
    """A picture has to be (height, width, 3) uint8.

    Raises:
        DynamicIDError: Another dtype or shape, or an empty picture.
    """
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if dtype != np.uint8 or shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        found = f"Expected a picture of height x width x 3 bytes, found shape {shape} of {dtype}."
        raise DynamicIDError("image", found, "Pass RGB as uint8.")


def order_faces(faces: Sequence[DetectedFace], pick: str) -> list[DetectedFace]:
    """All faces in the order that `pick` (one of PICKS) counts them; equal ones from left to right."""
    keys = {
        "largest": lambda face: -(face.box_xyxy[2] - face.box_xyxy[0]) * (face.box_xyxy[3] - face.box_xyxy[1]),
        "leftmost": lambda face: face.box_xyxy[0] + face.box_xyxy[2],
        "rightmost": lambda face: -(face.box_xyxy[0] + face.box_xyxy[2]),
        "topmost": lambda face: face.box_xyxy[1] + face.box_xyxy[3],
        "most confident": lambda face: -face.score,
    }
    if pick not in keys:
        raise DynamicIDError("pick", f"{pick!r} is no way to choose a face.", f"Use one of: {', '.join(PICKS)}.")
    return sorted(sorted(faces, key=reading_order), key=keys[pick])


class NoFaceError(DynamicIDError):
    """The networks found no face in a picture."""


def choose_face(faces: Sequence[DetectedFace], pick: str, index: int, where: str) -> DetectedFace:
    """The face at position `index` (from 0) in the order of `pick`.

    Args:
        where: Id of the node input that the picture came in by; named in the errors.

    Raises:
        NoFaceError: No face at all.
        DynamicIDError: Fewer faces than `index` asks for.
    """
    if not faces:
        raise NoFaceError(
            where,
            "No face was found in the picture.",
            f"Use a picture that shows {_VISIBLE}.",
        )
    if not 0 <= index < len(faces):
        count = "1 face was" if len(faces) == 1 else f"{len(faces)} faces were"
        allowed = "0" if len(faces) == 1 else f"0 to {len(faces) - 1}"
        raise DynamicIDError(
            where,
            f"{count} found in the picture, but index is {index}.",
            f"Set index to {allowed} (0 is the first face).",
        )
    return order_faces(faces, pick)[index]


def choose_faces(batch: Sequence[Sequence[DetectedFace]], pick: str, index: int, where: str) -> list[DetectedFace]:
    """One face of each picture, as ``choose_face``; errors name the pictures by their numbers, from 1.

    Args:
        batch: The faces of each picture.
    """
    if len(batch) > 1:
        empty = [number for number, faces in enumerate(batch, start=1) if not faces]
        if empty:
            remedy = f"Use pictures that show {_VISIBLE}, or leave these out."
            raise DynamicIDError(where, f"No face was found in {_pictures(empty, len(batch))}.", remedy)
        short = [number for number, faces in enumerate(batch, start=1) if index >= len(faces)]
        if short:
            found = f"There are fewer than {index + 1} faces in {_pictures(short, len(batch))}, but index is {index}."
            raise DynamicIDError(where, found, "Set a lower index (0 is the first face), or leave these out.")
    return [choose_face(faces, pick, index, where) for faces in batch]


def _pictures(numbers: Sequence[int], count: int) -> str:
    """ "picture 2 of 5", "pictures 2, 3 and 4 of 5"."""
    *most, last = map(str, numbers)
    return f"pictures {', '.join(most)} and {last} of {count}" if most else f"picture {last} of {count}"


def reading_order(face: DetectedFace) -> tuple[float, float, float]:
    """Sorts from left to right by the middle of the box, then from top to bottom."""
    x0, y0, x1, y1 = face.box_xyxy
    return (x0 + x1, y0 + y1, -face.score)
