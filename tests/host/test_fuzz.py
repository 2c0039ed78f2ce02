"""Hostile prompts and requests on a running server: it answers in words, paints on, and keeps no memory."""

import json
from random import Random
from typing import Any
from urllib.parse import quote

import pytest

from tests.fuzz.hostile import GROWTH_MEGABYTES, VALUES, numbers, spoilt
from tests.host.graphs import Graph, write_inputs
from tests.host.server import PromptFailed, Server
from tests.host.test_routes import FOLDER, send

pytestmark = pytest.mark.server


def everything() -> Graph:
    """Every node that needs no photo and no sampling."""
    graph = Graph()
    anna, ben = graph.kept("anna"), graph.kept("ben")
    mixed = graph.add("DynamicIDMixFaces", face_a=anna, face_b=ben, ratio=0.5)
    graph.motion_of(face=anna)
    edited = graph.edited(anna)
    regions = graph.regions([anna, ben], [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)])
    drawn = graph.add("DynamicIDRegionEditor", face_1=anna, face_2=mixed, boxes="[[0, 0, 0.5, 1]]")
    found = graph.add("DynamicIDMotionFromImage", face_analysis=graph.finder(), image=graph.photo("two.png"),
                      pick="largest", index=0)  # fmt: skip
    graph.add("DynamicIDSaveFace", face=edited, name="fuzz/anna")
    for link in (graph.apply(regions=regions), graph.apply(face=mixed), drawn, found):
        graph.look(link)
    return graph


def hostile_graph(draw: Random) -> Graph:
    """Some inputs of our nodes hold anything, where links belong, too."""
    graph = everything()
    inputs = [(key, name) for key, node in graph.items() if key.startswith("DynamicID") for name in node["inputs"]]
    for key, name in draw.sample(inputs, draw.choice((1, 1, 2, 4))):
        graph[key]["inputs"][name] = draw.choice(VALUES)
    return graph


def test_prompts(server: Server, pytestconfig: pytest.Config):
    """Whatever a node of ours is given, it says which input is wrong, or works."""
    write_inputs(server.base)
    server.run(everything())
    before, refused, raw = server.kept_megabytes(), 0, []
    for number in numbers(pytestconfig, 0.2):
        graph = hostile_graph(Random(f"prompt {number}"))
        try:
            server.run(graph)
        except PromptFailed as failure:
            refused += 1
            inputs = {name for node in graph.values() for name in node["inputs"]}
            is_ours = failure.node.startswith("DynamicID")
            if is_ours and failure.message.partition(": ")[0] not in inputs:
                raw.append(f"{number}: {failure.node}: {failure.message[:200]!r}")
    assert not raw
    assert refused
    assert server.run(everything())["status"]["completed"]
    assert server.kept_megabytes() - before < GROWTH_MEGABYTES


def test_requests(server: Server, pytestconfig: pytest.Config):
    """No route of ours answers with an error of the server."""
    body = json.dumps({"id": "0" * 32, "sliders": {"yaw": 20, "smile": 0.5}, "neutralise": False}).encode()
    paths = [f"/extensions/{FOLDER}/docs/DynamicIDApply.md", "/dynamicid/people/" + "0" * 32, "/dynamicid/presets"]
    answers: dict[str, int] = {}
    for number in numbers(pytestconfig):
        draw = Random(f"request {number}")
        content: Any = spoilt(body, draw) if number % 2 else None
        head, _, tail = draw.choice(paths).rpartition("/")
        path = "/dynamicid/motion" if content is not None else f"{head}/{quote(spoilt(tail.encode(), draw), safe='')}"
        status = send(server, path, content)[0]
        answers[f"{status} {path}"] = status
    assert not [answer for answer, status in answers.items() if status >= 500]
