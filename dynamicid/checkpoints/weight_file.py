"""What every kind of weight file becomes: a flat table of tensor names, shapes and dtypes, and a way to read them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import DynamicIDError

PICKLE_SUFFIXES = (".bin", ".pt", ".pth")
SAFETENSORS_SUFFIX = ".safetensors"
ZIP_MAGIC = b"PK\x03\x04"
DOWNLOAD_AGAIN = "Download the file again and compare its size with the published one."
NOT_WEIGHTS = "Choose a DynamicID weight file (SAA.bin, IMR.bin or a converted .safetensors)."


class TensorEntry(NamedTuple):
    """What a file says about one tensor before it is read. ``dtype`` in torch's words ("float16")."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class WeightFile:
    """An opened weight file.

    Attributes:
        path: Where it lies.
        container: "pickle" or "safetensors".
        entries: Shape and dtype by flat name, in the file's order.
        metadata: Text metadata (safetensors only).
        fetch: Reads the named tensors; use ``read``.
    """

    path: Path
    container: str
    entries: Mapping[str, TensorEntry]
    fetch: Callable[[Iterable[str]], dict[str, Tensor]] = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def read(self, names: Iterable[str], where: str) -> dict[str, Tensor]:
        """Own copies of the named tensors on the CPU, in the file's dtype.

        Raises:
            DynamicIDError: A tensor holds NaN or infinity.
        """
        tensors = self.fetch(names)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                kind = "NaN (not a number)" if bool(torch.isnan(tensor).any()) else "infinite"
                raise DynamicIDError(
                    where,
                    f"'{self.path.name}' holds {kind} values in the tensor {quoted(name)}.",
                    "The file is damaged or its training diverged: download it again, or take another training step.",
                )
        return tensors


def quoted(name: object, longest: int = 90) -> str:
    """``name`` in quotes for a message: printable, and cut when a hostile file makes it endless."""
    text = str(name)[: longest + 1]
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"'{text[:longest]}...'" if len(text) > longest else f"'{text}'"


def raise_truncated(path: Path, where: str, detail: str) -> None:
    """The error of every file that breaks off or is damaged; ``detail`` says how that shows."""
    raise DynamicIDError(where, f"'{path.name}' is truncated or damaged: {detail}.", DOWNLOAD_AGAIN)
