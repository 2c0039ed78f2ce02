"""People and their places (socket ``DYNAMICID_REGIONS``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ..boxes import BoxXywhNorm
from ..errors import DynamicIDError
from .face import Face
from .frames import common_frame_count
from .prompts import NEUTRAL, describe_motion

MAX_PEOPLE = 8


@dataclass(frozen=True)
class Region:
    """One person and where they may appear.

    Args:
        face: The person.
        box_xywh_norm: x, y, width, height as shares of the picture, top left origin; None where a mask says it or
            where the person has no place of their own and shares equal vertical slices with the others like them.
        mask: (height, width) float32 in 0..1 over the whole picture, or None. Wins over the box.
    """

    face: Face
    box_xywh_norm: BoxXywhNorm | None = None
    mask: Tensor | None = None

    def __repr__(self) -> str:
        place = self.box_xywh_norm if self.mask is None else "mask"
        return f"Region({self.face}, {place})"


def append_region(regions: tuple[Region, ...], region: Region, where: str) -> tuple[Region, ...]:
    """``regions`` with one more person.

    Raises:
        DynamicIDError: There are 8 people already.
    """
    check_people(len(regions) + 1, where)
    return (*regions, region)


def numbered_people(faces: Mapping[str, Face | None]) -> dict[int, Face]:
    """Person number -> face of the node inputs ``face_1`` to ``face_8``; numbers may be missing.

    Args:
        faces: Input id -> face; None counts as not connected.

    Raises:
        DynamicIDError: Nobody is connected.
    """
    people = {int(name.removeprefix("face_")): face for name, face in faces.items() if face is not None}
    if not people:
        raise DynamicIDError(
            "face_1",
            "No person is connected.",
            "Connect a face to at least one of face_1 to face_8; a bypassed or muted node gives none.",
        )
    return people


def check_people(count: int, where: str) -> None:
    """At most 8 people.

    Raises:
        DynamicIDError: There are more.
    """
    if count > MAX_PEOPLE:
        raise DynamicIDError(
            where, f"This makes {count} people; at most {MAX_PEOPLE} fit into one picture.", "Remove some of them."
        )


def checked_box(x: float, y: float, width: float, height: float) -> BoxXywhNorm | None:
    """The box of four node inputs; None where width or height is 0 (an equal vertical slice then).

    Raises:
        DynamicIDError: A value is outside 0..1, or the box begins at or beyond the right or lower edge.
    """
    for where, value in (("x", x), ("y", y), ("width", width), ("height", height)):
        if not 0 <= value <= 1:
            raise DynamicIDError(where, f"{value} is outside 0..1.", "Give shares of the picture, 0 to 1.")
    if width == 0 or height == 0:
        return None
    for where, value in (("x", x), ("y", y)):
        if value >= 1:
            raise DynamicIDError(where, f"A box that begins at {value} lies outside the picture.", "Move it inside.")
    return (x, y, width, height)


def checked_mask(mask: Tensor) -> Tensor:
    """One (height, width) mask of a MASK input (B, height, width) or (height, width).

    Raises:
        DynamicIDError: Empty mask, NaN values, or more than one mask.
    """
    mask = mask.float().cpu()
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    if mask.ndim == 3:
        if mask.shape[0] != 1:
            raise DynamicIDError(
                "mask", f"There are {mask.shape[0]} masks for one person.", "Connect one mask; merge them first."
            )
        mask = mask[0]
    if mask.ndim != 2 or mask.numel() == 0:
        raise DynamicIDError("mask", f"Its shape is {tuple(mask.shape)}.", "Connect one mask of height x width.")
    if not bool(mask.isfinite().all()):
        raise DynamicIDError("mask", "It holds NaN or infinite values.", "Check the node that makes the mask.")
    if float(mask.max()) <= 0:
        raise DynamicIDError("mask", "It is empty: no pixel is above 0.", "Paint where the person may appear.")
    return mask.clamp(0, 1)


def regions_by_picture(regions: Sequence[Region]) -> list[tuple[Region, ...]]:
    """The people of each of F pictures, picture i with everybody's motion i; F is 1 where nobody holds more.

    Raises:
        DynamicIDError: Two people hold different numbers of motions above 1.
    """
    count = common_frame_count({f"person {i}": region.face.frame_count for i, region in enumerate(regions, start=1)})
    return [tuple(replace(region, face=region.face.frame(i)) for region in regions) for i in range(count)]


def stacked_embeddings(regions: Sequence[Region]) -> np.ndarray:
    """(N, 512) ArcFace embeddings of the people."""
    return np.stack([region.face.id_embedding.numpy() for region in regions])


def regions_of(face: Face | None, regions: tuple[Region, ...] | None) -> tuple[Region, ...]:
    """The people of an Apply node: either ``regions``, or one ``face`` that may appear anywhere.

    Raises:
        DynamicIDError: Both are given, or neither.
    """
    if face is not None and regions is not None:
        raise DynamicIDError("regions", "Both `face` and `regions` are connected.", "Disconnect one of the two.")
    if regions:
        return regions
    if face is None:
        raise DynamicIDError("face", "Neither `face` nor `regions` is connected.", "Connect one of the two.")
    return (Region(face, (0.0, 0.0, 1.0, 1.0)),)


def person_prompts(text: str, regions: Sequence[Region]) -> list[str]:
    """One prompt for each person.

    Args:
        text: One line for everybody, or one line for each person in order; ``{expression}`` becomes the face prompt.
        regions: N people.

    Raises:
        DynamicIDError: Neither one line nor N.
    """
    lines = [line.strip() for line in text.strip().splitlines()] or [""]
    if len(lines) not in (1, len(regions)):
        raise DynamicIDError(
            "prompt",
            f"It has {len(lines)} lines, and there are {len(regions)} people.",
            "Write one line for everybody, or one line for each person in the order of `regions`.",
        )
    if len(lines) == 1:
        lines = lines * len(regions)
    return [
        line.replace("{expression}", face_prompt(region)).strip(" ,")
        for line, region in zip(lines, regions, strict=True)
    ]


def face_prompt(region: Region) -> str:
    """The words for a person's expression and head pose; empty for a mix of two people, whose motion is unknown."""
    face = region.face
    if face.prompt is not None:
        return face.prompt
    return "" if face.pose is None else describe_motion(face.pose.tolist(), face.emotion or NEUTRAL)
