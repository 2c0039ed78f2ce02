"""Builds a network from a file: its sizes are read off the tensors' shapes, then every key must fit exactly."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import DynamicIDError
from ..models import IMR, FaceProjector, KeypointEncoder
from .layout import NetworkPart, counted, listed
from .weight_file import TensorEntry

HEAD_WIDTH = 64
KEYPOINT_STAGES = 5
"""96 pixels halved five times are 3, which the head's 3 x 3 convolution takes to 1."""
WEIGHT_DTYPES = ("float16", "bfloat16", "float32", "float64")
COUNTER_KEY = "num_batches_tracked"
OTHER_TRAINING = "It is damaged or comes from another training code; take the published file."

Shapes = Mapping[str, tuple[int, ...]]
Network = TypeVar("Network", bound=nn.Module)


def projector_config(part: NetworkPart, where: str) -> dict[str, Any]:
    """Constructor arguments of ``FaceProjector``, read off the shapes."""
    hidden_width, id_width = _shape(part, "proj.0.weight", 2, where)
    (width,) = _shape(part, "norm.weight", 1, where)
    (mlp_width, _) = _shape(part, "proj.2.weight", 2, where)
    return {
        "id_width": id_width,
        "hidden_width": hidden_width,
        "token_count": _whole(part, "proj.2.weight", mlp_width, width, where),
        "width": _heads(part, "norm.weight", width, where),
        "media_width": _shape(part, "perceiver_resampler.proj_in.weight", 2, where)[1],
        "depth": _count(part, r"perceiver_resampler\.layers\.(\d{1,4})\.", where),
        "head_width": HEAD_WIDTH,
    }


def imr_config(part: NetworkPart, where: str) -> dict[str, Any]:
    """Constructor arguments of ``IMR``, read off the shapes."""
    (motion_width,) = _shape(part, "feature_fusion.0.weight", 1, where)
    width, token_width = _shape(part, "proj_in.weight", 2, where)
    (latents_width, _) = _shape(part, "feature_fusion.4.weight", 2, where)
    return {
        "token_width": token_width,
        "motion_width": motion_width,
        "width": _heads(part, "proj_in.weight", width, where),
        "latent_count": _whole(part, "feature_fusion.4.weight", latents_width, width, where),
        "depth": _count(part, r"disentangleNet\.(\d{1,4})\.", where),
        "head_width": HEAD_WIDTH,
    }


def keypoint_config(part: NetworkPart, where: str) -> dict[str, Any]:
    """Constructor arguments of ``KeypointEncoder``, read off the shapes."""
    last = _count(part, r"blocks\.(\d{1,4})\.", where) - 1
    if last - 1 != KEYPOINT_STAGES:
        raise misfit(part, f" has {max(last - 1, 0)} stages, expected {KEYPOINT_STAGES}", where)
    stages = []
    for block in range(1, last):
        stage_width = _shape(part, f"blocks.{block}.0.conv_block.0.weight", 4, where)[0]
        stages.append((stage_width, _count(part, rf"blocks\.{block}\.(\d{{1,4}})\.", where) - 1))
    return {
        "stem_width": _shape(part, "blocks.0.0.conv_block.0.weight", 4, where)[0],
        "stages": tuple(stages),
        "out_width": _shape(part, f"blocks.{last}.1.conv_block.0.weight", 4, where)[0],
    }


def load_projector(part: NetworkPart, where: str) -> FaceProjector:
    """The face projector, float32 on the CPU, in evaluation mode."""
    return _load(FaceProjector, projector_config(part, where), part, where)


def load_imr(part: NetworkPart, where: str) -> IMR:
    """The IMR, float32 on the CPU, in evaluation mode."""
    return _load(IMR, imr_config(part, where), part, where)


def load_keypoint_encoder(part: NetworkPart, where: str) -> KeypointEncoder:
    """The key-point encoder, float32 on the CPU, in evaluation mode."""
    return _load(KeypointEncoder, keypoint_config(part, where), part, where)


def misfit(part: NetworkPart, found: str, where: str) -> DynamicIDError:
    """The error of a network whose tensors this pack cannot use; ``found`` goes on after the network's title."""
    return DynamicIDError(where, f"{part.title}{found}.", OTHER_TRAINING)


def check_entries(part: NetworkPart, expected: Shapes, where: str) -> None:
    """Keys, shapes and dtypes of ``part`` against ``expected``.

    Raises:
        DynamicIDError: Missing, extra or mis-shaped tensors, or whole numbers where weights belong; it names them.
    """
    missing = [part.prefix + key for key in expected if key not in part.entries]
    extra = [part.prefix + key for key in part.entries if key not in expected]
    if missing:
        raise misfit(part, f" lacks {counted(missing)}: {listed(missing)}", where)
    if extra:
        raise misfit(part, f" has {counted(extra)} too many: {listed(extra)}", where)
    for key, shape in expected.items():
        entry = part.entries[key]
        if entry.shape != tuple(shape):
            found = f": '{part.prefix}{key}' has the shape {list(entry.shape)}, expected {list(shape)}"
            raise misfit(part, found, where)
        check_dtype(part, key, entry, where)


def check_dtype(part: NetworkPart, key: str, entry: TensorEntry, where: str) -> None:
    """Weights must be fp16, bf16, fp32 or fp64; batch-norm counters int64.

    Raises:
        DynamicIDError: Another dtype.
    """
    expected = ("int64",) if key.endswith(COUNTER_KEY) else WEIGHT_DTYPES
    if entry.dtype not in expected:
        raise DynamicIDError(
            where,
            f"{part.title}: '{part.prefix}{key}' holds {entry.dtype} values, expected {' or '.join(expected)}.",
            "Quantised or integer weights cannot be used; take the published file.",
        )


def _load(network: type[Network], config: dict[str, Any], part: NetworkPart, where: str) -> Network:
    with torch.device("meta"):
        model = network(**config)
    check_entries(part, {key: tuple(value.shape) for key, value in model.state_dict().items()}, where)
    state = {key: _as_float32(part, key, value, where) for key, value in part.read(where).items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.train(False).requires_grad_(False)


def _as_float32(part: NetworkPart, key: str, tensor: Tensor, where: str) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    converted = tensor.to(torch.float32)
    if tensor.dtype == torch.float64 and not bool(torch.isfinite(converted).all()):
        raise misfit(part, f": '{part.prefix}{key}' overflows 32-bit numbers", where)
    return converted


def _shape(part: NetworkPart, key: str, dimensions: int, where: str) -> tuple[int, ...]:
    entry = part.entries.get(key)
    if entry is None:
        raise misfit(part, f" lacks the tensor '{part.prefix}{key}'", where)
    if len(entry.shape) != dimensions or 0 in entry.shape:
        found = f": '{part.prefix}{key}' has the shape {list(entry.shape)}, expected {dimensions} dimensions"
        raise misfit(part, found, where)
    return entry.shape


def _whole(part: NetworkPart, key: str, total: int, width: int, where: str) -> int:
    if total % width:
        raise misfit(part, f": '{part.prefix}{key}' has {total} rows, expected a multiple of {width}", where)
    return total // width


def _heads(part: NetworkPart, key: str, width: int, where: str) -> int:
    if width % HEAD_WIDTH:
        found = f": '{part.prefix}{key}' says width {width}, expected a multiple of the head width {HEAD_WIDTH}"
        raise misfit(part, found, where)
    return width


def _count(part: NetworkPart, pattern: str, where: str) -> int:
    """Highest number at the group of ``pattern`` among the keys, plus one; at least 1.

    Raises:
        DynamicIDError: None, or a number that would need more tensors than there are.
    """
    matches = (re.match(pattern, key) for key in part.entries)
    count = max((int(match.group(1)) + 1 for match in matches if match), default=0)
    if not 1 <= count <= len(part.entries):
        layers = pattern.split(r"\.(")[0].replace("\\", "")
        raise misfit(part, f" has {count} layers by the names of '{part.prefix}{layers}'", where)
    return count
