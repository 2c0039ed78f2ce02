"""InsightFace packs on the disk: folders of ONNX files, one for each task."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import DynamicIDError

TRAINED_RECOGNITION = "w600k_r50.onnx"
PACK_SOURCE = (
    "buffalo_l.zip from https://github.com/deepinsight/insightface/releases (InsightFace's licence: non-commercial "
    "research only)"
)
# Task as InsightFace names it after routing a file by its inputs and outputs -> buffalo_l's file.
TASK_FILES = {
    "detection": "det_10g.onnx",
    "recognition": TRAINED_RECOGNITION,
    "landmark_2d_106": "2d106det.onnx",
    "landmark_3d_68": "1k3d68.onnx",
}


def list_packs(roots: Sequence[Path | str]) -> list[str]:
    """Names of the InsightFace packs below the given `models/insightface` folders, buffalo_l first.

    A pack is a folder `<root>/models/<pack>` (or nested once more, as some zip files unpack) with an ONNX file in it.
    An incomplete pack is listed too: choosing it tells which files it lacks.
    """
    names = {
        folder.name
        for root in roots
        for folder in _subfolders(Path(root) / "models")
        if onnx_folder(folder) is not None
    }
    return sorted(names, key=lambda name: (name != "buffalo_l", name.lower()))


def find_pack(roots: Sequence[Path | str], name: str) -> Path:
    """The folder that holds the ONNX files of the pack `name`; a DynamicIDError if there is none."""
    for root in roots:
        for pack in _subfolders(Path(root) / "models"):
            folder = onnx_folder(pack) if pack.name == name else None
            if folder is not None:
                return folder
    places = " or ".join(str(Path(root) / "models" / name) for root in roots)
    raise DynamicIDError("pack", f"No InsightFace pack {name!r} was found.", where_to_put(places))


def onnx_folder(folder: Path) -> Path | None:
    """`folder`, or `folder/<same name>`, whichever holds ONNX files."""
    for candidate in (folder, folder / folder.name):
        if onnx_files(candidate):
            return candidate
    return None


def onnx_files(folder: Path) -> list[Path]:
    """In InsightFace's order: the first file of a task wins. Without the "._" twins that macOS leaves."""
    return sorted(path for path in folder.glob("*.onnx") if not path.name.startswith("."))


def where_to_put(place: str) -> str:
    """What an error about missing files tells the user to do."""
    return f"Unpack {PACK_SOURCE} so that {', '.join(TASK_FILES.values())} lie in {place}."


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
