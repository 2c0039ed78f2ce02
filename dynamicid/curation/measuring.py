"""Stage 2: the face of each photo: place, size, sharpness, pose, expression, light and ArcFace embedding."""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from ..errors import DynamicIDError
from ..faces.analysis import FaceAnalyzer, load_face_analysis
from ..faces.detected import DetectedFace, order_faces
from ..faces.drawing import portrait_crop_box
from ..faces.emotions import EmotionReader, likeliest_emotion
from ..faces.encoding import cut_out, find_in_portrait
from ..faces.landmarks import LANDMARK_COUNT
from ..files.pictures import decode
from ..files.skipped import BadSample
from ..files.tables import Row, read_rows
from .expressions import MEASURES, EmotionModel, measure_expression, open_emotion_model
from .listing import read_bytes
from .parts import part_path
from .quality import sharpness, skin_light
from .settings import Settings

EMBEDDING_WIDTH = 512
THREADS = 1
SCHEMA = pa.schema(
    {"photo_id": pa.string(), "reason": pa.string()}
    | {name: pa.float32() for name in ("score", "face_pixels", "sharpness", "occlusion", "level", "side")}
    | {"crop": pa.list_(pa.int32(), 4), "pose": pa.list_(pa.float32(), 3)}
    | {"expression": pa.list_(pa.float32(), len(MEASURES)), "landmarks": pa.list_(pa.float32(), 2 * LANDMARK_COUNT)}
    | {"embedding": pa.list_(pa.float32(), EMBEDDING_WIDTH)}
)
"""crop: left, top, right, bottom of the portrait in the photo. pose: pitch, yaw, roll in degrees.
landmarks: alternating x and y in the portrait resized to 512 x 512. face_pixels: shorter side of the face's box."""
_EMOTION = pa.field("emotion", pa.string())


def schema(settings: Settings) -> pa.Schema:
    """SCHEMA; with an emotion model also ``emotion``, its most likely word of ``faces.prompts.EMOTIONS``."""
    return SCHEMA if settings.emotion_model is None else SCHEMA.append(_EMOTION)


@lru_cache(maxsize=1)
def _analyzer(face_pack: Path, emotion_model: EmotionModel | None) -> FaceAnalyzer:
    """One per process, with one thread, as each processor runs a process of its own."""
    emotion_reader = None if emotion_model is None else open_emotion_model(emotion_model, THREADS)
    return load_face_analysis(face_pack, emotion_reader=emotion_reader, threads=THREADS)


def measure_part(settings: Settings, number: int, wanted: Collection[str]) -> list[Row]:
    """One row of ``schema`` per photo of a part of the listing whose id is in ``wanted``."""
    analyzer = _analyzer(settings.face_pack, settings.emotion_model)
    rows = []
    for row in read_rows(part_path(settings.work, "listing", number)):
        if row["photo_id"] in wanted:
            try:
                measured = measure(decode(read_bytes(row), settings.most_pixels), analyzer, settings)
            except BadSample as error:
                measured = {"reason": str(error)}
            rows.append({"photo_id": row["photo_id"], **measured})
    return rows


def measure(image: np.ndarray, analyzer: FaceAnalyzer, settings: Settings) -> Row:
    """A row of ``schema`` without the id.

    The face is detected in the whole photo and measured in its portrait, which the data set will hold: landmarks of a
    small face in a large photo would be coarse. An emotion network sees the whole photo, as it does in the nodes.

    Args:
        image: (height, width, 3) uint8 RGB.

    Raises:
        BadSample: No face, several, or one that is not found again in its portrait.
    """
    faces = analyzer.detect(image)
    if not faces:
        raise BadSample("no face")
    if len(faces) > 1 and settings.several_faces == "drop":
        raise BadSample("several faces")
    whole = order_faces(faces, "largest")[0]
    height, width = image.shape[:2]
    crop = portrait_crop_box(whole.box_xyxy, height, width)
    if crop == (0, 0, width, height):
        crop = _square(crop, whole.box_xyxy)
    portrait = np.ascontiguousarray(cut_out(image, crop))
    face = whole if portrait.shape == image.shape else find_in_portrait(analyzer, portrait, crop, whole)
    if face is None:
        raise BadSample("face lost in its portrait")
    x0, y0, x1, y1 = face.box_xyxy
    skin = skin_light(portrait, face.landmarks_106)
    measured = {
        "score": face.score, "face_pixels": min(x1 - x0, y1 - y0), "occlusion": skin.occlusion,
        "sharpness": sharpness(portrait, face.box_xyxy), "level": skin.level, "side": skin.side, "crop": list(crop),
        "pose": face.pose.tolist(), "expression": measure_expression(portrait, face).tolist(),
        "landmarks": face.landmarks_106.ravel().tolist(), "embedding": face.embedding.tolist(),
    }  # fmt: skip
    if analyzer.emotion_reader is not None:
        measured["emotion"] = _emotion(image, whole, analyzer.emotion_reader)
    return {**measured, "reason": _rejection(measured, settings)}


def portrait_pixels(image: np.ndarray, crop: tuple[int, int, int, int], size: int) -> Image.Image:
    """The portrait at (size, size) pixels."""
    cut = Image.fromarray(np.ascontiguousarray(cut_out(image, crop)))
    return cut if cut.size == (size, size) else cut.resize((size, size), Image.Resampling.LANCZOS)


def _square(crop: tuple[int, int, int, int], box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """The largest square in ``crop``, with the face as near to its middle as possible."""
    left, top, right, bottom = crop
    side = min(right - left, bottom - top)
    x = min(max(round((box[0] + box[2] - side) / 2), left), right - side)
    y = min(max(round((box[1] + box[3] - side) / 2), top), bottom - side)
    return (x, y, x + side, y + side)


def _emotion(image: np.ndarray, face: DetectedFace, reader: EmotionReader) -> str:
    try:
        return likeliest_emotion(reader.read(image, face))
    except DynamicIDError as error:
        raise BadSample("the emotion network cannot read the face") from error


def _rejection(measured: Row, settings: Settings) -> str:
    if measured["face_pixels"] < settings.smallest_face:
        return "face too small"
    if measured["score"] < settings.confidence:
        return "detector unsure"
    if measured["sharpness"] < settings.sharpness:
        return "blurred"
    if measured["occlusion"] > settings.occlusion:
        return "face covered or cut off"
    return ""
