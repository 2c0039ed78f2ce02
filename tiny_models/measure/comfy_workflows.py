"""The evaluation's own workflows with the drawn family in them, whole and without one part each."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..places import DYNAMICID, FACE_PACK
from .evaluation import Extent
from .variants import BASE_ALONE, FULL, NO_GATE, NO_IMR

Graph = dict[str, dict[str, Any]]
SHIPPED = Path(__file__).resolve().parents[2] / "dynamicid" / "evaluation" / "api_workflows"
SAMPLING = {"steps": Extent.steps, "cfg": Extent.guidance}
"""As in the family's own table."""


def write_workflows(folder: Path) -> Mapping[str, Path]:
    """Writes the workflows of every variant, one file for each number of people.

    Returns:
        The variants' folders by name; that of the base model alone is a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = {}
    for name, change in VARIANTS.items():
        places[name] = folder / name.replace(" ", "_")
        places[name].mkdir(exist_ok=True)
        for path in sorted((SHIPPED / "dynamicid").glob("*.json")):
            _write(places[name] / path.name, change(_drawn(_read(path))))
    places[BASE_ALONE] = folder / "base_alone.json"
    _write(places[BASE_ALONE], _drawn(_read(SHIPPED / "unpatched.json")))
    return places


def _drawn(graph: Graph) -> Graph:
    """The graph with the family's loader and files, and its sampling."""
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


def _whole(graph: Graph) -> Graph:
    return graph


def _without_gate(graph: Graph) -> Graph:
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
    FULL.name: _whole,
    NO_GATE.name: _without_gate,
    NO_IMR.name: _without_imr,
}
"""By name, what is changed in the workflow. Without the gate nobody is bound to a place: several are merely chained."""


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
