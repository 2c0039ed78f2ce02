"""The training loop of both stages: steps, accumulation, moving average, checkpoints, progress, a clean stop."""

import json
import logging
import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, ProjectConfiguration
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers.optimization import get_constant_schedule_with_warmup, get_wsd_schedule

from ..errors import DynamicIDError
from ..files.atomic import atomic_write, translate_io_errors
from .average import MovingAverage
from .checkpointing import load_checkpoint, save_checkpoint, start_output
from .config import CONFIG_NAME, IMRConfig, OptimizerSection, SAAConfig, as_toml
from .stream import StreamBatches, StreamDataset

logger = logging.getLogger(__name__)
Batch = dict[str, Tensor]
Losses = dict[str, Tensor]
State = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Stage:
    """What one stage trains.

    Attributes:
        model: Holds exactly what is trained; frozen networks are out of its sight, on the device already.
        dataset: Samples by position.
        losses: (prepared model, batch on the device) -> terms by name; "loss" is the one that is minimised.
        export: (state dict of ``model``, folder) -> files written.
        samples: (model) -> pictures (N, height, width, 3) uint8 for TensorBoard, or None.
        rate: (name of a weight) -> its learning rate as a share of the configuration's.
    """

    model: nn.Module
    dataset: StreamDataset
    losses: Callable[[nn.Module, Batch], Losses]
    export: Callable[[State, Path], list[Path]]
    samples: Callable[[nn.Module], Tensor] | None = None
    rate: Callable[[str], float] = lambda _: 1.0


class Interrupted(Exception):
    """The run was told to stop and has stopped, with a checkpoint. ``step``: optimizer steps done."""

    def __init__(self, step: int) -> None:
        super().__init__(f"Stopped after {step} steps, with a checkpoint; --resume goes on.")
        self.step = step


def make_accelerator(config: SAAConfig | IMRConfig) -> Accelerator:
    """Devices, processes and number format; accumulation so that a step has ``optimizer.batch_size`` samples.

    Raises:
        DynamicIDError: The batch cannot be divided among so many processes, or FSDP is set to its first version.
    """
    batch, micro = config.optimizer.batch_size, config.optimizer.micro_batch_size
    accelerator = Accelerator(
        mixed_precision=config.run.mixed_precision,
        log_with="tensorboard",
        project_config=ProjectConfiguration(str(config.run.output), logging_dir=str(config.run.output / "tensorboard")),
        rng_types=[],
    )
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise DynamicIDError("accelerate", "FSDP is set to version 1.", "Say 'fsdp_version: 2' in its configuration.")
    together = micro * accelerator.num_processes
    if batch % together:
        raise DynamicIDError(
            "optimizer.batch_size",
            f"{batch} samples do not divide among {accelerator.num_processes} processes of {micro} at a time.",
            f"Use a multiple of {together}.",
        )
    accelerator.gradient_accumulation_steps = batch // together
    return accelerator


def place_frozen(network: nn.Module, accelerator: Accelerator) -> None:
    """Moves a frozen network to this process's device, in the number format of the run."""
    network.to(accelerator.device)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(accelerator.mixed_precision)
    if dtype is not None:
        network.to(dtype)


def parameter_groups(stage: Stage, learning_rate: float) -> list[dict[str, Any]]:
    """What is trained, for the optimizer: weights of one learning rate together, the highest rate first."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in stage.model.named_parameters():
        groups.setdefault(stage.rate(name), []).append(parameter)
    return [{"params": groups[rate], "lr": rate * learning_rate} for rate in sorted(groups, reverse=True)]


def learning_rate_schedule(optimizer: torch.optim.Optimizer, settings: OptimizerSection, steps: int) -> LambdaLR:
    """Every group's rate rises, stays, and falls over the last ``decay_steps`` of ``steps`` steps.

    Without ``decay_steps`` it knows no end, so that a finished run can be resumed with more steps.
    """
    if not settings.decay_steps:
        return get_constant_schedule_with_warmup(optimizer, settings.warmup_steps)
    return get_wsd_schedule(
        optimizer, settings.warmup_steps, settings.decay_steps, num_training_steps=steps, decay_type="linear"
    )


class Trainer:
    """One run of one stage. Everything with a state that a checkpoint must hold is made here."""

    def __init__(self, accelerator: Accelerator, config: SAAConfig | IMRConfig, stage: Stage) -> None:
        self.accelerator, self.config, self.stage = accelerator, config, stage
        settings = config.optimizer
        groups = parameter_groups(stage, settings.learning_rate)
        optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        self.model, self.optimizer = accelerator.prepare(stage.model, optimizer)
        self.schedule = learning_rate_schedule(self.optimizer.optimizer, settings, config.run.steps)
        accelerator.register_for_checkpointing(self.schedule)
        self.average = None
        if settings.ema_decay:
            self.average = MovingAverage(self.model.parameters(), decay=settings.ema_decay)
            accelerator.register_for_checkpointing(self.average)
        self.step = 0
        self.damaged: list[int] = []

    def run(self, resume: bool) -> list[Path]:
        """Trains up to ``run.steps`` and writes the weights.

        Returns:
            The weight files, in ``<output>/weights``.

        Raises:
            Interrupted: SIGTERM or Ctrl-C; a checkpoint and the weights so far are written.
            DynamicIDError: Checkpoints in the way, none that fits, a full disk, or a loss that is no number.
        """
        run, accelerator = self.config.run, self.accelerator
        self.step, checkpoint = start_output(run.output, self.config, resume, accelerator.is_main_process)
        accelerator.wait_for_everyone()
        if checkpoint:
            load_checkpoint(accelerator, checkpoint)
        if accelerator.is_main_process:
            accelerator.init_trackers("dynamicid")
            _keep_losses_until(run.output / "losses.jsonl", self.step)
        first = self.step
        with _stop_signals(accelerator) as stopped:
            interrupted = self._train(stopped)
            if self.step > first:
                self._save()
        files = self._export()
        # Gloo's last work may need Python's lock while DDP waits for its end with that lock: DDP must not outlive its
        # process group.
        self.model, self.optimizer = accelerator.free_memory(self.model, self.optimizer)
        accelerator.end_training()
        if self.damaged:
            logger.warning("%d damaged samples were replaced: %s", len(self.damaged), sorted(set(self.damaged))[:20])
        if interrupted:
            raise Interrupted(self.step)
        return files

    def _train(self, stopped: Callable[[], bool]) -> bool:
        """Steps until the end or a signal; whether it was a signal."""
        run, batch_size = self.config.run, self.config.optimizer.batch_size
        progress = tqdm(
            total=run.steps * batch_size,
            initial=self.step * batch_size,
            unit="img",
            disable=not self.accelerator.is_main_process,
        )
        losses: list[Losses] = []
        for batch in self._batches():
            losses.append(self._micro_step(batch))
            if not self.accelerator.sync_gradients:
                continue
            self.step += 1
            self._log(losses, progress)
            losses = []
            if stopped():
                return self.step < run.steps
            if self.step % run.checkpoint_every == 0 and self.step < run.steps:
                self._save()
            if self.stage.samples and run.sample_every and self.step % run.sample_every == 0:
                self._log_samples()
        progress.close()
        return False

    def _batches(self) -> Iterator[Batch]:
        """This process's micro-batches from the present step on, on the device."""
        settings, data, run = self.config.optimizer, self.config.data, self.config.run
        positions = range(self.step * settings.batch_size, run.steps * settings.batch_size)
        if not positions:
            return
        sampler = StreamBatches(
            self.stage.dataset.shards, positions, settings.micro_batch_size, run.seed, data.shuffle_shards
        )
        pin = self.accelerator.device.type == "cuda"
        loader = DataLoader(
            self.stage.dataset,
            batch_sampler=sampler,
            num_workers=data.workers,
            pin_memory=pin,
            worker_init_fn=_ignore_stop_signals,
        )
        yield from self.accelerator.prepare_data_loader(loader)

    def _micro_step(self, batch: Batch) -> Losses:
        """Gradients of one micro-batch; with the last one of a step, the step."""
        self.damaged += [number for number in batch.pop("damaged").flatten().tolist() if number >= 0]
        accelerator = self.accelerator
        with accelerator.accumulate(self.model):
            losses = self.stage.losses(self.model, batch)
            accelerator.backward(losses["loss"])
            if accelerator.sync_gradients and self.config.optimizer.max_gradient_norm:
                accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimizer.max_gradient_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if accelerator.sync_gradients:
            self.schedule.step()
            if self.average:
                self.average.step(self.model.parameters())
        return {name: value.detach() for name, value in losses.items()}

    def _log(self, losses: list[Losses], progress: tqdm) -> None:
        """Means over the whole step and all processes."""
        names = list(losses[0])
        table = torch.stack([torch.stack([one[name].float() for name in names]) for one in losses]).mean(dim=0)
        means = dict(zip(names, self.accelerator.reduce(table, "mean").tolist(), strict=True))  # pyright: ignore
        if not all(math.isfinite(value) for value in means.values()):
            raise DynamicIDError(
                "loss",
                f"It is no number any more at step {self.step}: {means}.",
                "Go on from the last checkpoint with a lower learning rate, or with mixed_precision bf16.",
            )
        progress.update(self.config.optimizer.batch_size)
        progress.set_postfix({"step": self.step, "loss": f"{means['loss']:.4f}"}, refresh=False)
        self.accelerator.log({**means, "learning_rate": self.schedule.get_last_lr()[0]}, step=self.step)
        if self.accelerator.is_main_process:
            path = self.config.run.output / "losses.jsonl"
            with translate_io_errors(path), path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"step": self.step, **means}) + "\n")

    def _save(self) -> None:
        run = self.config.run
        numbers = sum(parameter.numel() for parameter in self.model.parameters())
        needed = numbers * 4 * (4 if self.average else 3)
        save_checkpoint(self.accelerator, run.output, self.step, run.keep_checkpoints, needed)

    def _export(self) -> list[Path]:
        """The weights, averaged where a moving average is kept."""
        if self.average:
            self.average.store(self.model.parameters())
            self.average.copy_to(self.model.parameters())
        gathered: Any = self.accelerator.get_state_dict(self.model)
        # torch.compile (Accelerate's dynamo_backend) puts a name of its own before each.
        state = {name.removeprefix("_orig_mod."): tensor.cpu().clone() for name, tensor in gathered.items()}
        if self.average:
            self.average.restore(self.model.parameters())
        if not self.accelerator.is_main_process:
            return []
        folder = self.config.run.output / "weights"
        with atomic_write(folder / CONFIG_NAME) as partial:
            partial.write_text(as_toml(self.config), encoding="utf-8")
        return self.stage.export(state, folder)

    def _log_samples(self) -> None:
        """All processes paint: under FSDP none of them holds the whole model."""
        assert self.stage.samples is not None
        pictures = self.stage.samples(self.accelerator.unwrap_model(self.model))
        for tracker in self.accelerator.trackers:
            tracker.tracker.add_images("samples", pictures, self.step, dataformats="NHWC")


@contextmanager
def _stop_signals(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether any process was told to stop; SIGTERM and Ctrl-C count until the end."""

    told: list[int] = []
    process = os.getpid()

    def remember(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:  # reading processes inherit this function
            told.append(number)

    def stopped() -> bool:
        if told:
            accelerator.set_trigger()
        return accelerator.check_trigger()

    former = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _ignore_stop_signals(_: int) -> None:
    """In a reading process: schedulers and terminals signal it, too, and the training process still needs it then."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _keep_losses_until(path: Path, step: int) -> None:
    """Drops the lines of steps that a resumed run will do again."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
