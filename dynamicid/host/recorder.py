"""Activation maps: where the gate opened for each person, step by step. Recorded only where somebody looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.assignment import WHOLE, Window
from ..attention.identity import LayerIdentity


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


def shares(query: Tensor, identity: LayerIdentity, heads: int, bias: Tensor | None, counts: tuple[int, ...]) -> Tensor:
    """How much of the identity branch each person supplies at each query.

    Args:
        query: (B, L, C), B = R n.
        identity: Keys (R, K, C).
        heads: H.
        bias: (R or 1, 1, n L, K) or None.
        counts: Tokens of each person.

    Returns:
        (R, N, n L): attention mass, mean over heads; sums to 1 over people.
    """
    chunks = identity.key.shape[0]
    q, k = (x.reshape(chunks, -1, heads, x.shape[-1] // heads).transpose(1, 2) for x in (query, identity.key))
    score = q.float() @ k.float().transpose(-1, -2) / q.shape[-1] ** 0.5
    if bias is not None:
        score = score + bias.float()
    mass = score.softmax(dim=-1).mean(dim=1)
    return torch.stack([part.sum(-1) for part in mass[..., : sum(counts)].split(list(counts), dim=-1)], dim=1)
