"""Places for people, taken from the faces of an existing picture or from boxes that another node found or drew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..boxes import BoxXywhNorm, BoxXyxyPx
from ..errors import DynamicIDError, check_range
from ..faces.analysis import FaceAnalyzer
from ..faces.detected import DetectedFace, order_faces
from ..faces.drawing import draw_faces
from ..faces.face import Face
from ..faces.region_drawing import draw_places
from ..faces.regions import Region
from .detection import detect_batch
from .images import single_image, to_image, to_uint8

ORDERS = {
    "left to right": "leftmost",
    "right to left": "rightmost",
    "top to bottom": "topmost",
    "largest first": "largest",
    "most confident first": "most confident",
}
"""Order at the node -> the pick that counts faces that way."""
AS_GIVEN = "as given"
LARGEST_GROWTH = 4.0


def regions_from_image(
    analyzer: FaceAnalyzer, images: Tensor, faces: Mapping[int, Face], order: str, grow: float
) -> tuple[tuple[Region, ...], Tensor]:
    """The picture's n-th face becomes the place of person n.

    Args:
        analyzer: Face finder.
        images: IMAGE with one picture.
        faces: Person number (from 1) -> face; numbers may be left out.
        order: One of ``ORDERS``.
        grow: Each box grows on every side by this share of its width and height; 0 = the detector's box.

    Returns:
        Regions in the order of the person numbers, and the picture with numbered boxes.

    Raises:
        DynamicIDError: Unusable picture, several pictures, fewer faces than people, or no such order or growth.
    """
    _check_choice(order, list(ORDERS), grow)
    photo, faces_found = next(detect_batch(analyzer, single_image(images, "image")))
    detected = order_faces(faces_found, ORDERS[order])
    if len(detected) < max(faces):
        raise DynamicIDError(
            "image",
            f"The picture shows {len(detected)} faces, face_{max(faces)} asks for number {max(faces)}.",
            "Use a picture with more visible faces, or connect fewer people.",
        )
    height, width = photo.shape[:2]
    regions = tuple(
        Region(face, _grown_box(detected[number - 1].box_xyxy, grow, height, width))
        for number, face in sorted(faces.items())
    )
    preview = draw_faces(photo, detected, [number - 1 for number in faces], first_number=1)
    return regions, to_image(preview)


def _check_choice(order: str, orders: Sequence[str], grow: float) -> None:
    """The host checks no linked value."""
    check_range("grow", grow, 0, LARGEST_GROWTH)
    if order not in orders:
        raise DynamicIDError("order", f"{order!r} is no order of faces.", f"Use one of: {', '.join(orders)}.")


def regions_from_boxes(
    boxes: Any, images: Tensor, faces: Mapping[int, Face], order: str, grow: float
) -> tuple[tuple[Region, ...], Tensor]:
    """The n-th box becomes the place of person n.

    Args:
        boxes: The host's BOUNDING_BOX: a dict of x, y, width and height in pixels (``score`` optional), a list of
            them, or a list with one such list for the picture.
        images: IMAGE with the one picture that the boxes belong to.
        faces: Person number (from 1) -> face; numbers may be left out.
        order: ``AS_GIVEN`` or one of ``ORDERS``.
        grow: Each box grows on every side by this share of its width and height.

    Returns:
        Regions in the order of the person numbers, and the picture with everybody's place.

    Raises:
        DynamicIDError: Unusable or several pictures, something that is no box, fewer boxes than people, or no such
            order or growth.
    """
    _check_choice(order, [AS_GIVEN, *ORDERS], grow)
    photo = to_uint8(single_image(images, "image")[0])
    height, width = photo.shape[:2]
    given = [_box(entry, number, height, width) for number, entry in enumerate(_flat(boxes), 1)]
    if order != AS_GIVEN:
        given = order_faces(given, ORDERS[order])
    if len(given) < max(faces):
        raise DynamicIDError(
            "bboxes",
            f"There are {len(given)} boxes, face_{max(faces)} asks for number {max(faces)}.",
            "Find or draw more boxes, or connect fewer people.",
        )
    places = {n: (face, _grown_box(given[n - 1].box_xyxy, grow, height, width)) for n, face in sorted(faces.items())}
    regions = tuple(Region(face, place) for face, place in places.values())
    return regions, to_image(draw_places(photo, places))


def _flat(boxes: Any) -> list[Any]:
    """All boxes of one picture."""
    entries = list(boxes) if isinstance(boxes, list | tuple) else [boxes]
    if not entries or not all(isinstance(entry, list | tuple) for entry in entries):
        return entries
    if len(entries) > 1:
        raise DynamicIDError("bboxes", f"There are boxes of {len(entries)} pictures.", "Connect those of one picture.")
    return list(entries[0])


def _box(entry: Any, number: int, height: int, width: int) -> DetectedFace:
    """A box as the detector's result that it may be, so that both are ordered alike; cut to the picture."""
    try:
        x, y, box_width, box_height = (float(entry[key]) for key in ("x", "y", "width", "height"))
        score = float(entry.get("score") or 0)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise DynamicIDError(
            "bboxes", f"Box {number} is {str(entry)[:80]}.", "Connect boxes with x, y, width and height in pixels."
        ) from None
    left, right = (min(max(value, 0.0), width) for value in (x, x + box_width))
    top, bottom = (min(max(value, 0.0), height) for value in (y, y + box_height))
    if not all(map(math.isfinite, (x, y, box_width, box_height))) or right - left < 1 or bottom - top < 1:
        raise DynamicIDError(
            "bboxes",
            f"Box {number} ({x:g}, {y:g}, {box_width:g} x {box_height:g}) is not inside the picture of "
            f"{width} x {height} pixels.",
            "Connect the picture that the boxes belong to, at the same size.",
        )
    nothing = np.zeros(0, np.float32)
    return DetectedFace((left, top, right, bottom), score, nothing, nothing, nothing)


def _grown_box(box_xyxy: BoxXyxyPx, grow: float, height: int, width: int) -> BoxXywhNorm:
    x0, y0, x1, y1 = box_xyxy
    extra_x, extra_y = grow * (x1 - x0), grow * (y1 - y0)
    x0, x1 = (min(max(x, 0.0), width) / width for x in (x0 - extra_x, x1 + extra_x))
    y0, y1 = (min(max(y, 0.0), height) / height for y in (y0 - extra_y, y1 + extra_y))
    return (x0, y0, x1 - x0, y1 - y0)
