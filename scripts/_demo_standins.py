"""Stand-in weights by the golden rule, kept below `.host/standin` so that only the first run makes them."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from ._bootstrap import REPOSITORY, say

CHECKPOINT = "small.safetensors"
CLIP_VISION = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
PACK = "buffalo_l"
CACHE = REPOSITORY / ".host" / "standin"
SOURCES = ("rule.py", "host_files.py", "weight_files.py", "onnx_*.py")
CACHE_VARIABLE = "DYNAMICID_STANDIN_CACHE"
"""Names a models folder to use and complete instead."""


def make_stand_ins(host: Path) -> Path:
    """A models folder with all that the demo loads; what is missing in it is made now.

    Args:
        host: ComfyUI, whose model classes give the checkpoint's keys and shapes.
    """
    given = os.environ.get(CACHE_VARIABLE)
    root = Path(given) if given else CACHE / _version()
    if not given and CACHE.is_dir():
        for older in CACHE.iterdir():
            if older != root:
                shutil.rmtree(older)
    writers: dict[str, tuple[Path, Callable[[Path], None]]] = {
        "a small SD1.5 checkpoint": (root / "checkpoints" / CHECKPOINT, lambda path: _write_checkpoint(path, host)),
        "a CLIP ViT-H (1.3 GB)": (root / "clip_vision" / CLIP_VISION, _write_clip_vision),
        "DynamicID weights": (root / "dynamicid", _write_networks),
        "a face pack": (root / "insightface" / "models" / PACK, _write_face_pack),
    }
    for title, (place, write) in writers.items():
        if not place.exists():
            say(f"Making {title}: {place}")
            _write_whole(place, write)
    return root


def _version() -> str:
    """Changes with the code and the tables that the files are made from."""
    digest = hashlib.sha256()
    sources = REPOSITORY / "scripts" / "standin"
    files = [path for pattern in SOURCES for path in sorted(sources.glob(pattern))]
    for file in [*files, *sorted((REPOSITORY / "tests" / "data" / "golden").glob("*.json"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _write_whole(place: Path, write: Callable[[Path], None]) -> None:
    """A file or folder made beside its place and moved there whole, so that an interrupted one is never used."""
    partial = place.with_name(place.name + ".partial")
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    write(partial)
    partial.replace(place)


def _write_checkpoint(path: Path, host: Path) -> None:
    from .standin.host_files import mini_unet_shapes, write_checkpoint

    sys.path.insert(0, str(host))
    import comfy.cli_args

    # The keys alone are wanted; the graphics memory is left to the server.
    comfy.cli_args.args.cpu = True
    write_checkpoint(path, mini_unet_shapes())
    sys.path.remove(str(host))


def _write_clip_vision(path: Path) -> None:
    from .standin.host_files import write_clip_vision

    write_clip_vision(path)


def _write_networks(folder: Path) -> None:
    from .standin.host_files import mini_unet_shapes
    from .standin.weight_files import write_published_files

    write_published_files(folder, mini_unet_shapes())


def _write_face_pack(folder: Path) -> None:
    from .standin.onnx_pack import write_onnx_pack

    write_onnx_pack(folder, always_find=True)
