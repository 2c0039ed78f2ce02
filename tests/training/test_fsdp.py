"""Training with weights in pieces: two processes under FSDP compute what one process computes."""

import subprocess
from pathlib import Path

import pytest

from dynamicid.training.train_imr import train_imr
from dynamicid.training.train_saa import train_saa

from .launching import ENVIRONMENT, assert_same_run, launch_two
from .small_world import imr_config, imr_toml, saa_config, saa_toml, write_config

# What `accelerate config` asks about FSDP, as `accelerate launch` hands it over.
SHARDED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "NO_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}
PROGRAM = "-m tests.training.fsdp_on_cpu"
AVERAGED = "ema_decay = 0.5"

pytestmark = pytest.mark.slow


def launch_sharded(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return launch_two(*arguments, program=PROGRAM, environment={**ENVIRONMENT, **SHARDED, **environment})


def test_stage_1_with_its_average_and_samples_goes_on_from_a_checkpoint(world: Path):
    train_saa(saa_config(world, "unsharded", optimizer=AVERAGED))
    text = saa_toml(world, "sharded", optimizer=AVERAGED, run="sample_every = 2")
    path = write_config(world / "sharded.toml", text.replace("steps = 4", "steps = 2"))
    done = launch_sharded("train", "saa", "--config", path)
    assert done.returncode == 0, done.stdout + done.stderr
    shards = list((world / "sharded" / "checkpoints" / "step-00000002").glob("pytorch_model_fsdp_0/*.distcp"))
    assert len(shards) == 2
    done = launch_sharded("train", "saa", "--resume", "--config", write_config(path, text))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_run(world / "unsharded", world / "sharded", tolerance=5e-4)


def test_stage_2(people: Path):
    train_imr(imr_config(people, "imr_unsharded"))
    path = write_config(people / "imr_sharded.toml", imr_toml(people, "imr_sharded", run="sample_every = 2"))
    done = launch_sharded("train", "imr", "--config", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_run(people / "imr_unsharded", people / "imr_sharded", tolerance=5e-4)


def test_the_first_version_of_fsdp_is_refused(world: Path):
    path = write_config(world / "first.toml", saa_toml(world, "first"))
    done = launch_sharded("train", "saa", "--config", path, FSDP_VERSION="1")
    assert done.returncode != 0
    assert "FSDP is set to version 1. Set 'fsdp_version: 2'" in done.stdout + done.stderr
