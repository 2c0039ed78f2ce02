"""The training loop of both stages: accumulated steps, logging, checkpoints, export."""

import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..errors import DynamicIDError
from ..files.atomic import translate_io_errors, write_text
from .checkpointing import checkpoints, comments_of, load_checkpoint, save_checkpoint, start_output, write_config
from .config import CONFIG_NAME, TrainingConfig
from .optimization import (
    MovingAverage,
    StepStatistics,
    averaged_tensors,
    learning_rate_schedule,
    parameter_groups,
    set_learning_rates,
)
from .processes import Interrupted, StopSignals, ignore_stop_signals
from .stream import StreamBatches, StreamDataset

logger = logging.getLogger(__name__)
Batch = dict[str, Tensor]
Losses = dict[str, Tensor]
State = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """What a run trains, on what, with which loss.

    Attributes:
        model: Holds exactly what is trained. Frozen networks are not part of it and are on the device already.
        dataset: Samples by position.
        compute_losses: (prepared model, batch on the device) -> scalars by name; "loss" is minimised.
        export: (state dict of ``model``, folder) -> files written.
        sample_pictures: (model) -> pictures (N, height, width, 3) uint8 for TensorBoard, or None.
        learning_rate_scale: (name of a parameter) -> factor on ``optimizer.learning_rate``.
    """

    model: nn.Module
    dataset: StreamDataset
    compute_losses: Callable[[nn.Module, Batch], Losses]
    export: Callable[[State, Path], list[Path]]
    sample_pictures: Callable[[nn.Module], Tensor] | None = None
    learning_rate_scale: Callable[[str], float] = lambda _: 1.0


class NotFiniteError(Exception):
    """The loss of a step is not finite; the text holds its terms."""


class Trainer:
    """One run of a task. Everything with a state that belongs into a checkpoint is created here."""

    def __init__(self, accelerator: Accelerator, config: TrainingConfig, task: TrainingTask) -> None:
        self.accelerator, self.config, self.task = accelerator, config, task
        settings = config.optimizer
        groups = parameter_groups(task.model, settings.learning_rate, task.learning_rate_scale)
        optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        self.model, self.optimizer = accelerator.prepare(task.model, optimizer)
        self.schedule = learning_rate_schedule(self.optimizer.optimizer, settings, config.run.steps)
        accelerator.register_for_checkpointing(self.schedule)
        self.average = None
        if settings.ema_decay:
            self.average = MovingAverage(averaged_tensors(self.model), decay=settings.ema_decay)
            accelerator.register_for_checkpointing(self.average)
        self.statistics = StepStatistics(self.model)
        self.step = 0
        self.damaged: list[int] = []

    def run(self, resume: bool) -> list[Path]:
        """Trains up to ``run.steps`` and writes the weights.

        Returns:
            The weight files, in ``<output>/weights``; empty in all processes but the first.

        Raises:
            Interrupted: SIGTERM or Ctrl-C; a checkpoint and the weights so far have been written.
            DynamicIDError: The output folder holds another run, its checkpoint does not load, the disk is full, or the
                loss is not finite: then the weights of the last good checkpoint have been written.
        """
        run, accelerator = self.config.run, self.accelerator
        self.step, checkpoint = start_output(run.output, self.config, resume, accelerator.is_main_process)
        accelerator.wait_for_everyone()
        if checkpoint:
            self._load(checkpoint)
        if accelerator.is_main_process:
            with self._tensorboard():
                accelerator.init_trackers("dynamicid")
            _truncate_losses(run.output / "losses.jsonl", self.step)
        first = self.step
        try:
            with StopSignals(accelerator) as signals:
                interrupted = self._train(signals.is_stopped)
                if self.step > first:
                    self._save()
        except NotFiniteError as error:
            raise self._end_without_number(str(error)) from error
        files = self._export()
        self._close()
        if interrupted:
            raise Interrupted(self.step, signals.number)
        return files

    def _close(self) -> None:
        # Gloo's last collective may need the GIL while DDP's destructor waits for it holding the GIL: DDP must not
        # outlive its process group.
        self.model, self.optimizer = self.accelerator.free_memory(self.model, self.optimizer)
        with self._tensorboard():
            self.accelerator.end_training()
        if self.damaged:
            logger.warning("%d damaged samples were replaced: %s", len(self.damaged), sorted(set(self.damaged))[:20])

    def _load(self, checkpoint: Path) -> None:
        """Restores a checkpoint; the learning rate is that of the configuration."""
        rates = list(self.schedule.base_lrs)
        load_checkpoint(self.accelerator, checkpoint)
        set_learning_rates(self.schedule, rates)

    def _end_without_number(self, terms: str) -> DynamicIDError:
        """Exports the newest checkpoint whose weights gave a finite loss afterwards; returns the error to raise."""
        step, saved = self.step, checkpoints(self.config.run.output)
        good = [checkpoint for checkpoint in saved if checkpoint[0] < step - 1]
        found = f"It is not finite at step {step}: {terms}. "
        remedy = "Go on with --resume and a lower optimizer.learning_rate, or run.mixed_precision 'bf16' for 'fp16'."
        if good:
            self.step = good[-1][0]
            self._load(good[-1][1])
            self._export()
            found += f"'{self.config.run.output / 'weights'}' holds the weights after step {self.step}."
        else:
            found += "There is no checkpoint from before, so no weights were written."
        if saved and saved[-1][0] == step - 1:
            remedy += f" If it ends here again, delete '{saved[-1][1]}': --resume then takes the checkpoint before."
        self._close()
        return DynamicIDError("loss", found, remedy)

    def _train(self, is_stopped: Callable[[], bool]) -> bool:
        """Steps until the end of the run (False) or a signal (True)."""
        run, batch_size = self.config.run, self.config.optimizer.batch_size
        progress = tqdm(
            total=run.steps * batch_size,
            initial=self.step * batch_size,
            unit="img",
            disable=not self.accelerator.is_main_process,
        )
        losses: list[Losses] = []
        for batch in self._batches():
            if not losses:
                self.statistics.begin()
            losses.append(self._micro_step(batch))
            if not self.accelerator.sync_gradients:
                continue
            self.step += 1
            self._log(losses, progress)
            losses = []
            if is_stopped():
                return self.step < run.steps
            if self.step % run.checkpoint_every == 0 and self.step < run.steps:
                self._save()
            if self.task.sample_pictures and run.sample_every and self.step % run.sample_every == 0:
                self._log_samples()
        progress.close()
        return False

    def _batches(self) -> Iterator[Batch]:
        """This process's micro batches from the current step on, on the device."""
        settings, data, run = self.config.optimizer, self.config.data, self.config.run
        positions = range(self.step * settings.batch_size, run.steps * settings.batch_size)
        if not positions:
            return
        sampler = StreamBatches(
            self.task.dataset.shards, positions, settings.micro_batch_size, run.seed, data.shuffle_shards
        )
        loader = DataLoader(
            self.task.dataset,
            batch_sampler=sampler,
            num_workers=data.workers,
            pin_memory=self.accelerator.device.type == "cuda",
            worker_init_fn=ignore_stop_signals,
        )
        yield from self.accelerator.prepare_data_loader(loader)

    def _micro_step(self, batch: Batch) -> Losses:
        """Gradients of one micro batch; the last one of a step also updates the weights."""
        self.damaged += [number for number in batch.pop("damaged").flatten().tolist() if number >= 0]
        accelerator = self.accelerator
        with accelerator.accumulate(self.model):
            losses = self.task.compute_losses(self.model, batch)
            accelerator.backward(losses["loss"])
            if accelerator.sync_gradients and self.config.optimizer.max_gradient_norm:
                accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimizer.max_gradient_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if accelerator.sync_gradients:
            self.schedule.step()
            self.statistics.end(self._mean)
            if self.average:
                self.average.step(averaged_tensors(self.model))
        return {name: value.detach() for name, value in losses.items()}

    def _log(self, losses: list[Losses], progress: tqdm) -> None:
        """Logs the means over all micro batches of the step and all processes."""
        names = list(losses[0])
        rows = torch.stack([torch.stack([terms[name].float() for name in names]) for terms in losses])
        means = dict(zip(names, self._mean(rows.mean(dim=0)).tolist(), strict=True))
        if not all(math.isfinite(value) for value in means.values()):
            raise NotFiniteError(str(means))
        progress.update(self.config.optimizer.batch_size)
        progress.set_postfix({"step": self.step, "loss": f"{means['loss']:.4f}"}, refresh=False)
        with self._tensorboard():
            self.accelerator.log({**means, "learning_rate": self.schedule.get_last_lr()[0]}, step=self.step)
        if self.accelerator.is_main_process:
            path = self.config.run.output / "losses.jsonl"
            with translate_io_errors(path), path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"step": self.step, **means}) + "\n")

    def _mean(self, values: Tensor) -> Tensor:
        """Over all processes."""
        reduced: Any = self.accelerator.reduce(values, "mean")
        return reduced

    def _save(self) -> None:
        run = self.config.run
        # float32: weights, two moments of AdamW, and the average.
        numbers = sum(parameter.numel() for parameter in self.model.parameters()) * (4 if self.average else 3)
        save_checkpoint(self.accelerator, run.output, self.step, run.keep_checkpoints, needed_bytes=4 * numbers)

    def _export(self) -> list[Path]:
        """Writes the weights, or their moving average if there is one, which replaces them in the model."""
        if self.average:
            self.average.copy_to(averaged_tensors(self.model))
        gathered: Any = self.accelerator.get_state_dict(self.model)
        # torch.compile (Accelerate's dynamo_backend) prefixes every name.
        state = {name.removeprefix("_orig_mod."): tensor.cpu().clone() for name, tensor in gathered.items()}
        if not self.accelerator.is_main_process:
            return []
        folder = self.config.run.output / "weights"
        write_config(self.config, folder, comments_of(self.config.run.output / CONFIG_NAME))
        return self.task.export(state, folder)

    def _log_samples(self) -> None:
        """All processes take part: under FSDP none of them holds the whole model."""
        assert self.task.sample_pictures is not None
        pictures = self.task.sample_pictures(self.accelerator.unwrap_model(self.model))
        with self._tensorboard():
            for tracker in self.accelerator.trackers:
                tracker.tracker.add_images("samples", pictures, self.step, dataformats="NHWC")

    def _tensorboard(self) -> AbstractContextManager[None]:
        """Errors of writing the log, which may surface at any later call."""
        return translate_io_errors(self.config.run.output / "tensorboard")


def _truncate_losses(path: Path, step: int) -> None:
    """Removes the lines of steps that a resumed run repeats, and one that a full disk cut short."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    write_text(path, "".join(line + "\n" for line in lines if line.endswith("}") and json.loads(line)["step"] <= step))
