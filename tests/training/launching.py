"""Commands of the pack in two processes, as accelerate starts them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
LAUNCH = (
    "-m accelerate.commands.launch --cpu --num_machines 1 --num_processes 2 --main_process_port 0 --mixed_precision no "
    "--dynamo_backend no --num_cpu_threads_per_process 1 -m dynamicid"
)


def launch_two(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``accelerate launch -m dynamicid <arguments>`` in two processes on the CPU (gloo)."""
    command = [sys.executable, *LAUNCH.split(), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
