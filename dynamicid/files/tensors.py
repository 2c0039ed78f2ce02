"""Safetensors files whose bytes follow from their content, with the rights of any other new file."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

_LENGTH_BYTES = 8


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes contiguous tensors of the CPU to a new file.

    The library itself writes metadata in any order, into a file that only its owner may read.

    Args:
        path: A temporary path of ``atomic_write``.
        tensors: By name.
        metadata: Text by name.
    """
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, metadata=None if metadata is None else dict(metadata))
    path.chmod(mode)
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(_LENGTH_BYTES)
        file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))
