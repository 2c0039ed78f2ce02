"""A second opinion on who somebody is: detector and recognition of any InsightFace pack, as InsightFace reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .analysis import FaceAnalyzer, open_pack
from .detected import DetectedFace

TASKS = ("detection", "recognition")


def load_recogniser(pack_dir: Path, provider: str = "auto") -> "Recogniser":
    """Opens detector and recognition of a pack; it needs no other networks.

    Raises:
        DynamicIDError: As ``load_face_analysis``.
    """
    return Recogniser(*open_pack(pack_dir, TASKS, provider))


class Recogniser(FaceAnalyzer):
    """Boxes and embeddings of faces, from pixels in BGR order as InsightFace means them.

    ``FaceAnalyzer`` gives the recognition RGB, because DynamicID's weights were trained so. Landmarks and poses of the
    faces are empty.
    """

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """As ``FaceAnalyzer.detect``; ``image`` is RGB."""
        return super().detect(np.ascontiguousarray(image[..., ::-1]))

    def _describe(self, image: np.ndarray, found: Sequence[Any]) -> list[DetectedFace]:
        for face in found:
            self._networks["recognition"].get(image, face)
        return [
            DetectedFace(
                box_xyxy=tuple(np.asarray(face.bbox).tolist()),
                score=float(face.det_score),
                landmarks_106=np.zeros((0, 2), dtype=np.float32),
                pose=np.zeros(0, dtype=np.float32),
                embedding=np.asarray(face.normed_embedding, dtype=np.float32),
            )
            for face in found
        ]
