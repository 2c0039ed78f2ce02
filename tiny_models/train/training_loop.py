"""The training loop that all small networks share: repeatable, and continued where it was interrupted."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dynamicid.files.atomic import atomic_write

from ..places import SEED

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    Args:
        name: Names the checkpoint and seeds the batches.
        steps: Optimiser steps.
        rate: Highest learning rate of AdamW; warmed up over 5% of the steps, then a cosine down to 0.
        decay: Weight decay of matrices and kernels.
        save_every: Steps between checkpoints.
    """

    name: str
    steps: int
    rate: float
    decay: float = 0.02
    save_every: int = 500


def train(
    plan: Plan, folder: Path, net: nn.Module, make_batch: Callable[[np.random.Generator], Any], loss: Callable
) -> None:
    """Trains ``net`` in place and hands it back in evaluation mode.

    Args:
        plan: Length and rate.
        folder: Where ``<name>.ckpt`` is kept; a finished one is loaded and nothing is trained.
        net: What is trained.
        make_batch: Random generator of the step -> batch.
        loss: (net, batch) -> scalar tensor.
    """
    path = folder / f"{plan.name}.ckpt"
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": plan.decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))
    first = _continue(path, net, optimiser)
    net.train()
    total, started = 0.0, time.monotonic()
    for step in range(first, plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(plan, step)
        torch.manual_seed(SEED + step)
        batch = make_batch(np.random.default_rng([SEED, len(plan.name), *plan.name.encode(), step]))
        value: Tensor = loss(net, batch)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        total += float(value.detach())
        if (step + 1) % 100 == 0:
            per_step = (time.monotonic() - started) / (step + 1 - first)
            done = f"{plan.name} {step + 1} of {plan.steps}"
            logger.info("%s: loss %.4f, %.0f ms a step", done, total / 100, 1000 * per_step)
            total = 0.0
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            _save(path, net, optimiser, step + 1)
    net.eval()


def _rate(plan: Plan, step: int) -> float:
    warm = max(1, plan.steps // 20)
    if step < warm:
        return plan.rate * (step + 1) / warm
    return plan.rate * (0.5 + 0.5 * float(np.cos(np.pi * (step - warm) / (plan.steps - warm))))


def _save(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    with atomic_write(path) as partial:
        torch.save({"net": net.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, partial)


def _continue(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Loads a checkpoint and says after how many steps it was written; 0 without one."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
