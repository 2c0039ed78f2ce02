"""The commands as a user starts them: one process, two processes, a signal, a full disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from typer.testing import CliRunner

from dynamicid import __version__
from dynamicid.checkpoints import load_weights
from dynamicid.cli.app import app
from dynamicid.errors import DynamicIDError
from dynamicid.files.atomic import DiskFullError, atomic_write
from dynamicid.training.checkpointing import checkpoints, load_checkpoint
from dynamicid.training.config import SAAConfig, load_config
from dynamicid.training.processes import Interrupted
from dynamicid.training.train_imr import train_imr
from dynamicid.training.train_saa import train_saa

from .launching import COMMANDS, ENVIRONMENT, LAUNCH, ROOT, TIMEOUT_SECONDS, assert_same_run, launch_two
from .small_world import changed, imr_config, imr_toml, losses_of, saa_config, saa_toml, write_config

AVERAGED = "ema_decay = 0.5"


def processes_of(output: Path) -> int:
    """Each process saves its own random state."""
    return len(list(checkpoints(output)[-1][1].glob("random_states_*.pkl")))


@pytest.mark.slow
def test_two_processes_of_stage_1_are_one_with_the_same_global_batch(world: Path):
    train_saa(saa_config(world, "saa_one"))
    path = write_config(world / "saa_two.toml", saa_toml(world, "saa_two"))
    done = launch_two("train", "saa", "--config", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Wrote") == 2
    assert processes_of(world / "saa_two") == 2
    assert_same_run(world / "saa_one", world / "saa_two")


@pytest.mark.slow
def test_two_processes_of_stage_2_are_one_with_the_same_people(people: Path):
    train_imr(imr_config(people, "imr_one", optimizer=AVERAGED))
    path = write_config(people / "imr_two.toml", imr_toml(people, "imr_two", optimizer=AVERAGED))
    done = launch_two("train", "imr", "--config", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert processes_of(people / "imr_two") == 2
    assert_same_run(people / "imr_one", people / "imr_two")


@pytest.mark.slow
def test_the_end_waits_for_the_last_work_of_a_late_process(people: Path):
    path = write_config(people / "imr_late.toml", imr_toml(people, "imr_late"))
    done = launch_two("train", "imr", "--config", path, program="-m tests.training.late_process")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_batch_that_does_not_divide_among_the_processes_is_refused(world: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 3))
    with pytest.raises(DynamicIDError, match="multiple of 6"):
        train_saa(saa_config(world, "three"))


def wait_for_losses(output: Path, process: subprocess.Popen[str]) -> None:
    """Until the first step of a run is logged, or the run has ended."""
    lines = output / "losses.jsonl"
    while not (lines.is_file() and lines.read_text()) and process.poll() is None:
        time.sleep(0.1)


@pytest.mark.slow
def test_sigterm_from_outside_stops_both_processes_cleanly(world: Path):
    """The launcher passes the signal on."""
    text = saa_toml(world, "long", run="checkpoint_every = 100000").replace("steps = 4", "steps = 100000")
    path = write_config(world / "long.toml", text)
    command = [sys.executable, *LAUNCH.split(), *COMMANDS.split(), "train", "saa", "--config", str(path)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for_losses(world / "long", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    assert "--resume goes on" in output
    step, _ = checkpoints(world / "long")[-1]
    assert step == len(losses_of(world / "long"))
    assert processes_of(world / "long") == 2
    assert len(load_weights(world / "long" / "weights" / "SAA.safetensors").saa_layers) == 8


@pytest.mark.slow
def test_a_signal_to_the_whole_process_group_stops_cleanly(world: Path):
    """Schedulers and Ctrl-C reach the reading processes as well."""
    text = saa_toml(world, "group", run="checkpoint_every = 100000").replace("steps = 4", "steps = 100000")
    path = write_config(world / "group.toml", text.replace("workers = 0", "workers = 2"))
    command = [sys.executable, "-m", "dynamicid", "train", "saa", "--config", str(path)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for_losses(world / "group", process)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 143, output
    assert "--resume goes on" in output
    assert checkpoints(world / "group")[-1][0] == len(losses_of(world / "group"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_exits_as_its_signal_says(number: int, code: int, world: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(config: object, resume: bool) -> None:
        raise Interrupted(7, number)

    monkeypatch.setattr("dynamicid.training.train_saa.train_saa", stop)
    path = write_config(world / "exit.toml", saa_toml(world, "exit"))
    result = CliRunner().invoke(app, ["train", "saa", "--config", str(path)])
    assert result.exit_code == code
    assert "Stopped after 7 steps" in result.output


def test_on_a_full_disk_training_tells_how_to_go_on(world: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(config: object, resume: bool) -> None:
        raise DiskFullError("step-00000007", "The disk is full.", "Free some space, then run it again.")

    monkeypatch.setattr("dynamicid.training.train_saa.train_saa", fail)
    path = write_config(world / "disk.toml", saa_toml(world, "disk"))
    result = CliRunner().invoke(app, ["train", "saa", "--config", str(path)])
    assert result.exit_code == 1
    assert "Free some space; --resume goes on from the last checkpoint." in " ".join(result.output.split())


def test_the_commands_say_what_is_wrong_in_one_line(world: Path, tmp_path: Path):
    path = write_config(tmp_path / "a.toml", saa_toml(world, "x").replace("steps = 4", "stepps = 4"))
    for words in (["train", "saa"], ["cache", "saa"]):
        result = CliRunner().invoke(app, [*words, "--config", str(path)])
        assert result.exit_code == 1
        assert "'run.stepps' is unknown" in result.output
        assert "Traceback" not in result.output
    path = write_config(tmp_path / "b.toml", saa_toml(world, "x").replace(f"{world}/cache_saa", f"{tmp_path}/cache"))
    result = CliRunner().invoke(app, ["cache", "saa", "--config", str(path)])
    assert "base.face_pack" in result.output


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(world: Path, monkeypatch: pytest.MonkeyPatch):
    config = saa_config(world, "full", run="checkpoint_every = 2")
    save, calls = Accelerator.save_state, []

    def save_once(self, folder, **options):
        calls.append(folder)
        if len(calls) > 1:
            (Path(folder) / "half.bin").write_bytes(b"half")
            raise RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/3: file write failed")
        return save(self, folder, **options)

    monkeypatch.setattr(Accelerator, "save_state", save_once)
    with pytest.raises(DynamicIDError, match="disk is full"):
        train_saa(config)
    assert [step for step, _ in checkpoints(world / "full")] == [2]
    assert not list((world / "full" / "checkpoints").glob(".*"))
    monkeypatch.undo()
    assert train_saa(config, resume=True)


def test_a_checkpoint_larger_than_the_disk_is_not_begun(tmp_path: Path):
    with pytest.raises(DynamicIDError, match="disk is full"), atomic_write(tmp_path / "a", 10**18):
        raise AssertionError
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_precision_has_no_state_of_the_loss_scaling(tmp_path: Path):
    class ScalingAccelerator:
        scaler = "scaler"

        def load_state(self, folder: str) -> None:
            self.loaded_scaler = self.scaler

    accelerator: Any = ScalingAccelerator()
    load_checkpoint(accelerator, tmp_path)
    assert (accelerator.loaded_scaler, accelerator.scaler) == (None, "scaler")
    (tmp_path / "scaler.pt").touch()
    load_checkpoint(accelerator, tmp_path)
    assert accelerator.loaded_scaler == "scaler"


def test_a_checkpoint_of_a_later_version_is_refused_by_name(world: Path):
    config = saa_config(world, "later")
    train_saa(changed(config, run={"steps": 1}))
    ((step, folder),) = checkpoints(world / "later")
    about = json.loads((folder / "step.json").read_text())
    assert about == {"step": step, "format": 2, "pack": __version__}
    (folder / "step.json").write_text(json.dumps({**about, "format": 3, "pack": "9.1"}))
    with pytest.raises(DynamicIDError, match=r"step-00000001: .* in format 3 by version 9\.1"):
        train_saa(config, resume=True)


def test_a_project_folder_can_be_moved(world: Path, tmp_path: Path):
    project = tmp_path / "project"
    for name in ("base", "cache_saa"):
        shutil.copytree(world / name, project / name)
    start = train_saa(saa_config(world, "start"))[0]
    shutil.copy(start, project / "SAA.bin")
    path = write_config(project / "saa.toml", saa_toml(Path("."), model='start_from = "SAA.bin"'))
    train_saa(changed(load_config(path, SAAConfig), run={"steps": 2}))
    for file in (project / "out").rglob("*"):
        assert file.is_dir() or str(project).encode() not in file.read_bytes(), file
    moved = project.rename(tmp_path / "elsewhere")
    assert load_config(moved / "out" / "config.toml", SAAConfig).base.model == moved / "base"
    train_saa(load_config(moved / "saa.toml", SAAConfig), resume=True)
    assert len(losses_of(moved / "out")) == 4


def test_a_damaged_checkpoint_names_the_remedy(world: Path):
    config = saa_config(world, "damaged")
    train_saa(config)
    _, folder = checkpoints(world / "damaged")[-1]
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(DynamicIDError, match="takes the one before"):
        train_saa(changed(config, run={"steps": 5}), resume=True)
    assert checkpoints(world / "damaged")
