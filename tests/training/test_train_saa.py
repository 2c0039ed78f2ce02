"""Stage 1 from cache to weights: what moves, what stays, resuming, accumulation, averages."""

import os
import signal
from pathlib import Path

import pytest
import torch
from accelerate.utils import set_seed

from dynamicid.checkpoints import load_weights
from dynamicid.errors import DynamicIDError
from dynamicid.pipeline.stable_diffusion import load_base
from dynamicid.training.config import CONFIG_NAME, OptimizerSection, SAAConfig, load_config
from dynamicid.training.optimization import learning_rate_schedule
from dynamicid.training.processes import Interrupted
from dynamicid.training.shards import open_shards
from dynamicid.training.train_saa import make_model, train_saa

from .small_world import changed, losses_of, saa_config

PUBLISHED_NAMES = {"projector": "proj_module", "layers": "SAA_module"}


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    content = torch.load(output / "weights" / "SAA.bin", weights_only=True)
    return {f"{part}.{name}": value for part, state in content.items() for name, value in state.items()}


@pytest.fixture(scope="module")
def straight(world: Path) -> Path:
    """The output of four uninterrupted steps."""
    train_saa(saa_config(world, "straight"))
    return world / "straight"


def test_what_comes_out_loads_in_the_pack(world: Path, straight: Path):
    published = load_weights(straight / "weights" / "SAA.bin")
    combined = load_weights(straight / "weights" / "SAA.safetensors")
    assert len(published.saa_layers) == len(combined.saa_layers) == 8
    assert [layer.is_cross for layer in published.saa_layers] == [False, True] * 4
    assert published.projector.width == 64
    for a, b in zip(published.saa_layers, combined.saa_layers, strict=True):
        assert torch.equal(a.lora["to_out"].up, b.lora["to_out"].up)
    assert load_config(straight / CONFIG_NAME, SAAConfig) == saa_config(world, "straight")
    assert list((straight / "tensorboard").rglob("events*"))
    assert len(losses_of(straight)) == 4


def test_everything_trained_moves_and_the_frozen_networks_stay_bit_identical(
    world: Path, monkeypatch: pytest.MonkeyPatch
):
    import dynamicid.training.train_saa as stage

    kept = {}

    def remember(*paths):
        kept["base"] = load_base(*paths)
        return kept["base"]

    monkeypatch.setattr(stage, "load_base", remember)
    config = saa_config(world, "moves", run="seed = 5")
    train_saa(config)
    fresh = load_base(config.base.model)
    for name in ("unet", "vae", "text_encoder"):
        before, after = getattr(fresh, name).state_dict(), getattr(kept["base"], name).state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    set_seed(config.run.seed)
    start = make_model(load_base(config.base.model).unet, config, open_shards(config.data.cache, "saa")).state_dict()
    end = weights_of(world / "moves")
    assert len(end) == len(start)
    for name, value in start.items():
        network, _, key = name.partition(".")
        now = end[f"{PUBLISHED_NAMES[network]}.{key}"]
        assert not torch.equal(now, value), f"{name} did not move"


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(world: Path):
    extra = {"optimizer": "ema_decay = 0.9\nwarmup_steps = 3", "run": "checkpoint_every = 1\nseed = 3"}
    train_saa(saa_config(world, "whole", **extra))
    half = saa_config(world, "halves", **extra)
    train_saa(changed(half, run={"steps": 2}))
    train_saa(half, resume=True)
    assert losses_of(world / "halves") == losses_of(world / "whole")
    whole, halves = weights_of(world / "whole"), weights_of(world / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    assert len(list((world / "halves" / "checkpoints").iterdir())) == half.run.keep_checkpoints


def test_the_learning_rate_rises_stays_and_falls():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.AdamW([{"params": weights[:1], "lr": 1.0}, {"params": weights[1:], "lr": 0.1}])
    schedule = learning_rate_schedule(optimizer, OptimizerSection(warmup_steps=2, decay_steps=4), steps=10)
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    shares = [0, 0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert [rate for pair in rates for rate in pair] == pytest.approx([x * y for x in shares for y in (1.0, 0.1)])


def test_a_run_decays_over_its_own_last_steps(world: Path, straight: Path):
    """Only the last of the four steps is taken at half the rate: no loss has seen it yet."""
    train_saa(saa_config(world, "falling", optimizer="decay_steps = 2"))
    assert losses_of(world / "falling") == losses_of(straight)
    full, half = weights_of(straight), weights_of(world / "falling")
    assert any(not torch.equal(full[name], half[name]) for name in full)


def test_the_loras_can_learn_at_a_lower_rate(world: Path):
    """Adam's first step moves a weight by the learning rate, which is 0.01 here."""
    config = saa_config(world, "slower_loras", model="lora_rate = 0.25")
    train_saa(changed(config, run={"steps": 1}))
    end = weights_of(world / "slower_loras")
    started_at_zero = [value for name, value in end.items() if name.endswith("_lora.up.weight")]
    assert max(value.abs().max().item() for value in started_at_zero) == pytest.approx(0.0025, rel=1e-3)
    set_seed(config.run.seed)
    start = make_model(load_base(config.base.model).unet, config, open_shards(config.data.cache, "saa")).state_dict()
    moved = (end["SAA_module.1.to_k_ip.weight"] - start["layers.1.to_k_ip.weight"]).abs().max().item()
    assert moved == pytest.approx(0.01, rel=1e-2)


def test_accumulated_micro_batches_are_one_batch(world: Path, straight: Path):
    config = saa_config(world, "at_once")
    train_saa(changed(config, optimizer={"micro_batch_size": 4}))
    assert losses_of(world / "at_once") == pytest.approx(losses_of(straight), rel=1e-4)


def test_the_average_of_the_weights_is_what_comes_out(world: Path, straight: Path):
    train_saa(saa_config(world, "averaged", optimizer="ema_decay = 0.5"))
    assert losses_of(world / "averaged") == losses_of(straight)
    plain, averaged = weights_of(straight), weights_of(world / "averaged")
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)


def test_sigterm_leaves_a_checkpoint_and_weights(world: Path, straight: Path, monkeypatch: pytest.MonkeyPatch):
    from dynamicid.training.loop import Trainer

    log = Trainer._log

    def log_and_stop(self, losses, progress):
        log(self, losses, progress)
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "_log", log_and_stop)
    config = saa_config(world, "stopped")
    with pytest.raises(Interrupted) as stopped:
        train_saa(config)
    assert stopped.value.step == 2
    assert len(load_weights(world / "stopped" / "weights" / "SAA.bin").saa_layers) == 8
    monkeypatch.undo()
    train_saa(config, resume=True)
    assert losses_of(world / "stopped") == losses_of(straight)


def test_a_compiled_model_comes_out_under_its_own_names(world: Path, straight: Path, monkeypatch: pytest.MonkeyPatch):
    """What ``accelerate launch --dynamo_backend`` sets; "eager" traces as the others do, and needs no compiler."""
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    train_saa(saa_config(world, "compiled"))
    assert losses_of(world / "compiled") == pytest.approx(losses_of(straight), rel=1e-4)
    assert weights_of(world / "compiled").keys() == weights_of(straight).keys()
    assert len(load_weights(world / "compiled" / "weights" / "SAA.safetensors").saa_layers) == 8


def test_a_finished_run_is_not_overwritten_by_another(world: Path, straight: Path):
    with pytest.raises(DynamicIDError, match="--resume"):
        train_saa(saa_config(world, "straight"))
    with pytest.raises(DynamicIDError, match="seed"):
        train_saa(saa_config(world, "straight", run="seed = 9"), resume=True)


def test_training_goes_on_from_published_weights(world: Path, straight: Path):
    config = saa_config(world, "further", model=f'start_from = "{straight}/weights/SAA.safetensors"')
    model = make_model(load_base(config.base.model).unet, config, open_shards(config.data.cache, "saa")).state_dict()
    assert torch.equal(model["layers.1.to_k_ip.weight"], weights_of(straight)["SAA_module.1.to_k_ip.weight"])
    wrong = saa_config(world, "wrong", model=f'token_count = 2\nstart_from = "{straight}/weights/SAA.bin"')
    with pytest.raises(DynamicIDError, match="does not fit"):
        make_model(load_base(wrong.base.model).unet, wrong, open_shards(wrong.data.cache, "saa"))


def test_sample_pictures_go_to_tensorboard(world: Path, straight: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_saa(saa_config(world, "samples", run="sample_every = 2"))
    assert losses_of(world / "samples") == losses_of(straight)
    (events,) = (world / "samples" / "tensorboard").rglob("events*")
    content = EventAccumulator(str(events)).Reload()
    assert [scalar.step for scalar in content.Scalars("loss")] == [1, 2, 3, 4]
    assert len({image.step for tag in content.Tags()["images"] for image in content.Images(tag)}) == 2


def test_reading_processes_change_nothing(world: Path, straight: Path):
    config = saa_config(world, "readers")
    train_saa(changed(config, data={"workers": 2}))
    assert losses_of(world / "readers") == losses_of(straight)


def test_bf16_and_gradient_checkpointing_train(world: Path, straight: Path):
    train_saa(saa_config(world, "half", run="mixed_precision = 'bf16'\ngradient_checkpointing = true"))
    assert losses_of(world / "half") == pytest.approx(losses_of(straight), rel=0.05)
    assert {value.dtype for value in weights_of(world / "half").values()} == {torch.float32}
