"""Stage 2: what moves, the terms of the loss, gradients, one source and many targets, resuming."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.utils import set_seed

from dynamicid.checkpoints import load_weights
from dynamicid.errors import DynamicIDError
from dynamicid.pipeline.stable_diffusion import load_base
from dynamicid.training.config import IMRConfig, load_config
from dynamicid.training.losses import contrastive_loss
from dynamicid.training.shards import open_shards
from dynamicid.training.stream import position_generator
from dynamicid.training.train_imr import ReconfigurationModel, draw_photos, load_layers, make_model, train_imr

from .small_world import changed, imr_config, imr_toml, terms_of, write_config


@pytest.fixture(scope="module")
def trained(people: Path) -> Path:
    """The output of a plain run."""
    train_imr(imr_config(people, "imr_plain"))
    return people / "imr_plain"


def model_of(people: Path) -> tuple[ReconfigurationModel, dict[str, torch.Tensor]]:
    """A fresh model and a batch of two people with three targets each."""
    config = imr_config(people)
    shards = open_shards(config.data.cache, "imr")
    torch.manual_seed(0)
    model = make_model(config.model, shards).eval()
    rows = [draw_photos(shards.read(i), config.model, 1000, position_generator(0, i)) for i in range(2)]
    return model, {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def test_what_comes_out_loads_in_the_pack(people: Path, trained: Path):
    weights = trained / "weights"
    apart = load_weights(people / "trained" / "weights" / "SAA.bin", weights / "IMR.bin")
    together = load_weights(weights / "DynamicID.safetensors", weights / "DynamicID.safetensors")
    for loaded in (apart, together):
        assert loaded.imr is not None
        assert loaded.keypoint_encoder is not None
    for name, value in apart.imr.state_dict().items():  # pyright: ignore[reportOptionalMemberAccess]
        assert torch.equal(value, together.imr.state_dict()[name])  # pyright: ignore[reportOptionalMemberAccess]
    first, last = terms_of(trained)[0], terms_of(trained)[-1]
    assert set(first) == {"step", "feature_matching", "latent_diffusion_consistency", "loss"}
    assert last["loss"] < first["loss"]
    assert first["loss"] == pytest.approx(first["feature_matching"] + first["latent_diffusion_consistency"], rel=1e-5)


def test_all_of_imr_and_encoder_moves_and_stage_1_stays(people: Path, trained: Path):
    config = imr_config(people, "imr_plain")
    set_seed(config.run.seed)
    start = make_model(config.model, open_shards(config.data.cache, "imr"))
    ends = {
        "imr": torch.load(trained / "weights" / "IMR.bin", weights_only=True),
        "keypoint_encoder": torch.load(trained / "weights" / "key_point_encoder.bin", weights_only=True),
    }
    for name, value in start.named_parameters():
        network, _, key = name.partition(".")
        assert not torch.equal(ends[network][key], value), f"{name} did not move"
    before = load_weights(people / "trained" / "weights" / "SAA.bin")
    after = load_weights(trained / "weights" / "DynamicID.safetensors")
    for a, b in zip(before.saa_layers, after.saa_layers, strict=True):
        assert torch.equal(a.lora["to_k"].down, b.lora["to_k"].down)
    for name, value in before.projector.state_dict().items():
        assert torch.equal(value, after.projector.state_dict()[name])


def test_every_parameter_gets_the_gradient_that_finite_differences_say(people: Path):
    model, batch = model_of(people)
    model = model.double()
    inputs = [batch[name].double() for name in ("tokens", "maps", "prompts")]

    def loss() -> torch.Tensor:
        return model(*inputs, 3).tokens.square().mean()

    loss().backward()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, name
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step = 1e-6
        with torch.no_grad():
            parameter += step * direction
            above = loss()
            parameter -= 2 * step * direction
            below = loss()
            parameter += step * direction
        expected = float((gradient * direction).sum())
        assert float((above - below) / (2 * step)) == pytest.approx(expected, rel=1e-3, abs=1e-8), name


def test_one_source_driving_many_targets_equals_one_by_one(people: Path):
    model, batch = model_of(people)
    with torch.no_grad():
        together = model(batch["tokens"], batch["maps"], batch["prompts"], 3).tokens
        for person in range(2):
            for target in range(3):
                pair = [0, 1 + target]
                alone = model(*(batch[name][person : person + 1, pair] for name in ("tokens", "maps", "prompts")), 1)
                assert torch.allclose(together[person, target], alone.tokens[0, 0], atol=1e-5)


def test_phi1_runs_once_and_phi2_is_the_packs(people: Path, monkeypatch: pytest.MonkeyPatch):
    model, batch = model_of(people)
    calls = []
    disentangle = model.imr.disentangle
    monkeypatch.setattr(model.imr, "disentangle", lambda *x: calls.append(x[0].shape) or disentangle(*x))
    with torch.no_grad():
        found = model(batch["tokens"][:1], batch["maps"][:1], batch["prompts"][:1], 3).tokens[0]
        points = model.keypoint_encoder(batch["maps"][0].unsqueeze(1))
        motion = torch.cat([points, batch["prompts"][0]], dim=1)
        wanted = model.imr(batch["tokens"][0, :1], motion[:1], motion[1:])
    assert [shape[0] for shape in calls[:1]] == [1]
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(people: Path, trained: Path):
    config = imr_config(people, "imr_halves")
    train_imr(changed(config, run={"steps": 1}))
    train_imr(config, resume=True)
    assert terms_of(people / "imr_halves") == terms_of(trained)
    for name in ("IMR.bin", "key_point_encoder.bin"):
        a, b = (torch.load(folder / "weights" / name, weights_only=True) for folder in (trained, people / "imr_halves"))
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_the_contrastive_term_and_a_second_cache_are_options(people: Path):
    model = f'contrastive = 0.5\nextra_cache = "{people}/cache_imr"\nextra_share = 0.5'
    with pytest.raises(DynamicIDError, match="micro_batch_size"):
        imr_config(people, "imr_contrastive", model=model)
    run = "mixed_precision = 'bf16'\ngradient_checkpointing = true\nsample_every = 3"
    text = imr_toml(people, "imr_contrastive", model=model, run=run)
    path = write_config(people / "imr_contrastive.toml", text.replace("micro_batch_size = 1", "micro_batch_size = 2"))
    train_imr(load_config(path, IMRConfig))
    for terms in terms_of(people / "imr_contrastive"):
        total = terms["feature_matching"] + terms["latent_diffusion_consistency"] + 0.5 * terms["contrastive"]
        assert terms["loss"] == pytest.approx(total, rel=1e-4)
    assert load_weights(people / "trained/weights/SAA.bin", people / "imr_contrastive/weights/IMR.bin").imr is not None


def test_info_nce_prefers_the_same_person():
    generator = torch.Generator().manual_seed(0)
    people = torch.randn(4, 4, 8, generator=generator)
    near = people + 0.1 * torch.randn(4, 4, 8, generator=generator)
    assert contrastive_loss(people, near, 0.1) < 0.1 < contrastive_loss(people, near.flip(0), 0.1)
    assert float(contrastive_loss(people[:1], near[:1], 0.1)) == 0


def test_stage_1_weights_of_another_base_are_refused(people: Path, tmp_path: Path):
    config = imr_config(people)
    weights = load_weights(config.model.saa)
    fewer = replace(weights, saa_layers=weights.saa_layers[:-2])
    with pytest.raises(DynamicIDError, match="another base"):
        load_layers(load_base(config.base.model), fewer, config.model)
