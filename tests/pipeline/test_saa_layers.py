"""SAA in a diffusers UNet: numbering, initialisation, and the same maths as the pack's."""

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from dynamicid.attention.identity import TokenRows, project_identity
from dynamicid.attention.saa import Gate, add_identity
from dynamicid.checkpoints.bases import SD15_BLOCK_WIDTHS
from dynamicid.pipeline.model_configs import SD15_CONFIGS
from dynamicid.pipeline.saa_layers import SAALayer, attention_layers, install_saa, projections

from ..training.small_world import WIDTH, small_unet


def call(unet: UNet2DConditionModel, tokens: Tensor | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    latents, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 5, WIDTH, generator=generator)
    kwargs = None if tokens is None else {"id_tokens": tokens}
    return unet(latents, torch.tensor([3, 500]), text, cross_attention_kwargs=kwargs).sample


def shake(layers: torch.nn.ModuleList) -> None:
    generator = torch.Generator().manual_seed(2)
    for parameter in layers.parameters():
        parameter.data.normal_(std=0.2, generator=generator)


def test_index_counts_encoder_decoder_middle_with_self_before_cross():
    names = [(name, is_cross) for name, _, is_cross in attention_layers(small_unet())]
    blocks = ["down_blocks.0", "down_blocks.1", "up_blocks.0", "up_blocks.0", "up_blocks.1", "up_blocks.1", "mid_block"]
    assert [name.split(".attentions")[0] for name, _ in names[::2]] == blocks
    assert [name.split(".")[-1] for name, _ in names] == ["attn1", "attn2"] * len(blocks)
    assert [is_cross for _, is_cross in names] == [False, True] * len(blocks)


def test_sd15_has_the_published_widths_at_every_index():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**{k: v for k, v in SD15_CONFIGS["unet/config.json"].items() if k[0] != "_"})
    widths = [projections(layer)["to_q"].out_features for _, layer, _ in attention_layers(unet)]
    assert widths == [width for width in SD15_BLOCK_WIDTHS for _ in range(2)]
    contexts = {projections(layer)["to_k"].in_features for _, layer, is_cross in attention_layers(unet) if is_cross}
    assert contexts == {768}


def test_at_the_start_identity_projections_are_the_layers_own_and_the_loras_nothing():
    unet = small_unet()
    wanted = call(unet)
    layers = install_saa(unet, rank=3)
    for (_, attention, is_cross), layer in zip(attention_layers(unet), layers, strict=True):
        assert isinstance(layer, SAALayer)
        assert all(not getattr(layer, f"{name}_lora").up.weight.any() for name in ("to_q", "to_k", "to_v", "to_out"))
        assert all(getattr(layer, f"{name}_lora").down.weight.any() for name in ("to_q", "to_k", "to_v", "to_out"))
        if is_cross:
            assert torch.equal(layer.to_k_ip.weight, attention.to_k.weight)  # pyright: ignore
            assert torch.equal(layer.to_v_ip.weight, attention.to_v.weight)  # pyright: ignore
    with torch.no_grad():
        assert torch.allclose(call(unet), wanted, atol=1e-6)
        assert not torch.allclose(call(unet, torch.randn(2, 4, WIDTH)), wanted, atol=1e-3)


@pytest.mark.parametrize("threshold", [0.3, None])
@pytest.mark.parametrize("grad", [False, True])
def test_the_processor_is_the_packs_attention(threshold: float | None, grad: bool):
    """LoRAs merged into the weights, then q, k, v through dynamicid.attention, sample by sample."""
    unet = small_unet()
    layers = install_saa(unet, rank=3, threshold=threshold)
    shake(layers)
    generator = torch.Generator().manual_seed(3)
    for (_, attention, is_cross), layer in zip(attention_layers(unet), layers, strict=True):
        width = attention.to_q.in_features
        x = torch.randn(2, 16, width, generator=generator)
        context = torch.randn(2, 5, WIDTH, generator=generator) if is_cross else None
        tokens = torch.randn(2, 4, WIDTH, generator=generator)
        with torch.set_grad_enabled(grad):
            found = attention(x, encoder_hidden_states=context, id_tokens=tokens)

        merged = {
            name: linear.weight + getattr(layer, f"{name}_lora").up.weight @ getattr(layer, f"{name}_lora").down.weight
            for name, linear in projections(attention).items()
        }
        source = x if context is None else context
        query, key, value = x @ merged["to_q"].T, source @ merged["to_k"].T, source @ merged["to_v"].T
        heads = attention.heads
        q, k, v = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (query, key, value))
        text = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        if is_cross:
            to_k_ip, to_v_ip = layer.get_parameter("to_k_ip.weight"), layer.get_parameter("to_v_ip.weight")
            rows = []
            for i in range(2):
                person = TokenRows(tokens[i : i + 1], torch.ones(1, 4))
                identity = project_identity(person, to_k_ip, to_v_ip)
                rows.append(add_identity(text[i : i + 1], query[i : i + 1], identity, heads, Gate(1.0, threshold)))
            text = torch.cat(rows)
        wanted = text @ merged["to_out"].T + projections(attention)["to_out"].bias
        assert torch.allclose(found, wanted, atol=1e-4)


def test_the_gradient_flows_through_the_activation():
    """With V_id held, only a and the softmax carry K_id's gradient; with one token the softmax is constant."""
    unet = small_unet()
    layers = install_saa(unet, rank=3)
    _, attention, _ = list(attention_layers(unet))[1]
    tokens = torch.randn(1, 1, WIDTH)
    x = torch.randn(1, 16, attention.to_q.in_features)
    attention(x, encoder_hidden_states=torch.randn(1, 5, WIDTH), id_tokens=tokens).square().sum().backward()
    assert layers[1].to_k_ip.weight.grad.abs().sum() > 0  # pyright: ignore


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        unet = small_unet().requires_grad_(False)
        layers = install_saa(unet, rank=3)
        shake(layers)
        if checkpointing:
            unet.train()
            unet.enable_gradient_checkpointing()
        tokens = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(4), requires_grad=True)
        call(unet, tokens).square().mean().backward()
        gradients.append([tokens.grad, *(parameter.grad for parameter in layers.parameters())])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.allclose(plain, recomputed, rtol=1e-4, atol=1e-7)
