"""Activation maps: where the gate opened for each person, step by step. Recorded only where somebody looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.assignment import WHOLE, Window


@dataclass
class ActivationRecord:
    """Gate maps of one sampling run (socket ``DYNAMICID_ACTIVATION``).

    Args:
        counts: Tokens of each person.
        enabled: Whether anything is recorded.
        idle: The identity branch has weight 0: there is nothing to record, and that is no mistake.

    ``sums[step]`` is (n, N, height, width) at the latent's size, the sum over layers; ``layers[step]`` counts them.
    Copies share the record: it belongs to the output it was handed out with.
    """

    counts: tuple[int, ...]
    enabled: bool
    idle: bool = False
    sums: list[Tensor] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    _open: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> ActivationRecord:
        return self

    def begin_run(self) -> None:
        """Forgets the run before."""
        self.sums.clear()
        self.layers.clear()
        self._open = False

    def begin_step(self) -> None:
        """What is recorded next belongs to a new step."""
        self._open = False

    def add(self, maps: Tensor, latent_size: tuple[int, int], window: Window) -> None:
        """Adds one layer's maps (n, N, gh, gw), resized to the latent and put where its window lies."""
        height, width = latent_size
        y0, x0 = round(window.y * height), round(window.x * width)
        size = (max(round(window.height * height), 1), max(round(window.width * width), 1))
        resized = F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)
        if not self._open:
            self.sums.append(resized.new_zeros((*resized.shape[:2], height, width)))
            self.layers.append(0)
            self._open = True
        self.sums[-1][:, :, y0 : y0 + size[0], x0 : x0 + size[1]] += resized
        if window == WHOLE or (y0 + size[0] >= height and x0 + size[1] >= width):
            self.layers[-1] += 1

    def maps(self, step: int | None) -> Tensor:
        """(n, N, height, width) on the CPU: the mean over layers at ``step`` (from 0), or over all steps for None."""
        steps = range(len(self.sums)) if step is None else [step]
        means = [self.sums[i].cpu() / max(self.layers[i], 1) for i in steps]
        return torch.stack(means).mean(dim=0)
