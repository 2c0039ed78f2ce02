"""Finds the ComfyUI that files are for."""

import os
from pathlib import Path

from ..errors import DynamicIDError

PACK_FOLDER = Path(__file__).resolve().parents[2]
MARKERS = ("folder_paths.py", "models")


def find_comfyui(given: Path | None) -> Path:
    """The ComfyUI folder: ``given``, else COMFYUI_PATH, else the one around this pack, else ~/comfy/ComfyUI.

    Raises:
        DynamicIDError: The named folder is no ComfyUI, or none was found.
    """
    in_environment = os.getenv("COMFYUI_PATH")
    named = given or (Path(in_environment) if in_environment else None)
    if named is not None:
        if not is_comfyui(named):
            raise DynamicIDError(
                "--comfyui" if given else "COMFYUI_PATH",
                f"'{named}' is no ComfyUI folder (it has neither folder_paths.py nor models).",
                "Name the folder that holds ComfyUI's main.py.",
            )
        return named.expanduser().resolve()
    around = PACK_FOLDER.parent.parent
    for folder, markers in ((around, ("main.py", "folder_paths.py")), (Path.home() / "comfy" / "ComfyUI", MARKERS[:1])):
        if all((folder / marker).exists() for marker in markers):
            return folder
    raise DynamicIDError(
        "--comfyui",
        "no ComfyUI was found around this pack or in your home folder.",
        "Pass its folder: python -m dynamicid download --comfyui FOLDER.",
    )


def is_comfyui(folder: Path) -> bool:
    """Whether ``folder`` looks like a ComfyUI or its base directory."""
    return any((folder.expanduser() / marker).exists() for marker in MARKERS)
