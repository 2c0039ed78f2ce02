"""What ComfyUI's cache spares: a changed prompt finds no face again, and nothing that was removed leaves a trace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from tests.host.conftest import HOST, ROOT
from tests.host.graphs import Graph, Link, pixels, write_inputs
from tests.host.server import PromptFailed, Server

pytestmark = pytest.mark.server
HEAVY = {
    "DynamicIDLoader",
    "DynamicIDFaceAnalysisLoader",
    "DynamicIDEncodeFace",
    "DynamicIDEncodeFace_2",
    "CLIPVisionLoader",
    "CheckpointLoaderSimple",
    "LoadImage",
    "LoadImage_2",
}


@pytest.fixture(scope="module")
def cache_server(server: Server) -> Server:
    write_inputs(server.base)
    return server


def _two_people(seed: int, photos: bool = False, heat_map: bool = False, **apply: Any) -> Graph:
    """Two photos or saved faces, two boxes, one picture. Each test has its own seed: the host names no output files of
    nodes that it answers from its cache."""
    graph = Graph()
    faces = [graph.encoded(f"{name}.png") if photos else graph.kept(name) for name in ("anna", "ben")]
    patched = graph.apply(regions=graph.regions(faces, [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)]), **apply)
    image = graph.sampled(patched, seed=seed)
    graph.preview(image)
    if heat_map:
        graph.preview(graph.add("DynamicIDActivationPreview", activation=graph.output(patched, 1), image=image))
    return graph


def _picture(server: Server, entry: dict[str, Any], node: str = "PreviewImage") -> np.ndarray:
    image = entry["outputs"][node]["images"][0]
    return pixels(server.base / image["type"] / image["subfolder"] / image["filename"])


def test_a_changed_prompt_seed_slider_or_box_finds_no_face_again(cache_server: Server):
    graph = _two_people(1, photos=True)
    first = cache_server.run(graph)
    assert cache_server.executed(cache_server.run(graph)) == set()

    graph["CLIPTextEncode"]["inputs"]["text"] = "a mountain"
    entry = cache_server.run(graph)
    assert cache_server.executed(entry) == {"CLIPTextEncode", "KSampler", "VAEDecode", "PreviewImage"}
    assert not np.array_equal(_picture(cache_server, entry), _picture(cache_server, first))

    graph["KSampler"]["inputs"]["seed"] = 5
    assert cache_server.executed(cache_server.run(graph)) == {"KSampler", "VAEDecode", "PreviewImage"}

    graph["DynamicIDApply"]["inputs"]["weight"] = 0.7
    executed = cache_server.executed(cache_server.run(graph))
    assert executed == {"DynamicIDApply", "KSampler", "VAEDecode", "PreviewImage"}

    graph["DynamicIDRegion_2"]["inputs"]["width"] = 0.4
    executed = cache_server.executed(cache_server.run(graph))
    assert not executed & HEAVY
    assert {"DynamicIDRegion_2", "DynamicIDApply"} <= executed


def test_connecting_the_heat_map_later_records_it_and_changes_no_pixel(cache_server: Server):
    plain = _picture(cache_server, cache_server.run(_two_people(2)))
    entry = cache_server.run(_two_people(2, heat_map=True))
    executed = cache_server.executed(entry)
    assert {"DynamicIDApply", "KSampler", "DynamicIDActivationPreview"} <= executed
    assert not executed & HEAVY
    assert np.array_equal(_picture(cache_server, entry), plain)
    heat = _picture(cache_server, entry, "PreviewImage_2")
    assert heat.shape == plain.shape
    assert heat.reshape(-1, 3).std(axis=0).max() > 5

    # Looking at another person needs no new sampling: the maps are still there.
    graph = _two_people(2, heat_map=True)
    graph["DynamicIDActivationPreview"]["inputs"]["person"] = 2
    entry = cache_server.run(graph)
    assert cache_server.executed(entry) == {"DynamicIDActivationPreview", "PreviewImage_2"}
    assert not np.array_equal(_picture(cache_server, entry, "PreviewImage_2"), heat)

    # And without the heat map the picture is the plain one again.
    assert np.array_equal(_picture(cache_server, cache_server.run(_two_people(2))), plain)


@pytest.fixture
def keeping_server(model_files: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that keeps the results of the last nodes, whichever prompt they belong to."""
    assert HOST is not None
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "custom_nodes" / "DynamicID").symlink_to(ROOT)
    (tmp_path / "models").symlink_to(model_files)
    write_inputs(tmp_path)
    with Server(HOST, tmp_path, "--cache-lru", "100") as running:
        yield running


def test_a_picture_from_the_cache_has_the_maps_of_its_own_run(keeping_server: Server):
    """Nothing is sampled when a seed comes back; the maps of the last run are another's."""

    def run(seed: int, **looks: int) -> np.ndarray:
        graph = _two_people(seed, heat_map=True)
        graph["KSampler"]["inputs"]["steps"] = seed - 20
        graph["DynamicIDActivationPreview"]["inputs"].update(looks)
        entry = keeping_server.run(graph)
        assert ("KSampler" in keeping_server.executed(entry)) == (seed not in sampled)
        sampled.add(seed)
        return _picture(keeping_server, entry, "PreviewImage_2")

    sampled: set[int] = set()
    before = run(22, person=1)
    run(23, person=1)
    with pytest.raises(PromptFailed, match=r"step: There is no step 2; 2 were recorded\."):
        run(22, step=2)
    run(23, step=2)
    after = run(22, person=2)
    assert not np.array_equal(before, after)
    assert np.array_equal(run(22, person=1, step=-1), before)


def test_removing_apply_restores_the_picture(cache_server: Server):
    def unpatched() -> np.ndarray:
        graph = Graph()
        graph.preview(graph.sampled(graph.checkpoint()[0], seed=3))
        return _picture(cache_server, cache_server.run(graph))

    before = unpatched()
    patched = _picture(cache_server, cache_server.run(_two_people(3)))
    assert not np.array_equal(patched, before)
    assert np.array_equal(unpatched(), before)


def test_neutral_apply_is_the_unpatched_picture(cache_server: Server):
    graph = _two_people(4, weight=0.0, lora_strength=0.0)
    graph.preview(_repainted(graph, graph.checkpoint()[0]))
    entry = cache_server.run(graph)
    assert np.array_equal(_picture(cache_server, entry), _picture(cache_server, entry, "PreviewImage_2"))


def _repainted(graph: Graph, model: Link) -> Link:
    """The picture of the graph's first sampler with another model."""
    samples = graph.add("KSampler", **{**graph["KSampler"]["inputs"], "model": model})
    return graph.add("VAEDecode", samples=samples, vae=graph.checkpoint()[2])


# Faces in files -------------------------------------------------------------------------------------------------------


def _face_options(server: Server) -> list[str]:
    name = server.get("object_info/DynamicIDLoadFace")["DynamicIDLoadFace"]["input"]["required"]["name"]
    return name[1]["options"] if name[0] == "COMBO" else name[0]


def test_a_saved_face_is_public_listed_at_once_and_paints_the_same_picture(cache_server: Server):
    assert "kept/Zoë 1" not in _face_options(cache_server)
    graph = Graph()
    face = graph.encoded("anna.png")
    graph.add("DynamicIDSaveFace", face=face, name="kept/Zoë 1")
    graph.preview(graph.sampled(graph.apply(face=face), seed=5))
    entry = cache_server.run(graph)
    path = Path(entry["outputs"]["DynamicIDSaveFace"]["text"][0])
    assert path == cache_server.base / "output" / "dynamicid" / "faces" / "kept" / "Zoë 1.safetensors"
    _check_public_format(path)
    assert "kept/Zoë 1" in _face_options(cache_server)

    again = Graph()
    again.preview(again.sampled(again.apply(face=again.kept("kept/Zoë 1")), seed=5))
    assert np.array_equal(_picture(cache_server, cache_server.run(again)), _picture(cache_server, entry))


def _check_public_format(path: Path) -> None:
    """The format promised to other programs: names, shapes, dtypes, metadata; beyond it only where the crop lies."""
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        left, top, right, bottom = json.loads(metadata.pop("crop_box_xyxy"))
        assert left < right
        assert top < bottom
        assert metadata == {"format": "dynamicid-face", "version": "1"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    crop = tensors.pop("crop")
    assert {name: (value.shape, str(value.dtype)) for name, value in tensors.items()} == {
        "id_tokens": ((4, 768), "float32"),
        "negative_tokens": ((4, 768), "float32"),
        "id_embedding": ((512,), "float32"),
        "landmarks_106": ((106, 2), "float32"),
        "pose": ((3,), "float32"),
    }
    assert crop.dtype == np.uint8
    assert crop.ndim == 3
    assert crop.shape[2] == 3
    assert abs(float(np.linalg.norm(tensors["id_embedding"])) - 1) < 1e-5
    assert 0 < tensors["landmarks_106"].min() < tensors["landmarks_106"].max() < 512


def test_saving_twice_keeps_both_files(cache_server: Server):
    paths = []
    for name in ("anna", "ben"):
        graph = Graph()
        graph.add("DynamicIDSaveFace", face=graph.kept(name), name="twice")
        paths.append(Path(cache_server.run(graph)["outputs"]["DynamicIDSaveFace"]["text"][0]))
    assert [path.name for path in paths] == ["twice.safetensors", "twice_2.safetensors"]
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_a_face_file_that_changed_is_read_again(cache_server: Server):
    folder = cache_server.base / "input" / "dynamicid" / "faces"
    graph = Graph()
    sliders = graph.motion_of(face=graph.kept("gita"))
    first = cache_server.run(graph)
    assert cache_server.executed(cache_server.run(graph)) == set()
    (folder / "gita.safetensors").write_bytes((folder / "hugo.safetensors").read_bytes())
    second = cache_server.run(graph)
    assert "DynamicIDLoadFace" in cache_server.executed(second)
    assert first["outputs"][sliders]["dynamicid_motion"] != second["outputs"][sliders]["dynamicid_motion"]
    write_inputs(cache_server.base)
