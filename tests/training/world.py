"""The small world that the tests of the pipeline, the training and the tiny models share, made once a session."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/, vision/, photos/ and the finished stage 1 cache of ten photos."""
    from dynamicid.training.cache_saa import cache_saa

    from .small_world import CountingAnalyzer, saa_config, write_base, write_clip_vision, write_folder

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

    from .small_world import CountingAnalyzer, imr_config, saa_config, write_people

    train_saa(saa_config(world, "trained"))
    write_people(world / "people", people=5, photos=4)
    cache_imr(imr_config(world), CountingAnalyzer())
    return world
