"""Workflows with placeholders: ComfyUI's API format, in whose texts stand ``{{prompt}}``, ``{{photo_1}}`` ...

A text that is one placeholder becomes its value, a number where it is one; inside a longer text it is written out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DynamicIDError
from ..faces.motion_sliders import EXPRESSIONS as PRESETS
from ..faces.prompts import NEUTRAL
from ..files.folders import find_files
from .benchmark import MOST_PEOPLE, Benchmark, Item, Subject, read_json
from .comfy_client import Graph

Value = str | int | float
WHOLE = {
    "prompt": "the item's prompt",
    "prompt_with_motions": "the prompt, then each person's face prompt: for painters that know no other way",
    "seed": "of the noise",
    "width": "of the picture in pixels",
    "height": "of the picture in pixels",
    "item": "the item's name",
}
"""Placeholders of the whole picture."""
EACH = {
    "photo": "name of the person's photo in the server's input folder, for Load Image",
    "person": "the person's slot",
    "face_prompt": "expression and pose in words",
    "expression": "one word",
    "pitch": "degrees, positive = up",
    "yaw": "degrees, positive = towards the picture's right",
    "box": "with .x, .y, .width or .height: shares of the picture",
    "pixel_box": "the same in pixels, whole numbers",
    "slider": "with .smile, .mouth_open ...: what the Motion Sliders' preset of the expression has",
}
"""Placeholders of the first person have _1 behind the name, of the second _2, of the third _3."""
_EDGES = ("x", "y", "width", "height")
_PRESET_OF = {
    "happy": "happy", "surprise": "surprised", "sad": "sad", "anger": "angry", "disgust": "disgusted",
    "fear": "fearful", NEUTRAL: NEUTRAL,
}  # fmt: skip
"""The benchmark's word for an expression -> the name of its preset of the Motion Sliders."""
_SLIDERS = {expression: asdict(PRESETS[name]) for expression, name in _PRESET_OF.items()}
_MEMBERS = {"box": _EDGES, "pixel_box": _EDGES, "slider": tuple(_SLIDERS[NEUTRAL])}
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


@dataclass(frozen=True)
class Workflow:
    """A workflow.

    Attributes:
        name: The file's.
        graph: As it stands in the file.
        people: Highest number of a person in its placeholders; 0 = it knows no people, and fits every item.
    """

    name: str
    graph: Graph
    people: int


def load_workflows(paths: Sequence[Path]) -> dict[int, Workflow]:
    """Reads workflow files, and all ``*.json`` of folders, by how many people they are for.

    Raises:
        DynamicIDError: A file that is no workflow in API format, an unknown placeholder, two files for as many people.
    """
    by_people: dict[int, Workflow] = {}
    for path in paths:
        found = find_files(path, (".json",), recursive=False) if path.is_dir() else [(path, "")]
        for file in (file for file, reason in found if not reason):
            workflow = load_workflow(file)
            if workflow.people in by_people:
                other = by_people[workflow.people].name
                found = f"{other} and {workflow.name} are both for {workflow.people or 'any number of'} people."
                raise DynamicIDError("--workflow", found, "Give one for each number of people.")
            by_people[workflow.people] = workflow
    if not by_people:
        raise DynamicIDError("--workflow", "There is no workflow file.", "Name a file of Workflow > Export (API).")
    return by_people


def load_workflow(path: Path) -> Workflow:
    """Reads a workflow file.

    Raises:
        DynamicIDError: No JSON, no API format, an unknown placeholder.
    """
    graph, _ = read_json(path, "Name a workflow file.")
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        found = "It is a workflow of the canvas, not one in API format."
        raise DynamicIDError(str(path), found, "Save it with Workflow > Export (API).")
    if not isinstance(graph, dict) or not graph or not all(map(_is_node, graph.values())):
        found = "It is no workflow in API format: nodes by id, each with class_type and inputs."
        raise DynamicIDError(str(path), found, "Save it with Workflow > Export (API).")
    people = 0
    for text in _texts(graph):
        for name in _PLACEHOLDER.findall(text):
            people = max(people, _person_of(name, path))
    return Workflow(path.name, graph, people)


def workflow_for(workflows: Mapping[int, Workflow], item: Item) -> Workflow | None:
    """The workflow for as many people as an item has, or one that knows no people; None without either."""
    return workflows.get(len(item.people), workflows.get(0))


def fill(workflow: Workflow, values: Mapping[str, Value]) -> Graph:
    """The graph with every placeholder filled in; the workflow stays as it is."""
    return _filled(workflow.graph, values)


def values_of(item: Item, seed: int, benchmark: Benchmark, photos: Sequence[str]) -> dict[str, Value]:
    """What the placeholders stand for in one picture; ``photos``: names on the server, from left to right."""
    together = ", ".join([item.prompt, *(subject.face_prompt for subject in item.people)])
    values: dict[str, Value] = {
        "prompt": item.prompt, "prompt_with_motions": together, "seed": seed, "item": item.item,
        "width": benchmark.width, "height": benchmark.height,
    }  # fmt: skip
    for number, (subject, photo) in enumerate(zip(item.people, photos, strict=True), 1):
        values |= {f"{name}_{number}": getattr(subject, name) for name in ("person", "face_prompt", "expression")}
        values |= {f"photo_{number}": photo, f"pitch_{number}": subject.pitch, f"yaw_{number}": subject.yaw}
        values |= {f"slider_{number}.{name}": value for name, value in _SLIDERS[subject.expression].items()}
        values |= _box_values(subject, number, benchmark)
    return values


def _box_values(subject: Subject, number: int, benchmark: Benchmark) -> dict[str, Value]:
    sides = (benchmark.width, benchmark.height) * 2
    values: dict[str, Value] = {}
    for edge, share, side in zip(_EDGES, subject.box, sides, strict=True):
        values[f"box_{number}.{edge}"] = share
        values[f"pixel_box_{number}.{edge}"] = round(share * side)
    return values


def _filled(value: Any, values: Mapping[str, Value]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value.strip())
    if whole:
        return values[whole[1]]
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), value)


def _person_of(name: str, path: Path) -> int:
    """Number of the person a placeholder belongs to; 0 = the whole picture."""
    if name in WHOLE:
        return 0
    match = re.fullmatch(r"([a-z_]+)_(\d)(?:\.([a-z_]+))?", name)
    fits = match is not None and match[1] in EACH and match[3] in _MEMBERS.get(match[1], (None,))
    if match is None or not fits or not 1 <= int(match[2]) <= MOST_PEOPLE:
        each = (f"{kind}_1.{_MEMBERS[kind][0]}" if kind in _MEMBERS else f"{kind}_1" for kind in EACH)
        found, known = f"There is no placeholder '{{{{{name}}}}}'.", ", ".join([*WHOLE, *each])
        raise DynamicIDError(str(path), found, f"Known are {known}, and _2, _3 for other people.")
    return int(match[2])


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in inner for text in _texts(child)]


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
