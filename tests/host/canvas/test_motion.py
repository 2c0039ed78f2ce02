"""The motion sliders in ComfyUI's page: the preview follows, presets work, nothing is queued, old answers stay away."""

from pathlib import Path
from typing import Any

import pytest

from tests.host.browser import Canvas, canvas, inside_its_node
from tests.host.canvas.widgets import Sliders
from tests.host.server import Server

pytestmark = pytest.mark.server


@pytest.fixture
def sliders(empty: Canvas) -> Sliders:
    """A sliders node on its own."""
    return Sliders.new(empty)


def test_the_preview_follows_a_slider_without_a_queue_entry(sliders: Sliders, page_server: Server) -> None:
    before, runs = sliders.landmarks, len(page_server.get("history"))
    sliders.slide("yaw", 30)
    sliders.says("in side view")
    assert len(sliders.landmarks) == 106
    assert sliders.landmarks != before
    assert len(page_server.get("history")) == runs
    assert page_server.get("queue") == {"queue_running": [], "queue_pending": []}


def test_dragging_a_slider_with_the_mouse(sliders: Sliders, design: str) -> None:
    left, y, width = row_of(sliders, "yaw") if design == "vue" else sliders.canvas.run(
        "const n = app.graph.getNodeById(argument), { scale, offset } = app.canvas.ds;"
        "const area = app.canvas.canvas.getBoundingClientRect(), w = n.widgets[0];"
        "return [(n.pos[0] + offset[0]) * scale + area.x, (n.pos[1] + w.y + 10 + offset[1]) * scale + area.y,"
        "n.size[0] * scale];",
        sliders.node,
    )  # fmt: skip
    mouse = sliders.page.mouse
    mouse.move(left + width * 0.5, y)
    mouse.down()
    mouse.move(left + width * 0.7, y, steps=8)
    mouse.up()
    sliders.says("in side view")
    assert 10 <= sliders.canvas.widget(sliders.node, "yaw") <= 60


def row_of(sliders: Sliders, name: str) -> tuple[float, float, float]:
    """Left, middle and width of a Vue slider's track on the screen."""
    row = sliders.page.locator(f"[data-node-id='{sliders.node}'] .lg-node-widget", has_text=name).first
    track = row.locator("[role=slider]").first.locator("xpath=../..").bounding_box()
    assert track is not None
    return track["x"], track["y"] + track["height"] / 2, track["width"]


def test_presets_are_one_click_away(sliders: Sliders) -> None:
    calm = sliders.landmarks
    for name in ("happy", "surprised", "sad", "angry", "disgusted", "fearful"):
        sliders.preset(name)
        sliders.says(f"{name} expression, in front view")
    sliders.preset("left")
    sliders.says("in side view")
    assert sliders.canvas.widget(sliders.node, "yaw") < 0
    sliders.preset("up")
    sliders.says("facing up, in front view")
    sliders.preset("neutral")
    sliders.says("neutral expression, facing up")
    sliders.preset("reset")
    sliders.says("neutral expression, in front view")
    assert sliders.landmarks == calm


def test_a_saved_workflow_brings_its_preview(sliders: Sliders) -> None:
    page = sliders.canvas
    sliders.preset("surprised")
    sliders.says("surprised")
    moved, workflow = sliders.landmarks, page.saved()
    page.clear()
    page.load(workflow)
    sliders.says("surprised")
    assert sliders.landmarks == moved
    inputs = page.prompt()[str(sliders.node)]["inputs"]
    assert "dynamicid_preview" not in inputs
    assert inputs["eyebrows"] == pytest.approx(0.9)


def test_sliders_and_preview_agree_whoever_wrote_the_values(sliders: Sliders) -> None:
    """Some frontends give a new node with an old number the old node's values, and tell nobody."""
    sliders.canvas.run(
        "app.graph.getNodeById(argument).widgets.find((w) => w.name === 'yaw').value = 40;", sliders.node
    )
    sliders.says("in side view")


def test_an_old_answer_never_overwrites_a_newer_one(sliders: Sliders) -> None:
    """The first request is held back until long after the last slider event."""
    held = []

    def hold(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    sliders.page.route("**/dynamicid/motion", hold)
    sliders.slide("pitch", 25)
    sliders.page.wait_for_timeout(300)
    for yaw in (5, 20, 40):
        sliders.slide("yaw", yaw)
    sliders.slide("pitch", 0)
    assert len(held) == 1
    held[0].continue_()
    sliders.says("in side view")
    sliders.page.wait_for_timeout(300)
    assert sliders.note == "in a neutral expression, in side view"
    sliders.page.unroute("**/dynamicid/motion")


def test_a_server_that_was_away_is_asked_again(page_server: Server, browser: Any) -> None:
    with canvas(browser, page_server, blocked="**/dynamicid/presets") as page:
        page.clear()
        sliders = Sliders(page, page.add("DynamicIDMotionSliders", 300, 60))
        sliders.says("The server does not answer")
        page.page.unroute("**/dynamicid/presets")
        sliders.slide("yaw", 30)
        sliders.says("in side view")
        sliders.preset("reset")
        sliders.says("in front view")
        assert all("net::ERR_FAILED" in error for error in page.errors)


def test_a_run_brings_the_photo_and_its_landmarks(sliders: Sliders, design: str, pictures: Path) -> None:
    page = sliders.canvas
    face, preview = page.add("DynamicIDLoadFace", 20, 60), page.add("PreviewImage", 900, 60)
    page.set_widget(face, "name", "anna")
    page.connect(face, 0, sliders.node, "face")
    page.connect(sliders.node, 1, preview, "images")
    average = sliders.landmarks
    page.run("await app.queuePrompt(0, 1);")
    photo = sliders.find("svg image")
    photo.wait_for(timeout=60_000)
    assert sliders.landmarks != average
    frame, dots = sliders.frame("svg image"), sliders.frame("svg .before")
    assert frame["x"] <= dots["x"] + dots["width"] / 2 <= frame["x"] + frame["width"]
    assert frame["y"] <= dots["y"] + dots["height"] / 2 <= frame["y"] + frame["height"]
    sliders.preset("happy")
    sliders.says("happy")
    assert photo.count() == 1
    page.picture(pictures, f"sliders-with-photo-{design}-{page.frontend}")


def test_the_frames_of_a_motion_are_played(sliders: Sliders) -> None:
    page = sliders.canvas
    presets, preview = page.add("DynamicIDMotionPresets", 20, 60), page.add("PreviewImage", 900, 60)
    page.set_widget(presets, "expressions", "happy, sad")
    page.set_widget(presets, "views", "front")
    player = sliders.find("button", has_text="play")
    assert player.count() == 0
    page.connect(presets, 0, sliders.node, "motion")
    page.connect(sliders.node, 1, preview, "images")
    page.run("await app.queuePrompt(0, 1);")
    sliders.says("1 of 2: in a happy expression")
    player.click()
    sliders.says("2 of 2: in a sad expression")
    sliders.says("1 of 2: in a happy expression")
    sliders.find("button", has_text="stop").click()
    player.wait_for()
    said = sliders.note
    sliders.page.wait_for_timeout(500)
    assert sliders.note == said
    sliders.slide("yaw", 30)
    sliders.says("in side view")
    assert sliders.note[:6] == said[:6]


def test_words_written_at_edit_face_are_shown_instead(sliders: Sliders) -> None:
    page = sliders.canvas
    edit = page.add("DynamicIDEditFace", 900, 60)
    page.connect(sliders.node, 0, edit, "motion")
    page.set_widget(edit, "target_prompt", "in a sleepy expression")
    sliders.says("in a sleepy expression (from Edit Face's target_prompt)")


def test_readable_at_full_and_half_size(sliders: Sliders, design: str, pictures: Path) -> None:
    sliders.preset("surprised")
    sliders.says("surprised")
    for scale in (1.0, 0.5):
        sliders.canvas.zoom(scale)
        inside_its_node(sliders.canvas, sliders.node, ".dynamicid-motion")
        sliders.canvas.picture(pictures, f"sliders-{design}-{sliders.canvas.frontend}-{scale:g}")
