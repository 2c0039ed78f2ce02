"""Opens a weight file: one flat table of tensor names, shapes and dtypes, and a way to read the tensors.

Nothing in here knows a network. Every failure is a ``DynamicIDError`` that says what was found and what to do.
"""

import os
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


def open_weight_file(path: str | os.PathLike[str], where: str) -> WeightFile:
    """Opens ``path`` by its contents; tensors are mapped, not read.

    Args:
        path: A ``.bin``, ``.pt``, ``.pth`` or ``.safetensors`` file.
        where: Node input (or file) that errors name.

    Raises:
        DynamicIDError: Missing, empty, truncated, not a weight file, a pickle with code in it, or not plain tensors.
    """
    path = Path(path)
    suffix, head = path.suffix.lower(), _first_bytes(path, where)
    if suffix not in (*PICKLE_SUFFIXES, SAFETENSORS_SUFFIX):
        raise DynamicIDError(
            where,
            f"'{path.name}' has the extension '{suffix}'; weight files end in .bin, .pt, .pth or .safetensors.",
            NOT_WEIGHTS,
        )
    _refuse_other_formats(path, head, where)
    looks_like_safetensors = head[8:9] == b"{"
    looks_like_pickle = head.startswith((ZIP_MAGIC, b"\x80\x02"))
    if suffix == SAFETENSORS_SUFFIX:
        if looks_like_pickle:
            _raise_misnamed(path, where, "a PyTorch pickle", ".bin")
        from .safetensors_files import open_safetensors

        return open_safetensors(path, where)
    if looks_like_safetensors and not looks_like_pickle:
        _raise_misnamed(path, where, "a safetensors file", SAFETENSORS_SUFFIX)
    from .pickle_files import open_pickle

    return open_pickle(path, head, where)


def raise_truncated(path: Path, where: str, detail: str) -> None:
    """The error of every file that breaks off or is damaged; ``detail`` says how that shows."""
    raise DynamicIDError(where, f"'{path.name}' is truncated or damaged: {detail}.", DOWNLOAD_AGAIN)


def _raise_misnamed(path: Path, where: str, kind: str, suffix: str) -> None:
    raise DynamicIDError(
        where,
        f"'{path.name}' is {kind} by its contents, but its name ends in '{path.suffix}'.",
        f"Rename it to '{path.stem}{suffix}' and choose it again.",
    )


def _first_bytes(path: Path, where: str) -> bytes:
    if path.is_dir():
        raise DynamicIDError(where, f"'{path}' is a folder, not a file.", NOT_WEIGHTS)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError as error:
        raise DynamicIDError(
            where,
            f"the file '{path}' does not exist.",
            "Put it there, or choose another one; 'python -m dynamicid download' fetches the published files.",
        ) from error
    except (OSError, ValueError) as error:
        raise DynamicIDError(
            where,
            f"the file '{path}' cannot be read ({type(error).__name__}).",
            "Check that the name is right and that ComfyUI may read the file.",
        ) from error
    if not head:
        raise DynamicIDError(where, f"'{path.name}' is empty (0 bytes).", DOWNLOAD_AGAIN)
    return head


def _refuse_other_formats(path: Path, head: bytes, where: str) -> None:
    start = head.lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DynamicIDError(
            where,
            f"'{path.name}' is a web page, no weight file.",
            "Download the file itself, not the page about it.",
        )
    if start.startswith(b"version https://git-lfs"):
        raise DynamicIDError(
            where,
            f"'{path.name}' is a Git LFS pointer of a few bytes, not the weights.",
            "Fetch the file itself: 'git lfs pull' in that repository, or 'python -m dynamicid download'.",
        )
    if start.startswith(b"gguf"):
        raise DynamicIDError(where, f"'{path.name}' is a GGUF model, not a DynamicID weight file.", NOT_WEIGHTS)
