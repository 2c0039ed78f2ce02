"""Commands of the pack in two processes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
# What `accelerate launch` starts on several GPUs; on a machine without any it would start one process only.
LAUNCH = "-m torch.distributed.run --standalone --nproc_per_node 2 -m dynamicid"


def launch_two(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``python -m dynamicid <arguments>`` in two processes on the CPU (gloo)."""
    command = [sys.executable, *LAUNCH.split(), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
