"""The whole page with the pack in it: templates, a run, languages, themes, nothing left on the window."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.browser import Canvas, canvas
from tests.host.graphs import picture_of, write_inputs
from tests.host.server import Server

pytestmark = pytest.mark.server

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "workflows").glob("*.json"))


@pytest.fixture(scope="module")
def opened(server: Server, browser: Any) -> Iterator[Canvas]:
    write_inputs(server.base)
    # What a fresh ComfyUI brings and the templates point at.
    shutil.copy(server.base / "input" / "anna.png", server.base / "input" / "example.png")
    with canvas(browser, server) as tab:
        yield tab


@pytest.fixture
def tab(opened: Canvas) -> Iterator[Canvas]:
    """The page with an empty graph; no error may reach the console."""
    opened.errors.clear()
    opened.clear()
    yield opened
    assert not opened.errors


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_each_template_opens_with_all_its_nodes(tab: Canvas, file: Path) -> None:
    workflow = json.loads(file.read_text(encoding="utf-8"))
    tab.load(workflow)
    nodes = tab.run("return app.graph.nodes.map((n) => [n.id, n.type, !!n.constructor.nodeData || n.isVirtualNode]);")
    assert {(number, kind) for number, kind, _ in nodes} == {(node["id"], node["type"]) for node in workflow["nodes"]}
    assert all(known for *_, known in nodes)
    assert our_values(tab.saved()) == our_values(workflow)
    assert len(tab.prompt()) == sum(node["type"] not in ("Note", "MarkdownNote") for node in workflow["nodes"])


def our_values(workflow: dict[str, Any]) -> dict[int, Any]:
    """What the widgets of the pack's nodes hold."""
    ours = (node for node in workflow["nodes"] if node["type"].startswith("DynamicID"))
    return {node["id"]: node.get("widgets_values") or [] for node in ours}


def test_templates_are_in_the_template_browser(tab: Canvas, pictures: Path) -> None:
    tab.run("await app.extensionManager.command.execute('Comfy.BrowseTemplates');")
    tab.page.get_by_text("DynamicID für alle").first.click(timeout=30_000)
    for file in TEMPLATES:
        card = tab.page.locator(f"[data-testid='template-workflow-{file.stem}']")
        card.wait_for(timeout=30_000)
        card.scroll_into_view_if_needed()
        tab.page.wait_for_function(
            "(card) => [...card.querySelectorAll('img')].some((i) => i.naturalWidth > 100)", arg=card.element_handle()
        )
    tab.picture(pictures, "templates")
    tab.page.keyboard.press("Escape")


def test_a_picture_arrives_in_the_page(tab: Canvas) -> None:
    tab.run("await app.loadApiJson(argument, 'two people');", picture_of(["anna", "ben"]))
    tab.run("app.canvas.centerOnNode(app.graph.findNodesByType('PreviewImage')[0]);")
    tab.run("await app.queuePrompt(0, 1);")
    tab.page.wait_for_function(
        "() => window.comfyAPI.app.app.graph.findNodesByType('PreviewImage')[0]?.imgs?.[0]?.naturalWidth === 64",
        timeout=120_000,
    )


def test_the_widgets_are_found_in_an_api_file_too(tab: Canvas) -> None:
    """Files in the API format name widgets, not places: the boxes must arrive in the drawing."""
    api = {"1": {"class_type": "DynamicIDRegionEditor", "inputs": {"boxes": "[[0.1,0.1,0.3,0.5]]"}}}
    tab.run("await app.loadApiJson(argument, 'boxes');", api)
    tab.page.wait_for_selector(".dynamicid-editor [data-person='1'] > .place")
    node = tab.run("return app.graph.findNodesByType('DynamicIDRegionEditor')[0].id;")
    assert tab.prompt()[str(node)]["inputs"]["boxes"] == "[[0.1,0.1,0.3,0.5]]"


def test_nothing_is_left_on_the_window(tab: Canvas, server: Server, browser: Any) -> None:
    names = "() => Object.getOwnPropertyNames(window)"
    for node_type in ("DynamicIDRegionEditor", "DynamicIDMotionSliders"):
        tab.add(node_type)
    tab.page.wait_for_selector(".dynamicid-motion .dots")
    with_pack = set(tab.page.evaluate(names))
    with canvas(browser, server, blocked="**/extensions/DynamicID*/**") as plain:
        without_pack = set(plain.page.evaluate(names))
    assert not {name for name in with_pack - without_pack if not name.isdigit()}


def test_chinese_labels(server: Server, browser: Any, pictures: Path) -> None:
    with canvas(browser, server, **{"Comfy.Locale": "zh"}) as tab:
        tab.clear()
        editor = tab.add("DynamicIDRegionEditor", 300, 80)
        sliders = tab.add("DynamicIDMotionSliders", 760, 80)
        tab.page.wait_for_selector(".dynamicid-motion .dots")
        for node in (editor, sliders):
            title, labels = tab.run(
                "const n = app.graph.getNodeById(argument);"
                "return [n.title, n.inputs.map((i) => i.label ?? i.localized_name ?? i.name)];",
                node,
            )
            assert any("\u4e00" <= letter <= "\u9fff" for letter in title)
            assert all(any("\u4e00" <= letter <= "\u9fff" for letter in label) for label in labels)
        assert tab.page.locator("button[data-preset=happy]").inner_text() == "高兴"
        assert "拖动以画框" in tab.page.locator(".dynamicid-editor .dynamicid-note").inner_text()
        tab.picture(pictures, "chinese")
        assert not tab.errors


def test_light_theme(server: Server, browser: Any, pictures: Path) -> None:
    with canvas(browser, server, **{"Comfy.ColorPalette": "light"}) as tab:
        tab.clear()
        tab.add("DynamicIDRegionEditor", 300, 80)
        tab.add("DynamicIDMotionSliders", 760, 80)
        tab.page.wait_for_selector(".dynamicid-motion .dots")
        for selector in (".dynamicid-note", ".dynamicid-bar button"):
            assert contrast(tab, selector) >= 4.5
        tab.picture(pictures, "light")
        assert not tab.errors


def contrast(tab: Canvas, selector: str) -> float:
    """WCAG contrast of an element's text and the nearest background that is not transparent, or the node's own."""
    return tab.page.evaluate(
        """(selector) => {
            const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
            const light = (colour) => numbers(colour).slice(0, 3).map((v) => v / 255)
                .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const element = document.querySelector(selector);
            let behind = element;
            while (behind && numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
            const inNode = !behind || behind.contains(document.querySelector('canvas'));
            const probe = document.createElement('div');
            probe.style.color = LiteGraph.NODE_DEFAULT_BGCOLOR;
            document.body.append(probe);
            const back = inNode ? getComputedStyle(probe).color : getComputedStyle(behind).backgroundColor;
            const [a, b] = [light(getComputedStyle(element).color), light(back)].sort((x, y) => y - x);
            probe.remove();
            return (a + 0.05) / (b + 0.05);
        }""",
        selector,
    )
