"""SAA inside a diffusers UNet: trained layers in the published layout, and the processors that put them to work.

The UNet itself stays as it is: the layers live outside it, its attention modules only get another processor.
Legend: B batch, L image queries, S context length, C width of a layer, T identity tokens.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from torch import Tensor, nn

from ..attention.identity import LayerIdentity
from ..attention.options import DEFAULTS
from ..attention.saa import Gate, add_identity
from ..checkpoints.bases import DIFFUSERS_STAGES, walk_transformer_blocks
from ..errors import DynamicIDError


class LowRankLinear(nn.Module):
    """up @ down @ x, zero at the start. Keys ``down.weight`` (rank, in), ``up.weight`` (out, rank)."""

    def __init__(self, in_width: int, out_width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(in_width, rank, bias=False)
        self.up = nn.Linear(rank, out_width, bias=False)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        return self.up(self.down(x))


class SAALayer(nn.Module):
    """What is trained of one attention layer; names as in the published file (docs/method.md, Weight files).

    Args:
        attention: The UNet's layer. Cross-attention starts with ``to_k_ip``, ``to_v_ip`` = its own to_k, to_v.
        is_cross: Whether it looks at the text.
        rank: LoRA rank.
    """

    to_q_lora: LowRankLinear
    to_k_lora: LowRankLinear
    to_v_lora: LowRankLinear
    to_out_lora: LowRankLinear
    to_k_ip: nn.Linear | None
    to_v_ip: nn.Linear | None

    def __init__(self, attention: Attention, is_cross: bool, rank: int) -> None:
        super().__init__()
        for name, linear in projections(attention).items():
            setattr(self, f"{name}_lora", LowRankLinear(linear.in_features, linear.out_features, rank))
        self.to_k_ip = copied(projections(attention)["to_k"]) if is_cross else None
        self.to_v_ip = copied(projections(attention)["to_v"]) if is_cross else None

    def identity(self, id_tokens: Tensor) -> LayerIdentity:
        """id_tokens (B, T, token width) -> K_id, V_id (B, T, C) with gradients: one chunk a sample."""
        assert self.to_k_ip is not None
        assert self.to_v_ip is not None
        key = self.to_k_ip(id_tokens)
        return LayerIdentity(key, self.to_v_ip(id_tokens), key.mean(dim=1).unsqueeze(-1))


def projections(attention: Attention) -> dict[str, nn.Linear]:
    """The four linear layers that get a LoRA, by the names of the published file."""
    layer: Any = attention
    return {"to_q": layer.to_q, "to_k": layer.to_k, "to_v": layer.to_v, "to_out": layer.to_out[0]}


def copied(linear: nn.Linear) -> nn.Linear:
    """A trainable copy of a layer's weight, without bias."""
    copy = nn.Linear(linear.in_features, linear.out_features, bias=False)
    copy.weight.data.copy_(linear.weight.data)
    return copy


class SAAProcessor:
    """diffusers' attention with LoRA in all four projections and, in cross-attention, the gated identity branch.

    Source: docs/method.md, SAA. One person a picture, the whole image is theirs: no assignment bias, no layout. The
    gradient flows through the activation.
    """

    def __init__(self, layer: SAALayer, threshold: float | None = DEFAULTS.gate_threshold) -> None:
        self.layer = layer
        self.gate = Gate(threshold=threshold)

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        id_tokens: Tensor | None = None,
    ) -> Tensor:
        """hidden_states (B, L, C), text (B, S, text width) or None, id_tokens (B, T, token width) -> (B, L, C).

        Without ``id_tokens`` only the LoRAs act.
        """
        layer, base = self.layer, projections(attn)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = base["to_q"](hidden_states) + layer.to_q_lora(hidden_states)
        key = base["to_k"](context) + layer.to_k_lora(context)
        value = base["to_v"](context) + layer.to_v_lora(context)
        out = attend(query, key, value, attn.heads, attention_mask)
        if layer.to_k_ip is not None and id_tokens is not None:
            out = add_identity(out, query, layer.identity(id_tokens), attn.heads, self.gate)
        return (base["to_out"](out) + layer.to_out_lora(out)) / attn.rescale_output_factor


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """softmax(QK' / sqrt d) V of the base model. query (B, L, C), key and value (B, S, C) -> (B, L, C)."""
    q, k, v = (rearrange(x, "b l (h d) -> b h l d", h=heads) for x in (query, key, value))
    return rearrange(F.scaled_dot_product_attention(q, k, v, attn_mask=mask), "b h l d -> b l (h d)")


def attention_layers(unet: UNet2DConditionModel) -> Iterator[tuple[str, Attention, bool]]:
    """(name, layer, is_cross) in the order of the published file: encoder, decoder, middle; self before cross.

    Raises:
        DynamicIDError: A kind of attention that is not Stable Diffusion 1.5's (normed queries, no cross-attention).
    """
    for path, block in walk_transformer_blocks(unet, DIFFUSERS_STAGES):
        for name, is_cross in (("attn1", False), ("attn2", True)):
            layer: Any = getattr(block, name, None)
            if not isinstance(layer, Attention) or not _is_plain(layer, is_cross):
                raise DynamicIDError(
                    "base.model",
                    f"{path}.{name} is another kind of attention than Stable Diffusion 1.5's.",
                    "Choose an SD1.5 model.",
                )
            yield f"{path}.{name}", layer, is_cross


def _is_plain(layer: Any, is_cross: bool) -> bool:
    return layer.norm_q is None and layer.spatial_norm is None and layer.is_cross_attention == is_cross


def install_saa(
    unet: UNet2DConditionModel, rank: int, threshold: float | None = DEFAULTS.gate_threshold
) -> nn.ModuleList:
    """Makes the layers, as initialised in the paper's code, and puts them into ``unet``.

    Args:
        unet: Of any size; only its attention processors are replaced. Hand the tokens over with
            ``cross_attention_kwargs={"id_tokens": ...}``.
        rank: LoRA rank.
        threshold: Gate threshold; None = gate off.

    Returns:
        The layers by index i; their state dict is ``SAA_module`` of the published file. float32 on the CPU.
    """
    layers = nn.ModuleList()
    for _, attention, is_cross in attention_layers(unet):
        layer = SAALayer(attention, is_cross, rank)
        attention.set_processor(SAAProcessor(layer, threshold))  # pyright: ignore[reportArgumentType]
        layers.append(layer)
    return layers.to(torch.float32)
