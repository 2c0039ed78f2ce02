"""Where the spoilt files of the tests are entered: name -> writer, and what the refusal must say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

CANARY = "canary"
MALFORMED: dict[str, Callable[[Path], Path]] = {}
EXPECTED_TEXT: dict[str, str] = {}


class CallsOnLoad:
    """Unpickling it runs ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def malformed(name: str, expected: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Registers a writer under ``name``; the refusal must hold ``expected``."""

    def register(writer: Callable[[Path], Path]) -> Callable[[Path], Path]:
        MALFORMED[name] = writer
        EXPECTED_TEXT[name] = expected
        return writer

    return register


def bytes_file(name: str, file_name: str, data: bytes, expected: str) -> None:
    @malformed(name, expected)
    def write(folder: Path) -> Path:
        path = folder / file_name
        path.write_bytes(data)
        return path


def pickle_of(name: str, expected: str, make: Callable[[Path], Any], legacy: bool = False) -> None:
    @malformed(name, expected)
    def write(folder: Path) -> Path:
        path = folder / f"{name}.bin"
        torch.save(make(folder), path, _use_new_zipfile_serialization=not legacy)
        return path


def safetensors_of(
    name: str, expected: str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    @malformed(name, expected)
    def write(folder: Path) -> Path:
        path = folder / f"{name}.safetensors"
        save_file(tensors, path, metadata=metadata)
        return path
