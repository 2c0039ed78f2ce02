"""Activation maps: where the gate opened for each person, step by step. Recorded only where an output is connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.assignment import Window

MOST_RUNS = 8
"""Runs of one Apply node whose maps are kept; one of 30 steps with 2 people at 64 x 64 cells takes 1.5 MB."""


@dataclass
class StepMaps:
    """What was recorded of one sampling step.

    Attributes:
        total: (P, N, height, width), the sum of all layers' maps at the latent's size, by picture and person.
        weight: (P, 1, height, width), how many maps covered each cell.
    """

    total: Tensor
    weight: Tensor

    def mean(self) -> Tensor:
        """(P, N, height, width) on the CPU; 0 where nothing was evaluated."""
        return (self.total / self.weight.clamp_min(1)).cpu()


@dataclass
class ActivationRecord:
    """Gate maps of the latest sampling runs (socket ``DYNAMICID_ACTIVATION``).

    The host may show a picture of an earlier run from its cache, so several are kept. Copies share the record: it
    belongs to the output it was handed out with.

    Args:
        counts: Tokens of each of N people.
        enabled: Whether anything is recorded.
        idle: The identity branch has weight 0, so there is nothing to record.
        steps: What was recorded in the latest run, in the order of the steps.
    """

    counts: tuple[int, ...]
    enabled: bool
    idle: bool = False
    steps: list[StepMaps] = field(default_factory=list)
    _positions: dict[int, int] = field(default_factory=dict)
    _step: int = 0
    _runs: dict[str, list[StepMaps]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ActivationRecord({len(self.counts)} people, {len(self.steps)} steps)"

    def __deepcopy__(self, memo: dict[int, Any]) -> ActivationRecord:
        return self

    def begin_run(self, key: str = "") -> None:
        """Record what follows as the run ``key``, in place of an earlier one of that key."""
        self.steps = []
        self._runs.pop(key, None)
        self._runs[key] = self.steps
        while len(self._runs) > MOST_RUNS:
            del self._runs[next(iter(self._runs))]
        self._positions.clear()
        self._step = 0

    def run_of(self, keys: Sequence[str]) -> ActivationRecord:
        """The record with the run of the first of ``keys`` that there is, or without any steps."""
        key = next((key for key in keys if key in self._runs), None)
        return replace(self, steps=[] if key is None else self._runs[key])

    def begin_evaluation(self, step: int | None) -> None:
        """Record what follows for ``step``; several evaluations of one step are averaged. None = a step of its own."""
        self._step = max(self._positions, default=-1) + 1 if step is None else step

    def add(self, maps: Tensor, pictures: Sequence[int], latent_size: tuple[int, int], window: Window) -> None:
        """Add one layer's maps.

        Args:
            maps: (n, N, grid height, grid width).
            pictures: Number of each of the n pictures in the batch.
            latent_size: Height and width of the whole latent in cells.
            window: The part of the latent that the maps show.
        """
        height, width = latent_size
        y, x = round(window.y * height), round(window.x * width)
        size = (max(round(window.height * height), 1), max(round(window.width * width), 1))
        resized = F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)
        step = self._at(max(pictures) + 1, latent_size, resized)
        for picture, layer_map in zip(pictures, resized, strict=True):
            step.total[picture, :, y : y + size[0], x : x + size[1]] += layer_map
            step.weight[picture, :, y : y + size[0], x : x + size[1]] += 1

    def _at(self, pictures: int, latent_size: tuple[int, int], like: Tensor) -> StepMaps:
        """The maps of the current step, with room for ``pictures`` pictures."""
        if self._step not in self._positions:
            self._positions[self._step] = len(self.steps)
            shape = (pictures, len(self.counts), *latent_size)
            self.steps.append(StepMaps(like.new_zeros(shape), like.new_zeros(pictures, 1, *latent_size)))
        step = self.steps[self._positions[self._step]]
        missing = pictures - step.total.shape[0]
        if missing > 0:
            step.total, step.weight = (F.pad(x, (0, 0) * 3 + (0, missing)) for x in (step.total, step.weight))
        return step

    def maps(self, step: int | None) -> Tensor:
        """(P, N, height, width) on the CPU: the mean over layers at ``step`` (from 0), or over all steps for None."""
        if step is not None:
            return self.steps[step].mean()
        means = [item.mean() for item in self.steps]
        pictures = max(mean.shape[0] for mean in means)
        return torch.stack([F.pad(mean, (0, 0) * 3 + (0, pictures - mean.shape[0])) for mean in means]).mean(dim=0)
