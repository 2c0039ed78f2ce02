"""Finding faces with InsightFace's networks.

Two passes, because the published weights were trained so (docs/method.md, Face encoder and IMR):
1. Detector and recognition on the RGB array *as it is* (InsightFace means BGR; the weights expect this order). This
   pass decides which faces there are, their boxes and their embeddings.
2. Detector, landmarks and pose on the image resized to 512 x 512 (aspect ratio given up), in BGR order. A face of
   pass 1 takes the box of pass 2 that overlaps it most; where pass 2 missed the face, the landmark networks run on the
   box of pass 1, so landmarks always belong to the face whose embedding they accompany.

InsightFace's single networks are used rather than its `FaceAnalysis`: that class downloads packs it misses, asserts,
and keeps the detector's size as mutable state. Works with insightface 0.7.3 and with 1.x and 2.x.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DynamicIDError
from .detected import LANDMARK_SIZE, DetectedFace, check_picture, reading_order
from .emotions import EmotionReader
from .packs import TASK_FILES, TRAINED_RECOGNITION, onnx_files, onnx_folder, where_to_put
from .providers import onnx_failures, open_networks
from .runtime import diagnose_onnxruntime, import_insightface, short_name

logger = logging.getLogger(__name__)

MINIMUM_SCORE = 0.5
# SCRFD's anchors end near 512 px, so a face that fills the picture is often missed at 512 and found when the picture is
# handed over smaller. The smaller sizes are tried only while nothing was found; they would lose small faces.
DETECTOR_SIZES = (512, 448, 384, 320, 256, 192, 128)
MINIMUM_OVERLAP = 0.4


def load_face_analysis(
    pack_dir: Path,
    provider: str = "auto",
    emotion_reader: EmotionReader | None = None,
    threads: int | None = None,
    device: int = 0,
) -> "FaceAnalyzer":
    """Opens the four networks of a pack.

    Args:
        pack_dir: Folder with the ONNX files, or the folder around it.
        provider: "auto", or an onnxruntime provider in short ("CUDA") or in full.
        emotion_reader: Handed on with the networks to whoever wants to know what a face shows.
        threads: Processors that the networks may use; None = all.
        device: Number of the GPU, of those that the provider has.

    Raises:
        DynamicIDError: insightface or onnxruntime missing, files missing or broken. A provider that cannot start is no
            error: the networks run on the CPU then, with a warning in the log.
    """
    networks, folder, active = open_pack(pack_dir, tuple(TASK_FILES), provider, threads, device)
    recognition = Path(networks["recognition"].model_file).name
    if recognition != TRAINED_RECOGNITION:
        logger.warning(
            "The face pack %r recognises faces with %s. DynamicID's weights were trained with %s of buffalo_l; with "
            "another network the people will not look like their photos.",
            folder.name,
            recognition,
            TRAINED_RECOGNITION,
        )
    advice = diagnose_onnxruntime()
    if advice is not None:
        logger.warning(advice)
    return FaceAnalyzer(networks, folder, active, emotion_reader)


def open_pack(
    pack_dir: Path, tasks: Sequence[str], provider: str = "auto", threads: int | None = None, device: int = 0
) -> tuple[dict[str, Any], Path, str]:
    """Networks of a pack by task, the folder they come from, and the full name of the provider that runs them.

    Arguments and errors as ``load_face_analysis``; ``tasks``: some of ``TASK_FILES``.
    """
    import_insightface()
    folder = onnx_folder(Path(pack_dir))
    if folder is None:
        raise DynamicIDError("pack", f"There is no ONNX file in {pack_dir}.", where_to_put(str(pack_dir)))
    networks, active = open_networks(onnx_files(folder), tuple(tasks), provider, threads, device)
    missing = [task for task in tasks if task not in networks]
    if missing:
        files = ", ".join(f"{task} (in buffalo_l: {TASK_FILES[task]})" for task in missing)
        found = f"The pack {folder.name!r} has no network for {files}."
        raise DynamicIDError("pack", found, where_to_put(str(folder)))
    return networks, folder, active


class FaceAnalyzer:
    """The networks of one pack. `detect` may be called from several threads; calls run one after another.

    Attributes:
        pack_dir: The folder the networks come from.
        provider: Short name of the onnxruntime provider that runs them.
        emotion_reader: Reads what a face shows; None where there is no network for it.
    """

    def __init__(
        self,
        networks: dict[str, Any],
        pack_dir: Path,
        provider: str,
        emotion_reader: EmotionReader | None = None,
    ) -> None:
        self._networks = networks
        self._lock = threading.Lock()
        self.pack_dir = pack_dir
        self.provider = short_name(provider)
        self.emotion_reader = emotion_reader
        detector = networks["detection"]
        detector.prepare(0, det_thresh=MINIMUM_SCORE)
        height, width = detector.session.get_inputs()[0].shape[2:4]
        is_fixed = isinstance(height, int) and isinstance(width, int)
        self._detector_sizes = ((width, height),) if is_fixed else tuple((size, size) for size in DETECTOR_SIZES)

    def __repr__(self) -> str:
        return f"FaceAnalyzer({self.pack_dir.name!r}, {self.provider})"

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """All faces of a picture, from left to right (by the middle of the box, then from top to bottom).

        Args:
            image: (height, width, 3) uint8 RGB; not changed.

        Raises:
            DynamicIDError: another dtype or shape, an empty picture, or networks that are no face networks.
        """
        import cv2

        check_picture(image)
        image = np.ascontiguousarray(image)
        try:
            with self._lock:
                found = self._find(image, self._detector_sizes)
                faces = self._describe(image, found) if found else []
        except (*onnx_failures(), cv2.error, ArithmeticError, MemoryError) as error:
            raise self._unusable(f"fail ({type(error).__name__}: {str(error).strip()[:200]})") from error
        if not all(map(_is_finite, faces)):
            raise self._unusable("give values that are no numbers")
        return sorted(faces, key=reading_order)

    def _unusable(self, found: str) -> DynamicIDError:
        return DynamicIDError(
            "pack", f"The networks of {self.pack_dir.name!r} {found}.", where_to_put(str(self.pack_dir))
        )

    def _find(self, image: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Any]:
        """Faces as InsightFace objects with bbox, kps and det_score, at the first size that finds any."""
        from insightface.app.common import Face

        height, width = image.shape[:2]
        for size in sizes:
            # InsightFace fits the picture into this size; a strip would shrink to nothing.
            if min(height * size[0] // width, width * size[1] // height) < 1:
                continue
            boxes, points = self._networks["detection"].detect(image, input_size=size)
            if len(boxes):
                return [Face(bbox=box[:4], kps=kps, det_score=box[4]) for box, kps in zip(boxes, points, strict=True)]
        return []

    def _describe(self, image: np.ndarray, found: list[Any]) -> list[DetectedFace]:
        """Embedding of each face from the RGB array; landmarks and pose from the 512 x 512 BGR array."""
        import cv2

        height, width = image.shape[:2]
        resized_bgr = np.ascontiguousarray(cv2.resize(image, (LANDMARK_SIZE, LANDMARK_SIZE))[..., ::-1])
        scale = np.asarray([LANDMARK_SIZE / width, LANDMARK_SIZE / height] * 2, dtype=np.float32)
        boxes = [face.bbox * scale for face in found]
        seen = self._find(resized_bgr, self._detector_sizes[:1])
        partners = match_boxes(boxes, [face.bbox for face in seen])
        faces = []
        for face, box, partner in zip(found, boxes, partners, strict=True):
            self._networks["recognition"].get(image, face)
            face.bbox = box if partner is None else seen[partner].bbox
            self._networks["landmark_2d_106"].get(resized_bgr, face)
            self._networks["landmark_3d_68"].get(resized_bgr, face)
            faces.append(
                DetectedFace(
                    box_xyxy=tuple((box / scale).tolist()),
                    score=float(face.det_score),
                    landmarks_106=np.asarray(face.landmark_2d_106, dtype=np.float32)[:, :2],
                    pose=np.asarray(face.pose, dtype=np.float32),
                    embedding=np.asarray(face.normed_embedding, dtype=np.float32),
                )
            )
        return faces


def match_boxes(boxes: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> list[int | None]:
    """For each box the index of its own partner among `others`, best overlaps first; None below MINIMUM_OVERLAP."""
    pairs = sorted(
        ((intersection_over_union(a, b), i, j) for i, a in enumerate(boxes) for j, b in enumerate(others)),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    partners: list[int | None] = [None] * len(boxes)
    for overlap, i, j in pairs:
        if overlap >= MINIMUM_OVERLAP and partners[i] is None and j not in partners:
            partners[i] = j
    return partners


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two x0, y0, x1, y1 boxes: 0 = apart, 1 = the same."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


def _is_finite(face: DetectedFace) -> bool:
    values = (face.box_xyxy, face.landmarks_106, face.pose, face.embedding)
    return all(np.isfinite(part).all() for part in values)
