"""Times the canvas widgets in a real Chromium: the motion preview, and what ten of our nodes cost in frames.

    python benchmarks/canvas.py [--here]

Writes ``benchmarks/canvas.json``; ``benchmarks/report.py`` puts it on the page.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts._bootstrap import find_host, print_line, relaunch_in_environment  # noqa: E402

if TYPE_CHECKING:
    from tests.host.browser import Canvas

EVENTS = 200
ROUNDS = 5
SECONDS = 3
SIZE = [420, 860]
OURS = ("DynamicIDRegionEditor", "DynamicIDMotionSliders")
WITH, WITHOUT, HOSTS = "with our scripts", "without", "ten of the host's text nodes"
"""What the frames are counted of: ten of our nodes, the same without widgets of ours, and the host's own widgets."""

# From the slider's callback to the moment the new landmarks are in the drawing, in milliseconds.
_LATENCY = """
const node = app.graph.getNodeById(argument[0]), widget = node.widgets.find((w) => w.name === 'yaw'), times = [];
const drawing = document.querySelector('.dynamicid-motion svg');
for (let i = 0; i < argument[1]; i++) {
    const start = performance.now();
    const drawn = new Promise((done) => {
        const observer = new MutationObserver(() => { observer.disconnect(); done(); });
        observer.observe(drawing, { childList: true });
    });
    widget.value = (i % 60) - 30 + 0.5;
    widget.callback(widget.value);
    await drawn;
    times.push(performance.now() - start);
}
return times;"""

# Frames a second while the graph moves, as when somebody drags it about.
_FRAMES = """
const start = performance.now();
let frames = 0;
while (performance.now() - start < argument * 1000) {
    app.canvas.ds.offset[0] += frames % 2 ? 1 : -1;
    app.canvas.setDirty(true, true);
    await new Promise(requestAnimationFrame);
    frames++;
}
return frames / (performance.now() - start) * 1000;"""


def measure() -> dict[str, Any]:
    """Latency of the preview; frames with ten of our nodes, in turns with pages that lack our scripts."""
    from playwright.sync_api import sync_playwright

    from tests.host.browser import canvas, find_chromium, launch
    from tests.host.server import Server

    host, executable = find_host(), find_chromium()
    if host is None or executable is None:
        raise SystemExit("A ComfyUI (COMFYUI_PATH) and a Chromium (CHROMIUM_PATH) are needed.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        base = Path(folder)
        (base / "custom_nodes").mkdir()
        (base / "custom_nodes" / "comfyui-dynamicid").symlink_to(ROOT)
        browser = launch(playwright, executable)
        with (
            Server(host, base) as server,
            canvas(browser, server) as ours,
            canvas(browser, server, blocked="**/extensions/comfyui-dynamicid/**") as plain,
            canvas(browser, server, blocked="**/extensions/comfyui-dynamicid/**") as texts,
        ):
            times = sorted(_preview_times(ours))
            frames = _frame_rates({WITH: (ours, OURS), WITHOUT: (plain, OURS), HOSTS: (texts, ("CLIPTextEncode",))})
            scripts = _script_time(ours)
    return {
        "cores": os.cpu_count(),
        "events": EVENTS,
        "median_ms": statistics.median(times),
        "p95_ms": times[int(len(times) * 0.95)],
        "max_ms": times[-1],
        "frames": {name: statistics.median(values) for name, values in frames.items()},
        "frame_ratio": _ratio(frames[WITH], frames[WITHOUT]),
        "frame_ratio_to_the_hosts_widgets": _ratio(frames[WITH], frames[HOSTS]),
        "our_scripts_ms_per_frame": scripts,
    }


def _preview_times(tab: Canvas) -> list[float]:
    tab.clear()
    sliders = tab.add("DynamicIDMotionSliders")
    tab.page.wait_for_selector(".dynamicid-motion .dots")
    return tab.run(_LATENCY, [sliders, EVENTS])


def _ratio(frames: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(frames, others, strict=True))


def _frame_rates(tabs: dict[str, tuple[Canvas, tuple[str, ...]]]) -> dict[str, list[float]]:
    """Of each tab with ten nodes of the kinds beside it, one value a round."""
    frames: dict[str, list[float]] = {name: [] for name in tabs}
    for tab, kinds in tabs.values():
        tab.clear()
        for number in range(10):
            node = tab.add(kinds[number % len(kinds)], 40 + 130 * number, 60 + 20 * (number % 2))
            tab.run("app.graph.getNodeById(argument[0]).setSize(argument[1]);", [node, SIZE])
    for _ in range(ROUNDS):
        for name, (tab, _) in tabs.items():
            tab.page.bring_to_front()
            tab.page.wait_for_timeout(1000)
            frames[name].append(tab.run(_FRAMES, SECONDS))
    return frames


def _script_time(tab: Canvas) -> float:
    """Milliseconds a frame that Chromium's profiler finds in our scripts' own functions while the graph moves."""
    tab.page.bring_to_front()
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Profiler.enable")
    session.send("Profiler.setSamplingInterval", {"interval": 100})
    session.send("Profiler.start")
    rate = tab.run(_FRAMES, SECONDS)
    profile = session.send("Profiler.stop")["profile"]
    ours = {node["id"] for node in profile["nodes"] if "comfyui-dynamicid" in node["callFrame"]["url"]}
    spent = sum(
        delta for sample, delta in zip(profile["samples"], profile["timeDeltas"], strict=True) if sample in ours
    )
    return spent / 1000 / (rate * SECONDS)


if __name__ == "__main__":
    if "--here" not in sys.argv:
        relaunch_in_environment()
    result = measure()
    (ROOT / "benchmarks" / "canvas.json").write_text(json.dumps(result, indent=1) + "\n")
    print_line(json.dumps(result, indent=1))
