"""Trained networks as the ONNX files that InsightFace reads."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from dynamicid.files.atomic import atomic_write

OPSET = 13
"""Old enough for every onnxruntime that insightface 0.7.3 users have."""
_WORTH_HALVING = 1000
"""Numbers from which on a weight is kept in half precision."""


def write_onnx(
    net: nn.Module, path: Path, example: Tensor, names: tuple[str, list[str]], free: tuple[int, ...]
) -> None:
    """Writes a network that computes in float32; large weights lie in the file in half precision.

    Args:
        net: Takes one tensor.
        path: The file; its folder is made where missing.
        example: (1, 3, height, width)
        names: Of the input and of the outputs.
        free: Dimensions of the input whose size is left open.
    """
    names_of_free = {0: "batch", 2: "height", 3: "width"}
    with atomic_write(path) as partial:
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
        model = onnx.load(partial)
        _halve(model.graph)
        onnx.checker.check_model(model)
        onnx.save(model, partial)


def _halve(graph: onnx.GraphProto) -> None:
    """Keeps large weights in half precision, each with a node that casts it."""
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= _WORTH_HALVING:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def block(inner: int, outer: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU: (B, inner, h, w) -> (B, outer, h / stride, w / stride)"""
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
    )
