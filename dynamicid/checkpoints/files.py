"""Opens a weight file by its contents. Every failure is a ``DynamicIDError``: what was found and what to do."""

import os
from pathlib import Path

from ..errors import DynamicIDError
from .pickle_files import open_pickle
from .safetensors_files import open_safetensors
from .weight_file import DOWNLOAD_AGAIN, NOT_WEIGHTS, PICKLE_SUFFIXES, SAFETENSORS_SUFFIX, ZIP_MAGIC, WeightFile


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
        return open_safetensors(path, where)
    if looks_like_safetensors and not looks_like_pickle:
        _raise_misnamed(path, where, "a safetensors file", SAFETENSORS_SUFFIX)
    return open_pickle(path, head, where)


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
