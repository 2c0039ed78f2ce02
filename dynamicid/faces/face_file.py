"""Face files: one person as safetensors, so that a graph needs no photo (node contract, Files)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import DynamicIDError
from ..files.atomic import atomic_write
from ..files.tensors import write_tensors
from .face import Face
from .frames import join_frames
from .prompts import EMOTIONS

FORMAT = "dynamicid-face"
VERSION, VERSION_OF_FRAMES = "1", "2"
"""Of a face with one motion, and with several."""
LARGEST_FILE = 16 << 20
"""Bytes; a face with its crop has about 0.3 MB."""
LARGEST_VALUE = 1e4
"""Of any number in a face; tokens, pixels and degrees stay far below."""
LARGEST_BOX = 4096
"""Pixels from the corner of the portrait, which is 512 wide."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_FLOAT_SHAPES: dict[str, tuple[int | str, ...]] = {
    "id_tokens": ("T", "width"),
    "negative_tokens": ("T", "width"),
    "id_embedding": ("embedding width",),
    "landmarks_106": (106, 2),
    "pose": (3,),
}
"""Letters stand for sizes that follow from the weights; one letter is one size (published weights: 4, 768, 512)."""
_BY_FRAME = ("id_tokens", "landmarks_106", "pose")
"""In version 2 these begin with F, the number of motions."""
_OPTIONAL = {"landmarks_106", "pose", "crop"}
# Metadata beyond the public format, which other readers may pass over: JSON of Face.crop_box_xyxy, and Face.emotion.
_CROP_BOX, _EMOTION = "crop_box_xyxy", "emotion"


def save_face(face: Face, path: Path, overwrite: bool = True) -> None:
    """Writes ``face`` to ``path`` atomically; missing folders are made.

    Raises:
        NameTakenError: There is such a file, and ``overwrite`` is off.
        DynamicIDError: A mixed face (the format holds one person), values or a size that ``load_face`` refuses, or a
            folder that cannot be written.
    """
    if face.is_mixed:
        raise DynamicIDError(
            "face", "A mix of two people cannot be saved; a face file holds one.", "Save both faces before mixing them."
        )
    tensors = {name: getattr(face, name) for name in (*_FLOAT_SHAPES, "crop") if getattr(face, name) is not None}
    if face.later:
        tensors |= {
            name: torch.stack([getattr(frame, name) for frame in face.frames]) for name in _BY_FRAME if name in tensors
        }
    size = sum(tensor.numel() * (1 if name == "crop" else 4) for name, tensor in tensors.items())
    if face.later and size > LARGEST_FILE:
        raise DynamicIDError(
            "face",
            f"With {face.frame_count} motions it takes {size >> 20} MB; a face file has at most {LARGEST_FILE >> 20}.",
            "Save the face before Edit Face, or with fewer motions.",
        )
    fault = _fault(tensors, several=bool(face.later))
    if fault:
        raise DynamicIDError("face", fault, "Encode the face from a photo again.")
    tensors = {
        name: (t if name == "crop" else t.float()).clone(memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    metadata = {"format": FORMAT, "version": VERSION_OF_FRAMES if face.later else VERSION}
    if face.crop_box_xyxy is not None:
        metadata[_CROP_BOX] = json.dumps(face.crop_box_xyxy)
    if face.emotion is not None:
        metadata[_EMOTION] = face.emotion
    with atomic_write(path, where="name", exclusive=not overwrite) as partial:
        write_tensors(partial, tensors, metadata)


def load_face(path: Path) -> Face:
    """Reads a face file.

    Raises:
        DynamicIDError: No such file, no face file, an unknown version, a missing or mis-shaped tensor, values that no
            face has.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _refused(path, f"It has more than {LARGEST_FILE >> 20} MB.")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except DynamicIDError:
        raise
    except (OSError, SafetensorError, ValueError) as error:
        raise _refused(path, f"It cannot be read as safetensors ({error}).") from error
    if metadata.get("format") != FORMAT:
        raise _refused(path, f"Its format is {metadata.get('format', 'not given')[:60]!r}, not {FORMAT!r}.")
    version = metadata.get("version", "not given")
    if version not in (VERSION, VERSION_OF_FRAMES):
        raise _refused(
            path, f"Its version is {version[:60]!r}; this pack reads versions {VERSION} and {VERSION_OF_FRAMES}."
        )
    box, emotion = _crop_box(metadata.get(_CROP_BOX), path), _emotion(metadata.get(_EMOTION), path)
    frames = _frames_from(tensors, path, several=version == VERSION_OF_FRAMES)
    return join_frames([replace(frame, crop_box_xyxy=box, emotion=emotion) for frame in frames])


def _crop_box(text: str | None, path: Path) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        x0, y0, x1, y1 = (float(value) for value in json.loads(text))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _refused(path, f"Its {_CROP_BOX} is {text[:60]!r}, expected four numbers.") from error
    if not all(abs(value) <= LARGEST_BOX for value in (x0, y0, x1, y1)) or x0 >= x1 or y0 >= y1:
        raise _refused(path, f"Its {_CROP_BOX} is {text[:60]!r}, which is no box.")
    return (x0, y0, x1, y1)


def _emotion(text: str | None, path: Path) -> str | None:
    if text is not None and text not in EMOTIONS:
        raise _refused(path, f"Its {_EMOTION} is {text[:60]!r}, expected one of {', '.join(EMOTIONS)}.")
    return text


def _frames_from(tensors: dict[str, Tensor], path: Path, several: bool) -> list[Face]:
    fault = _fault(tensors, several)
    if fault:
        raise _refused(path, fault)
    floats = {name: tensors[name].float() for name in _FLOAT_SHAPES if name in tensors}
    own = [name for name in _BY_FRAME if name in floats]
    count = len(floats["id_tokens"]) if several else 0
    frames = [{name: floats[name][i] for name in own} for i in range(count)] or [{}]
    return [Face(**floats | frame, crop=tensors.get("crop")) for frame in frames]  # pyright: ignore[reportArgumentType]


def _fault(tensors: Mapping[str, Tensor], several: bool) -> str | None:
    """What keeps ``tensors`` from being a face with one motion or with several, as a sentence; None if nothing does."""
    sizes: dict[str, int] = {}
    for name, shape in _FLOAT_SHAPES.items():
        tensor = tensors.get(name)
        if tensor is None:
            if name in _OPTIONAL:
                continue
            return f"The tensor {name} is missing."
        if several and name in _BY_FRAME:
            shape = ("F", *shape)
        expected = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in shape)
        fits = tensor.ndim == len(shape) and tensor.numel() > 0
        if not fits or any(
            isinstance(size, int) and size != found for size, found in zip(expected, tensor.shape, strict=True)
        ):
            return f"The tensor {name} has shape {tuple(tensor.shape)}, expected ({', '.join(map(str, expected))})."
        sizes |= {size: found for size, found in zip(shape, tensor.shape, strict=True) if isinstance(size, str)}
        # NaN is not below the bound, either.
        if tensor.dtype not in _FLOATS or not bool((tensor.abs() <= LARGEST_VALUE).all()):
            return f"The tensor {name} holds values that are no floats of at most {LARGEST_VALUE:g}."
    crop = tensors.get("crop")
    if crop is not None and (crop.ndim != 3 or crop.shape[-1] != 3 or crop.dtype != torch.uint8 or not crop.numel()):
        return f"The tensor crop is {crop.dtype} {tuple(crop.shape)}, expected uint8 (height, width, 3)."
    return None


def _refused(path: Path, found: str) -> DynamicIDError:
    return DynamicIDError("name", f"{path.name} is no face file. {found}", "Choose a file written by Save Face.")
