"""Every command: its help, options, exit codes and one-line errors; the commands of the evaluation from end to end."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner, Result

from dynamicid.cli.app import app
from dynamicid.evaluation.benchmark import load_benchmark
from dynamicid.evaluation.workflows import EACH, WHOLE
from tests.evaluation.conftest import PACK, write_json
from tests.evaluation.fake_comfy import FakeComfy, serving

COMMANDS = {
    "download": (),
    "inspect": (),
    "convert": (),
    "synthetic": (),
    "caption": (),
    "curate": ("run", "remove", "report"),
    "evaluate": ("run", "folder", "published", "compare", "drawn", "placeholders"),
    "cache": ("saa", "imr"),
    "train": ("saa", "imr"),
}
PATHS = [(name, *part) for name, parts in COMMANDS.items() for part in ([(part,) for part in parts] or [()])]
OPTIONS = {
    ("download",): "--comfyui --only --yes --list --force",
    ("inspect",): "--json",
    ("convert",): "--imr --keypoints --dtype --force",
    ("synthetic",): "--kind --count --photos --size --people --seed --split --sheet --overwrite",
    ("curate", "run"): (
        "--out --face-pack --emotion-model --labels --photos --fewest --size --threshold --duplicate-bits "
        "--several-faces --smallest-face --confidence --sharpness --occlusion --consent --licence --require-consent "
        "--part-size --workers --gpus --address"
    ),
    ("curate", "remove"): "--person --photo --finish",
    ("curate", "report"): "--person",
    ("caption",): "--model --face-pack --overwrite",
    ("evaluate", "run"): (
        "--workflow --photos --face-pack --out --server --unpatched --output-node --most-seconds --seeds --first-seed "
        "--benchmark --most --emotion-model --clip --assign --judge-pack --ground-truth"
    ),
    ("evaluate", "folder"): (
        "--pictures --photos --face-pack --out --unpatched --benchmark --most --emotion-model --clip --assign "
        "--judge-pack --ground-truth"
    ),
    ("evaluate", "published"): "--face-pack --out --pictures --clip --judge-pack",
    ("evaluate", "compare"): "--out --name",
    ("evaluate", "drawn"): "--control --size --seeds --first-seed --benchmark --most",
    ("evaluate", "placeholders"): "",
    ("cache", "saa"): "--config",
    ("cache", "imr"): "--config",
    ("train", "saa"): "--config --resume",
    ("train", "imr"): "--config --resume",
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def command_at(*path: str) -> Any:
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    return command


def test_the_commands_are_these_nine():
    assert set(command_at().commands) == set(COMMANDS)
    for name, parts in COMMANDS.items():
        assert set(getattr(command_at(name), "commands", ())) == set(parts)
    shown = run("--help").output
    assert [name for name in COMMANDS if f" {name} " not in shown] == []


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_and_options(path: tuple[str, ...]):
    options = {text for entry in command_at(*path).params for text in entry.opts if text.startswith("--")}
    assert options - {"--help"} == set(OPTIONS[path].split())
    for flag in ("--help", "-h"):
        result = run(*path, flag)
        assert result.exit_code == 0
        assert f"Usage: dynamicid {' '.join(path)} " in result.output


def test_a_group_runs_its_first_command_where_none_is_named():
    for group in ("curate", "evaluate"):
        assert "Usage: dynamicid" in run(group, "--help").output
        assert run(group, "--out", "x").output.count(f"{group} run") >= 1


@pytest.mark.parametrize(
    "arguments",
    [
        "download --only weights", "inspect", "convert a.bin", "synthetic", "caption",
        "curate photos", "curate remove out", "curate report",
        "evaluate --out x", "evaluate folder --out x", "evaluate compare --out x", "evaluate drawn",
        "evaluate drawn out --control wrong", "evaluate placeholders more", "cache saa", "cache imr", "train saa",
        "train imr --resume", "nothing",
    ],
)  # fmt: skip
def test_wrong_usage_exits_with_2(arguments: str):
    result = run(*arguments.split())
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("download --yes --comfyui {0}", ("--comfyui", "is no ComfyUI folder", "main.py")),
        ("convert {0}/SAA.bin {0}/all.safetensors", ("saa: ", "SAA.bin", "does not exist")),
        ("synthetic {0}/out --people 4", ("--people: ", "'4'", "1-3")),
        ("curate {0}/none --out {0}/out --face-pack {0}/pack", ("{0}/none",)),
        ("curate remove {0} --person 1", ("{0}",)),
        ("caption {0}", ("--model: ", "Name --model or --face-pack")),
        ("caption {0}/none --face-pack {0}", ("{0}",)),
        ("curate report {0}", ("{0}", "was not written by 'curate'")),
        (
            "evaluate --workflow {0}/none.json --photos {0} --face-pack {0} --out {0}/out",
            ("none.json: ", "cannot be read as JSON", "workflow file"),
        ),
        ("evaluate folder --pictures {0} --photos {0} --face-pack {0}/pack --out {0}/out", ("pack", "det_10g.onnx")),
        ("evaluate compare {0}/run --out {0}/out", ("RUN: ", "one folder", "two or more")),
        ("evaluate drawn {0}/out --benchmark {0}/none.json", ("none.json: ", "cannot be read", "benchmark file")),
        ("cache saa --config {0}/none.toml", ("none.toml",)),
        ("cache imr --config {0}/none.toml", ("none.toml",)),
        ("train saa --config {0}/none.toml", ("none.toml",)),
        ("train imr --config {0}/none.toml --resume", ("none.toml",)),
    ],
)
def test_what_is_wrong_is_one_line_and_exits_with_1(arguments: str, parts: tuple[str, ...], tmp_path: Path):
    result = run(*(argument.format(tmp_path) for argument in arguments.split()))
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    assert [part for part in parts if part.format(tmp_path) not in lines[0]] == []
    assert "Traceback" not in result.output
    assert not (tmp_path / "all.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "library", "requirements"),
    [
        ("synthetic out", "skia", "requirements-training.txt"),
        ("curate photos --out out --face-pack pack", "faiss", "requirements-curation.txt"),
        ("curate remove out --person 1", "ray.data", "requirements-curation.txt"),
        ("evaluate placeholders", "torchmetrics", "requirements-evaluation.txt"),
        ("evaluate drawn out", "skia", "requirements-training.txt"),
        ("cache saa --config a.toml", "accelerate", "requirements-training.txt"),
        ("train imr --config a.toml", "webdataset", "requirements-training.txt"),
    ],
)
def test_a_missing_library_is_named(
    arguments: str, library: str, requirements: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    result = run(*arguments.split())
    assert result.exit_code == 1, result.output
    assert f"'{library}'" in result.stderr
    assert f"pip install -r {requirements}" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_placeholders_lists_every_one():
    result = run("evaluate", "placeholders")
    assert result.exit_code == 0
    names = [line.split("  ")[0] for line in result.output.splitlines()]
    assert names == [f"{{{{{name}}}}}" for name in WHOLE] + [f"{{{{{name}_1}}}}" for name in EACH]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture of one person, of two, of three, drawn by the command."""
    out = tmp_path_factory.mktemp("drawn")
    result = run("evaluate", "drawn", out, "--most", 1)
    assert result.exit_code == 0, result.output
    return out


def test_drawn_folder_and_compare(drawn: Path, tmp_path: Path):
    items = load_benchmark().benchmark.first(1)
    assert {path.name for path in (drawn / "pictures").iterdir()} == {f"{item.item}_{item.seed}.png" for item in items}
    common = ("--photos", drawn / "photos", "--face-pack", PACK, "--most", 1)
    for name in ("a", "b"):
        result = run("evaluate", "folder", "--pictures", drawn / "pictures", *common, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert "3 pictures scored." in result.output
        assert (tmp_path / name / "table.json").is_file()
    result = run("evaluate", "compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c")
    assert result.exit_code == 0, result.output
    assert "b - a" in result.output
    assert (tmp_path / "c" / "compare.html").is_file()


def test_run_paints_on_a_server_and_scores(drawn: Path, tmp_path: Path):
    item = load_benchmark().benchmark.first(1)[0]
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "{{photo_1}}"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "{{item}}"}},
    }
    workflow = write_json(tmp_path / "one.json", graph)
    picture = drawn / "pictures" / f"{item.item}_{item.seed}.png"
    arguments = ["--workflow", workflow, "--photos", drawn / "photos", "--face-pack", PACK, "--most", 1]
    with serving(FakeComfy(picture.read_bytes())) as comfy:
        servers = ["--server", comfy.address] * 2
        result = run("evaluate", *arguments, "--out", tmp_path / "out", *servers)
    assert result.exit_code == 0, result.output
    assert "1 pictures scored." in result.output
    assert "no workflow for 2 people" in result.output
    assert (tmp_path / "out" / "pictures" / picture.name).read_bytes() == picture.read_bytes()
    assert len(comfy.graphs) == 1
    ((name, content),) = comfy.uploads.items()
    assert comfy.graphs[0]["1"]["inputs"]["image"] == name
    (tmp_path / "upload.png").write_bytes(content)
    photo = drawn / "photos" / f"{item.people[0].person}.png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "upload.png")), np.asarray(Image.open(photo)))


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    interrupted: list[tuple[str, Callable[[], Result]]] = [
        ("dynamicid.evaluation.drawn.write_drawn_benchmark", lambda: run("evaluate", "drawn", tmp_path / "out")),
        ("dynamicid.synthetic.prepare_folder", lambda: run("synthetic", tmp_path / "out")),
        ("dynamicid.cli.inspect_files.inspect_file", lambda: run("inspect", tmp_path / "a.bin")),
    ]
    for name, command in interrupted:
        monkeypatch.setattr(name, interrupt)
        assert command().exit_code == 130, name
