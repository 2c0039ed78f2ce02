"""The region editor in ComfyUI's page: mouse, keyboard, touch, saving, running."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.host.browser import Canvas, inside_its_node
from tests.host.canvas.widgets import REDO, REMOVE, SWAP, UNDO, Editor, near
from tests.host.graphs import Graph
from tests.host.server import PromptFailed, Server

pytestmark = pytest.mark.server

MUTED, BYPASSED = 2, 4
# Longer than the page needs to answer a key a second time.
A_WHILE_MS = 700


@pytest.fixture
def editor(empty: Canvas) -> Editor:
    """An editor with two people connected."""
    return Editor.with_people(empty, "anna", "ben")


def test_drawing_moving_and_resizing_with_the_mouse(editor: Editor) -> None:
    editor.draw_two()
    assert near(editor.boxes, [[0.05, 0.1, 0.35, 0.8], [0.55, 0.2, 0.4, 0.6]])
    editor.drag((0.75, 0.7), (0.70, 0.75))
    assert near(editor.boxes[1:], [[0.5, 0.25, 0.4, 0.6]])
    editor.drag((0.9, 0.85), (0.98, 0.95))
    assert near(editor.boxes[1:], [[0.5, 0.25, 0.48, 0.7]])
    editor.drag((0.2, 0.5), (-0.2, 0.2))
    assert near(editor.boxes[:1], [[0, 0, 0.35, 0.8]])


def test_deleting_swapping_and_undoing(editor: Editor) -> None:
    editor.draw_two()
    first, second = editor.boxes
    editor.button(SWAP).click()
    assert editor.boxes == [second, first]
    editor.button(UNDO).click()
    assert editor.boxes == [first, second]
    editor.page.mouse.click(*editor.place(0.1, 0.5))
    editor.button(REMOVE).click()
    assert editor.boxes == [None, second]
    editor.button(UNDO).click()
    editor.button(UNDO).click()
    assert editor.boxes == [first]
    editor.button(REDO).click()
    editor.button(REDO).click()
    assert editor.boxes == [None, second]


def test_the_keyboard_does_all_of_it(editor: Editor) -> None:
    editor.draw_two()
    first, second = editor.boxes
    editor.press("Escape", "Tab", "ArrowRight", "Shift+ArrowDown")
    assert near(editor.boxes, [[0.06, 0.15, 0.35, 0.8], second])
    editor.press("Alt+ArrowLeft", "2")
    assert near(editor.boxes, [second, [0.06, 0.15, 0.34, 0.8]])
    editor.press("Delete")
    assert near(editor.boxes, [second])
    editor.press(*["Control+z"] * 5)
    assert editor.boxes == [first, second]
    editor.press("Control+Shift+z")
    assert near(editor.boxes, [[0.06, 0.1, 0.35, 0.8], second])


def test_one_key_undoes_one_change(editor: Editor) -> None:
    """The page must not undo the same change a second time."""
    editor.draw_two()
    first, _ = editor.boxes
    editor.press("Control+z")
    editor.page.wait_for_timeout(A_WHILE_MS)
    assert editor.boxes == [first]
    assert editor.canvas.run("return app.graph.nodes.length;") == 3


def test_the_page_undoes_a_box_while_something_else_has_the_keyboard(editor: Editor) -> None:
    editor.drag((0.05, 0.1), (0.4, 0.9))
    one = editor.text
    editor.drag((0.55, 0.2), (0.95, 0.8))
    editor.page.evaluate("document.activeElement.blur()")
    editor.press("Control+z")
    editor.canvas.wait_until(
        "app.graph.findNodesByType('DynamicIDRegionEditor')[0]?.widgets[0].value === argument", one
    )


def test_a_finger_draws_as_well(editor: Editor) -> None:
    session = editor.page.context.new_cdp_session(editor.page)
    steps = {"touchStart": [(0.1, 0.1)], "touchMove": [(0.3, 0.4), (0.5, 0.6)], "touchEnd": []}
    for kind, points in steps.items():
        for point in points or [None]:
            touches = [] if point is None else [dict(zip("xy", editor.place(*point), strict=True))]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    assert near(editor.boxes, [[0.1, 0.1, 0.4, 0.5]])


def test_tiny_and_outside_strokes_draw_nothing_wrong(editor: Editor) -> None:
    editor.drag((0.5, 0.5), (0.505, 0.505))
    assert editor.boxes == []
    editor.drag((0.5, 0.5), (1.4, 1.3))
    assert near(editor.boxes, [[0.5, 0.5, 0.5, 0.5]])


def test_saving_loading_and_copying_keep_the_boxes(editor: Editor) -> None:
    editor.draw_two()
    kept, canvas = editor.text, editor.canvas
    workflow = canvas.saved()
    canvas.clear()
    canvas.load(workflow)
    assert editor.text == kept
    editor.people(2)
    canvas.run(
        "app.canvas.selectNodes([app.graph.getNodeById(argument)]); app.canvas.copyToClipboard();"
        "app.canvas.pasteFromClipboard();",
        editor.node,
    )
    values = canvas.run("return app.graph.findNodesByType('DynamicIDRegionEditor').map((n) => n.widgets[0].value);")
    assert values == [kept, kept]


def test_a_script_that_writes_the_boxes_is_seen(editor: Editor) -> None:
    editor.canvas.set_widget(editor.node, "boxes", '[{"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}]')
    assert editor.find("[data-person] > .place").count() == 1
    editor.canvas.set_widget(editor.node, "boxes", "nonsense")
    assert "no list of boxes" in editor.note
    editor.find("svg").focus()
    editor.press("Tab")
    editor.drag((0.2, 0.2), (0.6, 0.6))
    assert near(editor.boxes, [[0.2, 0.2, 0.4, 0.4]])


def test_what_an_overlap_and_a_missing_person_mean_is_said(editor: Editor, pictures: Path) -> None:
    editor.drag((0.05, 0.1), (0.6, 0.9))
    editor.drag((0.62, 0.1), (0.95, 0.9))
    assert editor.find(".overlap").count() == 0
    editor.drag((0.8, 0.5), (0.6, 0.5))
    assert editor.find(".overlap[data-pair='1-2']").count() == 1
    assert "Where 1 and 2 overlap" in editor.note
    editor.canvas.picture(pictures, "overlap")
    editor.button(UNDO).click()
    editor.drag((0.05, 0.93), (0.3, 0.99))
    assert "connect face_3" in editor.note


def test_people_without_a_box_are_shown_where_they_will_be(editor: Editor) -> None:
    automatic = editor.find(".automatic")
    assert automatic.count() == 2
    editor.drag((0.6, 0.2), (0.9, 0.8))
    assert automatic.count() == 1
    assert "Person 2" in (automatic.locator("title").text_content() or "")


def test_the_picture_has_the_shape_of_the_latent(editor: Editor) -> None:
    """Nothing but the latent's own widget hears of the change, and the mouse stays away."""
    canvas = editor.canvas
    apply, sampler = canvas.add("DynamicIDApply", 800, 80), canvas.add("KSampler", 1200, 80)
    latent = canvas.add("EmptyLatentImage", 800, 600)
    canvas.set_widget(latent, "width", 1024)
    canvas.connect(editor.node, 0, apply, "regions")
    canvas.connect(apply, 0, sampler, "model")
    canvas.connect(latent, 0, sampler, "latent_image")
    until(lambda: editor.proportions == pytest.approx(2, rel=0.02), editor)
    canvas.set_widget(latent, "height", 1024)
    until(lambda: editor.proportions == pytest.approx(1, rel=0.02), editor)


def test_the_picture_behind_gives_its_shape_and_is_shown(editor: Editor) -> None:
    photo = editor.canvas.add("LoadImage", 20, 500)
    editor.canvas.set_widget(photo, "image", "two.png")
    editor.canvas.connect(photo, 0, editor.node, "image")
    editor.find("svg > image[href*='two.png']").wait_for()
    until(lambda: editor.proportions == pytest.approx(384 / 256, rel=0.02), editor)
    editor.canvas.set_widget(photo, "image", "anna.png")
    editor.find("svg > image[href*='anna.png']").wait_for()
    until(lambda: editor.proportions == pytest.approx(1, rel=0.02), editor)


def until(is_so: Any, editor: Editor) -> None:
    """Waits for something that the drawing notices by itself."""
    for _ in range(150):
        if is_so():
            return
        editor.page.wait_for_timeout(100)
    assert is_so()


@pytest.mark.parametrize("mode", [MUTED, BYPASSED], ids=["muted", "bypassed"])
def test_person_1_may_be_muted_or_bypassed(editor: Editor, page_server: Server, mode: int) -> None:
    # Places that no test has run yet: older hosts do not show again what they have in the cache.
    editor.canvas.set_widget(editor.node, "boxes", f"[[0.1,0.1,0.3,{random.random():.4f}],[0.6,0.2,0.3,0.6]]")
    loader = editor.canvas.run(
        "const [face] = app.graph.findNodesByType('DynamicIDLoadFace'); face.mode = argument; return face.id;", mode
    )
    editor.says("Box 1 waits for a person")
    assert editor.find(".waiting").count() == 1
    preview = editor.canvas.add("PreviewImage", 900, 80)
    editor.canvas.connect(editor.node, 1, preview, "images")
    prompt = editor.canvas.prompt()
    assert str(loader) not in prompt
    people = page_server.run(prompt)["outputs"][str(editor.node)]["dynamicid_people"]
    assert [entry["person"] for entry in people] == [2]


def test_nobody_at_all_is_said(page_server: Server) -> None:
    graph = Graph()
    graph.look(graph.add("DynamicIDRegionEditor", boxes="[]"))
    with pytest.raises(PromptFailed, match=r"face_1: No person is connected\. Connect a face to at least one"):
        page_server.run(graph)


def test_the_properties_panel_leaves_the_width(editor: Editor) -> None:
    toggle = editor.page.get_by_role("button", name="Toggle properties panel")
    if not toggle.count():
        pytest.skip(f"frontend {editor.canvas.frontend} has no properties panel")
    before = editor.frame("svg")
    editor.canvas.run("app.canvas.selectNode(app.graph.getNodeById(argument));", editor.node)
    toggle.click()
    panel = editor.page.get_by_test_id("properties-panel")
    # The panel opens at the tab that was open last.
    panel.get_by_role("tab", name="Parameters").click()
    panel.get_by_text("boxes", exact=True).wait_for()
    editor.page.wait_for_timeout(300)
    toggle.click()
    editor.canvas.run("app.canvas.setDirty(true, true);")
    editor.page.wait_for_timeout(300)
    assert editor.frame("svg") == before


def test_readable_at_full_and_half_size(editor: Editor, design: str, pictures: Path) -> None:
    editor.draw_two()
    for scale in (1.0, 0.5):
        editor.canvas.zoom(scale)
        inside_its_node(editor.canvas, editor.node, ".dynamicid-editor")
        editor.canvas.picture(pictures, f"regions-{design}-{editor.canvas.frontend}-{scale:g}")
