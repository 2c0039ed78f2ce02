"""The places of people as the tensors that a layer needs, made once per grid and kept per device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from einops import repeat

from ..attention.assignment import Window
from ..attention.people import LayerMasks, People, stack_masks

_MOST_GRIDS = 256


class GridKey(NamedTuple):
    """What masks depend on: the layer's grid, the window of each chunk, pictures a chunk, device and dtype."""

    grid: tuple[int, int]
    windows: tuple[Window, ...]
    pictures: int
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class LayerMaskCache:
    """Masks of the people of one patch for any grid.

    Immutable but for the cache, so copies share it.

    Args:
        people: Everybody in the picture.
        layout_strength: s >= 0.
    """

    people: People
    layout_strength: float
    _masks: dict[GridKey, LayerMasks] = field(default_factory=dict, compare=False, repr=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> LayerMaskCache:
        return self

    def at(self, key: GridKey) -> LayerMasks:
        """The masks for ``key``, with n L queries a row; one row where all chunks see the same window."""
        masks = self._masks.get(key)
        if masks is None:
            if len(self._masks) >= _MOST_GRIDS:
                self._masks.clear()
            masks = self._masks[key] = self._make(key)
        return masks

    def _make(self, key: GridKey) -> LayerMasks:
        windows = key.windows if len(set(key.windows)) > 1 else key.windows[:1]
        keys = self.people.key_count
        rows = stack_masks([self.people.masks(key.grid, keys, self.layout_strength, window) for window in windows])
        patterns = ("r 1 l k -> r 1 (n l) k", "r l -> r (n l)", "r l -> r (n l)")
        return LayerMasks(
            *(
                None if mask is None else repeat(mask, pattern, n=key.pictures).to(key.device, key.dtype)
                for mask, pattern in zip(rows, patterns, strict=True)
            )
        )
