"""Writes all networks into one safetensors file."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DynamicIDError
from ..files.atomic import atomic_write
from ..files.tensors import write_tensors
from .keys import FORMAT_METADATA, NETWORK_PREFIXES
from .layout import NetworkPart
from .safetensors_files import open_safetensors
from .weight_file import SAFETENSORS_SUFFIX

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
WHERE = "output"


def gather_tensors(parts: Mapping[str, NetworkPart], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """All tensors of ``parts`` under the names of the combined file.

    Args:
        parts: Networks by name, from ``find_parts``.
        dtype: Floating dtype to convert to; None = each as it is. Counters stay int64.

    Raises:
        DynamicIDError: NaN in the source, or a value too large for ``dtype``.
    """
    tensors: dict[str, Tensor] = {}
    for network, part in parts.items():
        for key, tensor in part.read(network).items():
            name = NETWORK_PREFIXES[network][0] + key
            tensors[name] = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
            if dtype is not None and not bool(torch.isfinite(tensors[name]).all()):
                raise DynamicIDError(
                    network, f"'{name}' holds values too large for {dtype}.", "Convert to bf16 or fp32 instead."
                )
    return tensors


def save_combined(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], overwrite: bool = False) -> Path:
    """Writes ``tensors`` (as ``gather_tensors`` names them) to ``path``, all or nothing.

    The file is written beside its place under another name, read back and compared, then moved there.

    Raises:
        DynamicIDError: Wrong extension, file exists, folder missing or not writable, disk full, or bytes that come
            back different.
    """
    path = Path(path)
    _check_target(path, overwrite)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    with atomic_write(path, size, WHERE) as partial:
        write_tensors(partial, tensors, FORMAT_METADATA)
        _compare(partial, tensors)
    return path


def _check_target(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() != SAFETENSORS_SUFFIX:
        raise DynamicIDError(WHERE, f"'{path.name}' does not end in '.safetensors'.", "Give it that ending.")
    if not path.parent.is_dir():
        raise DynamicIDError(WHERE, f"the folder '{path.parent}' does not exist.", "Make it first.")
    if path.is_dir() or (path.exists() and not overwrite):
        raise DynamicIDError(WHERE, f"'{path}' exists already.", "Choose another name, or overwrite with --force.")


def _compare(partial: Path, tensors: Mapping[str, Tensor]) -> None:
    """Every tensor must come back bit for bit."""
    back = open_safetensors(partial, WHERE)
    same = back.entries.keys() == tensors.keys()
    for name, tensor in tensors.items():
        if not same or not torch.equal(back.fetch([name])[name], tensor):
            raise DynamicIDError(WHERE, f"'{name}' came back different from the disk.", "Check the disk; try again.")
