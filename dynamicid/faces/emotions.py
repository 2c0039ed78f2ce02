"""Reading a face's emotion with an ONNX network, so that a face prompt can name it (docs/method.md, IMR).

The network is optional and comes from the user; ``emotion_layouts`` says which files are understood. Only onnxruntime
opens the file, and not before ``load_emotion_reader`` is called.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange
from PIL import Image

from ..errors import DynamicIDError
from .detected import DetectedFace, check_picture
from .emotion_layouts import EmotionLayout, LayoutError, input_shape, layout_of
from .prompts import EMOTIONS
from .providers import CPU_PROVIDER, onnx_failures, session_options
from .runtime import import_onnxruntime

SOURCE = "https://github.com/av-savchenko/face-emotion-recognition/tree/main/models/affectnet_emotions/onnx"
"""Where HSEmotion's files come from."""
_ERRORS_ONLY = 3
_LARGEST_CROP = 20_000


class EmotionReader:
    """One network. ``read`` may be called from several threads.

    Attributes:
        path: The file it comes from.
        layout: What it expects.
    """

    def __init__(self, session: Any, path: Path, layout: EmotionLayout) -> None:
        self._session = session
        self.path = path
        self.layout = layout

    def __repr__(self) -> str:
        return f"EmotionReader({self.path.name!r}, {self.layout.name})"

    def read(self, image: np.ndarray, face: DetectedFace) -> np.ndarray:
        """Probabilities of the emotions that a face shows.

        Args:
            image: (height, width, 3) uint8 RGB; not changed.
            face: A face of this very picture; its box is used.

        Returns:
            (7,) float32 in the order of EMOTIONS, of sum 1. Contempt has no word there: it is left out before.

        Raises:
            DynamicIDError: Another dtype or shape, a face outside the picture, or outputs that are no probabilities.
        """
        pixels = network_input(image, face, self.layout)
        outputs = _run(self._session, pixels, self.path)
        return _probabilities(outputs, self.layout, self.path)


def load_emotion_reader(path: Path, threads: int | None = None) -> EmotionReader:
    """Opens an emotion network, to run on the CPU: it sees one face at a time.

    Args:
        path: An ONNX file.
        threads: Processors that the network may use; None = all.

    Raises:
        DynamicIDError: onnxruntime missing, no such file, a broken one, or a network that is not understood.
    """
    path = Path(path)
    onnxruntime = import_onnxruntime()
    if not path.is_file():
        raise _refused(path, f"There is no file {path}.")
    options = session_options(threads)
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[CPU_PROVIDER])
        metadata = dict(session.get_modelmeta().custom_metadata_map)
    except onnx_failures() as error:
        raise _refused(path, f"{path} is no sound ONNX file ({_first_line(error)}).") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        raise _refused(
            path, f"It has {len(inputs)} inputs ({', '.join(entry.type for entry in inputs)}), not one of float."
        )
    try:
        channels, size = input_shape(inputs[0].shape, metadata)
        outputs = _run(session, np.zeros((1, channels, size, size), dtype=np.float32), path)
        layout = layout_of(channels, size, inputs[0].name, len(outputs), metadata)
    except LayoutError as error:
        raise _refused(path, str(error)) from error
    return EmotionReader(session, path, layout)


def likeliest_emotion(probabilities: np.ndarray) -> str:
    """The word of EMOTIONS with the highest of (7,) probabilities."""
    return EMOTIONS[int(np.argmax(probabilities))]


def network_input(image: np.ndarray, face: DetectedFace, layout: EmotionLayout) -> np.ndarray:
    """The square around a face as a network expects it; beyond the picture its edge goes on.

    Args:
        image: (height, width, 3) uint8 RGB.
        face: Its ``box_xyxy`` is in pixels of ``image``.
        layout: What the network expects.

    Returns:
        (1, C, size, size) float32.

    Raises:
        DynamicIDError: Another dtype or shape, or a face outside the picture.
    """
    check_picture(image)
    height, width = image.shape[:2]
    left, top, side = _square(face.box_xyxy, height, width, layout)
    x0, y0, x1, y1 = (int(np.floor(left)), int(np.floor(top)), int(np.ceil(left + side)), int(np.ceil(top + side)))
    rows, columns = np.arange(y0, y1).clip(0, height - 1), np.arange(x0, x1).clip(0, width - 1)
    square = Image.fromarray(np.ascontiguousarray(image[rows[:, None], columns]))
    box = (left - x0, top - y0, min(left - x0 + side, x1 - x0), min(top - y0 + side, y1 - y0))
    resized = square.resize((layout.size, layout.size), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(resized.convert("L") if layout.colour == "grey" else resized, dtype=np.float32)
    pixels = pixels.reshape(layout.size, layout.size, -1)
    if layout.colour == "bgr":
        pixels = pixels[..., ::-1]
    normed = (pixels / 255 - np.array(layout.mean, np.float32)) / np.array(layout.std, np.float32)
    return np.ascontiguousarray(rearrange(normed, "h w c -> 1 c h w"))


def _square(box_xyxy: Sequence[float], height: int, width: int, layout: EmotionLayout) -> tuple[float, float, float]:
    """Left, top and side in pixels; may reach past the picture."""
    x0, y0, x1, y1 = (float(value) for value in box_xyxy)
    longer = max(x1 - x0, y1 - y0)
    side = longer * (1 + 2 * layout.margin)
    # Written so that NaN is refused, too.
    if not (x0 < min(x1, width) and y0 < min(y1, height) and x1 > 0 and y1 > 0 and side <= _LARGEST_CROP):
        raise DynamicIDError(
            "image",
            f"The face's box {tuple(round(value, 1) for value in (x0, y0, x1, y1))} lies outside the picture of "
            f"{width} x {height} pixels.",
            "Pass a face that was detected in the same picture.",
        )
    return (x0 + x1 - side) / 2, (y0 + y1 - side) / 2 + layout.shift * longer, side


def _run(session: Any, pixels: np.ndarray, path: Path) -> np.ndarray:
    """(1, C, size, size) -> (N,) float64, the first output."""
    try:
        first = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    except onnx_failures() as error:
        raise _refused(path, f"The network does not run ({_first_line(error)}).") from error
    if not isinstance(first, np.ndarray) or first.dtype.kind != "f":
        raise _refused(path, "Its first output is no tensor of floats.")
    return first.reshape(-1).astype(np.float64)


def _probabilities(outputs: np.ndarray, layout: EmotionLayout, path: Path) -> np.ndarray:
    """(N,) outputs -> (7,) float32, of what has a word."""
    kept = [(place, word) for place, word in enumerate(layout.words) if word is not None]
    values = outputs[[place for place, _ in kept]]
    # A softmax over what is kept is the softmax over all, what is dropped left out and the rest renormalised.
    shares = values.clip(min=0) if layout.is_probability else np.exp(values - values.max())
    total = shares.sum()
    if not np.isfinite(total) or total <= 0:
        raise _refused(path, f"The network gives {outputs.tolist()} for the face; these are no probabilities.")
    out = np.zeros(len(EMOTIONS), dtype=np.float32)
    out[[EMOTIONS.index(word) for _, word in kept]] = shares / total
    return out


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _refused(path: Path, found: str) -> DynamicIDError:
    return DynamicIDError(
        path.name,
        found,
        f"Use an emotion network of HSEmotion ({SOURCE}), FER+ of the ONNX model zoo, or an ONNX file whose metadata "
        "`emotions` names its classes; or take the file away to go on without one.",
    )
