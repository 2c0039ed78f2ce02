"""Commands of the pack in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from .small_world import terms_of

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
TIMEOUT_SECONDS = 300
# What `accelerate launch` starts on several GPUs; on a machine without any it would start one process only.
LAUNCH = "-m torch.distributed.run --standalone --nproc_per_node 2"
COMMANDS = "-m dynamicid"


def launch_two(
    *arguments: object, program: str = COMMANDS, environment: dict[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    """``python <program> <arguments>`` in two processes on the CPU (gloo), which end with this function."""
    command = [sys.executable, *LAUNCH.split(), *program.split(), *map(str, arguments)]
    pipe = subprocess.PIPE
    launcher = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        output, errors = launcher.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        for process in [*psutil.Process(launcher.pid).children(recursive=True), launcher]:
            process.kill()
        raise
    return subprocess.CompletedProcess(command, launcher.returncode, output, errors)


def assert_same_run(one: Path, two: Path, tolerance: float = 1e-5) -> None:
    """All loss terms and all exported tensors of two runs."""
    assert [*map(list, map(dict.values, terms_of(one)))] == [
        pytest.approx(list(terms.values()), abs=tolerance) for terms in terms_of(two)
    ]
    (file,) = (one / "weights").glob("*.safetensors")
    tensors, others = (load_file(run / "weights" / file.name) for run in (one, two))
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.allclose(tensor, others[name], rtol=0, atol=tolerance), name
