"""The processes of a run: devices, number format, and stopping on a signal."""

import os
import signal
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    ProjectConfiguration,
    parse_flag_from_env,
)
from torch import nn
from typing_extensions import Self

from ..errors import DynamicIDError
from .config import TrainingConfig

LONGEST_WAIT = timedelta(days=30)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """The signal ``number`` stopped the run after ``step`` optimizer steps; a checkpoint was written."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        super().__init__(f"Stopped after {step} steps, with a checkpoint; --resume goes on.")
        self.step, self.number = step, number


def process_state() -> PartialState:
    """Device and rank of this process. Unlike an Accelerator it does not fix the number format of the process.

    Processes wait ``LONGEST_WAIT`` for one another, as one may have far more to do than the others.
    """
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=LONGEST_WAIT)


def process_share(state: PartialState) -> tuple[int, int]:
    """Number of this process's GPU, and how many processors it has if all processes of this machine get as many."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = int(os.getenv("LOCAL_WORLD_SIZE", state.num_processes))
    return state.local_process_index, max(1, processors // here)


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """An Accelerator whose gradient accumulation makes a step of ``optimizer.batch_size`` samples.

    Raises:
        DynamicIDError: The batch cannot be divided among the processes, or FSDP is set to version 1.
    """
    batch, micro = config.optimizer.batch_size, config.optimizer.micro_batch_size
    accelerator = Accelerator(
        mixed_precision=config.run.mixed_precision,
        log_with="tensorboard",
        project_config=ProjectConfiguration(str(config.run.output), logging_dir=str(config.run.output / "tensorboard")),
        rng_types=[],
        # StepStatistics averages over the processes instead.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise DynamicIDError("accelerate", "FSDP is set to version 1.", "Set 'fsdp_version: 2' in its configuration.")
    micro_batches = micro * accelerator.num_processes
    if batch % micro_batches:
        raise DynamicIDError(
            "optimizer.batch_size",
            f"{batch} samples cannot be divided among {accelerator.num_processes} processes with micro batches of "
            f"{micro}.",
            f"Use a multiple of {micro_batches}.",
        )
    accelerator.gradient_accumulation_steps = batch // micro_batches
    return accelerator


def place_frozen(network: nn.Module, device: torch.device, mixed_precision: str) -> None:
    """Moves a frozen network to a device and to the number format of the run."""
    network.to(device)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(mixed_precision)
    if dtype is not None:
        network.to(dtype)


class StopSignals:
    """What has been received of STOP_SIGNALS, which do not end the process inside the block.

    Attributes:
        number: The last one; SIGTERM if it reached another process only.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.number: int = signal.SIGTERM
        self._accelerator, self._process, self._is_received = accelerator, os.getpid(), False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._record) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def is_stopped(self) -> bool:
        """Whether any process has received a signal. All processes have to call it."""
        if self._is_received:
            self._accelerator.set_trigger()
        return self._accelerator.check_trigger()

    def _record(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process:  # reading processes inherit this handler
            self.number, self._is_received = number, True


def ignore_stop_signals(_: int) -> None:
    """Start of a reading process: a signal to the process group reaches it, too, and the last step still needs it."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
