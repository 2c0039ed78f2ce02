"""What the small networks share: a convolution block, picture tensors, the training loop, and the ONNX export.

A training is repeatable, and continues from its checkpoint where it was interrupted.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from einops import rearrange
from onnx import helper, numpy_helper
from torch import Tensor, nn

from dynamicid.files.atomic import atomic_write

from ..places import SEED

logger = logging.getLogger(__name__)

OPSET = 13
"""Old enough for every onnxruntime that insightface 0.7.3 runs with."""
_HALF_PRECISION_FROM = 1000
"""Weights of at least so many numbers are stored in half precision."""


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    Attributes:
        name: Names the checkpoint and seeds the batches.
        steps: Optimiser steps.
        rate: Peak learning rate of AdamW, after a warm-up of 5 % of the steps; then a cosine down to 0.
        decay: Weight decay of matrices and kernels.
        save_every: Steps between checkpoints.
    """

    name: str
    steps: int
    rate: float
    decay: float = 0.02
    save_every: int = 500


def conv_block(inner: int, outer: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU: (B, inner, h, w) -> (B, outer, h / stride, w / stride)."""
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
    )


def picture_tensor(pictures: np.ndarray) -> Tensor:
    """(B, h, w, 3) uint8 -> (B, 3, h, w) float32 in [-1, 1], channels last in memory."""
    return rearrange(torch.from_numpy(np.array(pictures)), "b h w c -> b c h w").float() / 127.5 - 1


def insightface_tensor(pictures: np.ndarray) -> Tensor:
    """(B, h, w, 3) uint8 -> (B, 3, h, w) float32 as InsightFace normalises detector and landmark inputs."""
    return (rearrange(torch.from_numpy(np.array(pictures)), "b h w c -> b c h w").float() - 127.5) / 128


def train(
    plan: Plan, folder: Path, net: nn.Module, make_batch: Callable[[np.random.Generator], Any], loss: Callable
) -> None:
    """Trains ``net`` in place and leaves it in evaluation mode.

    Args:
        plan: Length and learning rate.
        folder: Holds ``<name>.ckpt``; a finished one is loaded, and nothing is trained.
        net: The network.
        make_batch: Random generator of the step -> batch.
        loss: (net, batch) -> scalar tensor.
    """
    path = folder / f"{plan.name}.ckpt"
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": plan.decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))
    first = _load_checkpoint(path, net, optimiser)
    net.train()
    total, started = 0.0, time.monotonic()
    for step in range(first, plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(plan, step)
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
            progress = f"{plan.name} {step + 1} of {plan.steps}"
            logger.info("%s: loss %.4f, %.0f ms a step", progress, total / 100, 1000 * per_step)
            total = 0.0
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            _save_checkpoint(path, net, optimiser, step + 1)
    net.eval()


def _learning_rate(plan: Plan, step: int) -> float:
    warm_up = max(1, plan.steps // 20)
    if step < warm_up:
        return plan.rate * (step + 1) / warm_up
    return plan.rate * (0.5 + 0.5 * float(np.cos(np.pi * (step - warm_up) / (plan.steps - warm_up))))


def _save_checkpoint(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    with atomic_write(path) as partial:
        torch.save({"net": net.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, partial)


def _load_checkpoint(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Loads a checkpoint; returns its step, 0 without one."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def write_onnx(
    net: nn.Module, path: Path, example: Tensor, names: tuple[str, list[str]], free: tuple[int, ...]
) -> None:
    """Exports a network that computes in float32; large weights are stored in half precision.

    Args:
        net: Takes one tensor.
        path: The file; its folder is created where missing.
        example: (1, 3, height, width)
        names: Of the input and of the outputs.
        free: Dimensions of the input with any size.
    """
    names_of_free = {0: "batch", 2: "height", 3: "width"}
    with atomic_write(path) as partial:
        torch.onnx.export(
            net.float().eval(),
            (example,),
            str(partial),
            input_names=[names[0]],
            output_names=names[1],
            dynamic_axes={names[0]: {dimension: names_of_free[dimension] for dimension in free}} if free else None,
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(partial)
        _store_in_half_precision(model.graph)
        onnx.checker.check_model(model)
        onnx.save(model, partial)


def _store_in_half_precision(graph: onnx.GraphProto) -> None:
    """Stores large weights in half precision, each with a node that casts it to float32."""
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= _HALF_PRECISION_FROM:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
