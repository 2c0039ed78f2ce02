"""The demo command: pictures from photos through a real ComfyUI, errors in plain words, and a clean end on Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from scripts import _demo_models
from scripts._bootstrap import find_host
from scripts._demo_server import Comfy, DemoError, _place_pack, _refusal
from scripts.standin.painted_faces import draw_test_faces

ROOT = Path(__file__).resolve().parents[2]
# The command itself, but for the set-up: the environment of the tests stands already.
COMMAND = (
    "import sys; sys.path.insert(0, sys.argv[1]); import demo; from _bootstrap import find_host; "
    "demo.main(sys.argv[2:], set_up=find_host)"
)
SECONDS = 600


def command(models: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The demo's command line and environment, on the stand-ins in ``models``."""
    variables = {**os.environ, "DYNAMICID_STANDIN_CACHE": str(models), "COMFYUI_PATH": str(find_host())}
    return [sys.executable, "-u", "-c", COMMAND, str(ROOT / "scripts"), *arguments], variables


def demo(models: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    line, variables = command(models, *arguments)
    return subprocess.run(line, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False)


def without_host_notes(graph: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A graph as it was sent: ComfyUI writes into it before it saves it in a PNG."""
    return {name: {k: v for k, v in node.items() if k != "is_changed"} for name, node in graph.items()}


def photo(folder: Path, name: str, count: int = 1) -> Path:
    boxes = [(60.0 + 120 * n, 60.0, 136.0 + 120 * n, 160.0) for n in range(count)]
    path = folder / name
    Image.fromarray(draw_test_faces((240, 360), boxes)).save(path)
    return path


@pytest.mark.server
@pytest.mark.slow
def test_demo_leaves_pictures_their_graphs_and_a_contact_sheet(model_files: Path, tmp_path: Path) -> None:
    out = tmp_path / "Bilder für alle"
    done = demo(model_files, "--size", "64", "--steps", "1", "--out", str(out), "--models", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "models/dynamicid/SAA.bin" in done.stdout
    assert "-m dynamicid download" in done.stdout
    assert "t1.jpg" in done.stdout
    names = ("one_person", "one_person_edited", "two_people")
    for name in names:
        assert f"{name}: step 1 of 1" in done.stdout
        graph = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        assert {"DynamicIDLoader", "DynamicIDEncodeFace", "DynamicIDApply"} <= {n["class_type"] for n in graph.values()}
        for file in (f"{name}.png", f"{name}_activation.png"):
            with Image.open(out / file) as picture:
                assert picture.size == (64, 64)
                assert without_host_notes(json.loads(picture.info["prompt"])) == graph
    assert (out / "one_person.png").read_bytes() != (out / "one_person_edited.png").read_bytes()
    with Image.open(out / "contact_sheet.png") as sheet:
        sheet.load()
        assert min(sheet.size) > 600
    listed = [Path(line.strip()) for line in done.stdout.partition("Done in")[2].splitlines()[1:]]
    assert sorted(listed) == sorted(out.iterdir())


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_interrupt_stops_the_server(model_files: Path, tmp_path: Path) -> None:
    picture = photo(tmp_path, "two.png", 2)
    line, variables = command(model_files, str(picture), "--size", "512", "--steps", "500", "--out", str(tmp_path))
    variables["TMPDIR"] = str(tmp_path)
    with subprocess.Popen(line, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for said in process.stdout:
            if "Encode Face" in said:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, complaint = process.communicate(timeout=60)
    assert children
    assert process.returncode == 130
    assert "Interrupted" in complaint
    assert "Traceback" not in complaint
    assert time.monotonic() - started < 30
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert not list(tmp_path.glob("dynamicid-demo-*"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["absent.png"], "PHOTO: there is no file absent.png."),
        (["text.png"], "text.png cannot be read as a picture"),
        (["nobody.png"], "nobody.png: No face was found"),
        (["--size", "100"], "a multiple of 8 from 64 up is needed"),
        (["--steps", "0"], "at least 1 is needed"),
        (["--models", "absent"], "--models: there is no folder absent."),
        (["nobody.png"] * 9, "PHOTO: 9 photos were given. Give 8 at most."),
    ],
)
def test_mistakes_are_told_in_one_line(
    model_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    photo(tmp_path, "nobody.png", 0)
    done = demo(model_files, *arguments)
    assert done.returncode not in (0, None)
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_help_needs_the_standard_library_only() -> None:
    line = [sys.executable, "-S", str(ROOT / "scripts" / "demo.py"), "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "PHOTO" in done.stdout


def test_published_weights_are_found_by_what_is_in_them(model_files: Path, tmp_path: Path) -> None:
    """A folder with everything in it under other names and in sub-folders."""
    (tmp_path / "checkpoints" / "sd15").mkdir(parents=True)
    (tmp_path / "checkpoints" / "a.safetensors").write_bytes(b"not a checkpoint")
    (tmp_path / "checkpoints" / "sd15" / "mine.safetensors").symlink_to(model_files / "checkpoints/small.safetensors")
    (tmp_path / "clip_vision").mkdir()
    (vision,) = (model_files / "clip_vision").iterdir()
    (tmp_path / "clip_vision" / "model.safetensors").symlink_to(vision)
    for name in ("dynamicid", "insightface"):
        (tmp_path / name).symlink_to(model_files / name)
    models = _demo_models.find_models(Path("no host"), tmp_path)
    assert not models.are_stand_ins
    assert models.checkpoint == os.path.join("sd15", "mine.safetensors")
    assert (models.clip_vision, models.saa, models.imr) == ("model.safetensors", "SAA.bin", "IMR.bin")
    assert models.face_pack == tmp_path / "insightface" / "models" / "buffalo_l"


def test_missing_files_are_named(
    model_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DYNAMICID_STANDIN_CACHE", str(model_files))
    shutil.copytree(model_files / "insightface", tmp_path / "insightface")
    models = _demo_models.find_models(Path("host"), tmp_path)
    told = capsys.readouterr().out
    assert models.are_stand_ins
    assert models.face_pack == tmp_path / "insightface" / "models" / "buffalo_l"
    assert models.folders["insightface"] == [tmp_path / "insightface"]
    for name in ("SAA.bin", "IMR.bin", "key_point_encoder.bin", "CLIP-ViT-H", "Stable Diffusion 1.5"):
        assert name in told
    assert "det_10g.onnx" not in told


def test_folders_of_extra_model_paths_are_searched(tmp_path: Path) -> None:
    (tmp_path / "extra_model_paths.yaml").write_text(
        "other:\n  base_path: ../shelf\n  is_default: true\n  checkpoints: |\n    one\n    two\n  loras: l\n"
    )
    folders = _demo_models.model_folders(tmp_path, None)
    shelf = tmp_path / "../shelf"
    assert folders["checkpoints"] == [tmp_path / "models" / "checkpoints", shelf / "one", shelf / "two"]
    assert folders["dynamicid"] == [tmp_path / "models" / "dynamicid"]


def test_pack_is_copied_where_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    _place_pack(tmp_path / "DynamicID")
    copy = tmp_path / "DynamicID"
    assert (copy / "__init__.py").is_file()
    for package in ("dynamicid", "nodes"):
        files, copies = ({path.relative_to(root) for path in (root / package).rglob("*.py")} for root in (ROOT, copy))
        assert copies == files
    assert not (copy / ".git").exists()


def test_errors_of_the_server_name_the_node() -> None:
    graph = {"3": {"class_type": "DynamicIDApply", "inputs": {}, "_meta": {"title": "Apply DynamicID"}}}
    event = {"node_id": "3", "node_type": "DynamicIDApply", "exception_message": "model: This is SDXL.\n"}
    with pytest.raises(DemoError, match=r"two_people at Apply DynamicID:\nmodel: This is SDXL\.$"):
        Comfy._follow("two_people", graph, "execution_error", event)
    errors = [{"message": "Value not in list", "details": "saa: 'x'"}]
    assert _refusal({"node_errors": {"3": {"errors": errors}}}, graph) == "Apply DynamicID: Value not in list saa: 'x'"
