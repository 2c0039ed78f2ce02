"""The demo's weights: the published ones where they are, else the tiny models of this repository."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamicid.checkpoints.published import PUBLISHED_FILES
from dynamicid.errors import DynamicIDError
from dynamicid.faces.packs import TASK_FILES, find_pack
from dynamicid.files.folders import find_files
from dynamicid.files.texts import read_text
from scripts._bootstrap import print_line
from tiny_models.places import BASE, DYNAMICID, FACE_PACK, PHOTOS, VISION, WEIGHTS

from .server import DemoError

PACK = "buffalo_l"
KINDS = ("checkpoints", "clip_vision", "dynamicid", "insightface")
CHECKPOINT_NEEDED = "models/checkpoints/*.safetensors: a Stable Diffusion 1.5 checkpoint, such as Realistic Vision V6"
_LARGEST_HEADER = 100_000_000
_SD15_ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_SD15_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
_VIT_H_PATCHES = "vision_model.embeddings.patch_embedding.weight"

Folders = dict[str, list[Path]]


@dataclass(frozen=True)
class Models:
    """What the graphs load.

    Attributes:
        folders: Folders by ComfyUI's name for what they hold.
        checkpoint, clip_vision: Names as ComfyUI's combos list them; None for the tiny models, which one node loads.
        saa, imr: Names as ComfyUI's combos list them.
        face_pack: Folder of the InsightFace pack.
        photos: Reference photos where the command line names none; empty = InsightFace's sample.
    """

    folders: Folders
    checkpoint: str | None
    clip_vision: str | None
    saa: str
    imr: str
    face_pack: Path
    photos: tuple[Path, ...] = ()

    @property
    def are_tiny(self) -> bool:
        """Whether these are the tiny models of this repository."""
        return self.checkpoint is None


def find_models(host: Path | None, given: Path | None, own_photos: bool) -> Models:
    """The published weights below `given`, else of `host`; the tiny models where any is missing, which is printed.

    Args:
        host: ComfyUI; None where there is none, and then only the tiny models can paint.
        given: A models folder instead of the host's.
        own_photos: Whether PHOTO names some, which the tiny models cannot paint.

    Raises:
        DemoError: Photos without the published weights, or a repository without the tiny models.
    """
    missing = ["a ComfyUI: the published weights are painted with in one. Set COMFYUI_PATH to its folder."]
    if host is not None:
        published, missing = _published(host, given)
        if published is not None:
            return published
    text = "\n".join(missing)
    if own_photos:
        raise DemoError(
            f"PHOTO: photos of real people need the published weights; the tiny models of this repository know drawn "
            f"people only. Missing:\n{text}\nWithout PHOTO the same command paints drawn people."
        )
    print_line(f"Photos of real people need files that are missing:\n{text}")
    print_line(
        "Painting with the tiny models instead: a small Stable Diffusion with DynamicID, trained on drawn people."
    )
    return tiny_models()


def tiny_models() -> Models:
    """The committed tiny models and their reference photos.

    Raises:
        DemoError: A part of it is missing.
    """
    for part in (BASE / "unet", VISION, FACE_PACK, DYNAMICID, PHOTOS):
        if not part.exists():
            raise DemoError(f"{part} is missing. Clone the complete repository.")
    folders = {kind: [WEIGHTS / kind] for kind in ("dynamicid", "insightface")}
    pictures = tuple(sorted(PHOTOS.glob("*.png")))
    return Models(
        {**folders, "tiny_models": [WEIGHTS]}, None, None, DYNAMICID.name, DYNAMICID.name, FACE_PACK, pictures
    )


def _published(host: Path, given: Path | None) -> tuple[Models | None, list[str]]:
    """The published weights, or what is missing of them, a line each."""
    folders = model_folders(host, given)
    checkpoint, vision = _first(folders["checkpoints"], _is_sd15), _first(folders["clip_vision"], _is_vit_h)
    networks, pack = _networks(folders["dynamicid"]), _face_pack(folders["insightface"])
    if checkpoint and vision and networks and pack:
        return Models(folders, checkpoint, vision, *networks, pack), []
    present = {"clip_vision": vision, "dynamicid": networks, "insightface": pack}
    needed = [f"  {item.place}: {item.purpose}" for item in PUBLISHED_FILES if not present[item.group]]
    target = given.parent if given and given.name == "models" else host
    fetch = f'Fetch all but the checkpoint with: "{sys.executable}" -m dynamicid download --comfyui "{target}"'
    lines = [*needed, *([] if checkpoint else [f"  {CHECKPOINT_NEEDED}"]), *([fetch] if needed else [])]
    return None, [f"In {given or host / 'models'}:", *lines]


def model_folders(host: Path, given: Path | None) -> Folders:
    """Where files of each of KINDS are looked for: below `given`, else in the host's models and its extra folders."""
    if given is not None:
        return {kind: [given.absolute() / kind] for kind in KINDS}
    extra = _extra_folders(host / "extra_model_paths.yaml")
    return {kind: [host / "models" / kind, *extra.get(kind, [])] for kind in KINDS}


def _extra_folders(file: Path) -> Folders:
    """Folders of an extra_model_paths.yaml, as ComfyUI reads it."""
    import yaml

    if not file.is_file():
        return {}
    content: Mapping[str, Any] = yaml.safe_load(read_text(file)) or {}
    folders: Folders = {}
    for section in filter(None, content.values()):
        base = file.parent / os.path.expandvars(os.path.expanduser(section.get("base_path", "")))
        for kind, lines in section.items():
            if kind in KINDS:
                folders.setdefault(kind, []).extend(base / line.strip() for line in lines.split("\n") if line.strip())
    return folders


def _first(folders: list[Path], fits: Callable[[Path], bool]) -> str | None:
    """Path, relative to its folder, of the first safetensors file that fits; realistic checkpoints come first."""
    files = [(path, folder) for folder in folders for path in _safetensors(folder)]
    for path, folder in sorted(files, key=lambda file: "realistic" not in file[0].name.lower()):
        if fits(path):
            return str(path.relative_to(folder))
    return None


def _safetensors(folder: Path) -> list[Path]:
    """The safetensors files below a folder, linked ones too, as ComfyUI lists them."""
    found = find_files(folder, (".safetensors",)) if folder.is_dir() else ()
    return sorted(path for path, reason in found if not reason)


def _header(file: Path) -> dict[str, Any]:
    """A safetensors file's header; empty where it is none."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length) if length < _LARGEST_HEADER else b""
    try:
        header = json.loads(text)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def _is_sd15(file: Path) -> bool:
    header = _header(file)
    shapes = [header.get(key, {}).get("shape") for key in (_SD15_ATTENTION, _SD15_INPUT)]
    parts = [any(key.startswith(part) for key in header) for part in ("cond_stage_model.", "first_stage_model.")]
    return shapes == [[320, 768], [320, 4, 3, 3]] and all(parts)


def _is_vit_h(file: Path) -> bool:
    return _header(file).get(_VIT_H_PATCHES, {}).get("shape") == [1280, 3, 14, 14]


def _networks(folders: list[Path]) -> tuple[str, str] | None:
    """Names for the loader's `saa` and `imr`: one file for all networks, or the three published ones."""
    published = {item.name for item in PUBLISHED_FILES if item.group == "dynamicid"}
    for folder in folders:
        for path in _safetensors(folder):
            header = _header(path)
            is_ours = (header.get("__metadata__") or {}).get("format") == "dynamicid"
            if is_ours and any(key.startswith("imr.") for key in header):
                name = str(path.relative_to(folder))
                return name, name
        for path in sorted(folder.rglob("SAA.bin")):
            if all((path.parent / name).is_file() for name in published):
                return str(path.relative_to(folder)), str((path.parent / "IMR.bin").relative_to(folder))
    return None


def _face_pack(folders: list[Path]) -> Path | None:
    try:
        pack = find_pack(folders, PACK)
    except DynamicIDError:
        return None
    return pack if all((pack / name).is_file() for name in TASK_FILES.values()) else None
