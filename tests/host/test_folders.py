"""Files of the host: InsightFace packs in the spellings of extra_model_paths.yaml, faces in linked folders, names."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.host.conftest import HOST


@pytest.fixture
def folders(pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The pack's module; models, output and input folders lie in ``tmp_path``."""
    host = importlib.import_module("folder_paths")
    monkeypatch.setattr(host, "folder_names_and_paths", dict(host.folder_names_and_paths))
    monkeypatch.setitem(host.folder_names_and_paths, "insightface", ([str(tmp_path / "own")], set()))
    monkeypatch.setattr(host, "get_output_directory", lambda: str(tmp_path / "output"))
    monkeypatch.setattr(host, "get_input_directory", lambda: str(tmp_path / "input"))
    return pack.load("dynamicid.host.folders")


@pytest.mark.parametrize(
    "lines",
    [
        "insightface: models/insightface",
        "insightface: models/insightface/",
        "insightface: models/insightface/models",
        "insightface: models/insightface/models/antelopev2",
        "insightface: models",
        "InsightFace: models/insightface",
        "insight_face: models/insightface",
        "insightface: |\n    nowhere/\n    models/insightface/models/  \n",
        'insightface: "models/insightface "',
    ],
)
def test_packs_are_found_however_the_yaml_names_their_folder(folders, pack, tmp_path: Path, lines: str):
    """Through the host's own reader of the file."""
    place = tmp_path / "models" / "insightface" / "models" / "antelopev2"
    place.mkdir(parents=True)
    (place / "scrfd_10g_bnkps.onnx").touch()
    path = tmp_path / "extra_model_paths.yaml"
    path.write_text(f"comfyui:\n  base_path: {tmp_path}\n  {lines}\n")
    assert HOST is not None
    # By its path: other packs bring a module named utils, too.
    spec = importlib.util.spec_from_file_location("host_extra_config", HOST / "utils" / "extra_config.py")
    assert spec is not None
    assert spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    reader.load_extra_path_config(str(path))
    packs = pack.load("dynamicid.faces.packs")
    assert folders.insightface_roots()[0] == tmp_path / "own"
    assert packs.list_packs(folders.insightface_roots()) == ["antelopev2"]
    assert packs.find_pack(folders.insightface_roots(), "antelopev2") == place


def test_faces_are_listed_with_links_and_capitals(folders, tmp_path: Path):
    faces = tmp_path / "output" / "dynamicid" / "faces"
    disk = tmp_path / "disk"
    for folder in (faces, disk, tmp_path / "input" / "dynamicid" / "faces"):
        folder.mkdir(parents=True)
        (folder / "Zoë 1.SafeTensors").touch()
    (faces / "kept").symlink_to(disk)
    (disk / "loop").symlink_to(faces)
    assert folders.face_options() == ["Zoë 1", "kept/Zoë 1"]
    assert folders.face_path("kept/Zoë 1") == faces / "kept" / "Zoë 1.SafeTensors"
    assert folders.face_path("kept\\Zoë 1.safetensors") == faces / "kept" / "Zoë 1.SafeTensors"
