"""Options of the test run, and the package of the registry."""

from pathlib import Path

import pytest

from tests.registry_package import Packing

pytest_plugins = ("tests.training.world",)


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


@pytest.fixture(scope="session")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Packing:
    """The registry's command line, in a copy of this working tree."""
    return Packing(tmp_path_factory.mktemp("packing"))


@pytest.fixture(scope="session")
def packed(packing: Packing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the registry, unpacked."""
    return packing.unpack(tmp_path_factory.mktemp("packed"))
