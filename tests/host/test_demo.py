"""The demo command: pictures through a real ComfyUI and without one, errors in plain words, a clean end on Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from demo import models as demo_models
from demo.graphs import APPLY_DEFAULTS, make_graph
from demo.pictures import EXPRESSIONS, VIEWS, drawn_prompts, photo_prompts, picture_specs
from demo.run import PUBLISHED, TINY
from demo.server import EXTENSION, EXTENSION_PARTS, PACK_PARTS, Comfy, DemoError, _place
from dynamicid.training.config import SAAConfig, load_config
from scripts._bootstrap import find_host
from tests.standin.painted_faces import draw_test_faces
from tiny_models import places
from tiny_models.measure.evaluation import Extent
from tiny_models.measure.variants import FULL

ROOT = Path(__file__).resolve().parents[2]
# The command itself, but for the set-up (the environment of the tests stands already) and for background jobs of a
# shell, which start with Ctrl-C ignored.
COMMAND = (
    "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.path.insert(0, sys.argv[1]); from _bootstrap import find_host; "
    "runpy.run_path(sys.argv[1] + '/demo.py')['main'](sys.argv[2:], set_up={set_up})"
)
WITH_HOST, WITHOUT_HOST = "find_host", "lambda: None"
SECONDS = 600
MOVED = [f"{expression}_{view}" for view in VIEWS for expression in EXPRESSIONS]
HEAT = {"one_person": 1, "two_people": 2, "three_people": 3}


def command(*arguments: str | Path, set_up: str = WITH_HOST) -> tuple[list[str], dict[str, str]]:
    """The demo's command line and environment."""
    variables = {**os.environ, "COMFYUI_PATH": str(find_host())}
    line = [sys.executable, "-u", "-c", COMMAND.format(set_up=set_up), str(ROOT / "scripts"), *map(str, arguments)]
    return line, variables


def demo(*arguments: str | Path, set_up: str = WITH_HOST) -> "subprocess.CompletedProcess[str]":
    line, variables = command(*arguments, set_up=set_up)
    return subprocess.run(line, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False)


def without_host_notes(graph: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A graph as it was sent: ComfyUI writes into it before it saves it in a PNG."""
    return {name: {k: v for k, v in node.items() if k != "is_changed"} for name, node in graph.items()}


def photo(folder: Path, name: str, count: int = 1) -> Path:
    boxes = [(60.0 + 120 * n, 60.0, 136.0 + 120 * n, 160.0) for n in range(count)]
    path = folder / name
    Image.fromarray(draw_test_faces((240, 360), boxes)).save(path)
    return path


def expected(groups: dict[str, int]) -> set[str]:
    """Names of the pictures; ``groups``: activation maps by picture."""
    maps = {f"{name}_activation_{n}" for name, count in groups.items() for n in range(1, count + 1)}
    repainted = {f"{name}_repainted" for name in groups if name != "one_person"}
    return {*MOVED, *groups, *maps, *repainted}


@pytest.mark.server
@pytest.mark.slow
def test_photos_become_pictures_their_graphs_and_a_contact_sheet(model_files: Path, tmp_path: Path) -> None:
    out = tmp_path / "Bilder für alle"
    group = photo(tmp_path, "two.png", 2)
    done = demo(group, "--size", "64", "--steps", "1", "--out", out, "--models", model_files)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("one_person", "one_person_moved", "two_people"):
        graph = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        assert {"DynamicIDLoader", "DynamicIDEncodeFace", "DynamicIDApply"} <= {n["class_type"] for n in graph.values()}
    names = expected({"one_person": 1, "two_people": 2})
    for name in names:
        with Image.open(out / f"{name}.png") as picture:
            assert picture.size == (64, 64)
    with Image.open(out / "two_people.png") as picture:
        assert without_host_notes(json.loads(picture.info["prompt"])) == graph
    assert len({(out / f"{name}.png").read_bytes() for name in MOVED}) == len(MOVED)
    with Image.open(out / "contact_sheet.png") as sheet:
        sheet.load()
    listed = [Path(line.strip()) for line in done.stdout.partition("Done in")[2].splitlines()[1:]]
    assert sorted(listed) == sorted(out.iterdir())


@pytest.mark.slow
@pytest.mark.server
def test_without_the_published_weights_drawn_people_are_painted_alike_with_and_without_comfyui(tmp_path: Path) -> None:
    pictures = []
    for set_up in (WITH_HOST, WITHOUT_HOST):
        out = tmp_path / str(len(pictures))
        done = demo("--steps", "3", "--seed", "3", "--out", out, "--models", tmp_path, set_up=set_up)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "tiny models" in done.stdout
        names = expected(HEAT)
        assert {path.stem for path in out.glob("*.png")} == {*names, "contact_sheet"}
        pictures.append({name: np.asarray(Image.open(out / f"{name}.png"), dtype=int) for name in sorted(names)})
    assert "models/dynamicid/SAA.bin" not in done.stdout
    for name, picture in pictures[0].items():
        assert picture.shape == (128, 128, 3)
        apart = abs(picture - pictures[1][name])
        # ComfyUI cuts off where the other path rounds: half a step on average.
        assert apart.mean() < 0.7, name
        # A cell whose activation lies within rounding of the gate's threshold may open on one path only.
        assert (apart > 2).mean() < 0.03, name


def test_photos_without_the_published_weights_are_refused(tmp_path: Path) -> None:
    for set_up in (WITH_HOST, WITHOUT_HOST):
        done = demo(photo(tmp_path, "two.png", 2), "--models", tmp_path, set_up=set_up)
        assert done.returncode not in (0, None)
        assert "PHOTO: photos of real people need the published weights" in done.stderr
        assert "Traceback" not in done.stderr
        assert ("models/dynamicid/SAA.bin" in done.stderr) == (set_up == WITH_HOST)


def test_pictures_are_the_rows_of_the_sheet() -> None:
    for prompts, people in ((photo_prompts(None), 8), (drawn_prompts(None), 3)):
        specs = picture_specs(people, prompts)
        assert [spec.name for spec in specs["one_person_moved"]] == MOVED
        assert [len(group[0].boxes) for group in specs.values()] == [0, 0, *sorted({2, 3, people})]
    assert list(picture_specs(1, photo_prompts(None))) == ["one_person", "one_person_moved"]
    assert picture_specs(3, drawn_prompts(None))["three_people"][0].prompt == (
        "a photo of three people at the beach, the left one in a red shirt, the middle one in a blue shirt, "
        "the right one in a green shirt"
    )
    assert {spec.prompt for group in picture_specs(3, photo_prompts("x")).values() for spec in group} == {"x"}


def test_a_row_of_expressions_is_one_batch_of_one_sampler() -> None:
    specs = picture_specs(1, drawn_prompts(None))["one_person_moved"]
    graph = make_graph(demo_models.tiny_models(), TINY, [("a.png", 0)], specs)
    nodes = list(graph.values())

    def inputs(kind: str) -> list[dict[str, Any]]:
        return [node["inputs"] for node in nodes if node["class_type"] == kind]

    assert len(inputs("KSampler")) == len(inputs("DynamicIDApply")) == len(VIEWS)
    assert [presets["views"] for presets in inputs("DynamicIDMotionPresets")] == list(VIEWS)
    assert {presets["expressions"] for presets in inputs("DynamicIDMotionPresets")} == {", ".join(EXPRESSIONS)}
    for sampler in inputs("KSampler"):
        noise = graph[sampler["latent_image"][0]]
        assert noise["class_type"] == "LatentBatchSeedBehavior"
        assert noise["inputs"]["seed_behavior"] == "fixed"
        assert graph[noise["inputs"]["samples"][0]]["inputs"]["batch_size"] == len(EXPRESSIONS)
    numbers = {
        save["filename_prefix"]: graph[save["images"][0]]["inputs"]["batch_index"] for save in inputs("SaveImage")
    }
    assert numbers == {f"{name}_{view}": n for view in VIEWS for n, name in enumerate(EXPRESSIONS)}


def test_drawn_people_are_painted_as_their_table_measures_them() -> None:
    from demo.without_comfyui import base_only_steps

    assert TINY.layout_strength == FULL.layout_strength
    ends = (ROOT / "tiny_models" / "train" / f"{name}.toml" for name in ("saa_late", "saa_small"))
    (trained,) = {load_config(end, SAAConfig).model.max_timestep for end in ends}
    assert base_only_steps(Extent.steps, TINY.start_at) == FULL.base_only_steps
    tiny = base_only_steps(TINY.steps, TINY.start_at)
    for steps, base_only in ((TINY.steps, tiny), (Extent.steps, FULL.base_only_steps)):
        times = list(range(1, 1000, 1000 // steps))[::-1]
        assert times[base_only - 1] >= trained > times[base_only]
    published = APPLY_DEFAULTS["start_at"], APPLY_DEFAULTS["layout_strength"]
    assert (PUBLISHED.start_at, PUBLISHED.layout_strength) == published


def test_reference_photos_are_what_the_script_draws(tmp_path: Path) -> None:
    pytest.importorskip("skia")
    from tiny_models.train.dynamicid_dataset import write_reference_photos

    committed = sorted((places.WEIGHTS / "photos").glob("*.png"))
    drawn = write_reference_photos(tmp_path)
    assert [path.name for path in drawn] == [path.name for path in committed]
    for path, other in zip(drawn, committed, strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(other)))


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server(model_files: Path, tmp_path: Path, number: signal.Signals) -> None:
    picture = photo(tmp_path, "two.png", 2)
    line, variables = command(picture, "--size", "512", "--steps", "500", "--out", tmp_path, "--models", model_files)
    variables["TMPDIR"] = str(tmp_path)
    with subprocess.Popen(line, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for said in process.stdout:
            if "Encode Face" in said:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=SECONDS)
    assert children
    assert process.returncode == 130
    assert "Interrupted" in complaint
    assert "Traceback" not in complaint
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
    done = demo(*(["--models", model_files] if "--models" not in arguments else []), *arguments)
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
    models = demo_models.find_models(Path("no host"), tmp_path, own_photos=True)
    assert not models.are_tiny
    assert models.checkpoint == os.path.join("sd15", "mine.safetensors")
    assert (models.clip_vision, models.saa, models.imr) == ("model.safetensors", "SAA.bin", "IMR.bin")
    assert models.face_pack == tmp_path / "insightface" / "models" / "buffalo_l"


def test_missing_files_are_named(model_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(model_files / "insightface", tmp_path / "insightface")
    models = demo_models.find_models(Path("host"), tmp_path, own_photos=False)
    told = capsys.readouterr().out
    assert models.are_tiny
    assert len(models.photos) == 3
    for name in ("SAA.bin", "IMR.bin", "key_point_encoder.bin", "CLIP-ViT-H", "Stable Diffusion 1.5"):
        assert name in told
    assert "-m dynamicid download" in told
    assert "det_10g.onnx" not in told


def test_folders_of_extra_model_paths_are_searched(tmp_path: Path) -> None:
    (tmp_path / "extra_model_paths.yaml").write_text(
        "other:\n  base_path: ../shelf\n  is_default: true\n  checkpoints: |\n    one\n    two\n  loras: l\n"
    )
    folders = demo_models.model_folders(tmp_path, None)
    shelf = tmp_path / "../shelf"
    assert folders["checkpoints"] == [tmp_path / "models" / "checkpoints", shelf / "one", shelf / "two"]
    assert folders["dynamicid"] == [tmp_path / "models" / "dynamicid"]


def test_nodes_are_copied_where_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    copy = tmp_path / "DynamicID"
    _place(ROOT, copy, PACK_PARTS)
    assert (copy / "__init__.py").is_file()
    for package in ("dynamicid", "nodes"):
        files, copies = ({path.relative_to(root) for path in (root / package).rglob("*.py")} for root in (ROOT, copy))
        assert copies == files
    assert not (copy / ".git").exists()
    _place(EXTENSION, tmp_path / "extension", EXTENSION_PARTS)
    assert {path.name for path in (tmp_path / "extension").iterdir()} == {path.name for path in EXTENSION.glob("*.py")}


def test_steps_of_the_sampler_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    graph = {"3": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Sample"}}}
    assert not Comfy._follow("two_people", graph, "progress", {"node": "3", "value": 2, "max": 20})
    assert capsys.readouterr().out == "  two_people: step 2 of 20\n"


def test_errors_of_the_server_name_the_node() -> None:
    graph = {"3": {"class_type": "DynamicIDApply", "inputs": {}, "_meta": {"title": "Apply DynamicID"}}}
    event = {"node_id": "3", "node_type": "DynamicIDApply", "exception_message": "model: This is SDXL.\n"}
    with pytest.raises(DemoError, match=r"two_people at Apply DynamicID:\nmodel: This is SDXL\.$"):
        Comfy._follow("two_people", graph, "execution_error", event)
