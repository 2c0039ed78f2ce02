"""The published algorithm, written down as it is: the baseline of the benchmarks, and a second opinion for the tests.

Per cross-attention layer the full score tensor is materialised, the text attention is computed twice, identity keys and
values are projected at every step, and the LoRA runs beside each projection instead of being merged. Tokens and places
are computed here from docs/method.md; nothing of the package is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn


@dataclass(frozen=True)
class NaiveSettings:
    """``weight`` id_scale; ``gated`` gate and places on; ``layout_strength`` s, at every step."""

    weight: float = 1.0
    gated: bool = True
    layout_strength: float = 0.0


class LoraLinear(nn.Module):
    """A projection with its LoRA beside it: x W' + x down' up'."""

    def __init__(self, linear: nn.Module, up: Tensor, down: Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.up, self.down = up, down

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        up, down = self.up.to(x), self.down.to(x)
        return self.linear(x) + (x @ down.T) @ up.T


class NaiveAttention(nn.Module):
    """Self- or cross-attention with LoRA, and the identity branch where the layer has one.

    Args:
        attention: The host's CrossAttention.
        layer: Its SAA layer.
        people: (R, T, width) tokens of each row of the batch, and the scale (T,), or None for self-attention.
        bias_and_maps: Per number of queries: (bias (L, T), maps (N, L)).
        settings: Strengths.
    """

    def __init__(
        self,
        attention: Any,
        layer: Any,
        people: tuple[Tensor, Tensor] | None,
        bias_and_maps: dict[int, tuple[Tensor, Tensor]],
        settings: NaiveSettings,
    ) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_q, self.to_k, self.to_v = (
            LoraLinear(getattr(attention, name), *layer.lora[name]) for name in ("to_q", "to_k", "to_v")
        )
        self.to_out = LoraLinear(attention.to_out, *layer.lora["to_out"])
        self.layer, self.people, self.bias_and_maps, self.settings = layer, people, bias_and_maps, settings

    def _split(self, x: Tensor) -> Tensor:
        return rearrange(x, "b l (h d) -> b h l d", h=self.heads)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        score = self._split(q) @ self._split(k).transpose(-1, -2) / (q.shape[-1] // self.heads) ** 0.5
        return rearrange(score.softmax(-1) @ self._split(v), "b h l d -> b l (h d)")

    def forward(self, x: Tensor, context: Tensor | None = None, value: Any = None, **_: Any) -> Tensor:
        """x (B, L, C), context (B, S, width) or None -> (B, L, C)."""
        context = x if context is None else context
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        out = self._attend(q, k, v)
        if self.people is not None:
            out = self._attend(q, k, v) + self.settings.weight * self._identity(q)
        return self.to_out(out)

    def _identity(self, q: Tensor) -> Tensor:
        assert self.people is not None
        tokens, scale = self.people
        key, value = (tokens.to(q) @ weight.to(q).T for weight in (self.layer.to_k_ip, self.layer.to_v_ip))
        score = self._split(q) @ self._split(key).transpose(-1, -2) / (q.shape[-1] // self.heads) ** 0.5
        if not self.settings.gated:
            branch = (score * scale.to(q)).softmax(-1) @ self._split(value)
            return rearrange(branch, "b h l d -> b l (h d)")
        bias, maps = (tensor.to(q) for tensor in self.bias_and_maps[q.shape[1]])
        total = score.sum(dim=(1, 3))
        low, high = total.amin(-1, keepdim=True), total.amax(-1, keepdim=True)
        a = (total - low) / (high - low)
        a = torch.where(a < 0.3, torch.zeros_like(a), a)
        m, s = maps.amax(0), self.settings.layout_strength
        a = (1 - m) * a / (s + 1) + m * (a + s)
        branch = (score * scale.to(q) + bias).softmax(-1) @ self._split(value)
        return a.unsqueeze(-1) * rearrange(branch, "b h l d -> b l (h d)")


def apply_naive(
    model: Any, weights: Any, regions: Sequence[Any], grids: Sequence[tuple[int, int]], settings: NaiveSettings
) -> Any:
    """A clone of ``model`` whose attention modules are replaced by naive ones. Batches must be [negative, positive].

    Args:
        model: The host's ModelPatcher.
        weights: Loaded DynamicID networks.
        regions: People, each with ``face`` (its three tensors of tokens), ``box_xywh_norm`` and ``mask``.
        grids: (height, width) of the layers.
        settings: Strengths.
    """
    faces = [region.face for region in regions]
    tokens = torch.stack(
        [torch.cat([face.negative_tokens for face in faces]), torch.cat([face.id_tokens for face in faces])]
    )
    scale = torch.cat([face.token_scale for face in faces])
    counts = torch.tensor([len(face.id_tokens) for face in faces])
    places = {}
    for height, width in grids:
        maps = rearrange(place_maps(regions, height, width), "n h w -> n (h w)")
        visible = torch.log(maps + 1 - maps.amax(0))
        places[height * width] = torch.repeat_interleave(visible, counts, 0).T, maps
    clone = model.clone()
    for index, (path, attention) in enumerate(_attention_modules(model.model.diffusion_model)):
        layer = weights.saa_layers[index]
        naive = NaiveAttention(attention, layer, (tokens, scale) if layer.is_cross else None, places, settings)
        clone.add_object_patch(f"diffusion_model.{path}", naive)
    return clone


def place_maps(regions: Sequence[Any], height: int, width: int) -> Tensor:
    """(N, height, width) in 0..1: the share of each cell that belongs to each person."""
    without = [region for region in regions if region.mask is None and region.box_xywh_norm is None]
    maps = []
    for region in regions:
        if region.mask is not None:
            maps.append(_mask_cells(region.mask, height, width))
            continue
        slot = next((i for i, other in enumerate(without) if other is region), 0)
        x, y, w, h = region.box_xywh_norm or (slot / len(without), 0.0, 1 / len(without), 1.0)
        inside = torch.zeros(height, width)
        for row in _covered(y, h, height):
            for column in _covered(x, w, width):
                inside[row, column] = 1
        maps.append(inside)
    return torch.stack(maps)


def _covered(start: float, extent: float, cells: int) -> list[int]:
    """Cells of a side that an extent covers: edges truncated after adding 1e-6, the nearest cell where it is none."""
    first, last = (math.floor(edge * cells + 1e-6) for edge in (start, start + extent))
    middle = math.floor((start + extent / 2) * cells + 1e-6)
    return [cell for cell in range(cells) if first <= cell < last] or [min(max(middle, 0), cells - 1)]


def _mask_cells(mask: Tensor, height: int, width: int) -> Tensor:
    """The mean of the mask's pixels that each cell touches."""
    rows, columns = (
        [slice(i * pixels // cells, -(-(i + 1) * pixels // cells)) for i in range(cells)]
        for cells, pixels in ((height, mask.shape[0]), (width, mask.shape[1]))
    )
    return torch.stack([torch.stack([mask[row, column].mean() for column in columns]) for row in rows])


def _attention_modules(unet: Any) -> list[tuple[str, Any]]:
    """(path, module) of all attentions in the order of the weights: input, output, middle; self before cross."""
    order = ("input_blocks", "output_blocks", "middle_block")
    found = [(n, m) for n, m in unet.named_modules() if n.endswith((".attn1", ".attn2"))]
    return sorted(found, key=lambda item: order.index(item[0].split(".")[0]))
