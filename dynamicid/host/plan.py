"""Regions as the tensors a layer needs, made once per grid and kept per device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..attention.assignment import Window, all_places, assignment_bias, box_map, layout, mask_map
from ..attention.identity import key_count
from ..boxes import BoxXywhNorm
from ..faces.regions import Region

_KEPT_MASKS = 64


class GridKey(NamedTuple):
    """What layer masks depend on: the layer's grid, the window of each chunk, pictures a chunk, device and dtype."""

    grid: tuple[int, int]
    windows: tuple[Window, ...]
    pictures: int
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class LayerMasks:
    """Tensors of one grid (legend of ``attention``); rows are 1 where all chunks see the same window.

    bias: (R or 1, 1, n L, K) or None. gain, offset: (R or 1, n L) while the layout strength acts, None where it is 0.
    """

    bias: Tensor | None
    gain: Tensor | None
    offset: Tensor | None


@dataclass(frozen=True)
class RegionPlan:
    """Where everybody may appear, for any grid.

    Immutable but for a cache, so copies share it.

    Args:
        boxes_and_masks: One box (x, y, width, height) or mask tensor (height, width) a person.
        counts: Tokens of each person.
        layout_strength: s >= 0.
        assigned: Whether people are bound to their places; with the gate off they are not.
    """

    boxes_and_masks: tuple[BoxXywhNorm | Tensor, ...]
    counts: tuple[int, ...]
    layout_strength: float
    assigned: bool = True
    _masks: dict[GridKey, LayerMasks] = field(default_factory=dict, compare=False, repr=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> RegionPlan:
        return self

    def maps(self, grid: tuple[int, int], window: Window) -> Tensor:
        """(N, height, width) in 0..1 for one grid, on the CPU in float32."""
        return torch.stack(
            [
                mask_map(place, grid, window) if isinstance(place, Tensor) else box_map(place, grid, window)
                for place in self.boxes_and_masks
            ]
        )

    def at(self, key: GridKey) -> LayerMasks:
        """The masks for ``key``, from the cache where it was asked for before."""
        found = self._masks.get(key)
        if found is None:
            if len(self._masks) >= _KEPT_MASKS:
                self._masks.clear()
            found = self._masks[key] = self._make(key)
        return found

    def _make(self, key: GridKey) -> LayerMasks:
        if not self.assigned:
            return LayerMasks(None, None, None)
        windows = key.windows if len(set(key.windows)) > 1 else key.windows[:1]
        maps = [self.maps(key.grid, window).flatten(1).repeat(1, key.pictures) for window in windows]
        keys = key_count(self.counts)
        biases = [assignment_bias(m, self.counts, keys) for m in maps]

        def put(tensors: Sequence[Tensor | None]) -> Tensor | None:
            present = [t for t in tensors if t is not None]
            return torch.stack(present).to(key.device, key.dtype) if present else None

        bias = put(biases)
        layouts = [layout(m, self.layout_strength) for m in maps] if self.layout_strength > 0 else []
        return LayerMasks(
            bias=None if bias is None else bias.unsqueeze(1),
            gain=put([item.gain for item in layouts]),
            offset=put([item.offset for item in layouts]),
        )


def plan_regions(regions: Sequence[Region], layout_strength: float, assigned: bool) -> RegionPlan:
    """A plan for ``regions``, see ``all_places`` for people without a place."""
    places = all_places([region.box_xywh_norm if region.mask is None else region.mask for region in regions])
    counts = tuple(region.face.id_tokens.shape[0] for region in regions)
    return RegionPlan(places, counts, layout_strength, assigned)
