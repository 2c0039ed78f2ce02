"""The readers' expressions as an emotion network that the nodes read: a self-describing ONNX file.

The readers crop 2.3 heights of the face's box; the file's margin and shift say the same of the box's longer side, which
is the height of all drawn faces but a few turned ones, and the nodes resize the crop with another filter.
"""

import logging
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from torch import Tensor, nn

from dynamicid.faces.detected import DetectedFace
from dynamicid.faces.emotions import likeliest_emotion, load_emotion_reader
from dynamicid.files.atomic import atomic_write
from dynamicid.synthetic import EXPRESSIONS, Split

from .onnx_files import write_onnx
from .reader_pictures import load_reader_pictures
from .readers import CROP, CROP_FACTOR, CROP_SHIFT, FaceReader, as_input, load_readers

logger = logging.getLogger(__name__)

METADATA = {
    "name": "drawn faces",
    "emotions": ",".join(EXPRESSIONS),
    "mean": "0.5",
    "std": "0.5",
    "margin": str(round((CROP_FACTOR - 1) / 2, 4)),
    "shift": str(CROP_SHIFT),
}


class _Expression(nn.Module):
    def __init__(self, face: FaceReader) -> None:
        super().__init__()
        self.trunk, self.mix, self.head = face.trunk, face.mix, face.heads["expression"]

    def forward(self, crops: Tensor) -> Tensor:
        """(1, 3, 64, 64) in [-1, 1] -> (1, 7) logits in the order of EXPRESSIONS."""
        return self.head(self.mix(self.trunk(crops)))


def write_emotion_file(work: Path, readers: Path, path: Path) -> None:
    """Writes the file and logs its accuracy on held-out people; skipped where it is there.

    Args:
        work: Where the readers' pictures are kept.
        readers: Folder of the trained readers.
        path: The ONNX file, of about 0.8 MB.
    """
    if path.is_file():
        return
    net = _Expression(load_readers(readers).face)
    with atomic_write(path) as partial:
        write_onnx(net, partial, as_input(np.zeros((1, CROP, CROP, 3), np.uint8)), ("picture", ["logits"]), ())
        model = onnx.load(partial)
        helper.set_model_props(model, METADATA)
        onnx.save(model, partial)
        logger.info("expression, as the nodes read it %.3f", measure_emotion_file(partial, work))


def measure_emotion_file(path: Path, work: Path) -> float:
    """Share of right words on the faces of held-out people, cut at their true boxes.

    Args:
        path: The ONNX file.
        work: Where the readers' pictures are kept.
    """
    reader, truth = load_emotion_reader(path), load_reader_pictures(work, Split.held_out)
    nothing = np.zeros(0, dtype=np.float32)
    right = []
    for picture, box, expression in zip(truth.picture, truth.box, truth.expression, strict=True):
        left, top, right_edge, bottom = (float(value) for value in box)
        face = DetectedFace((left, top, right_edge, bottom), 1.0, nothing, nothing, nothing)
        word = likeliest_emotion(reader.read(np.asarray(truth.pictures[picture]), face))
        right.append(word == tuple(EXPRESSIONS)[expression])
    return float(np.mean(right))
