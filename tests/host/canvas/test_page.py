"""The whole page with the pack in it: a run, a reload, help, languages, themes, nothing left on the window."""

from pathlib import Path
from typing import Any

import pytest

from tests.host.browser import Canvas, canvas
from tests.host.canvas.widgets import Editor, Sliders
from tests.host.graphs import picture_of
from tests.host.server import Server

pytestmark = pytest.mark.server

BOXES = "[[0.1,0.1,0.3,0.5]]"
NODES_WITH_WIDGETS = ("DynamicIDRegionEditor", "DynamicIDMotionSliders")


@pytest.fixture
def tab(page: Canvas) -> Any:
    """The page with an empty graph, in whatever design it has; no error may reach the console."""
    page.errors.clear()
    page.clear()
    yield page
    assert not page.errors


def test_a_picture_arrives_in_the_page(tab: Canvas) -> None:
    tab.run("await app.loadApiJson(argument, 'two people');", picture_of(["anna", "ben"]))
    tab.run("app.canvas.centerOnNode(app.graph.findNodesByType('PreviewImage')[0]);")
    tab.run("await app.queuePrompt(0, 1);")
    tab.wait_until("app.graph.findNodesByType('PreviewImage')[0]?.imgs?.[0]?.naturalWidth === 64", seconds=120)


def test_the_widgets_are_found_in_an_api_file_too(tab: Canvas) -> None:
    """Files in the API format name widgets, not places: the boxes must arrive in the drawing."""
    tab.run(
        "await app.loadApiJson(argument, 'boxes');",
        {"1": {"class_type": "DynamicIDRegionEditor", "inputs": {"boxes": BOXES}}},
    )
    editor = Editor(tab, tab.run("return app.graph.findNodesByType('DynamicIDRegionEditor')[0].id;"))
    editor.find("[data-person='1'] > .place").wait_for()
    assert editor.text == BOXES


def test_after_a_reload_boxes_are_there_and_a_cached_run_brings_the_photos(tab: Canvas, page_server: Server) -> None:
    editor = Editor.with_people(tab, "anna")
    editor.drag((0.2, 0.2), (0.6, 0.8))
    kept = editor.text
    sliders = Sliders(tab, tab.add("DynamicIDMotionSliders", 800, 80))
    tab.connect(tab.run("return app.graph.findNodesByType('DynamicIDLoadFace')[0].id;"), 0, sliders.node, "face")
    for widget in (editor, sliders):
        tab.connect(widget.node, 1, tab.add("PreviewImage", 1250, 80), "images")
    tab.run("await app.queuePrompt(0, 1);")
    photos = [widget.find("svg image[href*='/dynamicid/people/']") for widget in (editor, sliders)]
    for photo in photos:
        photo.wait_for(timeout=60_000)

    tab.page.wait_for_timeout(1000)
    tab.open()
    editor.people(1)
    assert editor.text == kept
    sliders.says("in a neutral expression")
    information = [page_server.get(f"object_info/{kind}")[kind] for kind in NODES_WITH_WIDGETS]
    if any("has_intermediate_output" not in info for info in information):
        return
    assert all(info["has_intermediate_output"] is True for info in information)
    tab.run("await app.queuePrompt(0, 1);")
    for photo in photos:
        photo.wait_for(timeout=60_000)


def test_help_fits_into_the_properties_panel(tab: Canvas, pictures: Path) -> None:
    node = tab.add("DynamicIDRegionsFromImage", 500, 200)
    tab.run("app.canvas.selectNode(app.graph.getNodeById(argument)); app.canvas.setDirty(true, true);", node)
    button = tab.page.locator("[data-testid=info-button]")
    try:
        button.wait_for(state="attached", timeout=3000)
    except Exception:
        pytest.skip(f"frontend {tab.frontend} shows help elsewhere")
    button.dispatch_event("click")
    page = tab.page.locator(".node-help-content", has_text="No person is connected")
    page.wait_for()
    tab.picture(pictures, f"help-{tab.frontend}")
    cut = page.evaluate(
        "(page) => [...page.querySelectorAll('*')].filter((e) => e.scrollWidth > e.clientWidth + 1"
        " && getComputedStyle(e).display !== 'inline').map((e) => e.outerHTML.slice(0, 80))"
    )
    toggle = tab.page.get_by_role("button", name="Toggle properties panel")
    if toggle.count():
        toggle.click()
    else:
        button.dispatch_event("click")
    assert not cut


def test_nothing_is_left_on_the_window(tab: Canvas, page_server: Server, browser: Any) -> None:
    names = "() => Object.getOwnPropertyNames(window)"
    for node_type in NODES_WITH_WIDGETS:
        tab.add(node_type)
    tab.page.wait_for_selector(".dynamicid-motion .dots")
    with_pack = set(tab.page.evaluate(names))
    with canvas(browser, page_server, blocked="**/extensions/DynamicID*/**") as plain:
        without_pack = set(plain.page.evaluate(names))
    assert not {name for name in with_pack - without_pack if not name.isdigit()}


def test_chinese_labels_in_a_light_theme(page_server: Server, browser: Any, pictures: Path) -> None:
    settings = {"Comfy.Locale": "zh", "Comfy.ColorPalette": "light"}
    with canvas(browser, page_server, **settings) as tab:
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
        for selector in (".dynamicid-note", ".dynamicid-bar button"):
            assert contrast(tab, selector) >= 4.5
        tab.picture(pictures, f"chinese-light-{tab.frontend}")
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
