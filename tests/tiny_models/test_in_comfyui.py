"""The tiny models' benchmark and workflows for ``python -m dynamicid evaluate``."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dynamicid.evaluation.benchmark import load_benchmark
from dynamicid.evaluation.workflows import load_workflows
from tiny_models.measure.benchmark import GROUPS, SCENES, make_cases
from tiny_models.measure.in_comfyui import write_benchmark, write_workflows
from tiny_models.measure.variants import BASE_ALONE

Graph = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return dict(write_workflows(tmp_path_factory.mktemp("workflows")))


def graph(path: Path) -> Graph:
    return json.loads(path.read_text(encoding="utf-8"))


def inputs(found: Graph, class_type: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in found.values() if node["class_type"] == class_type]


def test_the_benchmark_is_one_that_evaluate_reads(tmp_path: Path) -> None:
    groups = tuple(GROUPS.values())
    write_benchmark(tmp_path, groups, 2)
    loaded = load_benchmark(tmp_path / "benchmark.json").benchmark
    photos = sorted((tmp_path / "photos").iterdir())
    # Photos fill the slots in the order of their names.
    assert [path.stem for path in photos] == list(loaded.people)
    assert [len(item.people) for item in loaded.items] == [1, 1, 1, 1, 2, 2, 3, 3]
    case, item = make_cases(SCENES[1], 2)[1], loaded.items[5]
    assert item.prompt == case.caption
    for subject, wanted in zip(item.people, case.subjects, strict=True):
        assert (subject.expression, subject.face_prompt) == (wanted.target.expression, wanted.prompt)
        assert subject.yaw == pytest.approx(wanted.target.yaw, abs=0.05)
        photo = np.asarray(Image.open(tmp_path / "photos" / f"{subject.person}.png"))
        assert np.array_equal(photo, wanted.photo)


def test_every_variant_has_a_workflow_for_each_number_of_people(workflows: dict[str, Path]) -> None:
    for name, path in workflows.items():
        found = load_workflows([path])
        assert set(found) == ({0} if name == BASE_ALONE else {1, 2, 3})


def test_no_link_leads_nowhere(workflows: dict[str, Path]) -> None:
    files = [file for path in workflows.values() for file in (path.glob("*.json") if path.is_dir() else [path])]
    assert len(files) == 10
    for file in files:
        found = graph(file)
        links = [value for node in found.values() for value in node["inputs"].values() if isinstance(value, list)]
        assert {link[0] for link in links} <= set(found)
        assert not inputs(found, "CheckpointLoaderSimple") + inputs(found, "CLIPVisionLoader")


def test_each_variant_leaves_out_its_part(workflows: dict[str, Path]) -> None:
    two = {name: graph(path / "two.json") for name, path in workflows.items() if path.is_dir()}
    assert {name: inputs(found, "DynamicIDApply")[0]["gate"] for name, found in two.items()} == {
        "full": True, "no gate": False, "no IMR": True,
    }  # fmt: skip
    assert {name: len(inputs(found, "DynamicIDEditFace")) for name, found in two.items()} == {
        "full": 2, "no gate": 2, "no IMR": 0,
    }  # fmt: skip
    encoders = {node for node, content in two["no IMR"].items() if content["class_type"] == "DynamicIDEncodeFace"}
    assert {region["face"][0] for region in inputs(two["no IMR"], "DynamicIDRegion")} == encoders
    assert all(isinstance(region["x"], str) for region in inputs(two["full"], "DynamicIDRegion"))
