"""The expression of a face: measured from its landmarks, named by an angle in that space or by an emotion network.

A measurement becomes a word only relative to the same person's other photos: brows and lips differ more between people
than between a person's expressions.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DynamicIDError
from ..faces import landmark_layout as layout
from ..faces.detected import DetectedFace
from ..faces.emotions import EmotionReader, load_emotion_reader
from ..faces.head_model import AVERAGE_FACE, lift
from ..faces.landmarks import LANDMARK_SIZE
from ..faces.prompts import NEUTRAL
from ..files.digests import sha256_of_files

MEASURES = ("mouth_open", "smile", "brows", "brow_tilt", "eyes_open")
# In the order of MEASURES, by the action units of the six basic expressions.
_PROTOTYPES = {
    "happy": (0.3, 1.0, 0.0, 0.0, -0.2),
    "surprise": (1.0, 0.0, 1.0, 0.0, 0.7),
    "sad": (0.0, -0.8, 0.0, 0.9, -0.4),
    "anger": (0.0, -0.4, -1.0, -0.8, -0.2),
    "disgust": (0.1, -0.5, -0.5, -0.3, -0.6),
    "fear": (0.5, -0.6, 0.7, 0.8, 0.6),
}
_LEAST_LENGTH, _LEAST_COSINE = 0.45, 0.6


@dataclass(frozen=True)
class EmotionModel:
    """An emotion network (``faces.emotions``), identified by the content of its file.

    Attributes:
        path: ONNX file.
        digest: SHA-256 of its content, as hex digits.
    """

    path: Path
    digest: str

    def __str__(self) -> str:
        return f"{self.path.name} (SHA-256 {self.digest})"


def find_emotion_model(path: Path) -> EmotionModel:
    """The network in a file, after loading it once as a check.

    Raises:
        DynamicIDError: No such file, a broken one, or a network of unknown layout.
    """
    load_emotion_reader(path)
    return EmotionModel(path, sha256_of_files(path))


def open_emotion_model(model: EmotionModel, threads: int | None = None) -> EmotionReader:
    """Loads the network to run on ``threads`` threads; None = one per processor.

    Raises:
        DynamicIDError: As ``find_emotion_model``, or the content of the file has changed.
    """
    reader = load_emotion_reader(model.path, threads)
    digest = sha256_of_files(model.path)
    if digest != model.digest:
        found = f"'{model.path}' has the SHA-256 {digest} here, not {model.digest}."
        raise DynamicIDError("--emotion-model", found, "Give every machine the same file, and start again.")
    return reader


def measure_expression(image: np.ndarray, face: DetectedFace) -> np.ndarray:
    """Distances between landmarks of the face, after the head model has turned it to the front.

    Args:
        image: Portrait, (height, width, 3) uint8 RGB.
        face: The face in it.

    Returns:
        (5,) float32 in the order of MEASURES: 0 = an average face, 1 = about a full expression.
    """
    height, width = image.shape[:2]
    points = lift(face.landmarks_106 * (np.array([width, height]) / LANDMARK_SIZE), face.pose).points
    return ((_distances(points) - _REST) / _REACH).astype(np.float32)


def name_expression(values: np.ndarray) -> str:
    """One of ``faces.prompts.EMOTIONS``: the basic expression at the smallest angle; neutral if weak or like none.

    Args:
        values: (5,) MEASURES minus those of the same person at rest.
    """
    length = float(np.linalg.norm(values))
    if length < _LEAST_LENGTH:
        return NEUTRAL
    cosines = {
        word: float(values @ np.array(prototype)) / length / np.linalg.norm(prototype)
        for word, prototype in _PROTOTYPES.items()
    }
    word = max(cosines, key=lambda key: cosines[key])
    return word if cosines[word] >= _LEAST_COSINE else NEUTRAL


def _distances(points: np.ndarray) -> np.ndarray:
    """(5,) in head units, in the order of MEASURES, from (106, 2 or 3) points of a frontal face."""

    def y(numbers: tuple[int, ...]) -> float:
        return float(points[list(numbers), 1].mean())

    lids = [(layout.LEFT_EYE_UPPER, layout.LEFT_EYE_LOWER), (layout.RIGHT_EYE_UPPER, layout.RIGHT_EYE_LOWER)]
    brows = [layout.LEFT_BROW, layout.RIGHT_BROW]
    eyes = [layout.LEFT_EYE_CORNERS, layout.RIGHT_EYE_CORNERS]
    gap = y(layout.INNER_LIP_LOWER) - y(layout.INNER_LIP_UPPER)
    corners = 0.5 * (y(layout.OUTER_LIP_UPPER) + y(layout.OUTER_LIP_LOWER)) - 0.5 * gap - y(layout.MOUTH_CORNERS)
    raised = np.mean([y(eye) - y(brow) for eye, brow in zip(eyes, brows, strict=True)])
    tilt = np.mean([_brow_tilt(points, brow) for brow in brows])
    opened = np.mean([y(lower) - y(upper) for upper, lower in lids])
    return np.array([gap, corners, raised, tilt, opened])


def _brow_tilt(points: np.ndarray, brow: tuple[int, ...]) -> float:
    """How much higher the inner third of a brow lies than its outer third."""
    order = sorted(brow, key=lambda number: abs(AVERAGE_FACE[number, 0]))
    return float(points[order[-3:], 1].mean() - points[order[:3], 1].mean())


_REST = _distances(AVERAGE_FACE)
_REACH = np.array([0.16, 0.07, 0.06, 0.06, 0.05])
"""Head units from rest to a full expression."""
