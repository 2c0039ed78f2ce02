"""A ComfyUI newer than the newest tested one: one line in the log, and every node."""

import asyncio
import logging
from typing import Any

import pytest

from scripts._bootstrap import HOST_TAG


@pytest.fixture
def version(pack: Any) -> Any:
    """The module that knows the versions."""
    return pack.load("dynamicid.host.version")


def lines_about_the_host(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "is newer than" in record.getMessage()]


def test_the_pinned_host_is_the_newest_tested_one(version: Any) -> None:
    assert f"v{version.NEWEST_TESTED}" == HOST_TAG


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("0.33.1", True), ("0.34.0", True), ("v0.100.0", True), ("1.0.0-rc1", True),
        ("0.33.0", False), ("0.8.0", False), ("0.3.64", False), ("", False), ("unknown", False), ("1.0", False),
    ],
)  # fmt: skip
def test_versions_are_compared_by_number(version: Any, caplog: pytest.LogCaptureFixture, host: str, told: bool) -> None:
    with caplog.at_level(logging.INFO):
        version.note_newer_host(host)
    assert bool(lines_about_the_host(caplog)) == told


def test_a_newer_host_gets_one_line_and_every_node(
    pack: Any, version: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "HOST_VERSION", "99.1.0")
    with caplog.at_level(logging.INFO):
        extension = asyncio.run(pack.module.comfy_entrypoint())
        nodes = asyncio.run(extension.get_node_list())
    assert {node.GET_SCHEMA().node_id for node in nodes} == pack.nodes.keys()
    (line,) = lines_about_the_host(caplog)
    assert line.startswith("ComfyUI 99.1.0 is newer than")


def test_the_search_finds_nodes_by_other_words_where_the_host_knows_them(pack: Any) -> None:
    known = pack.load("nodes.types").known_options(search_aliases=[])
    for node in pack.nodes.values():
        assert bool(getattr(node.GET_SCHEMA(), "search_aliases", [])) == bool(known)
