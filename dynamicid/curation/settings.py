"""What a curation is told."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DynamicIDError
from .emotion_model import EmotionModel

Labels = Literal["none", "given", "folders"]
SeveralFaces = Literal["drop", "largest"]


@dataclass(frozen=True)
class Settings:
    """All of it; every number has the command's default.

    Attributes:
        out: Folder for everything that is written: ``variface``, ``shards``, ``work``, tables and report.
        inputs: Folders, tables (CSV or Parquet) and WebDataset shards (tar).
        face_pack: InsightFace pack, a folder of ONNX files.
        emotion_model: Reads the expressions' words (``find_emotion_model``); None = they come from the landmarks.
        labels: Who is who: ``none`` groups by faces, ``given`` takes the column or field ``person`` of tables and
            shards, ``folders`` the folder below each input.
        consent, licence: For photos whose table or shard says nothing of it.
        require_consent: Photos without consent fall out.
        several_faces: What happens to a photo with more than one face.
        size: Pixels a side of a portrait.
        photos: Most photos of a person.
        fewest: People with fewer photos fall out.
        threshold: Mean ArcFace cosine above which two groups are the same person.
        duplicate_bits: Perceptual hashes (256 bits) that differ in this many bits or fewer are the same picture.
        smallest_face: Shorter side of the face's box in pixels of the photo.
        confidence: Lowest detector score, 0..1.
        sharpness: Lowest variance of the Laplacian over the face (``quality.sharpness``).
        occlusion: Largest share of the face's skin that is hidden (``quality.skin_light``).
        most_pixels: Larger photos are not decoded.
        part_size: Photos a part.
        people_part_size: People a part and shard.
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
    threshold: float = 0.35
    duplicate_bits: int = 10
    smallest_face: int = 48
    confidence: float = 0.6
    sharpness: float = 25.0
    occlusion: float = 0.6
    most_pixels: int = 60_000_000
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
        """What the file ``work/settings.json`` says; of an emotion model only where there is one."""
        told = {name: value for name, value in asdict(self).items() if value is not None}
        return json.loads(json.dumps(told, default=str))

    def some(self, *names: str) -> dict[str, Any]:
        """These settings only: what one stage depends on."""
        return {name: value for name, value in self.as_json().items() if name in names}


def check(settings: Settings) -> Settings:
    """The same settings.

    Raises:
        DynamicIDError: A number out of its range, or inputs that cannot be told apart.
    """
    rules = (
        (settings.size >= 64, "--size", f"{settings.size} is too small.", "Use 64 or more; 512 is usual."),
        (settings.photos >= settings.fewest >= 1, "--photos", "It is below --fewest.", "Raise it."),
        (-1 < settings.threshold < 1, "--threshold", f"{settings.threshold} is no cosine.", "0.3 to 0.5 is usual."),
        (0 <= settings.duplicate_bits < 128, "--duplicate-bits", "It is out of range.", "Use 0 to 127."),
        (min(settings.part_size, settings.people_part_size) > 0, "--part-size", "It is below 1.", "256 is usual."),
        (bool(settings.inputs), "INPUT", "There is none.", "Name folders, tables or shards."),
    )
    for fine, where, found, remedy in rules:
        if not fine:
            raise DynamicIDError(where, found, remedy)
    names = [path.name for path in settings.inputs]
    if len(set(names)) < len(names):
        raise DynamicIDError(
            "INPUT", "Two inputs have the same name, so their photos could not be told apart.", "Rename one."
        )
    return settings


def from_json(content: dict[str, Any], out: Path) -> Settings:
    """What ``as_json`` said, for a folder that may have moved since."""
    paths = {"out": out, "face_pack": Path(content["face_pack"]), "inputs": tuple(map(Path, content["inputs"]))}
    told = content.get("emotion_model")
    model = None if told is None else EmotionModel(Path(told["path"]), told["digest"])
    return Settings(**{**content, **paths, "emotion_model": model})
