"""Emotion networks of three layers, in every layout that is understood."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import helper

from tests.standin.onnx_graph import Graph, tensor

HSEMOTION = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
FER_PLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
SEVEN = "happy,surprise,sad,anger,disgust,fear,neutral"


def write_emotion_onnx(
    path: Path,
    shape: Sequence[int | str],
    scores: Sequence[float],
    name: str = "input",
    weights: Sequence[float] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A network that says ``scores`` + ``weights`` times the mean of the picture that goes in.

    Args:
        shape: (B, C, height, width) of the input; a name leaves a size free.
        scores: (N,) outputs for a picture of mean 0.
        weights: (N,), the same for every channel; 0 without.
    """
    graph = Graph()
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", name))
    mean = graph.add("ReduceMean", flat, axes=[1], keepdims=1)
    slope = graph.constant([list(weights or [0.0] * len(scores))])
    graph.add("Add", graph.add("MatMul", mean, slope), graph.constant(scores), output="output")
    path.parent.mkdir(parents=True, exist_ok=True)
    graph.save(path, [tensor(name, shape)], [tensor("output", [shape[0], len(scores)])])
    if metadata:
        model = onnx.load(path)
        helper.set_model_props(model, dict(metadata))
        onnx.save(model, path)
    return path


def scores_for(classes: Sequence[str], word: str, height: float = 4.0) -> list[float]:
    """Logits that say ``word`` most of all; 0 elsewhere."""
    return [height if name == word else 0.0 for name in classes]
