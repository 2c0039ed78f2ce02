"""A short hand for ONNX graphs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Collects nodes and constants; each call adds one node and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: ArrayLike, dtype: type = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        # InsightFace reads "Sub"/"Mul" at the start of a node's name as "normalises its own input"; hence the prefix.
        name = f"node_{len(self.nodes)}_{operation.lower()}"
        output = output or f"{name}_out"
        self.nodes.append(helper.make_node(operation, list(inputs), [output], name=name, **attributes))
        return output

    def affine(self, x: str, scale: float, offset: float) -> str:
        """scale * x + offset"""
        return self.add("Add", self.add("Mul", x, self.constant(scale)), self.constant(offset))

    def step(self, x: str, slope: float, threshold: float) -> str:
        """Soft step: 0 below the threshold, 1 above it (for a negative slope the other way round)."""
        return self.add("Sigmoid", self.affine(x, slope, -slope * threshold))

    def channel(self, x: str, index: int) -> str:
        """(1, C, H, W) -> (1, 1, H, W)"""
        return self.add("Gather", x, self.constant([index], np.int64), axis=1)

    def split(self, x: str, count: int) -> list[str]:
        """(1, count * n, H, W) -> `count` of (1, n, H, W)"""
        name = f"node_{len(self.nodes)}_split"
        outputs = [f"{name}_out_{index}" for index in range(count)]
        self.nodes.append(helper.make_node("Split", [x], outputs, name=name, axis=1))
        return outputs

    def unit_colours(self, image: str, std: float) -> str:
        """InsightFace's (x - 127.5) / std -> 0..1"""
        return self.affine(image, std / 255.0, 0.5)

    def product(self, first: str, *others: str) -> str:
        for other in others:
            first = self.add("Mul", first, other)
        return first

    def save(self, path: Path, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> None:
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, self.constants)
        # Old enough for every onnxruntime that insightface 0.7.3 users have.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString(deterministic=True))


def tensor(name: str, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    """A float32 input or output; a name in place of a size leaves it free."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
