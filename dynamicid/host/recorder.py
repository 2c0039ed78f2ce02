"""Activation maps: where the gate opened for each person, step by step. Recorded only where somebody looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.assignment import Window


@dataclass
class StepMaps:
    """The maps of one step, added up.

    Args:
        sum: (n, N, height, width) at the latent's size, over layers and conditionings.
        count: (height, width), how many maps were added at each cell: areas cover only a part of the latent.
        layers: How many maps of layers were added.
    """

    sum: Tensor
    count: Tensor
    layers: int = 0

    def mean(self) -> Tensor:
        """(n, N, height, width) on the CPU; 0 in cells that no conditioning covers."""
        return self.sum.cpu() / self.count.cpu().clamp_min(1)


@dataclass
class ActivationRecord:
    """Gate maps of one sampling run (socket ``DYNAMICID_ACTIVATION``).

    Copies share the record: it belongs to the output it was handed out with.

    Args:
        counts: Tokens of each person.
        enabled: Whether anything is recorded.
        idle: The identity branch has weight 0: there is nothing to record, and that is no mistake.
        steps: The steps recorded so far.
    """

    counts: tuple[int, ...]
    enabled: bool
    idle: bool = False
    steps: list[StepMaps] = field(default_factory=list)
    _open: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> ActivationRecord:
        return self

    @property
    def layers(self) -> list[int]:
        """How many maps of layers each step is the mean of."""
        return [step.layers for step in self.steps]

    def begin_run(self) -> None:
        """Forgets the run before."""
        self.steps.clear()
        self._open = False

    def begin_step(self) -> None:
        """What is recorded next belongs to a new step."""
        self._open = False

    def add(self, maps: Tensor, latent_size: tuple[int, int], window: Window) -> None:
        """Adds the maps of one layer and one conditioning.

        Args:
            maps: (n, N, height, width) of the layer, in 0..1.
            latent_size: (height, width) of the whole latent.
            window: The part of the latent that the maps stand for.
        """
        height, width = latent_size
        top, left = round(window.y * height), round(window.x * width)
        size = (max(round(window.height * height), 1), max(round(window.width * width), 1))
        resized = F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)
        if not self._open:
            shape = (*resized.shape[:2], height, width)
            self.steps.append(StepMaps(resized.new_zeros(shape), resized.new_zeros(height, width)))
            self._open = True
        step = self.steps[-1]
        covered = (..., slice(top, top + size[0]), slice(left, left + size[1]))
        step.sum[covered] += resized
        step.count[covered] += 1
        step.layers += 1

    def maps(self, step: int | None) -> Tensor:
        """(n, N, height, width) on the CPU in 0..1: the mean over layers and conditionings at ``step`` (from 0), or the
        mean over all steps for None."""
        chosen = self.steps if step is None else [self.steps[step]]
        return torch.stack([item.mean() for item in chosen]).mean(dim=0)
