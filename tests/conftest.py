"""Options of the test run, its two processes, and the package of the registry."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.notes import NOTES
from tests.registry_package import Packing

pytest_plugins = ("tests.training.world",)

TOGETHER = ("tests/curation/", "tests/host/canvas/")
"""Folders whose tests share what is slow to make: a curated world; a browser and two servers."""
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:
    # Set before torch is imported, and inherited by the servers: threads of processes that share the cores wait for
    # each other at every layer.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak-prompts",
        type=int,
        default=16,
        help="prompts of the soak test; 300 for the full run (default: 16)",
    )
    parser.addoption(
        "--fuzz-inputs",
        type=int,
        default=200,
        help="hostile inputs of each kind, some kinds get more or fewer; a million run for hours (default: 200)",
    )
    parser.addoption("--fuzz-first", type=int, default=0, help="number of the first hostile input (default: 0)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOTES] = {}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay in one process, and so do those of each folder in ``TOGETHER``."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((folder for folder in TOGETHER if file.startswith(folder)), file)

    # In the order of the collection: the longest files lie in its middle.
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["notes"] = session.config.stash[NOTES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[NOTES].update(getattr(node, "workeroutput", {}).get("notes", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for name, text in config.stash[NOTES].items():
        terminalreporter.write_line(f"{name}: {text}")


@pytest.fixture(scope="session")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Packing:
    """The registry's command line, in a copy of this working tree."""
    return Packing(tmp_path_factory.mktemp("packing"))


@pytest.fixture(scope="session")
def packed(packing: Packing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the registry, unpacked."""
    return packing.unpack(tmp_path_factory.mktemp("packed"))
