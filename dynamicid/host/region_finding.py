"""Places for people, taken from the faces of an existing picture."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..errors import DynamicIDError
from ..faces.analysis import FaceAnalyzer
from ..faces.detected import order_faces
from ..faces.drawing import draw_faces
from ..faces.face import Face
from ..faces.regions import Region
from .images import checked_images, to_image, to_uint8

ORDERS = {
    "left to right": "leftmost",
    "right to left": "rightmost",
    "top to bottom": "topmost",
    "largest first": "largest",
    "most confident first": "most confident",
}
"""Order at the node -> the pick that counts faces that way."""


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
        DynamicIDError: Unusable picture, several pictures, or fewer faces than people.
    """
    picture = checked_images(images, "image")
    if picture.shape[0] > 1:
        raise DynamicIDError("image", f"There are {picture.shape[0]} pictures.", "Connect a single picture.")
    photo = to_uint8(picture[0])
    detected = order_faces(analyzer.detect(photo), ORDERS[order])
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


def _grown_box(
    box_xyxy: tuple[float, float, float, float], grow: float, height: int, width: int
) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box_xyxy
    extra_x, extra_y = grow * (x1 - x0), grow * (y1 - y0)
    x0, x1 = (min(max(x, 0.0), width) / width for x in (x0 - extra_x, x1 + extra_x))
    y0, y1 = (min(max(y, 0.0), height) / height for y in (y0 - extra_y, y1 + extra_y))
    return (x0, y0, x1 - x0, y1 - y0)
