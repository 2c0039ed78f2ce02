"""Placeholders in workflows."""

import importlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.evaluation import workflows
from dynamicid.evaluation.benchmark import load_benchmark
from dynamicid.evaluation.workflows import fill, load_workflow, load_workflows, values_of, workflow_for
from dynamicid.faces import motion_sliders, prompts

from .conftest import write_json

ROOT = Path(__file__).resolve().parents[2]


def node(**inputs: Any) -> dict[str, Any]:
    return {"class_type": "Any", "inputs": inputs}


def test_placeholders_become_values(tmp_path: Path):
    benchmark = load_benchmark().benchmark
    item = benchmark.first(1)[1]
    graph = {
        "1": node(seed="{{seed}}", text="{{ prompt }}, sharp", width="{{width}}", link=["2", 0], steps=20),
        "2": node(image="{{photo_2}}", x="{{box_2.x}}", left="{{pixel_box_2.x}}", words="{{face_prompt_1}}!"),
    }
    workflow = load_workflow(write_json(tmp_path / "two.json", graph))
    filled = fill(workflow, values_of(item, 7, benchmark, ["a.png", "b.png"]))
    assert workflow.people == 2
    assert filled["1"]["inputs"] == {
        "seed": 7, "text": f"{item.prompt}, sharp", "width": 512, "link": ["2", 0], "steps": 20,
    }  # fmt: skip
    assert filled["2"]["inputs"] == {
        "image": "b.png", "x": 0.52, "left": 266, "words": f"{item.people[0].face_prompt}!",
    }  # fmt: skip
    assert workflow.graph == graph
    plain = load_workflow(write_json(tmp_path / "plain.json", {"1": node(text="{{prompt}}")}))
    assert workflow_for({0: plain, 2: workflow}, item) is workflow
    assert workflow_for({0: plain}, item) is plain
    assert workflow_for({1: workflow}, item) is None


@pytest.fixture
def other_order(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module as it would be if presets and emotions stood in another order."""
    monkeypatch.setattr(motion_sliders, "EXPRESSIONS", dict(reversed(motion_sliders.EXPRESSIONS.items())))
    monkeypatch.setattr(prompts, "EMOTIONS", tuple(sorted(prompts.EMOTIONS)))
    importlib.reload(workflows)
    yield
    monkeypatch.undo()
    importlib.reload(workflows)


@pytest.mark.parametrize(
    ("expression", "preset"),
    [
        ("happy", "happy"), ("surprise", "surprised"), ("sad", "sad"), ("anger", "angry"), ("disgust", "disgusted"),
        ("fear", "fearful"), ("neutral", "neutral"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("other_order")
def test_sliders_are_those_of_the_expressions_preset(expression: str, preset: str):
    benchmark = load_benchmark().benchmark
    item = next(item for item in benchmark.items if item.people[0].expression == expression)
    values = workflows.values_of(item, 0, benchmark, ["photo.png"] * len(item.people))
    expected = asdict(motion_sliders.EXPRESSIONS[preset])
    assert {name: values[f"slider_1.{name}"] for name in expected} == expected


@pytest.mark.parametrize(
    "name", ["photo", "photo_0", "photo_4", "box_1", "box_1.left", "prompt_1", "x", "photo_1.x", ""]
)
def test_unknown_placeholders_are_told(name: str, tmp_path: Path):
    with pytest.raises(DynamicIDError, match="There is no placeholder"):
        load_workflow(write_json(tmp_path / "bad.json", {"1": node(text="{{" + name + "}}")}))


@pytest.mark.parametrize("content", ["", "{}", "[]", {"1": {"inputs": {}}}, {"nodes": [], "links": []}])
def test_files_that_are_no_workflow(content: Any, tmp_path: Path):
    with pytest.raises(DynamicIDError):
        load_workflow(write_json(tmp_path / "bad.json", content))


def test_one_workflow_for_each_number_of_people(tmp_path: Path):
    write_json(tmp_path / "a.json", {"1": node(image="{{photo_1}}")})
    write_json(tmp_path / "b.json", {"1": node(image="{{photo_2}}")})
    assert {count: one.name for count, one in load_workflows([tmp_path]).items()} == {1: "a.json", 2: "b.json"}
    write_json(tmp_path / "c.json", {"1": node(image="{{photo_2}}")})
    with pytest.raises(DynamicIDError, match=r"b\.json and c\.json are both for 2 people"):
        load_workflows([tmp_path])


@pytest.mark.parametrize("people", ["one", "two", "three"])
def test_repainted_workflows_are_the_plain_ones_with_more_nodes(people: str):
    """Users open either as a whole file; this keeps the two in step."""
    folder = ROOT / "dynamicid" / "evaluation" / "api_workflows"
    plain, repainted = (
        json.loads((folder / kind / f"{people}.json").read_text(encoding="utf-8"))
        for kind in ("dynamicid", "dynamicid-repainted")
    )
    (save,) = [node for node, entry in plain.items() if entry["class_type"] == "SaveImage"]
    (paste,) = [node for node, entry in repainted.items() if entry["class_type"] == "DynamicIDPastePeople"]
    plain[save]["inputs"]["images"] = [paste, 0]
    assert {node: repainted[node] for node in plain} == plain
    assert all(entry["_meta"]["title"] for entry in repainted.values())
