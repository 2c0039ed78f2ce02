"""Opens PyTorch pickles (zip and legacy) with weights only. Nothing in a pickle is ever executed."""

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from ..errors import DynamicIDError
from .pickle_scan import ForeignCode, NotAPickle, scan_pickles
from .weight_file import DOWNLOAD_AGAIN, NOT_WEIGHTS, ZIP_MAGIC, TensorEntry, WeightFile, quoted, raise_truncated

LARGEST_PICKLE = 16 * 1024 * 1024
"""Bytes of instructions, tensors apart. A DynamicID file has about 0.1 MB of them."""
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_STREAMS = 5
UNPICKLING_FAILURES = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What torch's unpickler lets through on damaged files."""


def open_pickle(path: Path, head: bytes, where: str) -> WeightFile:
    """Opens a ``torch.save`` file; see ``open_weight_file`` for the errors."""
    is_zip = head.startswith(ZIP_MAGIC)
    if is_zip:
        _check_zip(path, where)
    else:
        _check_stream(path, head, where)
    try:
        content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=is_zip)
    except UNPICKLING_FAILURES as error:
        raise DynamicIDError(
            where,
            f"'{path.name}' is truncated or damaged: PyTorch cannot read it ({type(error).__name__}).",
            DOWNLOAD_AGAIN,
        ) from error
    tensors = _flatten(path, content, where)
    _check_tensors(path, tensors, where)

    def fetch(names: Iterable[str]) -> dict[str, Tensor]:
        return {name: tensors[name].detach().clone(memory_format=torch.contiguous_format) for name in names}

    entries = {
        name: TensorEntry(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in tensors.items()
    }
    return WeightFile(path, "pickle", entries, fetch)


def _check_zip(path: Path, where: str) -> None:
    """The archive must be what torch.save writes: nothing compressed, nothing larger than the file, tensors only."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            programs = [member for member in members if member.filename.endswith("/data.pkl")]
            if any("/code/" in member.filename or member.filename.endswith("/constants.pkl") for member in members):
                _refuse_code(path, where, "a TorchScript program")
            if len(programs) != 1:
                raise DynamicIDError(where, f"'{path.name}' is a zip archive, but not of PyTorch tensors.", NOT_WEIGHTS)
            stored = all(m.compress_type == zipfile.ZIP_STORED and m.file_size == m.compress_size for m in members)
            if not stored or sum(member.file_size for member in members) > size:
                raise DynamicIDError(
                    where,
                    f"'{path.name}' is compressed or unpacks to more than its own size; PyTorch writes no such file.",
                    "Do not use it. " + DOWNLOAD_AGAIN,
                )
            if programs[0].file_size > LARGEST_PICKLE:
                found = f"'{path.name}' holds over {LARGEST_PICKLE >> 20} MB of instructions beside its tensors."
                raise DynamicIDError(where, found, NOT_WEIGHTS)
            program = archive.read(programs[0])
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, DynamicIDError):
            raise
        raise DynamicIDError(
            where, f"'{path.name}' is truncated or damaged: its archive has no readable end.", DOWNLOAD_AGAIN
        ) from error
    _scan(path, where, program, 1, size)


def _check_stream(path: Path, head: bytes, where: str) -> None:
    """A legacy file: five pickles end to end, then the tensors' bytes."""
    with path.open("rb") as file:
        data = file.read(LARGEST_PICKLE)
    if head.startswith(LEGACY_MAGIC):
        _scan(path, where, data, LEGACY_STREAMS, path.stat().st_size)
        return
    if LEGACY_MAGIC.startswith(head):
        raise_truncated(path, where, "it breaks off in its first bytes")
    try:
        scan_pickles(data, 1, 2**63)
    except ForeignCode as error:
        _refuse_code(path, where, error.name)
    except NotAPickle as error:
        raise DynamicIDError(where, f"'{path.name}' is not a PyTorch file by its contents.", NOT_WEIGHTS) from error
    raise DynamicIDError(where, f"'{path.name}' is a Python pickle, but not one of PyTorch tensors.", NOT_WEIGHTS)


def _scan(path: Path, where: str, data: bytes, stream_count: int, size: int) -> None:
    try:
        scan_pickles(data, stream_count, size)
    except ForeignCode as error:
        _refuse_code(path, where, error.name)
    except NotAPickle as error:
        raise_truncated(path, where, str(error))


def _refuse_code(path: Path, where: str, name: str) -> NoReturn:
    raise DynamicIDError(
        where,
        f"'{path.name}' is a pickle with code in it: it asks Python to call {quoted(name)}. Nothing was run.",
        "Do not use this file; get the weights from their published source or as .safetensors.",
    )


def _flatten(path: Path, content: Any, where: str) -> dict[str, Tensor]:
    """{name: tensor} or {group: {name: tensor}} -> {"group.name": tensor}."""
    if not isinstance(content, Mapping):
        raise DynamicIDError(
            where, f"'{path.name}' holds one {type(content).__name__}, not a table of tensors.", NOT_WEIGHTS
        )
    flat: dict[str, Tensor] = {}
    pairs: list[tuple[Any, Any]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            pairs.extend((f"{key}.{inner}" if isinstance(inner, str) else inner, item) for inner, item in value.items())
        else:
            pairs.append((key, value))
    for key, value in pairs:
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise DynamicIDError(
                where,
                f"'{path.name}' holds a value of type {type(value).__name__} under {quoted(key)}, "
                "where a tensor is expected.",
                NOT_WEIGHTS,
            )
        if key in flat:
            raise DynamicIDError(where, f"'{path.name}' holds {quoted(key)} twice.", DOWNLOAD_AGAIN)
        flat[key] = value
    return flat


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], where: str) -> None:
    """Together no larger than the file: views of one storage could be endless."""
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if total > path.stat().st_size:
        raise_truncated(path, where, f"its tensors would take {total} bytes, more than the file has")
