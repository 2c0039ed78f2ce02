"""The motion sliders in ComfyUI's page: the preview follows, presets work, nothing is queued, old answers stay away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.browser import Canvas, NodeTab, canvas, inside_its_node, set_design
from tests.host.graphs import write_photos
from tests.host.server import Server

pytestmark = pytest.mark.server

BOTH_DESIGNS = pytest.mark.parametrize("tab", [False, True], indirect=True, ids=["canvas nodes", "vue nodes"])
PREVIEW = ".dynamicid-motion svg"
NOTE = ".dynamicid-motion .dynamicid-note"
DOTS = (
    "return document.querySelector('.dynamicid-motion .after .dots').getAttribute('d').slice(1).split('M')"
    ".map((dot) => dot.replace('h0', '').split(' ').map(Number));"
)


class SlidersTab(NodeTab):
    """A tab with one sliders node in it."""

    widget = "dynamicid-motion"

    @property
    def landmarks(self) -> list[list[float]]:
        return self.canvas.run(DOTS)

    def slide(self, name: str, value: float) -> None:
        self.canvas.set_widget(self.node, name, value)

    def until(self, words: str) -> None:
        self.page.wait_for_function(
            "([note, words]) => document.querySelector(note)?.textContent.includes(words)", arg=[NOTE, words]
        )

    def preset(self, name: str) -> None:
        self.page.locator(f".dynamicid-motion button[data-preset={name}]").click()


@pytest.fixture(scope="module")
def opened(server: Server, browser: Any) -> Iterator[Canvas]:
    write_photos(server.base / "input")
    with canvas(browser, server) as tab:
        yield tab


@pytest.fixture
def tab(request: pytest.FixtureRequest, opened: Canvas) -> Iterator[SlidersTab]:
    """A sliders node on its own, on the old canvas or with Vue nodes; no error may reach the console."""
    opened.errors.clear()
    set_design(opened, getattr(request, "param", False))
    opened.clear()
    sliders = SlidersTab(opened, opened.add("DynamicIDMotionSliders", 300, 60))
    opened.page.wait_for_selector(f"{PREVIEW} .dots")
    sliders.until("front view")
    yield sliders
    assert not opened.errors


@BOTH_DESIGNS
def test_the_preview_follows_a_slider_without_a_queue_entry(tab: SlidersTab, server: Server) -> None:
    before, runs = tab.landmarks, len(server.get("history"))
    tab.slide("yaw", 30)
    tab.until("in side view")
    assert len(tab.landmarks) == 106
    assert tab.landmarks != before
    assert len(server.get("history")) == runs
    assert server.get("queue") == {"queue_running": [], "queue_pending": []}


def test_dragging_a_slider_with_the_mouse(tab: SlidersTab) -> None:
    left, y, width = tab.canvas.run(
        "const n = app.graph.getNodeById(argument), { scale, offset } = app.canvas.ds;"
        "const area = app.canvas.canvas.getBoundingClientRect(), w = n.widgets[0];"
        "return [(n.pos[0] + offset[0]) * scale + area.x, (n.pos[1] + w.y + 10 + offset[1]) * scale + area.y,"
        "n.size[0] * scale];",
        tab.node,
    )
    mouse = tab.page.mouse
    mouse.move(left + width * 0.5, y)
    mouse.down()
    mouse.move(left + width * 0.7, y, steps=8)
    mouse.up()
    tab.until("in side view")
    assert 10 <= tab.canvas.widget(tab.node, "yaw") <= 60


@BOTH_DESIGNS
def test_presets_are_one_click_away(tab: SlidersTab) -> None:
    calm = tab.landmarks
    for name in ("happy", "surprised", "sad", "angry", "disgusted", "fearful"):
        tab.preset(name)
        tab.until(f"{name} expression, in front view")
    tab.preset("left")
    tab.until("in side view")
    assert tab.canvas.widget(tab.node, "yaw") < 0
    tab.preset("up")
    tab.until("facing up, in front view")
    tab.preset("neutral")
    tab.until("neutral expression, facing up")
    tab.preset("reset")
    tab.until("neutral expression, in front view")
    assert tab.landmarks == calm


def test_a_saved_workflow_brings_its_preview(tab: SlidersTab, opened: Canvas) -> None:
    tab.preset("surprised")
    tab.until("surprised")
    moved, workflow = tab.landmarks, opened.saved()
    opened.clear()
    opened.load(workflow)
    tab.until("surprised")
    assert tab.landmarks == moved
    inputs = opened.prompt()[str(tab.node)]["inputs"]
    assert "dynamicid_preview" not in inputs
    assert inputs["eyebrows"] == pytest.approx(0.9)


def test_an_old_answer_never_overwrites_a_newer_one(tab: SlidersTab, opened: Canvas) -> None:
    """The first request is held back until long after the last slider event."""
    held = []

    def hold(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    opened.page.route("**/dynamicid/motion", hold)
    tab.slide("pitch", 25)
    opened.page.wait_for_timeout(300)
    for yaw in (5, 20, 40):
        tab.slide("yaw", yaw)
    tab.slide("pitch", 0)
    assert len(held) == 1
    held[0].continue_()
    tab.until("in side view")
    opened.page.wait_for_timeout(300)
    assert tab.note == "in a neutral expression, in side view"
    opened.page.unroute("**/dynamicid/motion")


def test_a_server_that_was_away_is_asked_again(server: Server, browser: Any) -> None:
    with canvas(browser, server, blocked="**/dynamicid/presets") as page:
        page.clear()
        sliders = SlidersTab(page, page.add("DynamicIDMotionSliders", 300, 60))
        sliders.until("The server does not answer")
        page.page.unroute("**/dynamicid/presets")
        sliders.slide("yaw", 30)
        sliders.until("in side view")
        sliders.preset("reset")
        sliders.until("in front view")
        assert all("net::ERR_FAILED" in error for error in page.errors)


def test_a_run_brings_the_photo_and_its_landmarks(tab: SlidersTab, opened: Canvas, pictures: Path) -> None:
    photo, faces = opened.add("LoadImage", 20, 60), opened.add("DynamicIDFaceAnalysisLoader", 20, 400)
    opened.set_widget(photo, "image", "anna.png")
    weights, vision = opened.add("DynamicIDLoader", 20, 520), opened.add("CLIPVisionLoader", 20, 640)
    encode, preview = opened.add("DynamicIDEncodeFace", 20, 760), opened.add("PreviewImage", 900, 60)
    opened.connect(weights, 0, encode, "dynamicid")
    opened.connect(faces, 0, encode, "face_analysis")
    opened.connect(vision, 0, encode, "clip_vision")
    opened.connect(photo, 0, encode, "image")
    opened.connect(encode, 0, tab.node, "face")
    opened.connect(tab.node, 1, preview, "images")
    average = tab.landmarks
    opened.run("await app.queuePrompt(0, 1);")
    opened.page.wait_for_selector(f"{PREVIEW} image", timeout=120_000)
    assert tab.landmarks != average
    opened.page.wait_for_function(
        "(id) => window.comfyAPI.app.app.graph.getNodeById(id).imgs?.[0]?.naturalWidth === 512", arg=preview
    )
    box = opened.page.locator(f"{PREVIEW} image").bounding_box()
    dots = opened.page.locator(f"{PREVIEW} .before").bounding_box()
    assert box is not None
    assert dots is not None
    assert box["x"] <= dots["x"] + dots["width"] / 2 <= box["x"] + box["width"]
    assert box["y"] <= dots["y"] + dots["height"] / 2 <= box["y"] + box["height"]
    tab.preset("happy")
    tab.until("happy")
    assert opened.page.locator(f"{PREVIEW} image").count() == 1
    opened.picture(pictures, "sliders-with-photo")


def test_words_written_at_edit_face_are_shown_instead(tab: SlidersTab, opened: Canvas) -> None:
    edit = opened.add("DynamicIDEditFace", 900, 60)
    opened.connect(tab.node, 0, edit, "motion")
    opened.set_widget(edit, "target_prompt", "in a sleepy expression")
    tab.slide("smile", 0.5)
    tab.until("in a sleepy expression (from Edit Face's target_prompt)")


@BOTH_DESIGNS
def test_readable_at_full_and_half_size(tab: SlidersTab, opened: Canvas, pictures: Path) -> None:
    tab.preset("surprised")
    tab.until("surprised")
    design = "vue" if opened.run("return LiteGraph.vueNodesMode;") else "canvas"
    for scale in (1.0, 0.5):
        opened.zoom(scale)
        inside_its_node(opened, tab.node, ".dynamicid-motion")
        opened.picture(pictures, f"sliders-{design}-{scale:g}")
