"""What an emotion network in an ONNX file is given and what it says: the published files and self-describing ones.

Understood are
- self-describing files: the ONNX metadata (`metadata_props`, all values are text) has the key ``emotions``, the class
  names by output, such as ``happy,surprise,sad,anger,disgust,fear,neutral``. Optional are ``size`` (side of the input
  in pixels, where its shape leaves that open), ``colour`` (``rgb``, ``bgr`` or ``grey``), ``mean`` and ``std`` (one
  number, or three in the order of the channels; pixels are 0..1 before), ``margin`` and ``shift`` (see
  ``EmotionLayout``), ``output`` (``logits`` or ``probabilities``) and ``name``;
- HSEmotion's files (https://github.com/av-savchenko/hsemotion-onnx): an input called ``input``, RGB, 224 or 260 pixels
  a side; 8 outputs, 7 without contempt, or 10 where valence and arousal follow;
- FER+ of the ONNX model zoo (https://github.com/onnx/models, emotion_ferplus; arXiv 1608.01041): grey, 64 pixels a
  side, 0..255, 8 outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .prompts import EMOTIONS

COLOURS = {"rgb": 3, "bgr": 3, "grey": 1}
"""Colour order -> number of channels."""
OUTPUTS = ("logits", "probabilities")
SMALLEST, LARGEST = 16, 1024
"""Sides in pixels that an input may have."""
_DROPPED = "contempt"
_WORDS = {
    **{word: word for word in EMOTIONS},
    "happiness": "happy",
    "surprised": "surprise",
    "sadness": "sad",
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
}
_HSEMOTION_8 = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
_HSEMOTION = {
    7: tuple(name for name in _HSEMOTION_8 if name != _DROPPED),
    8: _HSEMOTION_8,
    # Valence and arousal, which are no classes.
    10: (*_HSEMOTION_8, _DROPPED, _DROPPED),
}
_HSEMOTION_SIZES = (224, 260)
_FER_PLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class LayoutError(ValueError):
    """A network that is not understood; the text is a sentence about what was found."""


@dataclass(frozen=True)
class EmotionLayout:
    """What goes into a network and what comes out.

    Attributes:
        name: Of the family, for the log.
        words: By output one of EMOTIONS, or None for an output that is passed over.
        size: Side of the input in pixels.
        colour: A key of COLOURS.
        mean, std: By channel (or one for all); a pixel p of 0..1 goes in as (p - mean) / std.
        margin: Room on each side of the face's box, as a share of the box's longer side. The published networks have
            none: their authors hand over what the face detector found.
        shift: How far the crop's middle lies below the box's, as a share of the box's longer side.
        is_probability: Whether the outputs are probabilities and not logits.
    """

    name: str
    words: tuple[str | None, ...]
    size: int
    colour: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    margin: float = 0.0
    shift: float = 0.0
    is_probability: bool = False


def input_shape(shape: Sequence[int | str | None], metadata: Mapping[str, str]) -> tuple[int, int]:
    """Channels and side in pixels of a network's input.

    Args:
        shape: (B, C, height, width) as onnxruntime gives it; what is left open is no whole number.
        metadata: The file's metadata.

    Raises:
        LayoutError: No square picture of 1 or 3 channels.
    """
    if len(shape) != 4:
        raise LayoutError(f"Its input has the shape {list(shape)}.")
    batch, channels, height, width = shape
    height, width = (side if isinstance(side, int) else _size_of(metadata) for side in (height, width))
    if (isinstance(batch, int) and batch != 1) or channels not in (1, 3) or height != width:
        raise LayoutError(f"Its input has the shape {list(shape)}.")
    if not SMALLEST <= height <= LARGEST:
        raise LayoutError(f"Its input is {height} pixels a side, not {SMALLEST} to {LARGEST}.")
    return int(channels), height


def layout_of(channels: int, size: int, input_name: str, outputs: int, metadata: Mapping[str, str]) -> EmotionLayout:
    """What a network expects, from its metadata or, without, from its shapes.

    Args:
        channels, size: Of ``input_shape``.
        input_name: The input's name.
        outputs: Number of values it says about one picture.
        metadata: The file's metadata.

    Raises:
        LayoutError: A network that is not understood.
    """
    if "emotions" in metadata:
        return _described(channels, size, outputs, metadata)
    if channels == 3 and size in _HSEMOTION_SIZES and input_name == "input" and outputs in _HSEMOTION:
        words = _words_of(_HSEMOTION[outputs])
        return EmotionLayout("HSEmotion", words, size, "rgb", _IMAGENET_MEAN, _IMAGENET_STD)
    if (channels, size, outputs) == (1, 64, len(_FER_PLUS)):
        return EmotionLayout("FER+", _words_of(_FER_PLUS), size, "grey", (0.0,), (1 / 255,))
    raise LayoutError(
        f"It has no metadata `emotions`, an input {input_name!r} of {channels} x {size} x {size} and {outputs} outputs."
    )


def _described(channels: int, size: int, outputs: int, metadata: Mapping[str, str]) -> EmotionLayout:
    names = [name.strip().lower() for name in metadata["emotions"].split(",")]
    unknown = [name for name in names if name not in _WORDS and name != _DROPPED]
    if unknown:
        raise LayoutError(
            f"Its metadata `emotions` names {unknown[0][:60]!r}; known are {', '.join((*_WORDS, _DROPPED))}."
        )
    words = _words_of(names)
    kept = [word for word in words if word is not None]
    if len(names) != outputs or len(set(kept)) != len(kept) or len(kept) < 2:
        text = metadata["emotions"][:200]
        raise LayoutError(
            f"Its metadata `emotions` is {text!r}, and the network has {outputs} outputs; each needs a name of its own."
        )
    colour = metadata.get("colour", "rgb" if channels == 3 else "grey")
    if COLOURS.get(colour) != channels:
        raise LayoutError(f"Its metadata `colour` is {colour[:60]!r}, and the input has {channels} channels.")
    output = metadata.get("output", OUTPUTS[0])
    if output not in OUTPUTS:
        raise LayoutError(f"Its metadata `output` is {output[:60]!r}, not one of {', '.join(OUTPUTS)}.")
    std = _numbers(metadata, "std", 1.0, (1, channels))
    if min(std) <= 0:
        raise LayoutError(f"Its metadata `std` is {metadata['std'][:60]!r}; deviations are above 0.")
    margin, shift = (_numbers(metadata, key, 0.0, (1,))[0] for key in ("margin", "shift"))
    if not (0 <= margin <= 2 and abs(shift) <= 1):
        raise LayoutError(f"Its metadata asks for a margin of {margin:g} (0 to 2) and a shift of {shift:g} (-1 to 1).")
    return EmotionLayout(
        name=metadata.get("name", "self-describing")[:60],
        words=words,
        size=size,
        colour=colour,
        mean=_numbers(metadata, "mean", 0.0, (1, channels)),
        std=std,
        margin=margin,
        shift=shift,
        is_probability=output == "probabilities",
    )


def _words_of(names: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(_WORDS.get(name) for name in names)


def _size_of(metadata: Mapping[str, str]) -> int:
    text = metadata.get("size", "")
    if not (text.isascii() and text.isdigit()):
        raise LayoutError(f"Its input's size is left open, and its metadata `size` is {text[:60]!r}.")
    return int(text[:6])


def _numbers(metadata: Mapping[str, str], key: str, default: float, counts: Sequence[int]) -> tuple[float, ...]:
    """Finite numbers parted by commas, as many as one of ``counts``."""
    text = metadata.get(key, str(default))
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in counts or not all(map(math.isfinite, values)):
        raise LayoutError(f"Its metadata `{key}` is {text[:60]!r}, not {' or '.join(map(str, counts))} numbers.")
    return values
