"""The baselines: the adapter is diffusers' own, every part of it is trained, and people act in their masks only."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0

from dynamicid.faces.face import Face
from dynamicid.faces.regions import Region
from dynamicid.pipeline.painter import PaintSettings, PictureRequest
from dynamicid.pipeline.saa_layers import attention_layers
from dynamicid.pipeline.stable_diffusion import load_base
from dynamicid.training.shards import open_shards
from dynamicid.training.train_saa import train_saa
from tiny_models.measure.baselines import BaselinePainter, ChainedPeople
from tiny_models.train import steps
from tiny_models.train.baselines import (
    CONFIGS,
    KINDS,
    DecoupledProcessor,
    Kind,
    install_decoupled,
    load_baseline,
    make_baseline,
    train_baseline,
)

from ..training.small_world import WIDTH, changed, saa_config, small_unet


def person(seed: int) -> Face:
    random = torch.Generator().manual_seed(seed)
    tokens, negative = torch.randn(2, 4, WIDTH, generator=random)
    return Face(tokens, negative, torch.zeros(32))


LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)


def test_the_chain_is_diffusers_ip_adapter_with_masks():
    """Two people in overlapping boxes; `IPAdapterAttnProcessor2_0` is the reference."""
    unet = small_unet()
    layers: Any = install_decoupled(unet)
    attention: Any = next(layer for _, layer, is_cross in attention_layers(unet) if is_cross)
    wide = int(attention.to_q.out_features)
    hidden, text = torch.randn(2, 64, attention.to_q.in_features), torch.randn(2, 7, WIDTH)
    torch.nn.init.normal_(layers[0].to_k_ip.weight)
    torch.nn.init.normal_(layers[0].to_v_ip.weight)
    people = [Region(person(1), (0.0, 0.0, 0.75, 1.0)), Region(person(2), RIGHT)]
    chain = ChainedPeople([people], {64: (8, 8)}, layers[0].to_k_ip.weight)
    ours = DecoupledProcessor(layers[0])(attention, hidden, text, people=chain)
    theirs: Any = IPAdapterAttnProcessor2_0(wide, WIDTH, num_tokens=(4, 4), scale=1.0)
    for part in (0, 1):
        theirs.to_k_ip[part].weight.data.copy_(layers[0].to_k_ip.weight)
        theirs.to_v_ip[part].weight.data.copy_(layers[0].to_v_ip.weight)
    tokens = [torch.stack([region.face.id_tokens, region.face.negative_tokens])[:, None] for region in people]
    masks = [torch.zeros(1, 1, 8, 8) for _ in people]
    masks[0][..., :6], masks[1][..., 4:] = 1, 1
    expected = theirs(attention, hidden, (text, tokens), ip_adapter_masks=masks)
    assert torch.allclose(ours, expected, atol=1e-5)
    alone = DecoupledProcessor(layers[0])(attention, hidden, text)
    assert not torch.allclose(ours, alone, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_baseline_is_trained_and_goes_on_from_its_file(kind: Kind, people: Path, tmp_path: Path):
    config = changed(
        saa_config(people, f"baseline-{kind}", optimizer="weight_decay = 0.0"), run={"output": tmp_path / "run"}
    )
    files = train_saa(config, make=partial(make_baseline, kind))
    trained = load_baseline(files[0])
    shards = open_shards(config.data.cache, "saa")
    torch.manual_seed(config.run.seed)
    fresh = make_baseline(kind, load_base(config.base.model).unet, config, shards).state_dict()
    assert fresh.keys() == trained.keys()
    assert not any("lora" in name for name in trained)
    still = [name for name, tensor in trained.items() if torch.equal(tensor, fresh[name]) and "norm" not in name]
    assert still == []
    start = changed(config, model={"start_from": files[0]})
    again = make_baseline(kind, load_base(config.base.model).unet, start, shards).state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in again.items())


def test_one_command_trains_as_dynamicid_is_trained(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Three runs, the last two from the first, with the mean of their weights; a second call trains nothing."""
    seen = []

    def small(path: Path, kind: Any) -> Any:
        seen.append(path.stem)
        return saa_config(people, "family")

    monkeypatch.setattr("tiny_models.train.baselines.load_config", small)
    monkeypatch.setattr(steps, "prepare_stage_one", lambda name, config: None)
    weights = train_baseline("faceid", tmp_path, steps=2)
    assert seen == list(CONFIGS)
    mean = load_baseline(weights)
    first, late, small_run = (load_baseline(tmp_path / "faceid" / name / "weights" / "SAA.bin") for name in CONFIGS)
    name = "layers.0.to_v_ip.weight"
    assert torch.allclose(mean[name], (late[name] + small_run[name]) / 2)
    assert not torch.equal(late[name], first[name])
    assert train_baseline("faceid", tmp_path, steps=2) == weights
    assert seen == list(CONFIGS)


def test_people_act_in_their_boxes_only(people: Path):
    base = load_base(people / "base")
    painter = BaselinePainter(base, install_decoupled(load_base(people / "base").unet).state_dict())
    settings = PaintSettings((8, 8), steps=2, guidance=2.0)

    def paint(*regions: Region) -> torch.Tensor:
        return painter.paint([PictureRequest("a b", regions, seed=3)], settings).pictures

    def masks_of(*regions: Region) -> list[torch.Tensor]:
        chain = ChainedPeople([regions, ()], {64: (8, 8)}, torch.zeros(1))
        return [mask.view(4, 8, 8) for _, mask in chain.adapters(64)]

    one, two = Region(person(1), LEFT), Region(person(2), RIGHT)
    assert not torch.equal(paint(), paint(one))
    assert not torch.equal(paint(one, two), paint(replace(one, face=person(3)), two))
    left, right = masks_of(one, two)
    assert left[0, :, :4].all()
    assert not left[0, :, 4:].any()
    assert torch.equal(right[0], 1 - left[0])
    assert torch.equal(left[2], left[0])
    assert not left[1].any()
