"""No command opens a connection, asks for a name, or leaves a file in the home folder.

The server of the host tests and the curation of the drawn world are watched the same way where they are started.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamicid.synthetic import Split, pictures_of, render_portrait, sample_portrait, write_pictures
from tests.curation.conftest import PACK
from tests.training.launching import ENVIRONMENT, ROOT
from tests.training.small_world import imr_toml, saa_toml, write_config
from tests.watched import files_below, foreign_connections, needs_strace, watched

TELEMETRY = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY")
WEIGHTS = ROOT / "tiny_models" / "weights" / "dynamicid" / "tiny_dynamicid.safetensors"


def run_watched(folder: Path, *arguments: object) -> list[str]:
    """Runs Python; what it reached and what it left."""
    home, log = folder / "home", folder / "connections.log"
    home.mkdir()
    variables = {name: value for name, value in ENVIRONMENT.items() if name not in TELEMETRY} | {"HOME": str(home)}
    command = [*watched(log), sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return foreign_connections(log) + files_below(home)


@needs_strace
def test_a_look_up_is_seen(tmp_path: Path):
    look_up = (
        "import socket, contextlib\nwith contextlib.suppress(OSError): socket.create_connection(('192.0.2.1', 9), 1)"
    )
    assert "192.0.2.1" in run_watched(tmp_path, "-c", look_up)[0]


@pytest.mark.skipif(os.name == "nt", reason="onnxruntime keeps its device id elsewhere")
@pytest.mark.parametrize("package", ["dynamicid", "tiny_models.train.face_crops", "demo.people"])
def test_onnxruntime_starts_no_telemetry(package: str, tmp_path: Path):
    """With telemetry, the import alone leaves a device id in the home folder."""
    assert run_watched(tmp_path, "-c", f"import {package}, onnxruntime") == []


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("stage", ["saa", "imr"])
def test_training_reaches_nobody(stage: str, people: Path, tmp_path: Path):
    toml = (saa_toml if stage == "saa" else imr_toml)(people, f"watched_{stage}")
    config = write_config(tmp_path / "config.toml", toml)
    assert run_watched(tmp_path, "-m", "dynamicid", "train", stage, "--config", config) == []


@needs_strace
@pytest.mark.slow
def test_caching_reaches_nobody(world: Path, tmp_path: Path):
    number = pictures_of(Split.train)[0]
    (tmp_path / "photos").mkdir()
    portrait = render_portrait(sample_portrait(0, number, Split.train), 128)
    assert len(list(write_pictures(tmp_path / "photos", [portrait]))) == 1
    toml = (
        saa_toml(world).replace(f"{world}/photos", f"{tmp_path}/photos").replace(f"{world}/cache", f"{tmp_path}/cache")
    )
    config = write_config(tmp_path / "config.toml", toml.replace("[data]", f'face_pack = "{PACK}"\n[data]'))
    assert run_watched(tmp_path, "-m", "dynamicid", "cache", "saa", "--config", config) == []


@needs_strace
def test_commands_on_weights_and_data_reach_nobody(tmp_path: Path):
    commands = [
        ("inspect", WEIGHTS),
        ("convert", WEIGHTS, tmp_path / "all.safetensors", "--imr", WEIGHTS),
        ("download", "--list"),
        ("synthetic", tmp_path / "drawn", "--count", 1),
    ]
    for command in commands:
        folder = tmp_path / command[0]
        folder.mkdir()
        assert run_watched(folder, "-m", "dynamicid", *command) == []


@needs_strace
def test_evaluation_reaches_nobody(tmp_path: Path):
    drawn = tmp_path / "drawn"
    for name, words in {
        "draw": ("drawn", drawn, "--most", 1),
        "score": ("folder", "--pictures", drawn / "pictures", "--photos", drawn / "photos", "--face-pack", PACK,
                  "--most", 1, "--out", tmp_path / "out"),
    }.items():  # fmt: skip
        (tmp_path / name).mkdir()
        assert run_watched(tmp_path / name, "-m", "dynamicid", "evaluate", *words) == []
