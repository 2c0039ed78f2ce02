"""Painting on a ComfyUI: the client, which picture counts, and what was painted before."""

import socket
from pathlib import Path

import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.benchmark import load_benchmark
from dynamicid.evaluation.comfy_client import ComfyClient
from dynamicid.evaluation.painting import BenchmarkPainter, PaintJob, RunManifest, chosen_image
from dynamicid.files.skipped import BadSample

from .conftest import write_json


def test_the_manifest_tells_from_which_graph_a_picture_was_painted(tmp_path: Path):
    job = PaintJob(load_benchmark().benchmark.items[0], 1000, tmp_path / "pictures" / "one-001_1000.png")
    assert RunManifest(tmp_path).state(job, "a") == "missing"
    job.target.parent.mkdir()
    job.target.touch()
    assert RunManifest(tmp_path).state(job, "a") == "missing"
    RunManifest(tmp_path).add(job, "a")
    assert [RunManifest(tmp_path).state(job, digest) for digest in ("a", "b")] == ["painted", "other"]
    write_json(tmp_path / "run.json", "[1, 2")
    with pytest.raises(DynamicIDError, match=r"run\.json"):
        RunManifest(tmp_path)


def test_a_server_that_does_not_answer_is_named_before_painting(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        client = ComfyClient(f"http://127.0.0.1:{probe.getsockname()[1]}")
    with pytest.raises(DynamicIDError) as caught:
        BenchmarkPainter(client, load_benchmark().benchmark, {}, RunManifest(tmp_path))
    assert caught.value.where == client.address
    assert "There is no answer" in caught.value.found
    assert "Start ComfyUI" in caught.value.remedy


def test_which_picture_counts():
    graph = {
        "3": {"class_type": "SaveImage", "inputs": {}}, "9": {"class_type": "SaveImage", "inputs": {}},
        "10": {"class_type": "PreviewImage", "inputs": {}, "_meta": {"title": "Look"}},
    }  # fmt: skip
    outputs = {key: {"images": [{"filename": f"{key}.png", "subfolder": "", "type": "output"}]} for key in graph}
    assert chosen_image(outputs, graph, None)["filename"] == "9.png"
    assert chosen_image(outputs, graph, "Look")["filename"] == "10.png"
    assert chosen_image({"10": outputs["10"]}, graph, None)["filename"] == "10.png"
    with pytest.raises(BadSample, match="saved no picture"):
        chosen_image({}, graph, None)
    with pytest.raises(BadSample, match="no picture from a node 'x'"):
        chosen_image(outputs, graph, "x")
