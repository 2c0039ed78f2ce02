"""The region editor in ComfyUI's page: mouse, keyboard, touch, saving, running."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.browser import Canvas, NodeTab, canvas, inside_its_node, set_design
from tests.host.graphs import write_faces, write_photos
from tests.host.server import Server

pytestmark = pytest.mark.server

BOTH_DESIGNS = pytest.mark.parametrize("tab", [False, True], indirect=True, ids=["canvas nodes", "vue nodes"])
EDITOR = ".dynamicid-editor svg"


class EditorTab(NodeTab):
    """A tab with one region editor in it."""

    widget = "dynamicid-editor"

    @property
    def text(self) -> str:
        return self.canvas.widget(self.node, "boxes")

    @property
    def boxes(self) -> Any:
        return json.loads(self.text)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Screen pixels of a point in shares of the picture."""
        frame = self.page.locator(f"{EDITOR} .picture").bounding_box()
        assert frame is not None
        return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*self.place(*start))
        mouse.down()
        mouse.move(*self.place((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        mouse.move(*self.place(*end))
        mouse.up()

    def draw_two(self) -> None:
        self.drag((0.05, 0.1), (0.4, 0.9))
        self.drag((0.55, 0.2), (0.95, 0.8))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def button(self, number: int) -> Any:
        return self.page.locator(".dynamicid-editor .dynamicid-bar button").nth(number)


UNDO, REDO, SWAP, REMOVE = range(4)


@pytest.fixture(scope="module")
def opened(server: Server, browser: Any) -> Iterator[Canvas]:
    """The page, with face files to load."""
    write_faces(server.base / "input" / "dynamicid" / "faces")
    write_photos(server.base / "input")
    with canvas(browser, server) as tab:
        yield tab


@pytest.fixture
def tab(request: pytest.FixtureRequest, opened: Canvas) -> Iterator[EditorTab]:
    """An editor with two people connected, on the old canvas or with Vue nodes; no error may reach the console."""
    opened.errors.clear()
    set_design(opened, getattr(request, "param", False))
    opened.clear()
    node = opened.add("DynamicIDRegionEditor")
    for number, name in enumerate(("anna", "ben"), start=1):
        face = opened.add("DynamicIDLoadFace", 20, 100 * number)
        opened.set_widget(face, "name", name)
        opened.connect(face, 0, node, f"face_{number}")
    opened.page.wait_for_selector(EDITOR)
    opened.page.wait_for_timeout(500)
    yield EditorTab(opened, node)
    assert not opened.errors


def near(found: Any, expected: Any) -> bool:
    return len(found) == len(expected) and all(
        a is b if a is None or b is None else a == pytest.approx(b, abs=0.012)
        for a, b in zip(found, expected, strict=True)
    )


@BOTH_DESIGNS
def test_drawing_moving_and_resizing_with_the_mouse(tab: EditorTab) -> None:
    tab.draw_two()
    assert near(tab.boxes, [[0.05, 0.1, 0.35, 0.8], [0.55, 0.2, 0.4, 0.6]])
    tab.drag((0.75, 0.7), (0.70, 0.75))
    assert near(tab.boxes[1:], [[0.5, 0.25, 0.4, 0.6]])
    tab.drag((0.9, 0.85), (0.98, 0.95))
    assert near(tab.boxes[1:], [[0.5, 0.25, 0.48, 0.7]])
    tab.drag((0.2, 0.5), (-0.2, 0.2))
    assert near(tab.boxes[:1], [[0, 0, 0.35, 0.8]])


@BOTH_DESIGNS
def test_deleting_swapping_and_undoing(tab: EditorTab) -> None:
    tab.draw_two()
    first, second = tab.boxes
    tab.button(SWAP).click()
    assert tab.boxes == [second, first]
    tab.button(UNDO).click()
    assert tab.boxes == [first, second]
    tab.page.mouse.click(*tab.place(0.1, 0.5))
    tab.button(REMOVE).click()
    assert tab.boxes == [None, second]
    tab.button(UNDO).click()
    tab.button(UNDO).click()
    assert tab.boxes == [first]
    tab.button(REDO).click()
    tab.button(REDO).click()
    assert tab.boxes == [None, second]


def test_the_keyboard_does_all_of_it(tab: EditorTab) -> None:
    tab.draw_two()
    first, second = tab.boxes
    tab.press("Escape", "Tab", "ArrowRight", "Shift+ArrowDown")
    assert near(tab.boxes, [[0.06, 0.15, 0.35, 0.8], second])
    tab.press("Alt+ArrowLeft", "2")
    assert near(tab.boxes, [second, [0.06, 0.15, 0.34, 0.8]])
    tab.press("Delete")
    assert near(tab.boxes, [second])
    tab.press(*["Control+z"] * 5)
    assert tab.boxes == [first, second]
    tab.press("Control+Shift+z")
    assert near(tab.boxes, [[0.06, 0.1, 0.35, 0.8], second])


def test_a_finger_draws_as_well(tab: EditorTab) -> None:
    session = tab.page.context.new_cdp_session(tab.page)
    steps = {"touchStart": [(0.1, 0.1)], "touchMove": [(0.3, 0.4), (0.5, 0.6)], "touchEnd": []}
    for kind, points in steps.items():
        for point in points or [None]:
            touches = [] if point is None else [dict(zip("xy", tab.place(*point), strict=True))]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    assert near(tab.boxes, [[0.1, 0.1, 0.4, 0.5]])


def test_tiny_and_outside_strokes_draw_nothing_wrong(tab: EditorTab) -> None:
    tab.drag((0.5, 0.5), (0.505, 0.505))
    assert tab.boxes == []
    tab.drag((0.5, 0.5), (1.4, 1.3))
    assert near(tab.boxes, [[0.5, 0.5, 0.5, 0.5]])


def test_saving_loading_copying_and_the_prompt_keep_the_boxes(tab: EditorTab, opened: Canvas) -> None:
    tab.draw_two()
    kept = tab.text
    assert opened.prompt()[str(tab.node)]["inputs"]["boxes"] == kept
    workflow = opened.saved()
    opened.clear()
    opened.load(workflow)
    assert tab.text == kept
    assert tab.page.locator(f"{EDITOR} [data-person] > .place").count() == 2
    opened.run(
        "app.canvas.selectNodes([app.graph.getNodeById(argument)]); app.canvas.copyToClipboard();"
        "app.canvas.pasteFromClipboard();",
        tab.node,
    )
    values = opened.run("return app.graph.findNodesByType('DynamicIDRegionEditor').map((n) => n.widgets[0].value);")
    assert values == [kept, kept]


def test_a_reloaded_page_shows_the_same_boxes(tab: EditorTab, opened: Canvas) -> None:
    tab.draw_two()
    kept = tab.text
    opened.page.wait_for_timeout(1000)
    opened.open()
    opened.page.wait_for_selector(f"{EDITOR} [data-person]")
    assert opened.run("return app.graph.findNodesByType('DynamicIDRegionEditor').map((n) => n.widgets[0].value);") == [
        kept
    ]
    assert opened.page.locator(f"{EDITOR} [data-person] > .place").count() == 2


def test_a_script_that_writes_the_boxes_is_seen(tab: EditorTab, opened: Canvas) -> None:
    opened.set_widget(tab.node, "boxes", '[{"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}]')
    assert tab.page.locator(f"{EDITOR} [data-person] > .place").count() == 1
    opened.set_widget(tab.node, "boxes", "nonsense")
    assert "no list of boxes" in tab.note
    tab.page.locator(EDITOR).focus()
    tab.press("Tab")
    tab.drag((0.2, 0.2), (0.6, 0.6))
    assert near(tab.boxes, [[0.2, 0.2, 0.4, 0.4]])


def test_what_an_overlap_and_a_missing_person_mean_is_said(tab: EditorTab, pictures: Path) -> None:
    tab.drag((0.05, 0.1), (0.6, 0.9))
    tab.drag((0.62, 0.1), (0.95, 0.9))
    assert tab.page.locator(f"{EDITOR} .overlap").count() == 0
    tab.drag((0.8, 0.5), (0.6, 0.5))
    assert tab.page.locator(f"{EDITOR} .overlap[data-pair='1-2']").count() == 1
    assert "Where 1 and 2 overlap" in tab.note
    tab.canvas.picture(pictures, "overlap")
    tab.button(UNDO).click()
    tab.drag((0.05, 0.93), (0.3, 0.99))
    assert "connect face_3" in tab.note


def test_people_without_a_box_are_shown_where_they_will_be(tab: EditorTab) -> None:
    automatic = tab.page.locator(f"{EDITOR} .automatic")
    assert automatic.count() == 2
    tab.drag((0.6, 0.2), (0.9, 0.8))
    assert automatic.count() == 1
    assert "Person 2" in (automatic.locator("title").text_content() or "")


def test_the_picture_has_the_shape_of_the_latent(tab: EditorTab, opened: Canvas) -> None:
    apply = opened.add("DynamicIDApply", 800, 80)
    sampler = opened.add("KSampler", 1200, 80)
    latent = opened.add("EmptyLatentImage", 800, 600)
    opened.set_widget(latent, "width", 1024)
    opened.connect(tab.node, 0, apply, "regions")
    opened.connect(apply, 0, sampler, "model")
    opened.connect(latent, 0, sampler, "latent_image")
    opened.page.wait_for_timeout(700)
    frame = opened.page.locator(f"{EDITOR} .picture").bounding_box()
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(2, rel=0.02)
    opened.set_widget(latent, "height", 1024)
    opened.run("app.canvas.setDirty(true, true);")
    opened.page.wait_for_timeout(1000)
    opened.page.mouse.move(*tab.place(0.5, 0.5))
    frame = opened.page.locator(f"{EDITOR} .picture").bounding_box()
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(1, rel=0.02)


def test_the_picture_behind_gives_its_shape_and_is_shown(tab: EditorTab, opened: Canvas) -> None:
    photo = opened.add("LoadImage", 20, 400)
    opened.set_widget(photo, "image", "two.png")
    opened.connect(photo, 0, tab.node, "image")
    opened.page.wait_for_selector(f"{EDITOR} > image")
    opened.page.wait_for_timeout(700)
    frame = opened.page.locator(f"{EDITOR} .picture").bounding_box()
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(384 / 256, rel=0.02)


@BOTH_DESIGNS
def test_readable_at_full_and_half_size(tab: EditorTab, opened: Canvas, pictures: Path, server: Server) -> None:
    tab.draw_two()
    design = "vue" if opened.run("return LiteGraph.vueNodesMode;") else "canvas"
    for scale in (1.0, 0.5):
        opened.zoom(scale)
        inside_its_node(opened, tab.node, ".dynamicid-editor")
        opened.picture(pictures, f"regions-{design}-{scale:g}")


CONVERT = (
    "const nodes = argument.map((id) => app.graph.getNodeById(id));"
    "return app.graph.convertToSubgraph(new Set(nodes)).node.id;"
)


@BOTH_DESIGNS
@pytest.mark.parametrize("with_its_faces", [False, True], ids=["alone", "with its faces"])
def test_a_selection_becomes_a_subgraph(tab: EditorTab, opened: Canvas, with_its_faces: bool) -> None:
    """The page copies the nodes first: a copy has its wires' numbers, but lies in no graph."""
    tab.draw_two()
    kept = tab.text
    output = opened.add("PreviewImage", 800, 80)
    opened.run(
        "const [from, to] = argument.map((id) => app.graph.getNodeById(id)); from.connect(1, to, 0);",
        [tab.node, output],
    )
    faces = opened.run("return app.graph.findNodesByType('DynamicIDLoadFace').map((node) => node.id);")
    opened.run(CONVERT, [tab.node, *(faces if with_its_faces else [])])
    queued = [node["inputs"] for node in opened.prompt().values() if node["class_type"] == "DynamicIDRegionEditor"]
    assert [inputs["boxes"] for inputs in queued] == [kept]
    assert {"face_1", "face_2"} <= queued[0].keys()
