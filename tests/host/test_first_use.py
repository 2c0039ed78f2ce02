"""A first user's machine: nothing installed, nothing downloaded, folders elsewhere or not writable."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.host.conftest import HOST, ROOT
from tests.host.graphs import Graph, write_inputs
from tests.host.server import PromptFailed, Server
from tests.standin.onnx_pack import write_onnx_pack

NODE_COUNT = 23
PACK_FOLDER = "DynamicID für alle"
IMPORT_SECONDS = 0.3
LATE_IMPORTS = {"insightface", "onnxruntime", "onnx", "cv2", "skimage", "matplotlib", "typer", "huggingface_hub"}
HIDING = """
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.split(".")[0] in {"insightface", "onnxruntime"}
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
"""


def _install(base: Path, package: Path | None = None) -> Path:
    (base / "custom_nodes").mkdir(parents=True)
    if package is None:
        (base / "custom_nodes" / PACK_FOLDER).symlink_to(ROOT)
    else:
        shutil.copytree(package, base / "custom_nodes" / PACK_FOLDER)
    (base / "models").mkdir()
    return base


def _tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def _info(server: Server) -> dict[str, Any]:
    return {name: info for name, info in server.get("object_info").items() if name.startswith("DynamicID")}


def _options(info: dict[str, Any], node: str, name: str) -> list[str]:
    combo = info[node]["input"]["required"][name]
    return combo[1]["options"] if combo[0] == "COMBO" else combo[0]


def _error(server: Server, graph: Graph) -> str:
    with pytest.raises(PromptFailed) as caught:
        server.run(graph)
    return caught.value.message


# Nothing is there -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory: pytest.TempPathFactory, packed: Path) -> Iterator[Server]:
    """The registry's package, no insightface, onnxruntime, weights or packs, a models folder that nobody may write."""
    assert HOST is not None
    folder = tmp_path_factory.mktemp("bare")
    (folder / "blocked").mkdir()
    (folder / "blocked" / "sitecustomize.py").write_text(HIDING)
    base = _install(folder / "Bilder von früher", packed)
    write_inputs(base)
    (base / "models").chmod(0o555)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(folder / "blocked"))
            server = stack.enter_context(Server(HOST, base))
        yield server
    (base / "models").chmod(0o755)


@pytest.mark.server
def test_every_node_is_listed_without_insightface(bare_server: Server):
    info = _info(bare_server)
    assert len(info) == NODE_COUNT
    assert "could not be loaded" not in bare_server.log()
    assert "IMPORT FAILED" not in bare_server.log()
    assert _options(info, "DynamicIDFaceAnalysisLoader", "provider") == ["auto", "CPU"]


@pytest.mark.server
def test_the_missing_package_is_named_with_its_command(bare_server: Server):
    packs = bare_server.base / "models" / "insightface"
    (bare_server.base / "models").chmod(0o755)
    write_onnx_pack(packs / "models" / "buffalo_l")
    graph = Graph()
    graph.look(graph.finder())
    message = _error(bare_server, graph)
    assert "No module named 'onnxruntime'" in message
    assert f'"{sys.executable}" -m pip install' in message
    assert message.rstrip(".").endswith("restart ComfyUI")


@pytest.mark.server
def test_without_weights_the_lists_are_sensible_and_the_error_says_all(bare_server: Server):
    info = _info(bare_server)
    assert _options(info, "DynamicIDLoader", "saa") == ["none"]
    assert _options(info, "DynamicIDLoader", "imr") == ["none"]
    assert _options(info, "DynamicIDFaceAnalysisLoader", "pack") == ["buffalo_l"]
    # "SAA.bin" is what a template asks for.
    for name in ("none", "SAA.bin"):
        graph = Graph()
        graph.look(graph.networks(name))
        message = _error(bare_server, graph)
        assert message.startswith("saa: ")
        folder = str(bare_server.base / "models" / "dynamicid")
        for text in ("SAA.bin", "IMR.bin", "key_point_encoder.bin", "https://huggingface.co/meteorite2023/DynamicID",
                     folder, "python -m dynamicid download"):  # fmt: skip
            assert text in message


@pytest.mark.server
def test_saved_faces_need_neither_weights_nor_insightface(bare_server: Server):
    """Faces in the input folder are listed and loaded; a face is saved into an output folder that is made for it."""
    assert "anna" in _options(_info(bare_server), "DynamicIDLoadFace", "name")
    graph = Graph()
    graph.add("DynamicIDSaveFace", face=graph.kept("anna"), name="Jörg Ä")
    path = Path(bare_server.run(graph)["outputs"]["DynamicIDSaveFace"]["text"][0])
    assert path.is_relative_to(bare_server.base / "output" / "dynamicid" / "faces")
    assert path.is_file()


# Folders elsewhere ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, weights_folder: Path) -> Path:
    """Weights and packs on another disk, in folders with spaces and an umlaut."""
    folder = tmp_path_factory.mktemp("other disk") / "größere Platte"
    published = folder / "weights" / "published 2025"
    published.mkdir(parents=True)
    for name in ("SAA.bin", "IMR.bin", "key_point_encoder.bin"):
        (published / name).symlink_to(weights_folder / name)
    # Nested once more, as some zip programs unpack it.
    write_onnx_pack(folder / "insightface" / "models" / "buffalo_l" / "buffalo_l")
    return folder


@pytest.fixture(scope="module")
def elsewhere_server(tmp_path_factory: pytest.TempPathFactory, elsewhere: Path) -> Iterator[Server]:
    """Told of that disk by an extra_model_paths.yaml; its own models folder is empty and not writable."""
    assert HOST is not None
    base = _install(tmp_path_factory.mktemp("base two") / "ComfyUI größer")
    write_inputs(base)
    (base / "models").chmod(0o555)
    settings = base / "extra_model_paths.yaml"
    settings.write_text(
        f'dynamicid_elsewhere:\n  base_path: "{elsewhere}"\n  dynamicid: weights\n  insightface: insightface\n',
        encoding="utf-8",
    )
    with Server(HOST, base, "--extra-model-paths-config", str(settings)) as server:
        yield server
    (base / "models").chmod(0o755)


@pytest.mark.server
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS shows nobody which libraries a process has loaded")
def test_a_starting_server_has_not_loaded_onnxruntime(elsewhere_server: Server):
    """First in this section: the host has asked every node for its schema by now, and nobody has used one."""
    import psutil

    loaded = [entry.path for entry in psutil.Process(elsewhere_server.process.pid).memory_maps()]
    assert [path for path in loaded if "torch" in path]
    assert [path for path in loaded if "onnxruntime" in path] == []


@pytest.mark.server
def test_extra_model_paths_and_sub_folders_are_honoured(elsewhere_server: Server, elsewhere: Path):
    before = _tree(elsewhere_server.base / "models"), _tree(elsewhere)
    info = _info(elsewhere_server)
    assert _options(info, "DynamicIDLoader", "saa") == ["published 2025/SAA.bin", "published 2025/IMR.bin"]
    imr = _options(info, "DynamicIDLoader", "imr")
    assert imr[0] == "none"
    assert "published 2025/IMR.bin" in imr
    assert _options(info, "DynamicIDFaceAnalysisLoader", "pack") == ["buffalo_l"]
    graph = Graph()
    graph.look(graph.networks("published 2025/SAA.bin", "published 2025/IMR.bin"))
    graph.look(graph.add("DynamicIDMotionFromImage", face_analysis=graph.finder(), image=graph.photo("anna.png"),
                         pick="largest", index=0))  # fmt: skip
    elsewhere_server.run(graph)
    # A run leaves the model folders as they were: root may write where the permissions say no, so look.
    assert (_tree(elsewhere_server.base / "models"), _tree(elsewhere)) == before


@pytest.mark.server
def test_a_file_in_the_models_folder_is_found_beside_the_extra_ones(elsewhere_server: Server, weights_folder: Path):
    models = elsewhere_server.base / "models"
    models.chmod(0o755)
    (models / "dynamicid").mkdir()
    (models / "dynamicid" / "mine.bin").symlink_to(weights_folder / "SAA.bin")
    assert "mine.bin" in _options(_info(elsewhere_server), "DynamicIDLoader", "saa")
    graph = Graph()
    graph.look(graph.networks("mine.bin"))
    elsewhere_server.run(graph)


# What importing costs -------------------------------------------------------------------------------------------------

_IMPORT_PROBE = """
import asyncio, importlib.util, json, sys, time
host, root = sys.argv[1:3]
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, host)
import comfy.options
comfy.options.enable_args_parsing()
import utils.extra_config, nodes, execution, server, comfy_api.latest, comfy.sample, comfy.samplers
import comfy_execution.graph_utils, comfy_execution.progress

before = set(sys.modules)
start = time.process_time()
entry = root + "/__init__.py"
spec = importlib.util.spec_from_file_location("pack_under_test", entry, submodule_search_locations=[root])
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
extension = asyncio.run(module.comfy_entrypoint())
found = asyncio.run(extension.get_node_list())
ids = [node.GET_SCHEMA().node_id for node in found]
seconds = time.process_time() - start
packages = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"seconds": seconds, "ids": ids, "packages": sorted(packages), "all": sorted(sys.modules)}))
"""


def _import_in_a_fresh_process() -> dict[str, Any]:
    """The pack loaded as the host's ``load_custom_node`` does it, with what ``main.py`` has imported by then."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_PROBE, str(HOST), str(ROOT)],
        cwd=HOST, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_importing_the_pack_is_quick_and_loads_no_heavy_package():
    """At most 0.3 s of processor time beyond the host, the best of up to five runs: other work only ever adds."""
    seconds = []
    for _ in range(5):
        found = _import_in_a_fresh_process()
        assert len(found["ids"]) == NODE_COUNT
        assert set(found["packages"]) & LATE_IMPORTS == set()
        assert not {"insightface", "onnxruntime"} & set(found["all"])
        seconds.append(found["seconds"])
        if seconds[-1] <= IMPORT_SECONDS:
            break
    assert min(seconds) <= IMPORT_SECONDS
