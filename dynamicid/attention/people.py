"""The people of a picture as attention takes them: rows of identity tokens, and their places at any layer grid.

ComfyUI's patch and the diffusers pipeline both take them from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..boxes import BoxXywhNorm
from .assignment import WHOLE, Window, assignment_bias, box_map, layout, mask_map
from .identity import TokenRows

TOKEN_MULTIPLE = 8
"""Keys are padded to this multiple, so that GPU kernels take the assignment bias as it is (they want aligned rows)."""
WHOLE_PICTURE: BoxXywhNorm = (0.0, 0.0, 1.0, 1.0)

Place = BoxXywhNorm | Tensor
"""A box, or a soft mask (height, width) over the whole picture."""

AnyPlace = TypeVar("AnyPlace", bound=Place)


class FaceTokens(Protocol):
    """What a face must have: ``id_tokens`` and ``negative_tokens`` (T, width), ``token_scale`` (T,)."""

    @property
    def id_tokens(self) -> Tensor: ...
    @property
    def negative_tokens(self) -> Tensor: ...
    @property
    def token_scale(self) -> Tensor: ...


class PlacedFace(Protocol):
    """A face and its place: ``mask`` where given, else ``box_xywh_norm``, else a share of the picture."""

    @property
    def face(self) -> FaceTokens: ...
    @property
    def box_xywh_norm(self) -> BoxXywhNorm | None: ...
    @property
    def mask(self) -> Tensor | None: ...


class LayerMasks(NamedTuple):
    """The places of people at one layer grid, a row each for R pictures or windows (legend of ``attention``).

    bias: M, (R, 1, L, K), or None where nothing is hidden. gain, offset: coefficients of the layout rule, (R, L), or
    None where the layout strength is 0.
    """

    bias: Tensor | None
    gain: Tensor | None
    offset: Tensor | None


@dataclass(frozen=True)
class People:
    """Everybody in one picture.

    Args:
        positive: (T, width) float32, the identity tokens of all people, person after person.
        negative: (T, width) float32, the tokens of the negative branch.
        scale: (T,) factors on the scores of the tokens.
        counts: Tokens of each person; their sum is T.
        places: A place for each person.
        assigned: Whether people are bound to their places; with the gate off they are not.
    """

    positive: Tensor
    negative: Tensor
    scale: Tensor
    counts: tuple[int, ...]
    places: tuple[Place, ...]
    assigned: bool = True

    @property
    def key_count(self) -> int:
        """K: T, padded to ``TOKEN_MULTIPLE`` where an assignment bias can hide the padding."""
        total = sum(self.counts)
        if len(self.counts) == 1 or not self.assigned:
            return total
        return -(-total // TOKEN_MULTIPLE) * TOKEN_MULTIPLE

    def maps(self, grid: tuple[int, int], window: Window = WHOLE) -> Tensor:
        """(N, height, width) float32 in 0..1: where each person belongs on ``grid`` of the part ``window``."""
        return torch.stack(
            [
                mask_map(place, grid, window) if isinstance(place, Tensor) else box_map(place, grid, window)
                for place in self.places
            ]
        )

    def masks(self, grid: tuple[int, int], keys: int, layout_strength: float, window: Window = WHOLE) -> LayerMasks:
        """The masks of one layer grid, one row, float32 on the CPU.

        Args:
            grid: (height, width) of the layer in cells.
            keys: K, at least ``key_count``.
            layout_strength: s >= 0.
            window: The part of the picture that the grid stands for.
        """
        maps = self.maps(grid, window).flatten(1)
        bias = assignment_bias(maps if self.assigned else torch.ones_like(maps), self.counts, keys)
        gain = offset = None
        if self.assigned and layout_strength > 0:
            gain, offset = (row[None] for row in layout(maps, layout_strength))
        return LayerMasks(bias[None, None] if bias.any() else None, gain, offset)


def people_of(regions: Sequence[PlacedFace], assigned: bool = True) -> People:
    """The people of at least one region."""
    faces = [region.face for region in regions]
    return People(
        positive=torch.cat([face.id_tokens for face in faces]).float(),
        negative=torch.cat([face.negative_tokens for face in faces]).float(),
        scale=torch.cat([face.token_scale for face in faces]).float(),
        counts=tuple(face.id_tokens.shape[0] for face in faces),
        places=places_of(regions),
        assigned=assigned,
    )


def nobody(width: int, assigned: bool = True) -> People:
    """An empty picture inside a batch: one token of zeros, whose values add nothing."""
    zeros = torch.zeros(1, width)
    return People(zeros, zeros, torch.ones(1), (1,), (WHOLE_PICTURE,), assigned)


def places_of(regions: Sequence[PlacedFace]) -> tuple[Place, ...]:
    """Everybody's place: the mask where given, else the box, else an equal vertical slice."""
    return fill_places([region.box_xywh_norm if region.mask is None else region.mask for region in regions])


def fill_places(places: Sequence[AnyPlace | None]) -> tuple[AnyPlace | BoxXywhNorm, ...]:
    """Everybody's place: people without one (None) share equal vertical slices, in order."""
    slices = iter(vertical_slices(sum(place is None for place in places)))
    return tuple(next(slices) if place is None else place for place in places)


def vertical_slices(count: int) -> list[BoxXywhNorm]:
    """``count`` equal vertical slices of the picture, left to right: the places of people who were given none."""
    return [(i / count, 0.0, 1 / count, 1.0) for i in range(count)]


def token_rows(pictures: Sequence[People]) -> TokenRows:
    """2 B rows for B pictures: the positive tokens of all pictures, then the negative ones, padded to one length."""
    keys = max(people.key_count for people in pictures)

    def padded(rows: Sequence[Tensor]) -> Tensor:
        return torch.stack([F.pad(row, (0, 0) * (row.ndim - 1) + (0, keys - len(row))) for row in rows])

    return TokenRows(
        tokens=padded([people.positive for people in pictures] + [people.negative for people in pictures]),
        scale=padded([people.scale for people in pictures] * 2),
    )


def stack_masks(rows: Sequence[LayerMasks]) -> LayerMasks:
    """Rows of one grid and one K as a batch; what is None in every row stays None."""
    neutral_values = (0.0, 1.0, 0.0)
    return LayerMasks(*(_stack([row[i] for row in rows], value) for i, value in enumerate(neutral_values)))


def _stack(tensors: Sequence[Tensor | None], neutral: float) -> Tensor | None:
    given = [tensor for tensor in tensors if tensor is not None]
    if not given:
        return None
    return torch.cat([torch.full_like(given[0], neutral) if tensor is None else tensor for tensor in tensors])
