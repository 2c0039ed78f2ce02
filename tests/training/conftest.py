"""One thread and a fresh Accelerate for every test of the training."""

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Networks of this size lose time to more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    """Accelerate keeps its number format and processes for the life of a process."""
    reset_accelerator()
    yield
    reset_accelerator()


def reset_accelerator() -> None:
    """As in a new process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
