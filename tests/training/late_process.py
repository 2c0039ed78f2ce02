"""``python -m dynamicid`` where the first of several processes is late with their last common work.

Gloo's thread lets go of that work's tensor, which takes Python's lock, while the other processes end their training.
"""

import time

import torch
import torch.distributed
from accelerate import Accelerator

from dynamicid.cli.app import app

LATE_SECONDS = 3
_end_training = Accelerator.end_training


def _end_late(self: Accelerator) -> None:
    if self.is_main_process:
        time.sleep(LATE_SECONDS)
    work = torch.distributed.all_reduce(torch.ones(1), async_op=True)
    if self.is_main_process:
        assert work is not None
        work.wait()
    del work
    _end_training(self)


if __name__ == "__main__":
    Accelerator.end_training = _end_late
    app()
