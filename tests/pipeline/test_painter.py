"""Painting with diffusers: the formula in every layer, many pictures at once, the base model left alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from einops import rearrange
from torch import Tensor

from dynamicid.errors import DynamicIDError
from dynamicid.faces.face import Face, mix_faces
from dynamicid.faces.frames import join_frames
from dynamicid.faces.regions import Region
from dynamicid.pipeline.painter import Painter, PaintSettings, PictureRequest
from dynamicid.pipeline.people_batch import PeopleBatch, grids_of
from dynamicid.pipeline.saa_layers import SAALayer, attention_layers, install_saa, projections
from dynamicid.pipeline.stable_diffusion import (
    StableDiffusion,
    decode_pictures,
    encode_pictures,
    encode_text,
    load_base,
)

from ..training.small_world import WIDTH

SETTINGS = PaintSettings(size=(8, 8), steps=4, guidance=3.0, record=True)
CLOSE = 2
"""Of 255: what another batch size may change by rounding."""


@pytest.fixture(scope="module")
def base(world: Path) -> StableDiffusion:
    return load_base(world / "base")


@pytest.fixture(scope="module")
def layers(world: Path) -> torch.nn.ModuleList:
    """SAA layers far from their initialisation, installed into a UNet of their own."""
    torch.manual_seed(5)
    unet = load_base(world / "base").unet
    made = install_saa(unet, rank=3)
    for parameter in made.parameters():
        parameter.data.normal_(std=0.2)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def painter(base: StableDiffusion, layers: torch.nn.ModuleList) -> Painter:
    return Painter(base, layers.state_dict())


def face(name: int, tokens: int = 4) -> Face:
    generator = torch.Generator().manual_seed(name)
    positive, negative = torch.randn(2, tokens, WIDTH, generator=generator) * 2
    return Face(positive, negative, torch.zeros(512))


LEFT, RIGHT = Region(face(1), (0.0, 0.0, 0.5, 1.0)), Region(face(2), (0.5, 0.25, 0.5, 0.75))
ORDERS = [
    PictureRequest("a b", (LEFT, RIGHT), seed=1),
    PictureRequest("c", (Region(face(3)),), seed=2, negative="d"),
    PictureRequest("a b", (), seed=3),
    PictureRequest("e f", (Region(face(4)), Region(mix_faces(face(5), face(6), 0.3)), Region(face(7))), seed=4),
    PictureRequest("g", (Region(face(8), mask=torch.rand(16, 16)), RIGHT), seed=5),
]


def test_pictures_of_different_people_painted_together_are_those_painted_alone(painter: Painter) -> None:
    together = painter.paint(ORDERS, SETTINGS)
    assert together.pictures.shape == (5, 16, 16, 3)
    assert together.pictures.dtype == torch.uint8
    for number, order in enumerate(ORDERS):
        alone = painter.paint([order], SETTINGS)
        difference = (alone.pictures[0].int() - together.pictures[number].int()).abs()
        assert difference.max() <= CLOSE
        assert torch.allclose(alone.activations[0], together.activations[number], atol=1e-3)
        assert alone.activations[0].shape == (len(order.people), 8, 8)
    small = painter.paint(ORDERS, replace(SETTINGS, batch=2, record=False))
    assert (small.pictures.int() - together.pictures.int()).abs().max() <= CLOSE
    assert small.activations == ()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_nobody_is_the_base_model_in_its_own_scheduler(base: StableDiffusion, prediction: str) -> None:
    """diffusers' DDIM with the same noise levels and the same guidance."""
    levels: Any = DDPMScheduler.from_config(base.scheduler.config, prediction_type=prediction)
    base = replace(base, scheduler=levels)
    scheduler: Any = DDIMScheduler.from_config(
        base.scheduler.config, clip_sample=False, set_alpha_to_one=True, steps_offset=1
    )
    scheduler.set_timesteps(4)
    times = scheduler.timesteps
    states = encode_text(base, ["a b", ""])[0]
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(3))[None]
    latents = noise * (1 - scheduler.alphas_cumprod[times[0]]).sqrt()
    with torch.inference_mode():
        for time in times:
            positive, negative = base.unet(latents.repeat(2, 1, 1, 1), time, states).sample.chunk(2)
            guided = negative + 3.0 * (positive - negative)
            latents = scheduler.step(guided, time, latents).prev_sample
        pixels = base.vae.decode(latents / base.vae.config["scaling_factor"]).sample  # pyright: ignore
    wanted = ((pixels.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1)[0]
    found = Painter(base, None).paint([PictureRequest("a b", seed=3)], replace(SETTINGS, record=False)).pictures[0]
    assert (found.float() - wanted).abs().max() <= 1


def test_the_base_model_is_left_as_it_is(base: StableDiffusion, layers: torch.nn.ModuleList) -> None:
    before = {name: tensor.clone() for name, tensor in base.unet.state_dict().items()}
    processors = dict(base.unet.attn_processors)
    Painter(base, layers.state_dict()).paint(ORDERS[:1], SETTINGS)
    assert base.unet.attn_processors == processors
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.unet.state_dict().items())


@pytest.mark.parametrize("strength", [0.0, 2.0])
@pytest.mark.parametrize("threshold", [0.3, None])
def test_every_layer_follows_the_formula(
    painter: Painter, layers: torch.nn.ModuleList, threshold: float | None, strength: float
) -> None:
    """docs/method.md, SAA, written down for one picture, one layer and each branch."""
    grids = grids_of((8, 8), 2)
    settings = replace(SETTINGS, gate_threshold=threshold, layout_strength=strength)
    people = painter._people(ORDERS[:1], settings)
    assert isinstance(people, PeopleBatch)
    people.layout_acts = True
    crosses = [(i, attention) for i, (_, attention, is_cross) in enumerate(attention_layers(painter.unet)) if is_cross]
    inside = torch.zeros(2, 8, 8)
    inside[0, :, :4], inside[1, 2:, 4:] = 1, 1
    for position, (index, attention) in enumerate(crosses):
        hidden = torch.randn(2, 64, attention.to_q.in_features)
        text = torch.randn(2, 5, WIDTH)
        found = attention(hidden, encoder_hidden_states=text, people=people)
        nobody = attention(hidden, encoder_hidden_states=text)
        linear = projections(attention)
        branch = (found - nobody) @ torch.linalg.pinv(linear["to_out"].weight.T)
        layer = layers[index]
        assert isinstance(layer, SAALayer)
        for row, kind in enumerate(("id_tokens", "negative_tokens")):
            tokens = torch.cat([getattr(region.face, kind) for region in (LEFT, RIGHT)])
            query = linear["to_q"](hidden[row])
            wanted = formula(query, tokens, layer, attention.heads, inside.flatten(1), threshold, strength)
            assert torch.allclose(branch[row], wanted, atol=1e-3)
        assert people.identities[position].key.shape[1] == 8
    assert grids[64] == (8, 8)


def formula(
    query: Tensor, tokens: Tensor, layer: SAALayer, heads: int, inside: Tensor, threshold: float | None, s: float
) -> Tensor:
    """a (x) softmax(S + M) V_id of one row: query (L, C), tokens (8, width), inside (2, L)."""
    assert layer.to_k_ip is not None
    assert layer.to_v_ip is not None
    q, k, v = (
        x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (query, layer.to_k_ip(tokens), layer.to_v_ip(tokens))
    )
    score = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
    a = torch.ones(len(query))
    if threshold is not None:
        total = score.sum(dim=(0, 2))
        a = (total - total.min()) / (total.max() - total.min())
        a = torch.where(a < threshold, 0.0, a)
        anywhere = inside.amax(0)
        a = torch.where(anywhere > 0, a + s, a / (s + 1))
        visible = torch.where(anywhere > 0, inside, 1.0).repeat_interleave(4, dim=0).T
        score = score.masked_fill(visible == 0, -torch.inf)
    branch = (score.softmax(-1) @ v).transpose(0, 1).flatten(1)
    return a[:, None] * branch


def steps_of(painter: Painter, settings: PaintSettings) -> list[tuple[object, bool]]:
    """Every timestep at which DynamicID's UNet is called, and whether the layout acts."""
    steps = []
    unet_call = painter.unet.forward

    def watched(*args: object, **kwargs: dict[str, PeopleBatch]) -> object:
        people = kwargs["cross_attention_kwargs"]["people"]
        steps.append((args[1], people.layout_acts))
        return unet_call(*args, **kwargs)  # pyright: ignore

    painter.unet.forward = watched  # pyright: ignore
    try:
        painter.paint(ORDERS[:1], settings)
    finally:
        painter.unet.forward = unet_call
    return steps


def test_layout_acts_in_the_first_quarter_only(painter: Painter) -> None:
    steps = steps_of(painter, replace(SETTINGS, steps=20))
    assert [time for time, _ in steps] == list(range(951, 0, -50))
    assert [acts for _, acts in steps] == [True] * 4 + [False] * 16


def test_the_base_model_lays_the_picture_out_alone(base: StableDiffusion, painter: Painter) -> None:
    steps = steps_of(painter, replace(SETTINGS, steps=20, base_only_steps=3))
    assert [time for time, _ in steps] == list(range(801, 0, -50))
    plain = Painter(base, None).paint([replace(order, people=()) for order in ORDERS], replace(SETTINGS, record=False))
    first, last, whole = (
        painter.paint(ORDERS, replace(SETTINGS, base_only_steps=count)).pictures for count in (0, 3, 4)
    )
    assert torch.equal(whole, plain.pictures)
    assert not torch.equal(last, whole)
    assert not torch.equal(last, first)


def test_what_does_not_fit_is_told(base: StableDiffusion, painter: Painter, layers: torch.nn.ModuleList) -> None:
    with pytest.raises(DynamicIDError, match="People need the SAA layers"):
        Painter(base, None).paint(ORDERS[:1], SETTINGS)
    narrow = Region(Face(torch.zeros(4, 5), torch.zeros(4, 5), torch.zeros(512)))
    with pytest.raises(DynamicIDError, match="5 wide, the layers expect 64"):
        painter.paint([PictureRequest("a", (narrow,))], SETTINGS)
    moved = Region(join_frames([narrow.face] * 3))
    with pytest.raises(DynamicIDError, match="Person 1 holds 3 motions; a request is one picture"):
        painter.paint([PictureRequest("a", (moved,))], SETTINGS)
    state = layers.state_dict()
    with pytest.raises(DynamicIDError, match=r"1.to_q_lora.up.weight' is missing"):
        Painter(base, {name: tensor for name, tensor in state.items() if name != "1.to_q_lora.up.weight"})
    with pytest.raises(DynamicIDError, match="to_q of layer 0 is"):
        Painter(base, {**state, "0.to_q_lora.up.weight": torch.zeros(7, 3)})


def test_a_mask_says_what_may_change(base: StableDiffusion, painter: Painter) -> None:
    settings = replace(SETTINGS, denoise=0.5, record=False)
    start = painter.paint(ORDERS[:1], SETTINGS).pictures[0].float() / 255
    kept = decode_pictures(base, encode_pictures(base, rearrange(start, "h w c -> 1 c h w") * 2 - 1)[0, 0][None])[0]
    side = start.shape[0]
    left = torch.zeros(side, side)
    left[:, : side // 2] = 1
    masks = [None, torch.ones(side, side), torch.zeros(side, side), left]
    requests = [replace(ORDERS[0], start=start, mask=mask) for mask in masks]
    anywhere, ones, nowhere, half = painter.paint(requests, settings).pictures.int()
    assert (anywhere - kept.int()).abs().max() > 10
    assert (ones - anywhere).abs().max() <= CLOSE
    assert (nowhere - kept.int()).abs().max() <= CLOSE
    quarter = side // 4
    assert (half - kept.int()).abs()[:, -quarter:].max() < (half - kept.int()).abs()[:, :quarter].max()
