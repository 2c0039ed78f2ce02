"""The benchmark in a real ComfyUI, through ``python -m dynamicid evaluate``: the whole method and its ablations."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from dynamicid.boxes import BoxXywhNorm
from scripts._bootstrap import REPOSITORY, print_line

from ..places import COMFY_SIDE, DYNAMICID, EMOTION, FACE_PACK
from .benchmark import PORTRAITS, SCENES, Case, Group, make_cases
from .evaluation import Extent
from .variants import BASE_ALONE, FULL, NO_GATE, NO_IMR

Graph = dict[str, dict[str, Any]]
PAGES: dict[str, tuple[Group, ...]] = {"portraits": (PORTRAITS,), "scenes": SCENES}
PACKAGE_WORKFLOWS = REPOSITORY / "dynamicid" / "evaluation" / "api_workflows"
SAMPLING = {"steps": Extent.steps, "cfg": Extent.guidance}


def score_in_comfyui(address: str, cases: int, first_seed: int, work: Path, out: Path) -> None:
    """Paints and scores every variant, and compares them: one page for portraits, one for scenes.

    Args:
        address: URL of a ComfyUI with this pack and ``tiny_models/comfyui``.
        cases: Of each group.
        first_seed: Number of seeds of each item to skip.
        work: Folder of pictures and scores; existing pictures are not painted again.
        out: Folder of the pages.
    """
    workflows = write_workflows(work / "workflows")
    out.mkdir(parents=True, exist_ok=True)
    for name, groups in PAGES.items():
        folder = work / name
        write_benchmark(folder, groups, cases)
        painted = _paint(address, folder, workflows, first_seed)
        shutil.copyfile(_compare(folder, painted), out / f"{name}.md")


def write_benchmark(folder: Path, groups: Sequence[Group], count: int) -> None:
    """Writes ``benchmark.json`` and ``photos/``: the first ``count`` cases of each group, one slot for each subject."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    slots, items = [], []
    for group in groups:
        for number, case in enumerate(make_cases(group, count), 1):
            names = [f"{group.name}-{number:03d}-{place}" for place in range(1, group.people + 1)]
            for name, subject in zip(names, case.subjects, strict=True):
                Image.fromarray(subject.photo).save(photos / f"{name}.png")
            slots += names
            items.append(_item(f"{group.name}-{number:03d}", case, names))
    content = {"format": "dynamicid-benchmark", "version": 1, "width": COMFY_SIDE, "height": COMFY_SIDE}
    text = json.dumps({**content, "people": sorted(slots), "items": items}, indent=1)
    (folder / "benchmark.json").write_text(text + "\n", encoding="utf-8")


def _item(name: str, case: Case, slots: Sequence[str]) -> dict[str, Any]:
    people = [
        {
            "person": slot, "box": _rounded(subject.box), "expression": subject.target.expression,
            "pitch": round(subject.target.pitch, 1), "yaw": round(subject.target.yaw, 1),
            "face_prompt": subject.prompt,
        }
        for slot, subject in zip(slots, case.subjects, strict=True)
    ]  # fmt: skip
    return {"item": name, "prompt": case.caption, "seed": 1000 * case.number, "people": people}


def _rounded(box: BoxXywhNorm) -> list[float]:
    return [round(share, 4) for share in box]


def write_workflows(folder: Path) -> Mapping[str, Path]:
    """Writes the package's workflows with the tiny models and without one part each.

    Returns:
        Variant -> folder with one workflow for each number of people; for the base model alone, a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, change in VARIANTS.items():
        paths[name] = folder / name.replace(" ", "_")
        paths[name].mkdir(exist_ok=True)
        for path in sorted((PACKAGE_WORKFLOWS / "dynamicid").glob("*.json")):
            _write(paths[name] / path.name, change(_with_tiny_models(_read(path))))
    paths[BASE_ALONE] = folder / "base_alone.json"
    _write(paths[BASE_ALONE], _with_tiny_models(_read(PACKAGE_WORKFLOWS / "unpatched.json")))
    return paths


def _with_tiny_models(graph: Graph) -> Graph:
    """The graph with the loader, files and sampling settings of the tiny models."""
    (checkpoint,) = _nodes(graph, "CheckpointLoaderSimple")
    graph[checkpoint].update(class_type="DrawnFamilyLoader", inputs={})
    for vision in _nodes(graph, "CLIPVisionLoader"):
        _relink(graph, [vision, 0], [checkpoint, 3])
        del graph[vision]
    for node in _nodes(graph, "DynamicIDLoader"):
        graph[node]["inputs"] = {"saa": DYNAMICID.name, "imr": DYNAMICID.name}
    for node in _nodes(graph, "DynamicIDFaceAnalysisLoader"):
        graph[node]["inputs"]["pack"] = FACE_PACK.name
    for node in _nodes(graph, "KSampler"):
        graph[node]["inputs"].update(SAMPLING)
        graph[graph[node]["inputs"]["negative"][0]]["inputs"]["text"] = ""
    return graph


def _unchanged(graph: Graph) -> Graph:
    return graph


def _without_gate(graph: Graph) -> Graph:
    """Without the gate places bind nobody either."""
    for node in _nodes(graph, "DynamicIDApply"):
        graph[node]["inputs"]["gate"] = False
    return graph


def _without_imr(graph: Graph) -> Graph:
    for node in _nodes(graph, "DynamicIDEditFace"):
        _relink(graph, [node, 0], graph[node]["inputs"]["face"])
        del graph[node]
    for node in _nodes(graph, "DynamicIDMotionSliders"):
        del graph[node]
    return graph


VARIANTS: dict[str, Callable[[Graph], Graph]] = {
    FULL.name: _unchanged,
    NO_GATE.name: _without_gate,
    NO_IMR.name: _without_imr,
}
"""Variant -> change of the workflow."""


def _nodes(graph: Graph, class_type: str) -> list[str]:
    return [node for node, content in graph.items() if content["class_type"] == class_type]


def _relink(graph: Graph, old: list[Any], new: list[Any]) -> None:
    for content in graph.values():
        for name, value in content["inputs"].items():
            if value == old:
                content["inputs"][name] = new


def _read(path: Path) -> Graph:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, graph: Graph) -> None:
    path.write_text(json.dumps(graph, indent=1) + "\n", encoding="utf-8")


def _paint(address: str, folder: Path, workflows: Mapping[str, Path], first_seed: int) -> dict[str, Path]:
    """Paints every variant; the folders of the pictures."""
    painted = {}
    for variant, workflow in workflows.items():
        print_line(f"{folder.name}: {variant}")
        run = folder / "painted" / variant.replace(" ", "_")
        options = ("--server", address, "--workflow", workflow, "--first-seed", first_seed, "--out", run)
        _evaluate("run", *options, *_benchmark_options(folder))
        painted[variant] = run / "pictures"
    return painted


def _compare(folder: Path, painted: Mapping[str, Path]) -> Path:
    """Scores the variants, their backgrounds against the base model alone; the page that compares them."""
    runs = []
    for variant, pictures in painted.items():
        runs.append(folder / "scored" / variant.replace(" ", "_"))
        options = ("--pictures", pictures, "--unpatched", painted[BASE_ALONE], "--out", runs[-1])
        _evaluate("folder", *options, *_benchmark_options(folder))
    names = [part for variant in painted for part in ("--name", variant)]
    _evaluate("compare", *runs, *names, "--out", folder / "compared")
    return folder / "compared" / "compare.md"


def _benchmark_options(folder: Path) -> Sequence[object]:
    return (
        "--benchmark", folder / "benchmark.json", "--photos", folder / "photos",
        "--face-pack", FACE_PACK, "--emotion-model", EMOTION,
    )  # fmt: skip


def _evaluate(*arguments: object) -> None:
    """Runs the package's command; where it fails, this process ends with the same exit status."""
    line = [sys.executable, "-m", "dynamicid", "evaluate", *map(str, arguments)]
    done = subprocess.run(line, cwd=REPOSITORY, check=False)
    if done.returncode:
        sys.exit(done.returncode)
