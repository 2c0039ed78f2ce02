"""Stage 2: what moves, the terms of the loss, gradients, one source and many targets, resuming."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from accelerate.utils import set_seed
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file

from dynamicid.checkpoints import load_weights
from dynamicid.errors import DynamicIDError
from dynamicid.files.skipped import BadSample
from dynamicid.models import KeypointEncoder
from dynamicid.pipeline.stable_diffusion import load_base
from dynamicid.training.config import IMRConfig, IMRModelSection, load_config
from dynamicid.training.losses import contrastive_loss
from dynamicid.training.shards import ShardSet, open_shards
from dynamicid.training.stream import position_generator
from dynamicid.training.train_imr import (
    ReconfigurationModel,
    Reconfigured,
    draw_photos,
    load_layers,
    make_model,
    reconfiguration_losses,
    replace_person,
    train_imr,
)

from .small_world import changed, imr_config, imr_toml, terms_of, write_config


@pytest.fixture(scope="module")
def trained(people: Path) -> Path:
    """The output of a plain run."""
    # AdamW also moves weights without a gradient if they decay.
    train_imr(imr_config(people, "imr_plain", optimizer="weight_decay = 0.0"))
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
        is_still = name.endswith("conv_block.0.bias")  # BatchNorm subtracts it again
        assert torch.equal(ends[network][key], value) == is_still, name
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
        assert abs(expected) > 1e-7, f"{name} takes no part"
        assert float((above - below) / (2 * step)) == pytest.approx(expected, rel=1e-3, abs=1e-9), name


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
        predicted = model(batch["tokens"][:1], batch["maps"][:1], batch["prompts"][:1], 3).tokens[0]
        points = model.keypoint_encoder(batch["maps"][0].unsqueeze(1))
        motion = torch.cat([points, batch["prompts"][0]], dim=1)
        expected = model.imr(batch["tokens"][0, :1], motion[:1], motion[1:])
    assert [shape[0] for shape in calls[:1]] == [1]
    assert torch.allclose(predicted, expected, atol=1e-6)


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(people: Path, trained: Path):
    config = imr_config(people, "imr_halves", optimizer="weight_decay = 0.0")
    train_imr(changed(config, run={"steps": 1}))
    train_imr(config, resume=True)
    assert terms_of(people / "imr_halves") == terms_of(trained)
    for name in ("IMR.bin", "key_point_encoder.bin"):
        a, b = (torch.load(folder / "weights" / name, weights_only=True) for folder in (trained, people / "imr_halves"))
        assert all(torch.equal(a[key], b[key]) for key in a)


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "weights" / "DynamicID.safetensors")


def test_the_result_does_not_depend_on_the_micro_batch(people: Path):
    """Beyond rounding, which AdamW enlarges in weights whose gradient is about 0."""
    runs = []
    for size in (1, 2, 4):
        config = imr_config(people, f"imr_micro_{size}", run="checkpoint_every = 1\nkeep_checkpoints = 5")
        train_imr(changed(config, optimizer={"batch_size": 4, "micro_batch_size": size}))
        folder = people / f"imr_micro_{size}" / "checkpoints" / "step-00000001"
        optimizer = torch.load(folder / "optimizer.bin", weights_only=True)["state"]
        statistics = [value for name, value in load_file(folder / "model.safetensors").items() if "running" in name]
        terms = [value for terms in terms_of(people / f"imr_micro_{size}") for value in terms.values()]
        runs.append(([moment["exp_avg"] for moment in optimizer.values()], statistics, terms))
    for gradients, statistics, terms in runs[1:]:
        assert terms == pytest.approx(runs[0][2], abs=1e-5)
        for a, b in zip([*gradients, *statistics], [*runs[0][0], *runs[0][1]], strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_batch_norm_runs_per_person_and_its_statistics_are_averaged(people: Path, monkeypatch: pytest.MonkeyPatch):
    """As published, a person's maps are normalised together, and momentum 0.1 counts each step once."""
    seen: list[torch.Tensor] = []
    forward = KeypointEncoder.forward
    monkeypatch.setattr(KeypointEncoder, "forward", lambda self, maps: seen.append(maps) or forward(self, maps))
    run = "checkpoint_every = 1\nkeep_checkpoints = 5"
    config = imr_config(people, "imr_statistics", optimizer="ema_decay = 0.24", run=run)
    train_imr(config)
    assert [len(maps) for maps in seen] == [4] * 6
    set_seed(config.run.seed)
    layer: Any = make_model(config.model, open_shards(config.data.cache, "imr")).keypoint_encoder.blocks[0]
    with torch.no_grad():
        means = [layer[0].conv_block[0](maps).mean(dim=(0, 2, 3)) for maps in seen[:2]]
    key = "blocks.0.0.conv_block.1.running_mean"
    folders = [people / f"imr_statistics/checkpoints/step-{step:08d}" for step in (1, 2, 3)]
    one, two, three = (load_file(folder / "model.safetensors")[f"keypoint_encoder.{key}"] for folder in folders)
    assert torch.allclose(one, 0.1 * (means[0] + means[1]) / 2, atol=1e-6)
    average = 2 / 11 * one + 9 / 11 * two
    average = 0.24 * average + 0.76 * three
    exported = load_file(people / "imr_statistics" / "weights" / "DynamicID.safetensors")[f"keypoints.{key}"]
    assert torch.allclose(exported, average, atol=1e-6)
    assert not torch.allclose(exported, three, atol=1e-6)


def test_a_checkpoint_of_the_first_format_is_refused_by_name(people: Path):
    config = imr_config(people, "imr_early")
    train_imr(changed(config, run={"steps": 1}))
    (about,) = (people / "imr_early").rglob("step.json")
    about.write_text('{"step": 1}')
    with pytest.raises(DynamicIDError, match=r"step-00000001: An earlier version .*model\.start_from"):
        train_imr(config, resume=True)


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


def test_the_loss_terms_are_the_published_ones():
    """Two people, 3 targets each, of which 2 pass through a stand-in for the UNet that multiplies its input."""
    generator = torch.Generator().manual_seed(0)
    tokens, predicted = (torch.randn(2, count, 4, 8, generator=generator) for count in (4, 3))
    latents, noise = torch.randn(2, 2, 2, 4, 8, 8, generator=generator)
    timesteps = torch.tensor([[10, 900], [0, 999]])
    batch = {"tokens": tokens, "maps": torch.zeros(0), "prompts": torch.zeros(0)}
    batch = {**batch, "latents": latents, "noise": noise, "timesteps": timesteps}
    base = SimpleNamespace(scheduler=DDPMScheduler())
    shares = base.scheduler.alphas_cumprod[timesteps].view(2, 2, 1, 1, 1)
    noisy = shares.sqrt() * latents + (1 - shares).sqrt() * noise

    def predict_noise(noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return noisy * tokens.sum(dim=(1, 2)).view(-1, 1, 1, 1)

    def model(*inputs: object) -> Reconfigured:
        return Reconfigured(predicted, features, positives)

    features, positives = torch.randn(2, 2, 4, 8, generator=generator)
    settings = IMRModelSection(
        saa=Path("SAA.bin"), targets=3, consistency_targets=2, consistency=0.5, contrastive=0.25, temperature=0.2
    )
    terms: Any = reconfiguration_losses(model, batch, settings, base, predict_noise)  # pyright: ignore
    wrong, right = predicted[:, :2].sum(dim=(2, 3)), tokens[:, 1:3].sum(dim=(2, 3))
    difference = noisy * (wrong - right).view(2, 2, 1, 1, 1)
    similarity = np.array([[_cosine(a, b) for b in positives] for a in features]) / 0.2
    own = np.concatenate([np.diag(np.exp(x) / np.exp(x).sum(axis=1)[:, None]) for x in (similarity, similarity.T)])
    expected = {
        "feature_matching": float((predicted - tokens[:, 1:]).square().mean()),
        "latent_diffusion_consistency": float(difference.square().mean()),
        "contrastive": float(-np.log(own).mean()),
    }
    expected["loss"] = float(np.dot([1, 0.5, 0.25], list(expected.values())))
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(expected, rel=1e-4)


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_photos_are_drawn_in_the_order_source_targets_positive():
    count = 5
    index = torch.arange(count).float()
    deviation = torch.full((count, 4, 2, 2), 0.01)
    person = {
        "tokens": index.view(-1, 1, 1).expand(-1, 4, 8),
        "prompts": index.view(-1, 1).expand(-1, 3),
        "maps": (index * 50).byte().view(-1, 1, 1).expand(-1, 96, 96),
        "latents": torch.stack([index.view(-1, 1, 1, 1).expand(-1, 4, 2, 2), deviation], dim=1),
    }
    settings = IMRModelSection(saa=Path("SAA.bin"), targets=8, consistency_targets=3, contrastive=1.0)
    sources, targets, timesteps, noises = [], [], [], []
    for position in range(300):
        row = draw_photos(person, settings, 1000, position_generator(0, position))
        photos = row["tokens"][:, 0, 0]
        assert len(photos) == 10
        assert photos[0] != photos[-1], "the positive is the source"
        assert torch.equal(row["prompts"][:, 0], photos)
        assert torch.allclose(row["maps"][:, 0, 0], photos * 50 / 127.5 - 1)
        noises += [row["noise"], (row["latents"] - photos[1:4].view(-1, 1, 1, 1)) / 0.01]
        sources.append(int(photos[0]))
        targets += photos[1:-1].int().tolist()
        timesteps += row["timesteps"].tolist()
    assert set(sources) == set(targets) == set(range(count))
    assert min(timesteps) < 20
    assert max(timesteps) > 979
    for drawn in (torch.stack(noises[::2]), torch.stack(noises[1::2])):
        assert float(drawn.mean()) == pytest.approx(0, abs=0.05)
        assert float(drawn.std()) == pytest.approx(1, abs=0.05)


def test_people_of_the_second_cache_come_as_often_as_set():
    people = [{"person": torch.tensor(number)} for number in range(4)]

    class Extra:
        def __len__(self) -> int:
            return len(people)

        def read(self, index: int) -> dict[str, torch.Tensor]:
            if index == 3:
                raise BadSample("damaged")
            return people[index]

    extra, first = cast(ShardSet, Extra()), {"person": torch.tensor(-1)}
    drawn = [replace_person(first, extra, 0.4, position_generator(0, i)) for i in range(2000)]
    counts = Counter(int(person["person"]) for person in drawn)
    # A quarter of the 40 % is damaged and leaves the first person in place.
    assert [counts[number] / 2000 for number in (-1, 0, 1, 2)] == pytest.approx([0.7, 0.1, 0.1, 0.1], abs=0.025)
    assert replace_person(first, None, 0.4, position_generator(0, 0)) is first


def test_info_nce_prefers_the_same_person():
    generator = torch.Generator().manual_seed(0)
    people = torch.randn(4, 4, 8, generator=generator)
    near = people + 0.1 * torch.randn(4, 4, 8, generator=generator)
    assert contrastive_loss(people, near, 0.1) < 0.1 < contrastive_loss(people, near.flip(0), 0.1)
    assert float(contrastive_loss(people[:1], near[:1], 0.1)) == 0


def test_training_goes_on_from_earlier_weights(people: Path, trained: Path):
    shards = open_shards(imr_config(people).data.cache, "imr")
    ends = torch.load(trained / "weights" / "IMR.bin", weights_only=True)
    for file in ("IMR.bin", "DynamicID.safetensors"):
        config = imr_config(people, "imr_further", model=f'start_from = "{trained}/weights/{file}"')
        model = make_model(config.model, shards)
        assert all(torch.equal(ends[name], value) for name, value in model.imr.state_dict().items())
        assert float(model.keypoint_encoder.blocks[0][0].conv_block[1].num_batches_tracked) > 0  # pyright: ignore
    text = imr_toml(people, model=f'start_from = "{trained}/weights/IMR.bin"').replace("width = 64", "width = 128", 1)
    with pytest.raises(DynamicIDError, match=r"model\.start_from.*does not fit"):
        make_model(load_config(write_config(people / "imr_wider.toml", text), IMRConfig).model, shards)


def test_stage_1_weights_of_another_base_are_refused(people: Path, tmp_path: Path):
    config = imr_config(people)
    weights = load_weights(config.model.saa)
    fewer = replace(weights, saa_layers=weights.saa_layers[:-2])
    with pytest.raises(DynamicIDError, match="another base"):
        load_layers(load_base(config.base.model), fewer, config.model)
