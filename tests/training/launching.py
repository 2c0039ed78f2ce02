"""Commands of the pack in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

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
