"""ComfyUI's real page in a real Chromium, for the canvas tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, ViewportSize

from tests.host.server import Server

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WINDOW = ViewportSize(width=1500, height=1000)
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Workflow.WarnBlueprintOverwrite": False,
    "Comfy.VueNodes.Enabled": False,
    "Comfy.Locale": "en",
    "Comfy.ColorPalette": "dark",
}
START_MS = 120_000
FIRST_VUE_NODES = (1, 30)
# The host asks for files that a fresh user folder lacks, for help pages before it falls back to the English ones, and
# for services on the network. Older hosts do not know all that the newest page asks for: blueprints, cancelled jobs.
_HOST_NOISE = ("/api/userdata", "/api/jobs", "/api/global_subgraphs", "/user.css", "/favicon.ico", "/en.md")
# It looks for the models of its first workflow, which its own headers forbid, and reads its graph before it is there.
_HOST_MESSAGES = ("Content Security Policy", "graph accessed before initialization", "Failed to fetch jobs")
# The page restores its last workflow, or loads a first one, some time after its nodes are there.
_READY = """() => {
    const app = window.comfyAPI?.app?.app;
    return app?.vueAppReady && window.LiteGraph?.registered_node_types.DynamicIDApply
        && app.extensionManager.workflow.activeWorkflow?.changeTracker && app.canvas.graph;
}"""


# Outer HTML's beginning, left, top, right, bottom, and by how much the content is wider and higher than the element:
# of the widget with all that is in it, and of its direct children; what is not shown left out.
_MEASURE = """(selector) => [`${selector}, ${selector} *`, `${selector} > *`].map((wanted) =>
    [...document.querySelectorAll(wanted)]
        .filter((element) => element.getClientRects().length && !element.ownerSVGElement)
        .filter((element) => element.tagName !== "TEXTAREA")
        .map((element) => {
            const { x, y, right, bottom } = element.getBoundingClientRect();
            const clipped = [element.scrollWidth - element.clientWidth, element.scrollHeight - element.clientHeight];
            return [element.outerHTML.slice(0, 60), x, y, right, bottom, ...clipped];
        }))"""


def find_chromium() -> str | None:
    """CHROMIUM_PATH, or a Chromium on the PATH."""
    return os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, NAMES)), None)


def launch(playwright: Playwright, executable: str) -> Browser:
    """A headless browser."""
    return playwright.chromium.launch(executable_path=executable, args=SWITCHES)


class Canvas:
    """One tab with ComfyUI's page.

    ``errors`` collects what the console says in red, without what a bare ComfyUI says on this machine.
    """

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.errors: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)

    def _on_console(self, message: Any) -> None:
        address = message.location.get("url", "")
        of_the_host = address.startswith("http") and (
            f":{self.server.port}/" not in address or any(part in address for part in _HOST_NOISE)
        )
        of_the_host = of_the_host or any(part in message.text for part in _HOST_MESSAGES)
        if message.type == "error" and not of_the_host:
            self.errors.append(f"{message.text} ({address})")

    def _on_page_error(self, error: Any) -> None:
        # Frontend 1.27 stumbles over its own settings while it registers them.
        if "addSetting" not in (error.stack or ""):
            self.errors.append(str(error))

    def open(self) -> None:
        """Loads the page and waits until its graph is there."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}/")
        self.page.wait_for_function(_READY, timeout=START_MS)
        self.page.wait_for_timeout(500)

    @property
    def frontend(self) -> str:
        """The version of the page."""
        return self.run("return window.__COMFYUI_FRONTEND_VERSION__;")

    def run(self, script: str, argument: Any = None) -> Any:
        """``script`` is the body of a function of ``app`` and ``argument``; its JSON answer."""
        source = f"async (argument) => {{ const app = window.comfyAPI.app.app; {script} }}"
        return self.page.evaluate(source, argument)

    def wait_until(self, script: str, argument: Any = None, seconds: float = 20) -> None:
        """Waits until ``script``, an expression of ``app`` and ``argument``, is true."""
        source = f"(argument) => {{ const app = window.comfyAPI.app.app; return {script}; }}"
        self.page.wait_for_function(source, arg=argument, timeout=seconds * 1000)

    def wait_still(self) -> None:
        """Waits until the page no longer moves the graph under the pointer."""
        before = None
        for _ in range(50):
            view = self.run("return [app.canvas.ds.scale, ...app.canvas.ds.offset];")
            if view == before:
                return
            before = view
            self.page.wait_for_timeout(200)

    def clear(self) -> None:
        """An empty graph at full size. Ids go on from where they were: frontends keep values by id."""
        self.run(
            "const root = app.rootGraph ?? app.graph, last = root.state.lastNodeId; app.canvas.setGraph(root);"
            "app.clean(); root.clear(); root.state.lastNodeId = last; app.canvas.ds.reset();"
            "app.canvas.setDirty(true, true);"
        )

    def add(self, node_type: str, x: int = 300, y: int = 80) -> int:
        """A new node at a place; its id."""
        return self.run(
            "const node = LiteGraph.createNode(argument[0]); node.pos = argument.slice(1); app.graph.add(node);"
            "app.canvas.setDirty(true, true); return node.id;",
            [node_type, x, y],
        )

    def connect(self, source: int, output: int, target: int, input_name: str) -> None:
        """A wire."""
        self.run(
            "const [from, slot, to, name] = argument; const target = app.graph.getNodeById(to);"
            "app.graph.getNodeById(from).connect(slot, target, target.findInputSlot(name));",
            [source, output, target, input_name],
        )

    def widget(self, node: int, name: str) -> Any:
        """A widget's value."""
        return self.run(
            "return app.graph.getNodeById(argument[0]).widgets.find((w) => w.name === argument[1]).value;",
            [node, name],
        )

    def set_widget(self, node: int, name: str, value: Any) -> None:
        """Sets a value as a hand on the widget does."""
        self.run(
            "const widget = app.graph.getNodeById(argument[0]).widgets.find((w) => w.name === argument[1]);"
            "widget.value = argument[2]; widget.callback?.(argument[2]);",
            [node, name, value],
        )

    def zoom(self, scale: float) -> None:
        """Looks at the graph at another size."""
        self.run("app.canvas.ds.scale = argument; app.canvas.setDirty(true, true);", scale)
        self.page.wait_for_timeout(400)

    def load(self, workflow: dict[str, Any]) -> None:
        """Opens a saved workflow."""
        self.run("await app.loadGraphData(argument); app.canvas.setDirty(true, true);", workflow)
        self.page.wait_for_timeout(500)

    def saved(self) -> dict[str, Any]:
        """The workflow as the page would save it."""
        return self.run("return JSON.parse(JSON.stringify(app.graph.serialize()));")

    def prompt(self) -> dict[str, Any]:
        """The graph as the page would queue it."""
        return self.run("return (await app.graphToPrompt()).output;")

    def picture(self, folder: Path, name: str) -> Path:
        """A screenshot, kept as an artefact of the test."""
        self.page.wait_for_timeout(300)
        path = folder / f"{name}.png"
        self.page.screenshot(path=path)
        return path


def set_design(tab: Canvas, vue: bool) -> None:
    """Vue nodes, or nodes drawn on the canvas. Skips where the page's Vue nodes were still an experiment."""
    if vue and tuple(map(int, tab.frontend.split(".")[:2])) < FIRST_VUE_NODES:
        pytest.skip(f"frontend {tab.frontend} has no finished Vue nodes")
    tab.run("await app.extensionManager.setting.set('Comfy.VueNodes.Enabled', argument);", vue)
    tab.page.wait_for_timeout(300)


def frame_of(tab: Canvas, node: int) -> list[float]:
    """Left, top, right and bottom of a node on the screen, its title included."""
    return tab.run(
        "const element = LiteGraph.vueNodesMode && document.querySelector(`[data-node-id='${argument}']`);"
        "const box = element && element.getBoundingClientRect();"
        "if (box) return [box.x, box.y, box.right, box.bottom];"
        "const n = app.graph.getNodeById(argument), { scale, offset } = app.canvas.ds;"
        "const area = app.canvas.canvas.getBoundingClientRect(), top = n.pos[1] - LiteGraph.NODE_TITLE_HEIGHT;"
        "return [n.pos[0], top, n.pos[0] + n.size[0], n.pos[1] + n.size[1]]"
        ".map((v, i) => (v + offset[i % 2]) * scale + (i % 2 ? area.y : area.x));",
        node,
    )


def inside_its_node(tab: Canvas, node: int, selector: str) -> None:
    """Asserts that a widget lies inside its node's frame, nothing of it is clipped, and its parts don't overlap."""
    frame = frame_of(tab, node)
    parts, rows = tab.page.evaluate(_MEASURE, selector)
    assert len(rows) > 1
    for name, left, top, right, bottom, wide, high in parts:
        beyond = max(frame[0] - left, frame[1] - top, right - frame[2], bottom - frame[3])
        assert beyond <= 1, f"{name} reaches {beyond} pixels out of its node"
        assert max(wide, high) <= 2, f"{name} is clipped by {wide} x {high} pixels"
    for (*_, bottom, _, _), (name, _, top, *_) in pairwise(rows):
        assert top >= bottom - 1, f"{name} overlaps what is above it"


@contextmanager
def canvas(browser: Browser, server: Server, blocked: str | None = None, **settings: Any) -> Iterator[Canvas]:
    """A tab with the page open, under settings of its own; addresses that match ``blocked`` are not fetched."""
    for name, value in {**SETTINGS, **settings}.items():
        server.post(f"settings/{name}", value)
    context = browser.new_context(viewport=WINDOW, has_touch=True)
    try:
        page = context.new_page()
        if blocked is not None:
            page.route(blocked, lambda route: route.abort())
        tab = Canvas(page, server)
        tab.open()
        yield tab
    finally:
        context.close()
