"""Both widgets inside a subgraph, and promoted onto its node in the graph around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host.browser import Canvas, inside_its_node
from tests.host.canvas.widgets import Editor, Sliders, near

pytestmark = pytest.mark.server

BOX = "[[0.1,0.1,0.3,0.8]]"
_CONVERT = (
    "const nodes = argument.map((id) => app.graph.getNodeById(id));"
    "return app.graph.convertToSubgraph(new Set(nodes)).node.id;"
)
_OPEN = "const host = app.graph.getNodeById(argument); app.canvas.openSubgraph(host.subgraph, host);"
# As the page does it: an input of the subgraph, wired to the widget's own.
_PROMOTE = """
    const [host, name] = argument, graph = app.graph.getNodeById(host).subgraph;
    const inner = graph.nodes.find((node) => node.inputs.some((input) => input.widget?.name === name));
    const slot = inner.inputs.find((input) => input.widget?.name === name);
    graph.addInput(name, slot.type).connect(slot, inner);
    app.graph.getNodeById(host).pos = [560, 80];
    app.canvas.setDirty(true, true);
"""
_DEMOTE = """
    const [host, name] = argument, graph = app.graph.getNodeById(host).subgraph;
    graph.removeInput(graph.inputs.find((input) => input.name === name));
    app.canvas.setDirty(true, true);
"""


def convert(page: Canvas, *nodes: int) -> int:
    """Moves nodes into a new subgraph; the id of its node."""
    return page.run(_CONVERT, list(nodes))


def enter(page: Canvas, host: int) -> None:
    """Opens the subgraph of a node."""
    page.run(_OPEN, host)
    page.page.wait_for_timeout(300)
    page.wait_still()


def faces(page: Canvas) -> list[int]:
    return page.run("return app.graph.findNodesByType('DynamicIDLoadFace').map((node) => node.id);")


@pytest.fixture
def editor(empty: Canvas) -> Editor:
    """An editor with two people; the first one's face is encoded from a photo, for a latent of 1024 x 512."""
    editor = Editor.with_people(empty, "anna", "ben")
    photo, encode = empty.add("LoadImage", 20, 500), empty.add("DynamicIDEncodeFace", 300, 500)
    empty.set_widget(photo, "image", "two.png")
    empty.connect(photo, 0, encode, "image")
    empty.connect(encode, 0, editor.node, "face_1")
    apply, sampler = empty.add("DynamicIDApply", 900, 80), empty.add("KSampler", 1200, 80)
    latent = empty.add("EmptyLatentImage", 900, 600)
    empty.set_widget(latent, "width", 1024)
    empty.connect(editor.node, 0, apply, "regions")
    empty.connect(apply, 0, sampler, "model")
    empty.connect(latent, 0, sampler, "latent_image")
    return editor


@pytest.mark.parametrize("with_its_faces", [False, True], ids=["alone", "with its faces"])
def test_a_selection_becomes_a_subgraph(empty: Canvas, with_its_faces: bool) -> None:
    """The page copies the nodes first: a copy has its wires' numbers, but lies in no graph."""
    editor = Editor.with_people(empty, "anna", "ben")
    editor.draw_two()
    kept = editor.text
    empty.connect(editor.node, 1, empty.add("PreviewImage", 800, 80), "images")
    convert(empty, editor.node, *(faces(empty) if with_its_faces else []))
    assert editor.text == kept
    (queued,) = [node for node in empty.prompt().values() if node["class_type"] == "DynamicIDRegionEditor"]
    assert {"face_1", "face_2"} <= queued["inputs"].keys()


def test_inside_a_subgraph_the_editor_sees_what_lies_around_it(editor: Editor) -> None:
    """People and their photos through the subgraph's inputs, the latent's size through its outputs."""
    page = editor.canvas
    enter(page, convert(page, editor.node))
    editor.people(2)
    assert editor.find(".automatic image[href*='two.png']").count() == 1
    assert editor.proportions == pytest.approx(2, rel=0.02)
    editor.drag((0.1, 0.1), (0.4, 0.9))
    assert near(editor.boxes, [[0.1, 0.1, 0.3, 0.8]])
    assert "connect face_1" not in editor.note


def test_from_outside_the_editor_sees_into_subgraphs(editor: Editor) -> None:
    """A photo's loader and encoder, and Apply with its sampler and latent, each in a subgraph."""
    page = editor.canvas
    kinds = [["LoadImage", "DynamicIDEncodeFace"], ["DynamicIDApply", "KSampler", "EmptyLatentImage"]]
    for types in kinds:
        convert(
            page, *page.run("return argument.flatMap((t) => app.graph.findNodesByType(t).map((n) => n.id));", types)
        )
    page.page.wait_for_timeout(700)
    editor.people(2)
    assert editor.find(".automatic image[href*='two.png']").count() == 1
    assert editor.proportions == pytest.approx(2, rel=0.02)


def test_the_editor_is_promoted(editor: Editor, design: str, pictures: Path) -> None:
    page = editor.canvas
    page.set_widget(editor.node, "boxes", BOX)
    host = convert(page, editor.node)
    page.run(_PROMOTE, [host, "boxes"])
    editor.people(2)
    assert editor.find("image[href*='two.png']").count() == 1
    assert editor.proportions == pytest.approx(2, rel=0.02)
    editor.drag((0.6, 0.2), (0.9, 0.8))
    assert near(editor.boxes, [[0.1, 0.1, 0.3, 0.8], [0.6, 0.2, 0.3, 0.6]])
    editor.press("Control+z")
    editor.page.wait_for_timeout(700)
    assert editor.text == BOX
    editor.press("Control+Shift+z")
    kept = editor.text
    assert near(editor.boxes, [[0.1, 0.1, 0.3, 0.8], [0.6, 0.2, 0.3, 0.6]])
    inside_its_node(page, host, ".dynamicid-editor")
    page.picture(pictures, f"promoted-editor-{design}-{page.frontend}")

    workflow = page.saved()
    page.clear()
    page.load(workflow)
    editor.people(2)
    assert editor.text == kept
    host = page.run("return app.graph.nodes.find((node) => node.isSubgraphNode?.()).id;")
    inside_its_node(page, host, ".dynamicid-editor")

    page.run(_DEMOTE, [host, "boxes"])
    editor.shown.wait_for(state="hidden")


def test_two_nodes_of_one_subgraph_have_their_own_boxes(editor: Editor) -> None:
    page = editor.canvas
    host = convert(page, editor.node)
    page.run(_PROMOTE, [host, "boxes"])
    editor.people(2)
    if page.run("return app.graph.getNodeById(argument).widgets.some((w) => w.name === 'boxes' && w.element);", host):
        pytest.skip(f"frontend {page.frontend} keeps one value for all nodes of a subgraph")
    page.run(
        "const host = app.graph.getNodeById(argument), other = LiteGraph.createNode(host.type);"
        "other.pos = [560, 700]; app.graph.add(other); app.canvas.ds.offset[1] = -300;"
        "app.canvas.setDirty(true, true);",
        host,
    )
    editor.shown.nth(1).wait_for()
    for number, start in enumerate([(0.1, 0.1), (0.5, 0.5)]):
        picture = editor.shown.nth(number).locator("svg .picture").bounding_box()
        assert picture is not None
        points = [(picture["x"] + (x + d) * picture["width"], picture["y"] + (y + d) * picture["height"])
                  for (x, y), d in ((start, 0), (start, 0.4))]  # fmt: skip
        editor.page.mouse.move(*points[0])
        editor.page.mouse.down()
        editor.page.mouse.move(*points[1], steps=3)
        editor.page.mouse.up()
    queued = [n["inputs"]["boxes"] for n in page.prompt().values() if n["class_type"] == "DynamicIDRegionEditor"]
    assert len(queued) == 2
    assert len(set(queued)) == 2


def test_the_sliders_and_their_preview_are_promoted(empty: Canvas, design: str, pictures: Path) -> None:
    sliders = Sliders.new(empty)
    host = convert(empty, sliders.node)
    for name in ("yaw", "smile", "dynamicid_preview"):
        empty.run(_PROMOTE, [host, name])
    sliders.says("in a neutral expression, in front view")
    empty.set_widget(host, "yaw", 40)
    sliders.says("in side view")
    sliders.preset("happy")
    sliders.says("in a happy expression")
    (queued,) = [node["inputs"] for node in empty.prompt().values()]
    assert queued["yaw"] == 40
    assert queued["smile"] > 0
    assert queued["mouth_open"] > 0
    inside_its_node(empty, host, ".dynamicid-motion")
    empty.picture(pictures, f"promoted-sliders-{design}-{empty.frontend}")

    workflow = empty.saved()
    empty.clear()
    empty.load(workflow)
    sliders.says("in a happy expression, in side view")
    host = empty.run("return app.graph.nodes.find((node) => node.isSubgraphNode?.()).id;")
    empty.run(_DEMOTE, [host, "dynamicid_preview"])
    sliders.shown.wait_for(state="hidden")
    enter(empty, host)
    sliders.says("in a happy expression, in side view")
