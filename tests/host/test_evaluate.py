"""``evaluate run`` on a real ComfyUI; FaceSim beside the node Face Similarity; the workflows that come with it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from dynamicid.cli.app import app
from dynamicid.evaluation.benchmark import load_benchmark
from dynamicid.evaluation.comfy_client import ComfyClient
from dynamicid.evaluation.drawn import Control, DrawnBenchmark, write_drawn_benchmark
from dynamicid.evaluation.evaluation import Options, open_session
from dynamicid.evaluation.pictures import find_pictures
from dynamicid.evaluation.scoring import score_pictures
from dynamicid.evaluation.workflows import fill, load_workflow, load_workflows, values_of
from scripts._bootstrap import find_host
from tests.evaluation.conftest import MOST, PACK, small_benchmark
from tests.host.graphs import PEOPLE, write_inputs
from tests.host.server import Server

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "dynamicid" / "evaluation" / "api_workflows"
FOLDERS = ("dynamicid", "dynamicid-repainted")
SIDE = 128
ONE, TWO, THREE = MOST.values()
WITH_CTRL_C = """
import runpy, signal
# A shell's background jobs start with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("dynamicid", run_name="__main__")
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark, drawn photos and pictures, and workflows: one that works, one refused, one that fails."""
    root = tmp_path_factory.mktemp("evaluate")
    content = {**small_benchmark(), "width": SIDE, "height": SIDE}
    (root / "small.json").write_text(json.dumps(content), encoding="utf-8")
    drawn = DrawnBenchmark(load_benchmark(root / "small.json").benchmark)
    write_drawn_benchmark(drawn, Control.right, root, lambda *_: None)
    photo = {"class_type": "LoadImage", "inputs": {"image": "{{photo_1}}"}}
    size = {"width": "{{width}}", "height": "{{height}}"}
    scaled = {
        "class_type": "ImageScale",
        "inputs": {"image": ["1", 0], "upscale_method": "bicubic", "crop": "disabled", **size},
    }
    empty = {"class_type": "EmptyImage", "inputs": {**size, "batch_size": 1, "color": "{{seed}}"}}
    workflows = {
        "one": {"1": photo, "2": scaled, "3": _save("evaluate/{{item}}", "2")},
        "two": {"1": photo, "2": {"class_type": "NoSuchNode", "inputs": {"image": "{{photo_2}}"}}},
        "three": {"1": photo, "3": _save("../../{{photo_3}}", "1")},
        "alone": {"1": empty, "3": _save("evaluate/alone", "1")},
    }
    for name, graph in workflows.items():
        (root / f"{name}.json").write_text(json.dumps(graph), encoding="utf-8")
    return root


def _save(prefix: str, node: str) -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": {"images": [node, 0], "filename_prefix": prefix}}


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI without any pack: what is measured need not be ours."""
    host = find_host()
    assert host is not None
    with Server(host, tmp_path_factory.mktemp("base")) as running:
        yield running


def arguments(world: Path, server: Server, out: Path) -> list[str]:
    given = ["evaluate", "--photos", world / "photos", "--face-pack", PACK, "--out", out]
    given += ["--benchmark", world / "small.json", "--server", f"http://127.0.0.1:{server.port}"]
    return list(map(str, given))


def evaluate(world: Path, server: Server, out: Path, *more: str) -> Result:
    workflows = [part for name in ("one", "two", "three") for part in ("--workflow", str(world / f"{name}.json"))]
    return CliRunner().invoke(app, [*arguments(world, server, out), *workflows, *more])


@pytest.mark.server
def test_painted_scored_and_failures_counted(world: Path, bare_server: Server, tmp_path: Path):
    done = evaluate(world, bare_server, tmp_path, "--unpatched", str(world / "alone.json"))
    assert done.exit_code == 0, done.output
    table = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert table["pictures"] == ONE
    refused, failed = ([said for said in table["skipped"] if word in said] for word in ("refused", "failed at"))
    assert [table["skipped"][said] for said in refused] == [TWO]
    assert [table["skipped"][said] for said in failed] == [THREE]
    assert "outside the output folder" in failed[0]
    assert table["skipped"]["no picture of the item"] == TWO + THREE
    found = table["groups"]["one person"]
    assert found["face_sim"]["mean"] > 0.9
    assert found["disturbance"]["mean"] > 0.1
    pictures = {path: path.stat().st_mtime_ns for path in (tmp_path / "pictures").iterdir()}
    assert len(pictures) == ONE
    assert len(list((tmp_path / "unpatched").iterdir())) == ONE + TWO + THREE

    missing = next(iter(pictures))
    missing.unlink()
    first = (tmp_path / "items.parquet").read_bytes()
    again = evaluate(world, bare_server, tmp_path, "--unpatched", str(world / "alone.json"))
    assert again.exit_code == 0, again.output
    assert (tmp_path / "items.parquet").read_bytes() == first
    assert missing.is_file()
    assert all(path.stat().st_mtime_ns == time for path, time in pictures.items() if path != missing)

    (world / "one.json").write_text((world / "one.json").read_text().replace("bicubic", "area"), encoding="utf-8")
    other = evaluate(world, bare_server, tmp_path)
    assert other.exit_code == 1
    assert f"{ONE} pictures there were painted from another workflow" in other.output


@pytest.mark.server
def test_an_interrupted_run_leaves_no_prompt(
    world: Path, bare_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ComfyClient, "_wait", interrupted)
        done = evaluate(world, bare_server, tmp_path)
    assert done.exit_code == 130
    assert not list((tmp_path / "pictures").iterdir())
    empty = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    bare_server.run({"1": empty, "2": _save("after", "1")})
    queue = bare_server.get("queue")
    assert queue["queue_running"] == queue["queue_pending"] == []


@pytest.mark.server
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_what_is_being_painted(world: Path, bare_server: Server, tmp_path: Path):
    graph: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "{{photo_1}}"}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {"image": ["1", 0], "upscale_method": "bicubic", "crop": "disabled", "width": 512, "height": 512},
        },
    }
    for number in range(3, 300):
        blur = {"image": [str(number - 1), 0], "blur_radius": 31, "sigma": 10.0}
        graph[str(number)] = {"class_type": "ImageBlur", "inputs": blur}
    graph["300"] = _save("slow", "299")
    (tmp_path / "slow.json").write_text(json.dumps(graph), encoding="utf-8")
    out = tmp_path / "out"
    line = [
        sys.executable,
        "-c",
        WITH_CTRL_C,
        *arguments(world, bare_server, out),
        "--workflow",
        tmp_path / "slow.json",
    ]
    with subprocess.Popen(list(map(str, line)), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not bare_server.get("queue")["queue_running"]:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=120)
    assert process.returncode == 130, complaint
    assert "Traceback" not in complaint
    deadline = time.monotonic() + 60
    while bare_server.get("queue")["queue_running"] and time.monotonic() < deadline:
        time.sleep(0.1)
    newest = list(bare_server.get("history").values())[-1]
    assert "execution_interrupted" in [kind for kind, _ in newest["status"]["messages"]]
    assert not list((out / "pictures").iterdir())


def test_face_sim_is_the_nodes(world: Path, pack: Any, tmp_path: Path):
    session = open_session(Options(tmp_path, world / "photos", PACK, world / "small.json"))
    items = [item for item in session.items if len(item.people) < 3][::3]
    pictures, _ = find_pictures(world / "pictures", items, session.items, None)
    rows, skipped = score_pictures(pictures, session.people, session.networks, "boxes", lambda *_: None)
    assert {row["people"] for row in rows} == {1, 2}
    assert not skipped
    analyzer = pack.load("dynamicid.faces.analysis").load_face_analysis(PACK)
    for row in rows:
        photo, picture = _image(world / "photos" / f"{row['person']}.png"), _image(world / "pictures" / row["picture"])
        score, _ = pack.run("DynamicIDFaceSimilarity", face_analysis=analyzer, reference=photo, image=picture)
        assert row["best"] == pytest.approx(score, abs=1e-6)
        assert row["people"] == 2 or row["face_sim"] == row["best"]


def _image(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).float()[None] / 255


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_packs_workflows_fit_its_nodes(folder: str, pack: Any):
    benchmark = load_benchmark().benchmark
    workflows = load_workflows([WORKFLOWS / folder])
    assert sorted(workflows) == [1, 2, 3]
    assert load_workflow(WORKFLOWS / "unpatched.json").people == 0
    for item in benchmark.items:
        photos = [f"{subject.person}.png" for subject in item.people]
        graph = fill(workflows[len(item.people)], values_of(item, item.seed, benchmark, photos))
        for node in graph.values():
            if node["class_type"] in pack.nodes:
                _check_inputs(pack.nodes[node["class_type"]].GET_SCHEMA().inputs, node["inputs"])


def _check_inputs(schema: Any, given: dict[str, Any]) -> None:
    known = {entry.id: entry for entry in schema}
    assert set(given) <= set(known)
    assert {name for name, entry in known.items() if not entry.optional} <= set(given)
    for name, value in given.items():
        low, high = (getattr(known[name], edge, None) for edge in ("min", "max"))
        if low is not None and high is not None:
            assert low <= value <= high, name


def test_the_table_has_a_row_a_person(world: Path, tmp_path: Path):
    done = CliRunner().invoke(
        app,
        [
            *("evaluate", "folder", "--pictures", str(world / "pictures"), "--photos", str(world / "photos")),
            *("--face-pack", str(PACK), "--benchmark", str(world / "small.json"), "--out", str(tmp_path)),
            *("--most", "1", "--assign", "likeness"),
        ],
    )
    assert done.exit_code == 0, done.output
    rows = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert [row["people"] for row in rows] == [1, 2, 2, 3, 3, 3]
    assert {row["assigned"] for row in rows} == {None}
    assert "3 pictures scored." in done.output


@pytest.mark.server
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_unpatched_workflow_paints(count: int, server: Server):
    assert len(paint_small(WORKFLOWS / "unpatched.json", 0, count, server)) == 1


# The count varies last: the server then has the faces that both workflows encode in its cache.
@pytest.mark.server
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_packs_workflows_paint(count: int, folder: str, server: Server):
    """On stand-in models: every node takes what it is given, also where nobody is found for repainting."""
    assert len(paint_small(WORKFLOWS / folder, count, count, server)) == 1


def paint_small(source: Path, people: int, count: int, server: Server) -> list[Path]:
    """Paints the first item of ``count`` people with the workflow for ``people``, small and in one step."""
    write_inputs(server.base)
    benchmark = load_benchmark().benchmark.model_copy(update={"width": 64, "height": 64})
    item = benchmark.first(1)[count - 1]
    photos = [f"{name}.png" for name in PEOPLE[:count]]
    graph = fill(load_workflows([source])[people], values_of(item, item.seed, benchmark, photos))
    for node in graph.values():
        node["inputs"] |= {"ckpt_name": "small.safetensors"} if "ckpt_name" in node["inputs"] else {}
        node["inputs"] |= {"steps": 1} if "steps" in node["inputs"] else {}
        node["inputs"] |= {"size": 64} if node["class_type"] == "DynamicIDCropPeople" else {}
    return server.images(server.run(graph))
