"""Cutting every person out of a picture, to be repainted alone, and pasting the results back.

A crop is a square around head and shoulders, as stage 1 of the training shows portraits. Its mask covers head, hair
and neck, and only where no other face of the picture is nearer. Legend: B pictures, L side of a square in pixels of the
picture, S side of the crop that is handed out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..boxes import BoxXyxyPx
from ..errors import DynamicIDError
from .detected import DetectedFace
from .drawing import face_height, portrait_square

PLACEHOLDER_SIDE = 64
"""Side in pixels of the black picture that stands in where nobody was found, so that the nodes behind still run."""
_HEAD, _NECK = (-0.12, 0.78, 0.76), (0.5, 0.5, 0.52)
"""Middle below the middle of the face's box, half width and half height of an ellipse, in face heights."""
_SOFT = 0.25
"""Width of a mask's soft edge as a share of the ellipse's half axes."""
_EDGE = 0.06
"""A mask ends within this share of the square's side from edges that are not the picture's own."""
_SAME_HEAD = 0.5
"""Two boxes that share more than this part of the smaller one are one head."""
_FEWEST_PIXELS = 16
_UNCHANGED = 0.5 / 255
_THUMBNAIL = 8
_SWAPPED_DISTANCE = 0.08


@dataclass(frozen=True, eq=False)
class PersonCrop:
    """Where one crop came from.

    Args:
        picture: Position of the picture in its batch.
        person: Position among the regions.
        square_xyxy: Left, top, right, bottom in whole pixels of the picture; L a side.
        mask: (L, L) float32 in 0..1: what may be repainted.
        given: (S, S, 3) float32 in 0..1: the crop that was handed out.
    """

    picture: int
    person: int
    square_xyxy: tuple[int, int, int, int]
    mask: Tensor = field(repr=False)
    given: Tensor = field(repr=False)

    @property
    def side(self) -> int:
        """L."""
        return self.mask.shape[0]


@dataclass(frozen=True, eq=False)
class Crops:
    """The pictures and everybody who was cut out of them (socket ``DYNAMICID_CROPS``).

    Args:
        pictures: (B, height, width, 3) float32 in 0..1.
        people: Picture after picture, in the order of the regions; empty where nobody was found.
    """

    pictures: Tensor = field(repr=False)
    people: tuple[PersonCrop, ...] = field(repr=False)

    def __repr__(self) -> str:
        return f"Crops({len(self.people)} of {self.pictures.shape[0]} pictures)"


def cut_person(
    picture: Tensor,
    position: int,
    person: int,
    face: DetectedFace,
    others: Sequence[DetectedFace],
    size: int,
    grow: float,
) -> PersonCrop:
    """Cuts one person out.

    Args:
        picture: (height, width, 3) float32.
        position: Of the picture in its batch.
        person: Position among the regions.
        face: The person's.
        others: All other faces of the picture; the mask leaves them out.
        size: S.
        grow: Factor on the side of the portrait square; 1 = as in training.
    """
    height, width = picture.shape[:2]
    square = portrait_square(face.box_xyxy, height, width, grow)
    left, top, right, bottom = square
    mask = _person_mask(square, face, others, height, width)
    return PersonCrop(position, person, square, mask, resize(picture[top:bottom, left:right], size))


def cut_people(
    picture: Tensor, position: int, faces: Sequence[DetectedFace], own: Sequence[int | None], size: int, grow: float
) -> list[PersonCrop]:
    """Cuts out everybody whose face was found; arguments as ``cut_person``.

    Args:
        faces: All faces of the picture.
        own: For each person the position of their face, from ``matching.assign_faces``.
    """
    return [
        cut_person(picture, position, person, faces[face], [*faces[:face], *faces[face + 1 :]], size, grow)
        for person, face in enumerate(own)
        if face is not None
    ]


def resize(picture: Tensor, side: int) -> Tensor:
    """(height, width, 3) or a mask (height, width) -> ``side`` x ``side``, bicubic and antialiased, in 0..1."""
    if picture.shape[:2] == (side, side):
        return picture.clone()
    channels_first = rearrange(picture, "h w c -> 1 c h w") if picture.ndim == 3 else picture[None, None]
    scaled = F.interpolate(channels_first, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    return rearrange(scaled, "1 c h w -> h w c") if picture.ndim == 3 else scaled[0, 0]


def _person_mask(
    square_xyxy: tuple[int, int, int, int],
    face: DetectedFace,
    others: Sequence[DetectedFace],
    height: int,
    width: int,
) -> Tensor:
    """(L, L) float32: 1 on head and neck, falling to 0 around them, at edges of the square, and towards other heads."""
    left, top, right, bottom = square_xyxy
    x, y = torch.arange(left, right) + 0.5, torch.arange(top, bottom) + 0.5
    own = _head_distance(x, y, face.box_xyxy)
    mask = _smooth((1 + _SOFT - own) / _SOFT)
    for other in others:
        if not _is_same_head(face.box_xyxy, other.box_xyxy):
            mask = mask * _smooth((_head_distance(x, y, other.box_xyxy) - own) / _SOFT + 0.5)
    for positions, start, end, limit in ((x, left, right, width), (y[:, None], top, bottom, height)):
        reach = _EDGE * (end - start)
        if start > 0:
            mask = mask * _smooth((positions - start - 0.5) / reach)
        if end < limit:
            mask = mask * _smooth((end - positions - 0.5) / reach)
    return mask


def _head_distance(x: Tensor, y: Tensor, box_xyxy: BoxXyxyPx) -> Tensor:
    """(len(y), len(x)): below 1 inside head or neck, growing outwards."""
    unit = face_height(box_xyxy)
    across, down = (x - (box_xyxy[0] + box_xyxy[2]) / 2) / unit, (y - (box_xyxy[1] + box_xyxy[3]) / 2) / unit
    head, neck = (
        torch.hypot(across[None] / half_width, (down[:, None] - middle) / half_height)
        for middle, half_width, half_height in (_HEAD, _NECK)
    )
    return torch.minimum(head, neck)


def _is_same_head(a: BoxXyxyPx, b: BoxXyxyPx) -> bool:
    """Whether the detector gave one head two boxes."""
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return shared > _SAME_HEAD * min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))


def _smooth(share: Tensor) -> Tensor:
    """0 below 0, 1 above 1, without a kink in between."""
    share = share.clamp(0, 1)
    return share * share * (3 - 2 * share)


def paste_people(crops: Crops, repainted: Sequence[Tensor], feather: float, match_colour: bool) -> Tensor:
    """Puts repainted crops back, people in the back first. Pixels outside the masks stay as they are, and so do pixels
    that were not repainted.

    Args:
        crops: From the same cutting.
        repainted: One (side, side, 3) float32 in 0..1 for each crop, in their order; any side.
        feather: Width of the transition inside a mask, as a share of the square's side.
        match_colour: Whether colours are first shifted to those of the crop handed out, outside the mask.

    Returns:
        (B, height, width, 3) float32, new.
    """
    pictures = crops.pictures.clone()
    order = sorted(range(len(crops.people)), key=lambda i: crops.people[i].side)
    for i in order:
        crop = crops.people[i]
        left, top, right, bottom = crop.square_xyxy
        opacity = _feathered(crop, feather, tuple(pictures.shape[1:3]))
        new = resize(repainted[i], crop.side)
        if match_colour:
            new = _match_colour(new, crop)
        place = pictures[crop.picture, top:bottom, left:right]
        place.lerp_(new, (opacity * _changed(crop, repainted[i]))[..., None])
    return pictures


def _feathered(crop: PersonCrop, feather: float, size: tuple[int, ...]) -> Tensor:
    """(L, L): how much of the repainted crop shows; 0 wherever the mask is 0."""
    from scipy.ndimage import distance_transform_edt

    left, top, right, bottom = crop.square_xyxy
    # The picture's own edge is no edge of a mask: beyond it the mask goes on.
    pads = [(int(top > 0), int(bottom < size[0])), (int(left > 0), int(right < size[1]))]
    distance = np.asarray(distance_transform_edt(np.pad(crop.mask.numpy() > 0, pads)))
    inside = distance[pads[0][0] : pads[0][0] + crop.side, pads[1][0] : pads[1][0] + crop.side]
    ramp = torch.from_numpy(inside).float() / max(feather * crop.side, 1)
    return _smooth(ramp)


def _changed(crop: PersonCrop, repainted: Tensor) -> Tensor:
    """(L, L): 1 where the repainted crop is another than the one handed out, 0 where it is the same to 8 bits."""
    if repainted.shape != crop.given.shape:
        return torch.ones_like(crop.mask)
    changed = (repainted - crop.given).abs().amax(dim=2) > _UNCHANGED
    return (F.interpolate(changed.float()[None, None], (crop.side, crop.side), mode="area")[0, 0] > 0).float()


def _match_colour(new: Tensor, crop: PersonCrop) -> Tensor:
    """``new`` (L, L, 3), shifted so that what lies around the person has the colours it had.

    The median of the differences, channel by channel: it follows a shift of all colours, and not what was painted
    differently in places.
    """
    around = crop.mask < 0.5
    if around.sum() < _FEWEST_PIXELS:
        return new
    return (new + (resize(crop.given, crop.side) - new)[around].median(dim=0).values).clamp(0, 1)


def check_repainted(crops: Crops, repainted: Sequence[Tensor]) -> None:
    """Refuses a list of crops that does not fit.

    Args:
        crops: From cutting.
        repainted: (b, height, width, 3) each.

    Raises:
        DynamicIDError: Another number, several pictures in one element, no squares, or another order.
    """
    wanted = max(len(crops.people), 1)
    shapes = [tuple(element.shape) for element in repainted]
    if len(repainted) != wanted or any(shape[0] != 1 for shape in shapes):
        count = sum(shape[0] for shape in shapes)
        raise DynamicIDError(
            "image",
            f"There are {count} pictures in {len(repainted)} list elements for {wanted} crops.",
            "Connect the whole list that came from the same Crop People, one picture for each crop.",
        )
    for number, (_, height, width, _) in enumerate(shapes, 1):
        if height != width:
            raise DynamicIDError(
                "image", f"Crop {number} is now {width} x {height} pixels.", "Keep crops square; any size will do."
            )
    _check_order(crops, [element[0] for element in repainted])


def _check_order(crops: Crops, repainted: Sequence[Tensor]) -> None:
    """Refuses crops that plainly show each other's places."""
    from scipy.optimize import linear_sum_assignment

    if len(crops.people) < 2:
        return
    given, new = (
        torch.stack([resize(picture, _THUMBNAIL).flatten() for picture in pictures])
        for pictures in ([crop.given for crop in crops.people], repainted)
    )
    distances = torch.cdist(new, given).div(given.shape[1] ** 0.5).numpy()
    rows, columns = linear_sum_assignment(distances)
    moved = [(row, column) for row, column in zip(rows, columns, strict=True) if row != column]
    if moved and all(distances[row, column] < min(_SWAPPED_DISTANCE, distances[row, row] / 2) for row, column in moved):
        row, column = moved[0]
        raise DynamicIDError(
            "image",
            f"Crop {row + 1} shows what crop {column + 1} was cut from: the list was put into another order.",
            "Connect the list in the order in which Crop People gives it.",
        )
