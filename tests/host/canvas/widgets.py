"""The pack's two widgets as tests use them: a node in the page, and its drawing wherever the page shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Locator, Page

from tests.host.browser import Canvas

Point = tuple[float, float]
UNDO, REDO, SWAP, REMOVE = range(4)
_LANDMARKS = (
    "return argument.getAttribute('d').slice(1).split('M').map((dot) => dot.replace('h0', '').split(' ').map(Number));"
)


class Drawing:
    """A widget in the page. Of several drawings of one node, the one that the page shows."""

    css: str
    """The widget's CSS class."""

    def __init__(self, canvas: Canvas, node: int) -> None:
        self.canvas = canvas
        self.node = node

    @property
    def page(self) -> Page:
        return self.canvas.page

    @property
    def shown(self) -> Locator:
        """The drawing and all that belongs to it."""
        return self.page.locator(f".{self.css}:visible")

    def find(self, selector: str, has_text: str | None = None) -> Locator:
        """Elements of the drawing."""
        return self.shown.locator(selector, has_text=has_text)

    @property
    def note(self) -> str:
        """What the widget says in words."""
        return self.find(".dynamicid-note").inner_text()

    def says(self, words: str) -> None:
        """Waits until the widget says this."""
        self.find(".dynamicid-note").filter(has_text=words).wait_for(timeout=20_000)

    def frame(self, selector: str) -> dict[str, float]:
        """x, y, width and height of an element on the screen."""
        # The drawing may replace the element between its being found and its being measured.
        found = (self.find(selector).first.bounding_box() for _ in range(10))
        box = next(filter(None, found))
        return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}


class Editor(Drawing):
    """A region editor."""

    css = "dynamicid-editor"

    @classmethod
    def with_people(cls, canvas: Canvas, *names: str) -> Editor:
        """A new node with saved faces at face_1, face_2, ..."""
        editor = cls(canvas, canvas.add("DynamicIDRegionEditor"))
        for number, name in enumerate(names, start=1):
            face = canvas.add("DynamicIDLoadFace", 20, 140 * number)
            canvas.set_widget(face, "name", name)
            canvas.connect(face, 0, editor.node, f"face_{number}")
        editor.find("svg .picture").wait_for()
        if names:
            editor.people(len(names))
        return editor

    def people(self, count: int) -> None:
        """Waits until that many places are drawn."""
        self.find(".place").nth(count - 1).wait_for()
        assert self.find(".place").count() == count

    @property
    def text(self) -> str:
        """What is queued as `boxes`."""
        nodes = self.canvas.prompt().values()
        (text,) = [node["inputs"]["boxes"] for node in nodes if node["class_type"] == "DynamicIDRegionEditor"]
        return text

    @property
    def boxes(self) -> Any:
        return json.loads(self.text)

    @property
    def proportions(self) -> float:
        """Width of the picture that is drawn, over its height."""
        frame = self.frame("svg .picture")
        return frame["width"] / frame["height"]

    def place(self, x: float, y: float) -> Point:
        """Screen pixels of a point in shares of the picture."""
        frame = self.frame("svg .picture")
        return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]

    def drag(self, start: Point, end: Point) -> None:
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

    def button(self, number: int) -> Locator:
        return self.find(".dynamicid-bar button").nth(number)


class Sliders(Drawing):
    """Motion sliders and their preview."""

    css = "dynamicid-motion"

    @classmethod
    def new(cls, canvas: Canvas) -> Sliders:
        """A node on its own."""
        sliders = cls(canvas, canvas.add("DynamicIDMotionSliders", 300, 60))
        sliders.find("svg .dots").first.wait_for()
        sliders.says("front view")
        return sliders

    @property
    def landmarks(self) -> list[list[float]]:
        return self.canvas.run(_LANDMARKS, self.find("svg .after .dots").element_handle())

    def slide(self, name: str, value: float) -> None:
        self.canvas.set_widget(self.node, name, value)

    def preset(self, name: str) -> None:
        self.find(f"button[data-preset={name}]").click()


def near(found: Any, expected: Any) -> bool:
    """Whether boxes are the same to about a pixel."""
    return len(found) == len(expected) and all(
        a is b if a is None or b is None else a == pytest.approx(b, abs=0.012)
        for a, b in zip(found, expected, strict=True)
    )
