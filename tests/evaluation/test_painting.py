"""Painting on a ComfyUI: the client, which picture counts, and what was painted before."""

import io
import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dynamicid.errors import DynamicIDError
from dynamicid.evaluation.benchmark import load_benchmark
from dynamicid.evaluation.comfy_client import ComfyClient
from dynamicid.evaluation.painting import BenchmarkPainter, PaintJob, RunManifest, chosen_image, paint_jobs
from dynamicid.evaluation.pictures import BenchmarkPerson
from dynamicid.evaluation.workflows import Workflow, load_workflows
from dynamicid.files.digests import sha256_hex
from dynamicid.files.skipped import BadSample, Skipped

from .conftest import write_json
from .fake_comfy import FakeComfy, serving


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
        BenchmarkPainter([client], load_benchmark().benchmark, {}, RunManifest(tmp_path))
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


PICTURES = 8


def coloured(graph: dict[str, Any]) -> bytes:
    """A picture that follows from the graph."""
    png = io.BytesIO()
    colour = bytes.fromhex(sha256_hex(json.dumps(graph, sort_keys=True))[:6])
    Image.new("RGB", (8, 8), tuple(colour)).save(png, "PNG")
    return png.getvalue()


def slow_server(seconds: float = 0.05, dies_at: int | None = None) -> FakeComfy:
    return FakeComfy(paint=coloured, seconds=seconds, dies_at=dies_at)


@pytest.fixture
def workflow(tmp_path: Path) -> dict[int, Workflow]:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "{{photo_1}}", "seed": "{{seed}}"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "text": "{{item}}"}},
    }
    return load_workflows([write_json(tmp_path / "one.json", graph)])


def paint(out: Path, workflow: dict[int, Workflow], servers: Sequence[FakeComfy]) -> tuple[list[Skipped], list[int]]:
    """Paints eight pictures of one person and one of two: what was skipped, and the progress that was shown."""
    benchmark = load_benchmark().benchmark
    items = [item for item in benchmark.items if len(item.people) == 1][:PICTURES]
    items += [item for item in benchmark.items if len(item.people) == 2][:1]
    photo = np.zeros((8, 8, 3), dtype=np.uint8)
    people = {slot: BenchmarkPerson(slot, photo, np.ones(512), slot) for slot in benchmark.people}
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    jobs, shown = paint_jobs(items, {item.item: [item.seed] for item in items}, out / "pictures"), []
    clients = [ComfyClient(server.address) for server in servers]
    painter = BenchmarkPainter(clients, benchmark, people, RunManifest(out))
    return painter.paint(jobs, workflow, "painting", lambda _, done, __: shown.append(done)), shown


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*")}


def test_two_servers_paint_the_same_files_nearly_twice_as_fast(tmp_path: Path, workflow: dict[int, Workflow]):
    with serving(slow_server(0.45)) as one, serving(slow_server(0.45)) as other:
        start = time.monotonic()
        alone = paint(tmp_path / "alone", workflow, [one])
        between = time.monotonic()
        together = paint(tmp_path / "together", workflow, [one, other])
        ratio = (between - start) / (time.monotonic() - between)
    assert ratio >= 1.8
    assert together == alone
    assert alone[0] == [Skipped("two-001_101000.png", "painting: no workflow for 2 people")]
    assert alone[1] == [*range(1, PICTURES + 2)]
    assert len(other.graphs) == PICTURES // 2
    assert len(other.uploads) == len({graph["1"]["inputs"]["image"] for graph in other.graphs})
    assert files(tmp_path / "together") == files(tmp_path / "alone")
    assert len(files(tmp_path / "alone")) == PICTURES + 1


def test_what_a_killed_server_was_painting_the_others_paint(tmp_path: Path, workflow: dict[int, Workflow]):
    with serving(slow_server()) as lasting, serving(slow_server(dies_at=3)) as dying:
        skipped, shown = paint(tmp_path / "out", workflow, [dying, lasting])
        assert (len(skipped), shown) == (1, [*range(1, PICTURES + 2)])
        assert len(dying.graphs) == 3
        assert len(lasting.graphs) == lasting.views == PICTURES - 2
        paint(tmp_path / "alone", workflow, [lasting])
    assert files(tmp_path / "out") == files(tmp_path / "alone")


def test_without_any_server_the_run_ends_and_the_next_goes_on(tmp_path: Path, workflow: dict[int, Workflow]):
    with serving(slow_server(dies_at=3)) as one, serving(slow_server(dies_at=2)) as other:
        with pytest.raises(DynamicIDError, match=r"There is no answer.*painted pictures are kept"):
            paint(tmp_path / "out", workflow, [one, other])
        assert len(files(tmp_path / "out")) == 1 + 2 + 1
    with serving(slow_server()) as server:
        paint(tmp_path / "out", workflow, [server])
    assert len(server.graphs) == PICTURES - 3
    assert len(files(tmp_path / "out")) == PICTURES + 1


def test_ctrl_c_takes_the_prompts_off_every_server(
    tmp_path: Path, workflow: dict[int, Workflow], monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunManifest, "add", interrupt)
    with serving(slow_server()) as one, serving(FakeComfy(paint=coloured, seconds=60)) as other:
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            paint(tmp_path / "out", workflow, [one, other])
        assert time.monotonic() - start < 2
    assert len(other.interrupted) == len(other.graphs) == 1
