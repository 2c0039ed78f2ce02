"""Settings of a curation, as ``work/settings.json`` keeps them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DynamicIDError
from ..files.pictures import MOST_PIXELS
from .expressions import EmotionModel

FORMAT = 2
"""Of the output folder: 1 = without number."""
Labels = Literal["none", "given", "folders"]
SeveralFaces = Literal["drop", "largest"]
AUTO: Literal["auto"] = "auto"
THRESHOLD_REMEDY = "Use auto, or a number; 0.3 to 0.5 is usual."


@dataclass(frozen=True)
class Settings:
    """All settings, with the defaults of the command.

    Attributes:
        out: Output folder: ``variface``, ``shards``, ``work``, tables and report.
        inputs: Folders, tables (CSV or Parquet) and WebDataset shards (tar).
        face_pack: InsightFace pack, a folder of ONNX files.
        emotion_model: Names the expressions (``expressions.find_emotion_model``); None = from the landmarks.
        labels: Where people come from: ``none`` = groups of similar faces, ``given`` = the field ``person`` of tables
            and shards, ``folders`` = the first folder below each input.
        consent: For photos whose table or shard states none.
        licence: For photos whose table or shard states none.
        require_consent: Reject photos without consent.
        several_faces: A photo with more than one face is rejected (``drop``), or its largest face is used.
        size: Pixels a side of a portrait.
        photos: Most photos of a person.
        fewest: Fewest photos of a person; people with fewer are rejected.
        threshold: Mean ArcFace cosine above which two groups are the same person; "auto" = from the photos
            (``threshold.find_valley``), or ``faces.similarity.SAME_PERSON`` where they show none.
        duplicate_bits: Perceptual hashes (256 bits) that differ in this many bits or fewer are the same picture.
        smallest_face: Shorter side of the face's box in pixels of the photo.
        confidence: Lowest detector score, 0..1.
        sharpness: Lowest variance of the Laplacian over the face (``quality.sharpness``).
        occlusion: Largest hidden share of the face's skin (``quality.skin_light``).
        most_pixels: Larger photos are rejected before they are decoded.
        part_size: Photos per part.
        people_part_size: People per part and shard of portraits.
    """

    out: Path
    inputs: tuple[Path, ...]
    face_pack: Path
    emotion_model: EmotionModel | None = None
    labels: Labels = "none"
    consent: str = ""
    licence: str = ""
    require_consent: bool = False
    several_faces: SeveralFaces = "drop"
    size: int = 512
    photos: int = 35
    fewest: int = 2
    threshold: float | Literal["auto"] = AUTO
    duplicate_bits: int = 10
    smallest_face: int = 48
    confidence: float = 0.6
    sharpness: float = 25.0
    occlusion: float = 0.6
    most_pixels: int = MOST_PIXELS
    part_size: int = 256
    people_part_size: int = 32

    @property
    def work(self) -> Path:
        """Tables of the stages."""
        return self.out / "work"

    @property
    def variface(self) -> Path:
        """People's folders."""
        return self.out / "variface"

    @property
    def shards(self) -> Path:
        """WebDataset shards of the same portraits."""
        return self.out / "shards"

    def as_json(self) -> dict[str, Any]:
        """The content of ``work/settings.json``, without what is None."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return json.loads(json.dumps(values, default=str))

    def subset(self, *names: str) -> dict[str, Any]:
        """These settings only, for the fingerprint of a stage."""
        return {name: value for name, value in self.as_json().items() if name in names}


def check(settings: Settings) -> Settings:
    """Checks ranges and inputs; returns the same settings.

    Raises:
        DynamicIDError: A number is out of its range, or two inputs have the same name.
    """
    rules = (
        (settings.size >= 64, "--size", f"{settings.size} is too small.", "Use 64 or more; 512 is usual."),
        (settings.photos >= settings.fewest >= 1, "--photos", "It is below --fewest.", "Raise it."),
        (_is_threshold(settings.threshold), "--threshold", f"{settings.threshold} is no cosine.", THRESHOLD_REMEDY),
        (0 <= settings.duplicate_bits < 128, "--duplicate-bits", "It is out of range.", "Use 0 to 127."),
        (min(settings.part_size, settings.people_part_size) > 0, "--part-size", "It is below 1.", "256 is usual."),
        (bool(settings.inputs), "INPUT", "There is none.", "Name folders, tables or shards."),
    )
    for is_valid, where, found, remedy in rules:
        if not is_valid:
            raise DynamicIDError(where, found, remedy)
    names = [path.name for path in settings.inputs]
    if len(set(names)) < len(names):
        raise DynamicIDError(
            "INPUT", "Two inputs have the same name, so their photos would get the same ids.", "Rename one."
        )
    return settings


def parse_threshold(text: str) -> float | Literal["auto"]:
    """ "auto", or a number.

    Raises:
        DynamicIDError: It is neither.
    """
    try:
        return AUTO if text == AUTO else float(text)
    except ValueError as error:
        raise DynamicIDError("--threshold", f"{text} is no cosine.", THRESHOLD_REMEDY) from error


def _is_threshold(value: float | Literal["auto"]) -> bool:
    return value == AUTO or -1 < value < 1


def from_json(content: dict[str, Any], out: Path) -> Settings:
    """Settings from ``work/settings.json``, for an output folder that may have been moved."""
    paths = {"out": out, "face_pack": Path(content["face_pack"]), "inputs": tuple(map(Path, content["inputs"]))}
    model = content.get("emotion_model")
    model = None if model is None else EmotionModel(Path(model["path"]), model["digest"])
    own = {name: value for name, value in content.items() if name in Settings.__dataclass_fields__}
    return Settings(**{**own, **paths, "emotion_model": model})
