"""The emotion network that may read the expressions' words (``faces.emotions``), known by what is in its file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import DynamicIDError
from ..faces.emotions import EmotionReader, load_emotion_reader


@dataclass(frozen=True)
class EmotionModel:
    """One network.

    Attributes:
        path: ONNX file.
        digest: SHA-256 of its content, as hex digits.
    """

    path: Path
    digest: str

    def __str__(self) -> str:
        return f"{self.path.name} (SHA-256 {self.digest})"


def find_emotion_model(path: Path) -> EmotionModel:
    """The network in a file, opened once to see that it can be used.

    Raises:
        DynamicIDError: No such file, a broken one, or a network that is not understood.
    """
    load_emotion_reader(path)
    return EmotionModel(path, _digest(path))


def open_emotion_model(model: EmotionModel, threads: int | None = None) -> EmotionReader:
    """The network, to read with so many threads; None = one a processor.

    Raises:
        DynamicIDError: As ``find_emotion_model``, or the file has another content now.
    """
    reader = load_emotion_reader(model.path, threads)
    found = _digest(model.path)
    if found != model.digest:
        found = f"'{model.path}' has the SHA-256 {found} here, not {model.digest}."
        raise DynamicIDError("--emotion-model", found, "Give every machine the same file, and start again.")
    return reader


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
