"""Trained networks as the ONNX files that InsightFace reads."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 13
"""Old enough for every onnxruntime that insightface 0.7.3 users have."""


def write_onnx(
    net: nn.Module, path: Path, example: Tensor, names: tuple[str, list[str]], free: tuple[int, ...]
) -> None:
    """Writes a network in float32.

    Args:
        net: Takes one tensor.
        path: The file; its folder is made where missing.
        example: (1, 3, height, width)
        names: Of the input and of the outputs.
        free: Dimensions of the input whose size is left open.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    names_of_free = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        net.float().eval(),
        (example,),
        str(partial),
        input_names=[names[0]],
        output_names=names[1],
        dynamic_axes={names[0]: {place: names_of_free[place] for place in free}} if free else None,
        opset_version=OPSET,
        dynamo=False,
    )
    os.replace(partial, path)


def block(inner: int, outer: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU: (B, inner, h, w) -> (B, outer, h / stride, w / stride)"""
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
    )
