"""The people of many different pictures at once, as the tensors that SAA needs in every layer of a diffusers UNet.

One model call holds B pictures as 2 B rows: all positive ones, then all negative ones. Each picture has its own people
and places; shorter rows of identity tokens are padded, and the assignment bias hides the padding.
Legend: as in ``attention``; grids are (height, width) in cells.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor

from ..attention.assignment import all_places, assignment_bias, box_map, layout, mask_map
from ..attention.identity import LayerIdentity, TokenSet, key_count, project_identity
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
        self.pictures, self.gate, self.strengths, self.grids = pictures, gate, strengths, grids
        self.counts = [tuple(region.face.id_tokens.shape[0] for region in people) for people in pictures]
        self.layout_acts = False
        self.recorded: list[Tensor] | None = None
        self._calls = 0
        self._gates: dict[tuple[Grid, bool], Gate] = {}
        self._device, self._dtype = projections_ip[0][0].device, projections_ip[0][0].dtype
        self._keys = max(key_count(counts) for counts in self.counts)
        width = projections_ip[0][0].shape[1]
        tokens = [_tokens_of(people, width) for people in pictures]
        self.identities = [self._identity(tokens, *projection) for projection in projections_ip]

    def _identity(self, tokens: list[TokenSet], to_k_ip: Tensor, to_v_ip: Tensor) -> LayerIdentity:
        made = [project_identity(one, to_k_ip.float().cpu(), to_v_ip.float().cpu(), self._keys) for one in tokens]
        branches = (
            torch.cat([torch.stack([getattr(one, name)[branch] for one in made]) for branch in (0, 1)])
            for name in ("key", "value", "key_mean")
        )
        return LayerIdentity(*branches).to(self._device, self._dtype)

    def gate_at(self, cells: int) -> Gate:
        """The gate of the layers with this many cells, for the noise level of the moment."""
        key = self.grids[cells], self.layout_acts
        found = self._gates.get(key)
        if found is None:
            found = self._gates[key] = self._make_gate(*key)
        return found

    def _make_gate(self, grid: Grid, layout_acts: bool) -> Gate:
        cells = grid[0] * grid[1]
        maps = [_maps(people, grid) for people in self.pictures]
        assigned = self.gate.threshold is not None
        padding = [self._bias(m, counts, assigned, cells) for m, counts in zip(maps, self.counts, strict=True)]
        bias = torch.stack(padding).repeat(2, 1, 1).unsqueeze(1) if any(p.any() for p in padding) else None
        gain = offset = None
        if layout_acts and assigned and any(self.strengths):
            rules = [
                layout(m, s) if len(m) else (torch.ones(cells), torch.zeros(cells))
                for m, s in zip(maps, self.strengths, strict=True)
            ]
            gain, offset = (self._put(torch.stack(part).repeat(2, 1)) for part in zip(*rules, strict=True))
        return Gate(self.gate.weight, self.gate.threshold, None if bias is None else self._put(bias), gain, offset)

    def _bias(self, maps: Tensor, counts: tuple[int, ...], assigned: bool, cells: int) -> Tensor:
        """(L, K) of one picture."""
        found = assignment_bias(maps, counts, self._keys) if assigned and len(counts) > 1 else None
        if found is not None:
            return found
        hidden = self._keys - sum(counts) if counts else 0
        return F.pad(torch.zeros(cells, self._keys - hidden), (0, hidden), value=-torch.inf)

    def _put(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self._dtype)

    def record(self, layer: int, query: Tensor, heads: int) -> None:
        """Adds one layer's maps of the positive rows to ``recorded``, (N, h, w) a picture, at the latents' size."""
        assert self.recorded is not None
        identity, gate, cells = self.identities[layer], self.gate_at(query.shape[1]), query.shape[1]
        size = next(iter(self.grids.values()))
        for i, counts in enumerate(self.counts):
            if not counts:
                continue
            row = slice(i, i + 1)
            own = LayerIdentity(identity.key[row], identity.value[row], identity.key_mean[row])
            parts = (None if x is None else x[row] for x in (gate.bias, gate.gain, gate.offset))
            maps = person_maps(query[row], own, heads, Gate(gate.weight, gate.threshold, *parts), counts)
            maps = maps.view(1, len(counts), *self.grids[cells])
            resized = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0].cpu()
            self.recorded[i] += resized
        self._calls += 1

    def start_recording(self) -> None:
        """From the next call on."""
        size = next(iter(self.grids.values()))
        self.recorded, self._calls = [torch.zeros(len(counts), *size) for counts in self.counts], 0

    def activations(self) -> list[Tensor]:
        """(N, h, w) a picture at the latent's size: the mean over layers and steps recorded."""
        assert self.recorded is not None
        return [maps / max(self._calls, 1) for maps in self.recorded]


class PaintingProcessor:
    """diffusers' attention plus, in cross-attention, the identity branch of everybody in ``people``.

    LoRAs are expected to be merged into the weights. Source: spec section 5.

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


def _tokens_of(people: Sequence[Region], width: int) -> TokenSet:
    """The tokens of one picture; of a picture of nobody one token of zeros, which adds nothing."""
    if not people:
        return TokenSet(torch.zeros(1, width), torch.zeros(1, width), torch.ones(1), (1,))
    faces = [region.face for region in people]
    positive, negative, scale = (
        torch.cat([getattr(face, name) for face in faces]).float()
        for name in ("id_tokens", "negative_tokens", "token_scale")
    )
    return TokenSet(positive, negative, scale, tuple(len(face.id_tokens) for face in faces))


def _maps(people: Sequence[Region], grid: Grid) -> Tensor:
    """(N, L) in 0..1."""
    places = all_places([region.box_xywh_norm if region.mask is None else region.mask for region in people])
    maps = [mask_map(place, grid) if isinstance(place, Tensor) else box_map(place, grid) for place in places]
    return torch.stack(maps).flatten(1) if maps else torch.zeros(0, grid[0] * grid[1])
