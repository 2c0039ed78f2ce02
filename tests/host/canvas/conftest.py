"""ComfyUI's page for the canvas tests: the frontend that the host pins and the newest one, either design of nodes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts._bootstrap import SetupError
from scripts._frontend import newest_frontend
from tests.host.browser import Canvas, canvas, find_chromium, launch, set_design
from tests.host.clips import write_clip
from tests.host.conftest import HOST
from tests.host.graphs import pixels, write_inputs
from tests.host.server import Server
from tests.notes import NOTES

PINNED, NEWEST = FRONTENDS = ("pinned frontend", "newest frontend")
CROP_BOX = [120.0, 120.0, 392.0, 392.0]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A headless Chromium; its tests are skipped where there is none. Its event loop ends with the canvas tests."""
    from playwright.sync_api import sync_playwright

    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium found: install it or set CHROMIUM_PATH to run the canvas tests")
    with sync_playwright() as playwright:
        running = launch(playwright, executable)
        yield running
        running.close()


@pytest.fixture(scope="session")
def newest_server(server: Server, pytestconfig: pytest.Config) -> Iterator[Server]:
    """The same ComfyUI and folders, with the newest frontend of the package registry."""
    try:
        frontend = newest_frontend()
    except SetupError as error:
        note_version(pytestconfig, NEWEST, f"not run, {error}")
        pytest.skip(str(error))
    assert HOST is not None
    # A folder of its own for temporary files: a starting server empties it.
    options = ("--front-end-root", str(frontend.root), "--temp-directory", str(server.base / "newest"))
    with Server(HOST, server.base, *options) as running:
        yield running


@pytest.fixture(scope="package", params=FRONTENDS)
def page_server(request: pytest.FixtureRequest, server: Server) -> Server:
    """The server whose page is tested, with photos and faces to load. "anna" has a photo in her face file."""
    write_inputs(server.base)
    # What a fresh ComfyUI brings and the templates point at.
    shutil.copy(server.base / "input" / "anna.png", server.base / "input" / "example.png")
    write_clip(server.base / "input" / "clip.mp4", [pixels(server.base / "input" / "anna.png")] * 4, 24)
    write_crop(server.base / "input" / "dynamicid" / "faces" / "anna.safetensors", server.base / "input" / "anna.png")
    return request.getfixturevalue("newest_server") if request.param == NEWEST else server


def note_version(config: pytest.Config, frontend: str, version: str) -> None:
    """Says at the end of the run which frontend was tested."""
    config.stash[NOTES][f"Canvas tests, {frontend}"] = version


def write_crop(face: Path, photo: Path) -> None:
    """Adds a photo to a face file."""
    crop = torch.from_numpy(pixels(photo).copy())
    metadata = {"format": "dynamicid-face", "version": "1", "crop_box_xyxy": json.dumps(CROP_BOX)}
    save_file({**load_file(face), "crop": crop}, face, metadata=metadata)


@pytest.fixture(scope="package")
def page(page_server: Server, browser: Any, pytestconfig: pytest.Config) -> Iterator[Canvas]:
    """The page, open in one tab."""
    with canvas(browser, page_server) as tab:
        host = page_server.get("system_stats")["system"]["comfyui_version"]
        name = NEWEST if "--front-end-root" in page_server.command else PINNED
        note_version(pytestconfig, name, f"{tab.frontend} on ComfyUI {host}")
        yield tab


@pytest.fixture(scope="package", params=[False, True], ids=["classic nodes", "vue nodes"])
def design(request: pytest.FixtureRequest, page: Canvas) -> str:
    """The page's design of nodes: drawn on the canvas, or Vue components ("Nodes 2.0")."""
    set_design(page, request.param)
    return "vue" if request.param else "classic"


@pytest.fixture
def empty(page: Canvas, design: str) -> Iterator[Canvas]:
    """The page with an empty graph, in either design; no error may reach the console."""
    page.errors.clear()
    page.clear()
    yield page
    assert not page.errors


@pytest.fixture(scope="session")
def pictures(request: pytest.FixtureRequest) -> Path:
    """Where screenshots are kept: ``.pytest_cache/d/canvas``, written anew by every run."""
    folder = Path(request.config.cache.mkdir("canvas"))
    for old in folder.glob("*.png"):
        old.unlink()
    return folder
