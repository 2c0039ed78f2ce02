"""Opens safetensors files. The header is checked here first, so that a broken one is described and bounded."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import DynamicIDError
from .weight_file import DOWNLOAD_AGAIN, NOT_WEIGHTS, TensorEntry, WeightFile, quoted, raise_truncated

LARGEST_HEADER = 16 * 1024 * 1024
"""Bytes. A DynamicID file's header has about 60 kB; one as large as this has some 100 000 tensors."""

DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
}


def open_safetensors(path: Path, where: str) -> WeightFile:
    """Opens a safetensors file; see ``open_weight_file`` for the errors."""
    header, data_size = _read_header(path, where)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise _broken(path, where, "its metadata is no table")
    entries: dict[str, TensorEntry] = {}
    needed = 0
    for name, description in header.items():
        entries[name], end = _entry(path, where, name, description)
        needed = max(needed, end)
    if needed > data_size:
        raise_truncated(path, where, f"its header promises {needed} bytes of tensors, {data_size} are there")

    def fetch(names: Iterable[str]) -> dict[str, Tensor]:
        return _read(path, where, names)

    _read(path, where, ())
    return WeightFile(path, "safetensors", entries, fetch, {str(k): str(v) for k, v in metadata.items()})


def _broken(path: Path, where: str, detail: str) -> DynamicIDError:
    return DynamicIDError(where, f"'{path.name}' has a broken safetensors header: {detail}.", DOWNLOAD_AGAIN)


def _read_header(path: Path, where: str) -> tuple[dict[str, Any], int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            if length <= LARGEST_HEADER:
                raise_truncated(path, where, f"its header should take {length} bytes and the file has {size}")
            raise DynamicIDError(where, f"'{path.name}' is not a safetensors file by its contents.", NOT_WEIGHTS)
        if length > LARGEST_HEADER:
            raise _broken(path, where, f"it claims {length} bytes, more than any weight file needs")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _broken(path, where, "it is not readable JSON") from error
    if not isinstance(header, dict):
        raise _broken(path, where, "it is no table of tensors")
    return header, size - 8 - length


def _entry(path: Path, where: str, name: str, description: Any) -> tuple[TensorEntry, int]:
    """One line of the header -> (entry, offset of its last byte)."""
    try:
        shape = tuple(description["shape"])
        begin, end = description["data_offsets"]
        dtype = description["dtype"]
        is_plausible = all(isinstance(number, int) and 0 <= number < 2**48 for number in (*shape, begin, end))
    except (TypeError, KeyError, ValueError) as error:
        raise _broken(path, where, f"the entry {quoted(name)} is incomplete") from error
    if not is_plausible or not isinstance(dtype, str):
        raise _broken(path, where, f"the entry {quoted(name)} has impossible numbers")
    name_in_torch, item_size = DTYPES.get(dtype, (dtype, None))
    if item_size is not None and math.prod(shape) * item_size != end - begin:
        raise _broken(path, where, f"shape {list(shape)} of {quoted(name)} does not fit its {end - begin} bytes")
    return TensorEntry(shape, name_in_torch), end


def _read(path: Path, where: str, names: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the named tensors; with no names, the library's own check of the header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name).clone() for name in names}
    except (SafetensorError, OSError, RuntimeError, ValueError, AttributeError, MemoryError) as error:
        raise _broken(path, where, f"{type(error).__name__}: {quoted(error)}") from error
