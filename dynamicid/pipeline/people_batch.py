"""The people of many different pictures at once, as the tensors that SAA needs in every layer of a diffusers UNet.

One model call holds B pictures as 2 B rows: all positive ones, then all negative ones. Each picture has its own people
and places; shorter rows of identity tokens are padded, and the assignment bias hides the padding.
Legend: as in ``attention``; grids are (height, width) in cells.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from einops import rearrange, repeat
from torch import Tensor

from ..attention.identity import LayerIdentity, project_identity
from ..attention.people import nobody, people_of, stack_masks, token_rows
from ..attention.person_maps import person_maps
from ..attention.saa import Gate, add_identity
from ..faces.regions import Region
from .saa_layers import attend, projections

Grid = tuple[int, int]
Projection = tuple[Tensor, Tensor]
"""to_k_ip and to_v_ip of a layer, (C, token width) each."""


def grids_of(latent_size: Grid, levels: int) -> dict[int, Grid]:
    """The grid of each level of a UNet by its number of cells; every level halves the one above, rounded up."""
    grids, (height, width) = {}, latent_size
    for _ in range(levels):
        grids[height * width] = (height, width)
        height, width = -(-height // 2), -(-width // 2)
    return grids


class PeopleBatch:
    """Identity keys, values and gates of B pictures.

    Args:
        pictures: The people of each picture; none, one or several. People without a place share equal vertical slices.
        projections_ip: Of every cross-attention layer, in the order of the weight file.
        gate: Its ``weight`` and ``threshold`` count; threshold None = gate off and nobody bound to a place.
        strengths: Layout strength of each picture while it acts.
        grids: From ``grids_of``.
    """

    def __init__(
        self,
        pictures: Sequence[Sequence[Region]],
        projections_ip: Sequence[Projection],
        gate: Gate,
        strengths: Sequence[float],
        grids: dict[int, Grid],
    ) -> None:
        self.gate, self.strengths, self.grids = gate, strengths, grids
        self.layout_acts = False
        self.recorded: list[Tensor] | None = None
        self._calls = 0
        self._gates: dict[tuple[Grid, bool], Gate] = {}
        self._device, self._dtype = projections_ip[0][0].device, projections_ip[0][0].dtype
        assigned, width = gate.threshold is not None, projections_ip[0][0].shape[1]
        self.pictures = [people_of(regions, assigned) if regions else nobody(width, assigned) for regions in pictures]
        self.person_counts = [len(regions) for regions in pictures]
        rows = token_rows(self.pictures)
        self._keys = rows.tokens.shape[1]
        self.identities = [
            project_identity(rows, to_k_ip.cpu(), to_v_ip.cpu()).to(self._device, self._dtype)
            for to_k_ip, to_v_ip in projections_ip
        ]

    def gate_at(self, cells: int) -> Gate:
        """The gate of the layers with this many cells, for the current noise level."""
        key = self.grids[cells], self.layout_acts
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = self._make_gate(*key)
        return gate

    def _make_gate(self, grid: Grid, layout_acts: bool) -> Gate:
        """Rows [positive, negative] of all pictures: their places are the same in both branches."""
        strengths = self.strengths if layout_acts else [0.0] * len(self.pictures)
        masks = stack_masks(
            [people.masks(grid, self._keys, s) for people, s in zip(self.pictures, strengths, strict=True)]
        )
        rows = (
            None if mask is None else repeat(mask, "b ... -> (branch b) ...", branch=2).to(self._device, self._dtype)
            for mask in masks
        )
        return Gate(self.gate.weight, self.gate.threshold, *rows)

    def record(self, layer: int, query: Tensor, heads: int) -> None:
        """Adds one layer's maps of the positive rows to ``recorded``, (N, h, w) a picture, at the latents' size."""
        assert self.recorded is not None
        identity, gate = self.identities[layer], self.gate_at(query.shape[1])
        (height, width), size = self.grids[query.shape[1]], next(iter(self.grids.values()))
        for i, people in enumerate(self.pictures):
            if self.person_counts[i] == 0:
                continue
            row = slice(i, i + 1)
            own = LayerIdentity(identity.key[row], identity.value[row], identity.key_mean[row])
            masks = (None if x is None else x[row] for x in (gate.bias, gate.gain, gate.offset))
            maps = person_maps(query[row], own, heads, Gate(gate.weight, gate.threshold, *masks), people.counts)
            maps = rearrange(maps, "1 n (h w) -> 1 n h w", h=height, w=width)
            self.recorded[i] += F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0].cpu()
        self._calls += 1

    def start_recording(self) -> None:
        """From the next call on."""
        size = next(iter(self.grids.values()))
        self.recorded, self._calls = [torch.zeros(count, *size) for count in self.person_counts], 0

    def activations(self) -> list[Tensor]:
        """(N, h, w) a picture at the latent's size: the mean over layers and steps recorded."""
        assert self.recorded is not None
        return [maps / max(self._calls, 1) for maps in self.recorded]


class PaintingProcessor:
    """diffusers' attention plus, in cross-attention, the identity branch of everybody in ``people``.

    LoRAs are expected to be merged into the weights. Source: docs/method.md, SAA.

    Args:
        layer: Position among the cross-attention layers in the order of the weight file; None in self-attention.
    """

    def __init__(self, layer: int | None) -> None:
        self.layer = layer

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        people: PeopleBatch | None = None,
    ) -> Tensor:
        """hidden_states (2 B, L, C), text (2 B, S, text width) or None -> (2 B, L, C)."""
        base = projections(attn)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = base["to_q"](hidden_states)
        out = attend(query, base["to_k"](context), base["to_v"](context), attn.heads, attention_mask)
        if self.layer is not None and people is not None:
            gate = people.gate_at(query.shape[1])
            out = add_identity(out, query, people.identities[self.layer], attn.heads, gate)
            if people.recorded is not None:
                people.record(self.layer, query, attn.heads)
        return base["to_out"](out) / attn.rescale_output_factor
