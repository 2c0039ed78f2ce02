"""InsightFace packs on the disk: folders of ONNX files, one for each task."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import DynamicIDError

TRAINED_RECOGNITION = "w600k_r50.onnx"
PACK_SOURCE = (
    "buffalo_l.zip from https://github.com/deepinsight/insightface/releases (InsightFace's licence: non-commercial "
    "research only)"
)
_DETECTORS = ("det_", "scrfd_")
"""How InsightFace names the files of its detectors."""
# Task as InsightFace names it after routing a file by its inputs and outputs -> buffalo_l's file.
TASK_FILES = {
    "detection": "det_10g.onnx",
    "recognition": TRAINED_RECOGNITION,
    "landmark_2d_106": "2d106det.onnx",
    "landmark_3d_68": "1k3d68.onnx",
}


def list_packs(roots: Sequence[Path | str]) -> list[str]:
    """Names of the InsightFace packs in the given folders, buffalo_l first.

    A pack is a folder `<root>/models/<pack>` (or nested once more, as some zip files unpack) with an ONNX file in it.
    An incomplete pack is listed too: choosing it tells which files it lacks. Because people name other folders in
    extra_model_paths.yaml, a root may also be the folder around `insightface`, `models` itself, or a pack; there a
    pack is what has a detector.
    """
    names = {pack.name for root in roots for pack in _packs(Path(root))}
    return sorted(names, key=lambda name: (name != "buffalo_l", name.lower()))


def find_pack(roots: Sequence[Path | str], name: str) -> Path:
    """The folder that holds the ONNX files of the pack `name`; a DynamicIDError if there is none."""
    for root in roots:
        for pack in _packs(Path(root)):
            folder = onnx_folder(pack) if pack.name == name else None
            if folder is not None:
                return folder
    places = " or ".join(str(_place(Path(root)) / name) for root in roots)
    raise DynamicIDError("pack", f"No InsightFace pack {name!r} was found.", where_to_put(places))


def _packs(root: Path) -> Iterator[Path]:
    for pack in _subfolders(root / "models"):
        if onnx_folder(pack) is not None:
            yield pack
    for pack in (*_subfolders(root), *_subfolders(root / "insightface" / "models"), root):
        folder = onnx_folder(pack)
        # `models/insightface` often holds networks of other packs, such as inswapper_128.onnx.
        if folder is not None and any(file.name.lower().startswith(_DETECTORS) for file in onnx_files(folder)):
            yield pack


def _place(root: Path) -> Path:
    """The folder of a root that packs belong in."""
    if onnx_files(root) and root.parent.name == "models":
        return root.parent
    return root if root.name == "models" else root / "models"


def onnx_folder(folder: Path) -> Path | None:
    """`folder`, or `folder/<same name>`, whichever holds ONNX files."""
    for candidate in (folder, folder / folder.name):
        if onnx_files(candidate):
            return candidate
    return None


def onnx_files(folder: Path) -> list[Path]:
    """In InsightFace's order: the first file of a task wins. Without the "._" twins that macOS leaves."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if path.suffix.lower() == ".onnx" and not path.name.startswith("."))


def where_to_put(place: str) -> str:
    """What an error about missing files tells the user to do."""
    return f"Unpack {PACK_SOURCE} so that {', '.join(TASK_FILES.values())} lie in {place}."


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
