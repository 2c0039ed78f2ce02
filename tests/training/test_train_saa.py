"""Stage 1 from cache to weights: what moves, what stays, resuming, accumulation, averages."""

import math
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from accelerate.utils import set_seed
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file

from dynamicid.checkpoints import load_weights
from dynamicid.errors import DynamicIDError
from dynamicid.pipeline.stable_diffusion import load_base
from dynamicid.training.checkpointing import checkpoints
from dynamicid.training.config import CONFIG_NAME, OptimizerSection, SAAConfig, load_config
from dynamicid.training.losses import noise_target
from dynamicid.training.optimization import learning_rate_schedule
from dynamicid.training.processes import Interrupted
from dynamicid.training.shards import open_shards
from dynamicid.training.stream import StreamBatches, position_generator
from dynamicid.training.train_saa import draw_inputs, make_model, train_saa

from .conftest import reset_accelerator
from .small_world import changed, losses_of, saa_config

NETWORKS = {"proj_module": "projector", "SAA_module": "layers"}
LEARNING_RATE = 0.01
"""Of ``small_world``'s configurations."""
EVERY_CHECKPOINT = "checkpoint_every = 1\nkeep_checkpoints = 10"


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    """The exported weights under the names of ``AnchoringModel``."""
    content = torch.load(output / "weights" / "SAA.bin", weights_only=True)
    return {f"{NETWORKS[part]}.{name}": value for part, state in content.items() for name, value in state.items()}


def weights_after(output: Path, step: int) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint."""
    return load_file(output / "checkpoints" / f"step-{step:08d}" / "model.safetensors")


def start_of(config: SAAConfig) -> dict[str, torch.Tensor]:
    """The weights before the first step."""
    set_seed(config.run.seed)
    unet = load_base(config.base.model).unet
    return make_model(unet, config, open_shards(config.data.cache, "saa")).state_dict()


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
    # AdamW also moves weights without a gradient if they decay.
    config = saa_config(world, "moves", optimizer="weight_decay = 0.0", run="seed = 5")
    train_saa(config)
    fresh = load_base(config.base.model)
    for name in ("unet", "vae", "text_encoder"):
        before, after = getattr(fresh, name).state_dict(), getattr(kept["base"], name).state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    start, end = start_of(config), weights_of(world / "moves")
    assert end.keys() == start.keys()
    for name, value in start.items():
        assert not torch.equal(end[name], value), f"{name} did not move"


def test_the_first_loss_is_the_error_of_the_predicted_noise(world: Path, straight: Path):
    config = saa_config(world, "straight")
    shards, base = open_shards(config.data.cache, "saa"), load_base(config.base.model)
    set_seed(config.run.seed)
    model = make_model(base.unet, config, shards)
    alphas, errors = base.scheduler.alphas_cumprod, []
    (batch,) = StreamBatches(shards, range(4), 4, seed=0, shuffle_shards=16)
    for position, index in batch:
        row = draw_inputs(shards.read(index), shards.common, config.model, 1000, position_generator(0, position))
        signal_share = alphas[row["timesteps"]]
        noisy = signal_share.sqrt() * row["latents"] + (1 - signal_share).sqrt() * row["noise"]
        identity = (row["id_embedding"][None], row["clip_hidden"][None])
        with torch.no_grad():
            predicted = model(noisy[None], row["timesteps"][None], row["text"][None], identity)[0]
        errors.append(float((predicted - row["noise"]).square().mean()))
    assert losses_of(straight)[0] == pytest.approx(sum(errors) / 4, rel=1e-4)


def test_a_base_that_predicts_velocities_is_trained_to_predict_velocities():
    scheduler = DDPMScheduler(prediction_type="v_prediction")
    latents, noise = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    share = scheduler.alphas_cumprod[[10, 900]].view(2, 1, 1, 1)
    target = noise_target(scheduler, latents, noise, torch.tensor([10, 900]))
    assert torch.allclose(target, share.sqrt() * noise - (1 - share).sqrt() * latents, atol=1e-6)


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


def test_steps_after_the_last_checkpoint_are_logged_once(world: Path, straight: Path):
    """A killed run has logged steps that the resumed one repeats; on a full disk the last line is cut short."""
    config = saa_config(world, "killed")
    train_saa(changed(config, run={"steps": 2}))
    with (world / "killed" / "losses.jsonl").open("a") as lines:
        lines.write('{"step": 3, "loss": 7.0}\n{"step": 4, "lo')
    train_saa(config, resume=True)
    assert losses_of(world / "killed") == losses_of(straight)


def rate_at(output: Path, step: int) -> float:
    """The learning rate in a checkpoint."""
    folder = output / "checkpoints" / f"step-{step:08d}"
    return torch.load(folder / "optimizer.bin", weights_only=True)["param_groups"][0]["lr"]


def test_after_a_loss_that_is_no_number_the_run_goes_on_with_other_settings(world: Path, caplog):
    """Step 3 takes the weights far away, so the loss of step 4 is not finite."""
    output, optimizer = world / "diverged", "ema_decay = 0.5\nwarmup_steps = 1"
    config = saa_config(world, "diverged", optimizer=optimizer, run=EVERY_CHECKPOINT)
    train_saa(changed(config, run={"steps": 2}))
    exported = weights_of(output)
    shutil.rmtree(output / "weights")
    with pytest.raises(DynamicIDError, match=r"not finite at step 4.*weights after step 2.*step-00000003") as error:
        train_saa(changed(config, optimizer={"learning_rate": 1e30}), resume=True)
    assert str(output / "weights") in error.value.found
    assert all(torch.equal(exported[name], value) for name, value in weights_of(output).items())

    shutil.rmtree(output / "checkpoints" / "step-00000003")
    cure = changed(config, optimizer={"learning_rate": 1e-3}, run={"mixed_precision": "bf16"})
    reset_accelerator()
    train_saa(cure, resume=True)
    assert len(losses_of(output)) == 4
    assert [rate_at(output, step) for step in (2, 3, 4)] == pytest.approx([LEARNING_RATE, 1e-3, 1e-3])
    moved = [weights_after(output, 3)[name] - value for name, value in weights_after(output, 2).items()]
    assert 1e-4 < max(float(value.abs().max()) for value in moved) < 2e-3
    for place in (output, output / "weights"):
        assert load_config(place / CONFIG_NAME, SAAConfig) == cure
        lines = (place / CONFIG_NAME).read_text().splitlines()
        assert "# from step 3 on: optimizer.learning_rate = 1e+30, before 0.01" in lines
        assert "# from step 3 on: run.mixed_precision = 'bf16', before 'no'" in lines
    assert "optimizer.learning_rate = 0.001, before 1e+30" in caplog.text


def test_without_a_good_checkpoint_a_diverged_run_says_so(world: Path):
    config = saa_config(world, "diverged_at_once")
    with pytest.raises(DynamicIDError, match=r"not finite at step 2.*no weights were written"):
        train_saa(changed(config, optimizer={"learning_rate": 1e30}))
    assert not (world / "diverged_at_once" / "weights").exists()


def test_half_a_checkpoint_is_none(world: Path, monkeypatch: pytest.MonkeyPatch):
    """A run may be killed while it removes an old one."""
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    train_saa(saa_config(world, "removing", run="checkpoint_every = 1\nkeep_checkpoints = 1"))
    assert [step for step, _ in checkpoints(world / "removing")] == [4]


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
    """Only the last of the four steps is taken at half the rate, so AdamW moves every weight half as far."""
    train_saa(saa_config(world, "falling", optimizer="decay_steps = 2", run=EVERY_CHECKPOINT))
    assert losses_of(world / "falling") == losses_of(straight)
    before, full, half = weights_after(world / "falling", 3), weights_of(straight), weights_of(world / "falling")
    for name, value in before.items():
        assert torch.allclose(half[name] - value, (full[name] - value) / 2, rtol=0, atol=1e-6), name
        assert (half[name] - value).abs().max() > 1e-4, name


def test_weights_decay(world: Path):
    """AdamW subtracts learning rate x weight decay x weight besides the gradient's step."""
    train_saa(changed(saa_config(world, "undecayed", optimizer="weight_decay = 0.0"), run={"steps": 1}))
    config = changed(saa_config(world, "decayed", optimizer="weight_decay = 0.5"), run={"steps": 1})
    train_saa(config)
    start, undecayed, decayed = start_of(config), weights_of(world / "undecayed"), weights_of(world / "decayed")
    for name, value in start.items():
        assert torch.allclose(undecayed[name] - decayed[name], LEARNING_RATE * 0.5 * value, rtol=0, atol=1e-6), name


def test_long_gradients_are_clipped(world: Path):
    """Adam's first moment is a tenth of the first gradient."""
    lengths = {}
    for limit in (0.0, 0.01):
        config = saa_config(world, f"clipped_{limit}", optimizer=f"max_gradient_norm = {limit}")
        train_saa(changed(config, run={"steps": 1}))
        state = torch.load(config.run.output / "checkpoints" / "step-00000001" / "optimizer.bin", weights_only=True)
        moments = [moment["exp_avg"].square().sum() for moment in state["state"].values()]
        lengths[limit] = 10 * math.sqrt(sum(moments))
    assert lengths[0.0] > 0.1
    assert lengths[0.01] == pytest.approx(0.01, rel=1e-3)


def test_the_loras_can_learn_at_a_lower_rate(world: Path):
    """Adam's first step moves a weight by the learning rate."""
    config = saa_config(world, "slower_loras", model="lora_rate = 0.25")
    train_saa(changed(config, run={"steps": 1}))
    start, end = start_of(config), weights_of(world / "slower_loras")
    ups = [end[name] for name in start if name.endswith("_lora.up.weight")]
    assert max(value.abs().max().item() for value in ups) == pytest.approx(LEARNING_RATE / 4, rel=1e-3)
    moved = (end["layers.1.to_k_ip.weight"] - start["layers.1.to_k_ip.weight"]).abs().max().item()
    assert moved == pytest.approx(LEARNING_RATE, rel=1e-2)


def test_accumulated_micro_batches_are_one_batch(world: Path, straight: Path):
    config = saa_config(world, "at_once")
    train_saa(changed(config, optimizer={"micro_batch_size": 4}))
    assert losses_of(world / "at_once") == pytest.approx(losses_of(straight), rel=1e-4)


def test_the_average_of_the_weights_is_what_comes_out(world: Path, straight: Path):
    """Its decay is n / (9 + n) at step n, 0 at the first, and at most ``ema_decay``."""
    output = world / "averaged"
    train_saa(saa_config(world, "averaged", optimizer="ema_decay = 0.24", run=EVERY_CHECKPOINT))
    assert losses_of(output) == losses_of(straight)
    average = weights_after(output, 1)
    for step, decay in ((2, 2 / 11), (3, 0.24), (4, 0.24)):
        weights = weights_after(output, step)
        average = {name: decay * value + (1 - decay) * weights[name] for name, value in average.items()}
    exported, last = weights_of(output), weights_after(output, 4)
    assert exported.keys() == average.keys()
    for name, value in average.items():
        assert torch.allclose(exported[name], value, rtol=0, atol=1e-6), name
        assert (exported[name] - last[name]).abs().max() > 1e-4, name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_and_weights(
    number: int, world: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
):
    from dynamicid.training.loop import Trainer

    log = Trainer._log

    def log_and_stop(self, losses, progress):
        log(self, losses, progress)
        if self.step == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Trainer, "_log", log_and_stop)
    output = world / f"stopped_{number}"
    config = saa_config(world, output.name)
    with pytest.raises(Interrupted) as stopped:
        train_saa(config)
    assert (stopped.value.step, stopped.value.number) == (2, number)
    assert len(load_weights(output / "weights" / "SAA.bin").saa_layers) == 8
    monkeypatch.undo()
    train_saa(config, resume=True)
    assert losses_of(output) == losses_of(straight)


def test_a_compiled_model_comes_out_under_its_own_names(world: Path, straight: Path, monkeypatch: pytest.MonkeyPatch):
    """What ``accelerate launch --dynamo_backend`` sets; "eager" traces as the others do, and needs no compiler."""
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    train_saa(saa_config(world, "compiled"))
    assert losses_of(world / "compiled") == pytest.approx(losses_of(straight), rel=1e-4)
    assert weights_of(world / "compiled").keys() == weights_of(straight).keys()
    assert len(load_weights(world / "compiled" / "weights" / "SAA.safetensors").saa_layers) == 8


def test_a_finished_run_is_not_overwritten_by_another(world: Path, straight: Path, monkeypatch: pytest.MonkeyPatch):
    """It is said before any network is loaded."""
    monkeypatch.setattr("dynamicid.training.train_saa.load_base", None)
    with pytest.raises(DynamicIDError, match="--resume"):
        train_saa(saa_config(world, "straight"))
    with pytest.raises(DynamicIDError, match="seed"):
        train_saa(saa_config(world, "straight", run="seed = 9"), resume=True)


def test_training_goes_on_from_published_weights(world: Path, straight: Path):
    config = saa_config(world, "further", model=f'start_from = "{straight}/weights/SAA.safetensors"')
    model = make_model(load_base(config.base.model).unet, config, open_shards(config.data.cache, "saa")).state_dict()
    assert torch.equal(model["layers.1.to_k_ip.weight"], weights_of(straight)["layers.1.to_k_ip.weight"])
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
