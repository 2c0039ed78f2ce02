"""Crop People and Paste People: ``faces.crops`` with the host's pictures, progress and log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import comfy.model_management
import comfy.utils
import numpy as np
import torch
from torch import Tensor

from ..attention.people import places_of
from ..errors import DynamicIDError
from ..faces.analysis import FaceAnalyzer
from ..faces.crops import (
    PLACEHOLDER_SIDE,
    Crops,
    PersonCrop,
    check_repainted,
    cut_people,
    paste_people,
    resize,
)
from ..faces.face import Face
from ..faces.matching import assign_faces
from ..faces.region_drawing import draw_crops
from ..faces.regions import Region, person_prompts, regions_by_picture, stacked_embeddings
from .detection import detect_batch
from .images import checked_images, to_batch

logger = logging.getLogger(__name__)

CutOut = tuple[list[Tensor], list[Face], list[str], list[Tensor], Crops, Tensor]


def crop_people(
    analyzer: FaceAnalyzer,
    images: Tensor,
    regions: Sequence[Region],
    match: str,
    size: int,
    grow: float,
    prompt: str,
) -> CutOut:
    """Cuts every person out of every picture.

    Args:
        analyzer: Face finder.
        images: IMAGE batch.
        regions: Who is in the pictures, and where.
        match: One of ``MATCHES``: a person's face is the one at their place, or the one most like them.
        size: Side of the crops in pixels.
        grow: Factor on the crop's part of the picture; 1 = head and shoulders.
        prompt: One line for everybody or one line a person; ``{expression}`` becomes the person's face prompt.

    Returns:
        For each person found, picture after picture: crop IMAGE, face, prompt, MASK; then what Paste People needs, and
        the pictures with all crops drawn. Where nobody is found the lists hold one black crop that changes nothing.

    Raises:
        DynamicIDError: Unusable pictures, a prompt of another number of lines, or people who hold neither one motion
            nor one for each picture.
    """
    pictures = checked_images(images, "image")
    people_of_picture = _people_by_picture(regions, len(pictures))
    prompts = [person_prompts(prompt, people) for people in people_of_picture]
    places, embeddings = places_of(regions), stacked_embeddings(regions)
    people: list[PersonCrop] = []
    previews: list[np.ndarray] = []
    for number, (photo, faces) in enumerate(detect_batch(analyzer, pictures)):
        assigned = assign_faces(embeddings, places, faces, photo.shape[:2], match)
        cut = cut_people(pictures[number], number, faces, assigned, size, grow)
        missing = [str(person) for person, own in enumerate(assigned, 1) if own is None]
        if missing:
            logger.warning(
                "Crop People: picture %d shows no face of person %s; nothing is repainted there.",
                number + 1,
                ", ".join(missing),
            )
        people += cut
        previews.append(draw_crops(photo, cut))
    crops, preview = Crops(pictures, tuple(people)), to_batch(previews)
    if not people:
        black = torch.zeros(1, PLACEHOLDER_SIDE, PLACEHOLDER_SIDE, 3)
        return [black], [people_of_picture[0][0].face], [prompts[0][0]], [black[..., 0]], crops, preview
    return (
        [crop.given[None] for crop in people],
        [people_of_picture[crop.picture][crop.person].face for crop in people],
        [prompts[crop.picture][crop.person] for crop in people],
        [resize(crop.mask, size)[None] for crop in people],
        crops,
        preview,
    )


def _people_by_picture(regions: Sequence[Region], pictures: int) -> list[tuple[Region, ...]]:
    """Everybody with their motion in each picture."""
    people = regions_by_picture(regions)
    if len(people) not in (1, pictures):
        raise DynamicIDError(
            "regions",
            f"People hold {len(people)} motions, but there are {pictures} pictures.",
            "Connect as many pictures as motions, or people with one motion.",
        )
    return people * (pictures // len(people))


def paste_crops(images: Sequence[Tensor], crops: Crops, feather: float, match_colour: bool) -> Tensor:
    """Puts repainted crops back.

    Args:
        images: One IMAGE for each crop, in their order.
        crops: From the same Crop People.
        feather: Width of the transition as a share of the crop.
        match_colour: Whether colours in the transition are brought to those around it.

    Returns:
        The pictures as an IMAGE batch.

    Raises:
        DynamicIDError: Unusable pictures, or pictures that do not fit the crops.
    """
    comfy.model_management.throw_exception_if_processing_interrupted()
    repainted = [checked_images(image, "image") for image in images]
    check_repainted(crops, repainted)
    return paste_people(crops, [picture[0] for picture in repainted], feather, match_colour)


def single(values: Sequence[Crops]) -> Crops:
    """The one value of an input that comes as a list because the node takes lists.

    Raises:
        DynamicIDError: Several; they belong to several pictures.
    """
    if len(values) != 1:
        raise DynamicIDError(
            "crops", f"There are {len(values)} of them.", "Connect one Crop People; give it all pictures as one batch."
        )
    return values[0]
