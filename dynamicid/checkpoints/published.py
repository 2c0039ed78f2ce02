"""Where every file a user needs is published, where it goes in ComfyUI, and under which licence. Data only."""

from dataclasses import dataclass

NON_COMMERCIAL = "InsightFace model packs: non-commercial research only"


@dataclass(frozen=True)
class PublishedFile:
    """One file to fetch.

    Attributes:
        group: "dynamicid", "clip_vision" or "insightface".
        repo: Repository on huggingface.co; ``remote`` is the path in it.
        folder: Folder below ComfyUI's ``models``; ``name`` is the file's name there.
        licence: Licence in words; ``purpose`` says what the file is for.
        size: Bytes where the publisher never changed it; None = ask the repository.
        sha256: Its checksum, known or None like ``size``.
        confirm: Whether the licence needs the user's consent first.
    """

    group: str
    repo: str
    remote: str
    folder: str
    name: str
    licence: str
    purpose: str
    size: int | None = None
    sha256: str | None = None
    confirm: bool = False

    @property
    def place(self) -> str:
        """Path below ComfyUI's folder, with forward slashes."""
        return f"models/{self.folder}/{self.name}"

    @property
    def source(self) -> str:
        """Address of the file for a browser."""
        return f"https://huggingface.co/{self.repo}/resolve/main/{self.remote}"


def _weights(name: str, purpose: str) -> PublishedFile:
    return PublishedFile("dynamicid", "meteorite2023/DynamicID", name, "dynamicid", name, "Apache-2.0", purpose)


def _buffalo(name: str, purpose: str, size: int, sha256: str) -> PublishedFile:
    return PublishedFile(
        group="insightface",
        repo="public-data/insightface",
        remote=f"models/buffalo_l/{name}",
        folder="insightface/models/buffalo_l",
        name=name,
        licence=NON_COMMERCIAL,
        purpose=purpose,
        size=size,
        sha256=sha256,
        confirm=True,
    )


PUBLISHED_FILES = (
    _weights("SAA.bin", "face projector and SAA layers"),
    _weights("IMR.bin", "expression and pose editing"),
    _weights("key_point_encoder.bin", "belongs to IMR.bin"),
    PublishedFile(
        group="clip_vision",
        repo="h94/IP-Adapter",
        remote="models/image_encoder/model.safetensors",
        folder="clip_vision",
        name="CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
        licence="Apache-2.0 (OpenCLIP weights: MIT)",
        purpose="CLIP ViT-H image encoder",
        size=2528373448,
        sha256="6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
    ),
    _buffalo(
        "det_10g.onnx",
        "face detection",
        16923827,
        "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    ),
    _buffalo(
        "w600k_r50.onnx",
        "face recognition",
        174383860,
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    ),
    _buffalo(
        "2d106det.onnx",
        "106 face landmarks",
        5030888,
        "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",
    ),
    _buffalo(
        "1k3d68.onnx",
        "head pose",
        143607619,
        "df5c06b8a0c12e422b2ed8947b8869faa4105387f199c477af038aa01f9a45cc",
    ),
    _buffalo(
        "genderage.onnx",
        "part of the pack",
        1322532,
        "4fde69b1c810857b88c64a335084f1c3fe8f01246c9a191b48c7bb756d6652fb",
    ),
)
GROUPS = tuple(dict.fromkeys(item.group for item in PUBLISHED_FILES))
OFFICIAL_BUFFALO = "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"
"""The official archive; the repository above mirrors its files one by one, with the same checksums."""
