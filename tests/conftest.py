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


@pytest.fixture(scope="session")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Packing:
    """The registry's command line, in a copy of this working tree."""
    return Packing(tmp_path_factory.mktemp("packing"))


@pytest.fixture(scope="session")
def packed(packing: Packing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the registry, unpacked."""
    return packing.unpack(tmp_path_factory.mktemp("packed"))
