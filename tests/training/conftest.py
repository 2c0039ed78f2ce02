"""One small world for all tests of the training."""

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from .small_world import (
    CountingAnalyzer,
    imr_config,
    saa_config,
    write_base,
    write_clip_vision,
    write_folder,
    write_people,
)


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
    _reset_accelerator()
    yield
    _reset_accelerator()


def _reset_accelerator() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/, vision/, photos/ and the finished stage 1 cache of ten photos."""
    from dynamicid.training.cache_saa import cache_saa

    root = tmp_path_factory.mktemp("world")
    write_base(root / "base")
    write_clip_vision(root / "vision")
    write_folder(root / "photos", 10)
    cache_saa(saa_config(root), CountingAnalyzer())
    return root


@pytest.fixture(scope="session")
def people(world: Path) -> Path:
    """The world with a trained stage 1 (trained/) and the finished stage 2 cache of five people."""
    from dynamicid.training.cache_imr import cache_imr
    from dynamicid.training.train_saa import train_saa

    train_saa(saa_config(world, "trained"))
    write_people(world / "people", people=5, photos=4)
    cache_imr(imr_config(world), CountingAnalyzer())
    return world
