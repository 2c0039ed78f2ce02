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
from torch import Tensor, nn

from ..attention.activation import DEFAULT_THRESHOLD
from ..attention.identity import LayerIdentity
from ..attention.saa import Gate, add_identity
from ..errors import DynamicIDError

PUBLISHED_RANK = 128


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
    """What is trained of one attention layer; names as in the published file (spec section 2).

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
        self.to_k_ip = _copied(projections(attention)["to_k"]) if is_cross else None
        self.to_v_ip = _copied(projections(attention)["to_v"]) if is_cross else None

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


def _copied(linear: nn.Linear) -> nn.Linear:
    copy = nn.Linear(linear.in_features, linear.out_features, bias=False)
    copy.weight.data.copy_(linear.weight.data)
    return copy


class SAAProcessor:
    """diffusers' attention with LoRA in all four projections and, in cross-attention, the gated identity branch.

    Source: spec section 5. One person a picture, the whole image is theirs: no assignment bias, no layout. The gradient
    flows through the activation.
    """

    def __init__(self, layer: SAALayer, threshold: float | None = DEFAULT_THRESHOLD) -> None:
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
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def attention_layers(unet: UNet2DConditionModel) -> Iterator[tuple[str, Attention, bool]]:
    """(name, layer, is_cross) in the order of the published file: encoder, decoder, middle; self before cross.

    Raises:
        DynamicIDError: A kind of attention that is not Stable Diffusion 1.5's (normed queries, no cross-attention).
    """
    blocks = [
        *((f"down_blocks.{i}", block) for i, block in enumerate(unet.down_blocks)),
        *((f"up_blocks.{i}", block) for i, block in enumerate(unet.up_blocks)),
        ("mid_block", unet.mid_block),
    ]
    for block_name, block in blocks:
        for name, module in block.named_modules() if block is not None else ():
            if not (name.endswith(("attn1", "attn2")) and isinstance(module, Attention)):
                continue
            is_cross = name.endswith("attn2")
            if module.norm_q is not None or module.spatial_norm is not None or is_cross != module.is_cross_attention:
                raise DynamicIDError(
                    "base.model",
                    f"{block_name}.{name} is another kind of attention than Stable Diffusion 1.5's.",
                    "Choose an SD1.5 model.",
                )
            yield f"{block_name}.{name}", module, is_cross


def install_saa(unet: UNet2DConditionModel, rank: int, threshold: float | None = DEFAULT_THRESHOLD) -> nn.ModuleList:
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
