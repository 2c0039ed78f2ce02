"""Where files lie in a ComfyUI: weights, InsightFace packs, faces. Adds to the host's folders, never overwrites."""

from __future__ import annotations

import itertools
import os
import re
from contextlib import suppress
from pathlib import Path

import folder_paths

from ..errors import DynamicIDError
from ..faces.face import Face
from ..faces.face_file import save_face
from ..faces.packs import onnx_files
from ..files.atomic import NameTakenError, remove_partials
from ..files.folders import LONGEST_NAME, find_files, is_portable_name

WEIGHTS = "dynamicid"
INSIGHTFACE = "insightface"
WEIGHT_SUFFIXES = {".safetensors", ".bin"}
EMOTION = "emotion"
NO_FILE = "none"
SOURCE = "https://huggingface.co/meteorite2023/DynamicID"
_KEYPOINT_NAME = re.compile(r"^key_?point_?encoder", re.IGNORECASE)
_IMR_NAME = re.compile(r"^imr", re.IGNORECASE)
_FACES = ("dynamicid", "faces")
_NO_LETTER = re.compile("[^a-z]")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_UNENCODABLE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Half characters that do not even stand for a byte of a file name that is not UTF-8."""
_SUFFIX = ".safetensors"
_ROOM_FOR_NUMBER = 6
"""Bytes that a name leaves free, for a face whose name is taken."""


def register_folders() -> None:
    """Tells the host where DynamicID weights and InsightFace packs lie; ``extra_model_paths.yaml`` keeps its say.

    Faces that a killed server was writing are removed.
    """
    for name in (WEIGHTS, INSIGHTFACE):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
    paths, suffixes = folder_paths.folder_names_and_paths[WEIGHTS]
    folder_paths.folder_names_and_paths[WEIGHTS] = (paths, set(suffixes) | WEIGHT_SUFFIXES)
    remove_partials(_face_folders()[0])


def weight_files() -> list[str]:
    """Weight files for the combos, sub-folders included; key-point encoders are found beside their IMR."""
    names = folder_paths.get_filename_list(WEIGHTS)
    kept = [name for name in names if Path(name).suffix.lower() in WEIGHT_SUFFIXES]
    return [name for name in kept if not _KEYPOINT_NAME.match(Path(name).name)]


def saa_options() -> list[str]:
    """Options of the loader's ``saa``, files named like an IMR last; "none" where there is no file yet."""
    return sorted(weight_files(), key=lambda name: bool(_IMR_NAME.match(Path(name).name))) or [NO_FILE]


def imr_options() -> list[str]:
    """Options of the loader's ``imr``, "none" first."""
    return [NO_FILE, *weight_files()]


def check_name(name: object, where: str) -> None:
    """A value that did not come from the list, as a linked one may not, is at least a name that a file can have.

    Raises:
        DynamicIDError: It is none.
    """
    if not isinstance(name, str) or "\0" in name or _UNENCODABLE.search(name):
        raise DynamicIDError(where, f"{str(name)[:60]!r} is no file name.", "Choose a name from the list.")


def weight_path(name: str, where: str) -> Path:
    """The file called ``name`` in a combo.

    Raises:
        DynamicIDError: There is no such file.
    """
    check_name(name, where)
    path = None if name == NO_FILE else folder_paths.get_full_path(WEIGHTS, name)
    if path is None:
        folder = folder_paths.get_folder_paths(WEIGHTS)[0]
        raise DynamicIDError(
            where,
            f"There is no weight file {name!r}." if name != NO_FILE else "No weight file is chosen.",
            f"Put SAA.bin, IMR.bin and key_point_encoder.bin from {SOURCE} into {folder}, or run"
            " `python -m dynamicid download` in the pack's folder; then press R in ComfyUI to refresh the lists.",
        )
    return Path(path)


def emotion_file() -> Path | None:
    """The emotion network, the first by name of ``models/dynamicid/emotion/*.onnx``; None where there is none."""
    for root in folder_paths.get_folder_paths(WEIGHTS):
        files = onnx_files(Path(root, EMOTION))
        if files:
            return files[0]
    return None


def insightface_roots() -> list[Path]:
    """Folders with InsightFace packs, however ``extra_model_paths.yaml`` writes the key: ``insightface``,
    ``InsightFace``, ``insight_face``.
    """
    names = [name for name in folder_paths.folder_names_and_paths if _NO_LETTER.sub("", name.lower()) == INSIGHTFACE]
    names.sort(key=lambda name: name != INSIGHTFACE)
    return [Path(path.strip()) for name in names for path in folder_paths.get_folder_paths(name)]


def _face_folders() -> list[Path]:
    roots = (folder_paths.get_output_directory(), folder_paths.get_input_directory())
    return [Path(root).joinpath(*_FACES) for root in roots]


def face_options() -> list[str]:
    """Names of all face files, of ``output/dynamicid/faces`` and ``input/dynamicid/faces``, without suffix."""
    return sorted(_face_files()) or [NO_FILE]


def _face_files() -> dict[str, Path]:
    """Face files by name, of linked folders, too; the output folder wins over the input folder."""
    files: dict[str, Path] = {}
    for folder in filter(Path.is_dir, _face_folders()):
        for path, reason in find_files(folder, (_SUFFIX,)):
            if not reason:
                files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return files


def face_path(name: str) -> Path:
    """The face file called ``name`` (with or without suffix); the output folder wins over the input folder.

    Raises:
        DynamicIDError: There is none, or an unusable name.
    """
    check_name(name, "name")
    path = _face_files().get(name.strip().replace("\\", "/").removesuffix(_SUFFIX))
    if path is not None:
        return path
    _inside(_face_folders()[0], name)
    places = " or ".join(str(folder) for folder in _face_folders())
    raise DynamicIDError(
        "name", f"There is no face file {name!r}.", f"Save a face first, or put the file into {places}."
    )


def save_new_face(face: Face, name: str) -> Path:
    """Saves a face as ``name``; a number is added where the name is taken, even at this moment by another process.

    Raises:
        DynamicIDError: An unusable name, one that leads out of the folder, or as ``save_face``.
    """
    path = _inside(_face_folders()[0], name)
    if _HALF_CHARACTER.search(path.name):
        raise _unusable(name)
    stem = path.name.removesuffix(_SUFFIX)
    for number in itertools.count(2):
        if not path.exists():
            with suppress(NameTakenError):
                save_face(face, path, overwrite=False)
                break
        path = path.with_name(f"{stem}_{number}{_SUFFIX}")
    return path


def _inside(folder: Path, name: str) -> Path:
    """``folder``/``name``.safetensors, which must stay inside ``folder``."""
    check_name(name, "name")
    cleaned = name.strip().removesuffix(_SUFFIX)
    parts = re.split(r"[/\\]", cleaned)
    longest = LONGEST_NAME - len(_SUFFIX) - _ROOM_FOR_NUMBER
    if any(len(os.fsencode(part)) > longest for part in parts):
        raise DynamicIDError(
            "name", f"{name[:40]!r}... is too long for a file.", f"Use at most {longest} letters (bytes of UTF-8)."
        )
    path = folder / f"{cleaned}{_SUFFIX}"
    if not all(map(is_portable_name, parts)) or not path.resolve().is_relative_to(folder.resolve()):
        raise _unusable(name)
    return path


def _unusable(name: str) -> DynamicIDError:
    remedy = "Use letters, digits, spaces, - and _; / makes sub-folders."
    return DynamicIDError("name", f"{name!r} is no usable file name.", remedy)


def modified(name: str) -> float:
    """When the weight file called ``name`` was changed last, in seconds; 0 where there is none."""
    try:
        return weight_path(name, "saa").stat().st_mtime
    except (DynamicIDError, OSError):
        return 0.0


def modified_emotion() -> tuple[str, float]:
    """Which file the emotion network is, and when it was changed last, in seconds; empty and 0 where there is none."""
    path = emotion_file()
    return ("", 0.0) if path is None else (str(path), path.stat().st_mtime if path.exists() else 0.0)


def modified_face(name: str) -> float:
    """When the face file called ``name`` was changed last, in seconds; 0 where there is none."""
    try:
        return face_path(name).stat().st_mtime
    except (DynamicIDError, OSError):
        return 0.0
