"""Options of the test run."""

import pytest

pytest_plugins = ("tests.training.world",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak-prompts",
        type=int,
        default=16,
        help="prompts of the soak test; 300 for the full run (default: 16)",
    )
