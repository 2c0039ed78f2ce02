"""One small world for all tests of the training."""

from pathlib import Path

import pytest
import torch

from .small_world import CountingAnalyzer, saa_config, write_base, write_clip_vision, write_folder


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Networks of this size lose time to more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
