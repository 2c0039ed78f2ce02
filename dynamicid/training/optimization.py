"""The optimizer's parameter groups, the learning rate schedule, and the moving average of the weights."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers.optimization import get_constant_schedule_with_warmup, get_wsd_schedule

from .config import OptimizerSection


def parameter_groups(
    model: nn.Module, learning_rate: float, learning_rate_scale: Callable[[str], float]
) -> list[dict[str, Any]]:
    """The parameters of ``model`` grouped by learning rate, highest rate first.

    Args:
        model: Every parameter is trained.
        learning_rate: Rate of a parameter of scale 1.
        learning_rate_scale: (name of a parameter) -> factor on ``learning_rate``.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(learning_rate_scale(name), []).append(parameter)
    return [{"params": groups[scale], "lr": scale * learning_rate} for scale in sorted(groups, reverse=True)]


def learning_rate_schedule(optimizer: torch.optim.Optimizer, settings: OptimizerSection, steps: int) -> LambdaLR:
    """Linear warmup, constant rate, linear decay to 0 over the last ``decay_steps`` of ``steps`` steps.

    Without ``decay_steps`` the schedule does not depend on ``steps``, so that a finished run can be resumed with more.
    """
    if not settings.decay_steps:
        return get_constant_schedule_with_warmup(optimizer, settings.warmup_steps)
    return get_wsd_schedule(
        optimizer, settings.warmup_steps, settings.decay_steps, num_training_steps=steps, decay_type="linear"
    )


def set_learning_rates(schedule: LambdaLR, rates: list[Any]) -> None:
    """Other rates after the warmup, one a parameter group, from the current step of a restored schedule on."""
    schedule.base_lrs = rates
    groups = schedule.optimizer.param_groups
    for group, rate, factor in zip(groups, rates, schedule.lr_lambdas, strict=True):
        group["initial_lr"], group["lr"] = rate, rate * factor(schedule.last_epoch)
    schedule._last_lr = [group["lr"] for group in groups]


def averaged_tensors(model: nn.Module) -> list[Any]:
    """What ``MovingAverage`` averages: the parameters, then the statistics of BatchNorm."""
    return [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]


class MovingAverage(EMAModel):
    """Exponential moving average of ``averaged_tensors``, of which parameters may be sharded by FSDP.

    Update n = 1, 2, ... uses the decay min(``decay``, n / (9 + n)), 0 for n = 1: early weights are forgotten quickly.
    Under FSDP every process holds shards of the parameters and of their averages, and all processes have to call
    ``state_dict`` and ``load_state_dict``. Source: ``diffusers.training_utils.EMAModel``.
    """

    @torch.no_grad()
    def step(self, parameters: Iterable[Tensor]) -> None:
        """Updates the averages, of tensors that need no gradient as well."""
        self.optimization_step += 1
        share = 1 - self.get_decay(self.optimization_step)
        for average, value in zip(self.shadow_params, parameters, strict=True):
            average.sub_(share * (average - value))

    def state_dict(self) -> dict[str, Any]:
        """The unsharded averages, on the CPU."""
        return {**super().state_dict(), "shadow_params": [_gather(average) for average in self.shadow_params]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores unsharded averages; device and sharding of each stay as they are."""
        current = self.shadow_params
        super().load_state_dict(state_dict)
        self.shadow_params = [_distribute(new, old) for new, old in zip(self.shadow_params, current, strict=True)]


class StepStatistics:
    """Running statistics of BatchNorm, updated once per optimizer step with the mean over the samples of the step.

    PyTorch updates them at every forward pass, so that they depend on how a batch is divided. Where a step has one
    forward pass in one process, both are the same.

    Args:
        model: Its BatchNorm layers average over the forward passes of a step from now on.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
        self._momenta = [layer.momentum or 0.0 for layer in self._layers]
        self._before: list[Tensor] = []
        self._counts: list[int] = []
        for layer in self._layers:
            layer.momentum = None

    def begin(self) -> None:
        """Before the first forward pass of a step."""
        self._before = [torch.stack(_statistics(layer)) for layer in self._layers]
        self._counts = [int(layer.num_batches_tracked or 0) for layer in self._layers]
        for layer in self._layers:
            layer.reset_running_stats()

    def end(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """After the last one. ``reduce`` returns the mean of a tensor over all processes."""
        if not self._layers:
            return
        sizes = [before.numel() for before in self._before]
        means = reduce(torch.cat([torch.cat(_statistics(layer)) for layer in self._layers])).split(sizes)
        for layer, momentum, before, count, mean in zip(
            self._layers, self._momenta, self._before, self._counts, means, strict=True
        ):
            for buffer, old, new in zip(_statistics(layer), before, mean.chunk(2), strict=True):
                buffer.copy_(torch.lerp(old, new, momentum))
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked.fill_(count + 1)


def _statistics(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Mean and variance (width,) of a layer; the buffers themselves."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean, layer.running_var


def _gather(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def _distribute(tensor: Tensor, like: Tensor) -> Tensor:
    tensor = tensor.to(like.device)
    return distribute_tensor(tensor, like.device_mesh, like.placements) if isinstance(like, DTensor) else tensor
