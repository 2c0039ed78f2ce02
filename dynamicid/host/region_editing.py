"""People and the boxes drawn for them: regions, a picture of them, and what the canvas shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ..attention.people import fill_places
from ..faces.boxes import parse_boxes
from ..faces.face import Face
from ..faces.region_drawing import draw_places
from ..faces.regions import Region
from .images import single_image, to_image, to_uint8
from .previews import keep

_EMPTY_SIDE = 512
_EMPTY_COLOUR = (36, 36, 40)


def edited_regions(
    faces: Mapping[int, Face], boxes: str, image: Tensor | None
) -> tuple[tuple[Region, ...], Tensor, list[dict[str, Any]]]:
    """Person n gets the n-th box; a box whose person is not connected waits for one.

    Args:
        faces: Person number (from 1) -> face; numbers may be left out.
        boxes: JSON of the boxes, see ``parse_boxes``.
        image: IMAGE behind the boxes in the preview, or None.

    Returns:
        Regions in the order of the person numbers, the preview IMAGE, and the entries for the node's ``ui``.

    Raises:
        DynamicIDError: Unusable boxes, or unusable or several pictures.
    """
    parsed = parse_boxes(boxes)
    numbers = sorted(faces)
    regions = tuple(Region(faces[n], parsed[n - 1] if n <= len(parsed) else None) for n in numbers)
    places = fill_places([region.box_xywh_norm for region in regions])
    people = {n: (faces[n], place) for n, place in zip(numbers, places, strict=True)}
    preview = draw_places(_background(image), people)
    return regions, to_image(preview), [{"person": n, **keep(faces[n], faces[n])} for n in numbers]


def _background(image: Tensor | None) -> np.ndarray:
    if image is None:
        return np.full((_EMPTY_SIDE, _EMPTY_SIDE, 3), _EMPTY_COLOUR, dtype=np.uint8)
    return to_uint8(single_image(image, "image")[0])
