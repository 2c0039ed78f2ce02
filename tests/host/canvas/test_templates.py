"""The workflow templates in ComfyUI's page: offered, opened with all their nodes, and laid out so that none overlap."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.host.browser import Canvas, frame_of

pytestmark = pytest.mark.server

FILES = sorted((Path(__file__).resolve().parents[3] / "workflows").glob("*.json"))
NOTES = ("Note", "MarkdownNote")
# So that Vue nodes are all on the screen: those outside are not built.
_SHOW_ALL = """
    const nodes = app.graph.nodes, right = Math.max(...nodes.map((n) => n.pos[0] + n.size[0]));
    const [left, top] = [0, 1].map((i) => Math.min(...nodes.map((n) => n.pos[i])));
    const bottom = Math.max(...nodes.map((n) => n.pos[1] + n.size[1]));
    const { clientWidth, clientHeight } = app.canvas.canvas, view = app.canvas.ds;
    view.scale = Math.min(clientWidth / (right - left + 200), clientHeight / (bottom - top + 400));
    view.offset = [100 - left, 150 - top];
    app.canvas.setDirty(true, true);
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_template_opens_with_all_its_nodes_and_none_overlap(
    empty: Canvas, design: str, file: Path, pictures: Path
) -> None:
    workflow = json.loads(file.read_text(encoding="utf-8"))
    empty.load(workflow)
    nodes = empty.run("return app.graph.nodes.map((n) => [n.id, n.type, !!n.constructor.nodeData || n.isVirtualNode]);")
    expected = {(str(node["id"]), node["type"]) for node in workflow["nodes"]}
    assert {(str(number), kind) for number, kind, _ in nodes} == expected
    assert all(known for *_, known in nodes)
    assert our_values(empty.saved()) == our_values(workflow)
    assert len(empty.prompt()) == sum(node["type"] not in NOTES for node in workflow["nodes"])

    empty.run(_SHOW_ALL)
    if design == "vue":
        empty.wait_until("app.graph.nodes.every((n) => document.querySelector(`[data-node-id='${n.id}']`))")
    empty.picture(pictures, f"template-{file.stem}-{design}-{empty.frontend}")
    frames = {f"{kind} {number}": frame_of(empty, number) for number, kind, _ in nodes}
    overlapping = [f"{one}, {other}" for one, other in combinations(frames, 2) if overlap(frames[one], frames[other])]
    assert not overlapping


def our_values(workflow: dict[str, Any]) -> dict[str, Any]:
    """What the widgets of the pack's nodes hold."""
    ours = (node for node in workflow["nodes"] if node["type"].startswith("DynamicID"))
    return {str(node["id"]): node.get("widgets_values") or [] for node in ours}


def overlap(one: list[float], other: list[float]) -> bool:
    """Whether two frames share more than an edge."""
    return all(max(one[i], other[i]) + 1 < min(one[i + 2], other[i + 2]) for i in range(2))


def test_templates_are_in_the_template_browser(page: Canvas, pictures: Path) -> None:
    page.clear()
    page.run("await app.extensionManager.command.execute('Comfy.BrowseTemplates');")
    page.page.get_by_text(re.compile("^DynamicID( für alle)?$")).first.click(timeout=30_000)
    for file in FILES:
        card = page.page.locator(f"[data-testid='template-workflow-{file.stem}']")
        card.wait_for(timeout=30_000)
        card.scroll_into_view_if_needed()
        page.page.wait_for_function(
            "(card) => [...card.querySelectorAll('img')].some((i) => i.naturalWidth > 100)", arg=card.element_handle()
        )
    page.picture(pictures, "templates")
    page.page.keyboard.press("Escape")
