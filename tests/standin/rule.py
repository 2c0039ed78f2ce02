"""The golden rule: every tensor follows from its name and its shape, so no weights need to be stored.

z = numpy PCG64 seeded with crc32(name), standard normal in float32; then
2-D and up: z / sqrt(product of shape[1:]); ``running_var``: 1 + 0.1 |z|; other 1-D named ``weight``: 1 + 0.1 z;
other 1-D: 0.02 z; ``num_batches_tracked``: int64 zero.
"""

import math
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor


def rule_input(name: str, shape: Iterable[int]) -> Tensor:
    """Plain z for ``name``, float32 of ``shape``: the inputs of the golden cases."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(generator.standard_normal(tuple(shape), dtype=np.float32))


def rule_tensor(name: str, shape: Iterable[int]) -> Tensor:
    """The weight called ``name``, float32 of ``shape`` (int64 for ``num_batches_tracked``)."""
    shape = tuple(shape)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    z = rule_input(name, shape)
    if len(shape) >= 2:
        return z / math.sqrt(math.prod(shape[1:]))
    if leaf == "running_var":
        return 1 + 0.1 * z.abs()
    if leaf == "weight":
        return 1 + 0.1 * z
    return 0.02 * z


def rule_state(prefix: str, shapes: Mapping[str, Iterable[int]]) -> dict[str, Tensor]:
    """A state dict by rule: ``shapes`` maps state-dict keys to shapes, ``prefix`` (``"imr"``) goes before each name."""
    return {key: rule_tensor(f"{prefix}.{key}", shape) for key, shape in shapes.items()}
