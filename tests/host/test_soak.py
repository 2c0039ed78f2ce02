"""Many random prompts on one server: it keeps its memory, its answers and its manners.

``pytest -m soak --soak-prompts 300`` is the full run. Prompts are drawn with a fixed seed, so a failure comes again.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dynamicid.faces.motion_sliders import RANGES
from tests.host.conftest import HOST, ROOT
from tests.host.graphs import PEOPLE, Graph, Link, pixels, write_inputs
from tests.host.server import PromptFailed, Server
from tests.notes import NOTES

pytestmark = [pytest.mark.server, pytest.mark.soak]
SEED = 2503
SAMPLES, FEWEST_PROMPTS = 10, 4
"""Readings of a long run, and how many prompts lie between two of a short one."""
GROWTH_MEGABYTES = 40.0
"""Bound on the memory's growth over the last two thirds of the run, by a straight line through all samples. One picture
or one person's patch kept by each of 300 prompts would be 100 MB and more."""

BAD_SHARE = 0.2
PHOTO_SHARE = 0.03
SIZES = (64, 72, 96, 104, 128, 200)


@pytest.fixture
def soak_server(model_files: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of its own, whose memory nothing else has touched."""
    assert HOST is not None
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "custom_nodes" / "DynamicID").symlink_to(ROOT)
    (tmp_path / "models").symlink_to(model_files)
    write_inputs(tmp_path)
    with Server(HOST, tmp_path) as server:
        yield server


def test_many_random_prompts(soak_server: Server, pytestconfig: pytest.Config) -> None:
    count = pytestconfig.getoption("--soak-prompts")
    assert isinstance(count, int)
    server = soak_server
    draw = random.Random(SEED)
    reference = _reference_picture(server)
    samples = []
    for number in range(count):
        if draw.random() < BAD_SHARE:
            _refuse(server, draw)
        else:
            _paint(server, draw)
        if (number + 1) % max(count // SAMPLES, FEWEST_PROMPTS) == 0:
            assert np.array_equal(_reference_picture(server), reference), f"after {number + 1} prompts"
            samples.append((number + 1, server.kept_megabytes()))
    warm = [sample for sample in samples if sample[0] > count / 3]
    numbers, megabytes = np.asarray(warm).T
    growth = float(np.polyfit(numbers, megabytes, 1)[0] * np.ptp(numbers))
    curve = " ".join(f"{number}:{kept:.0f}" for number, kept in samples)
    note = f"{count} prompts; MB after each: {curve}; growth after warm-up {growth:+.1f} MB"
    pytestconfig.stash[NOTES]["Soak"] = note
    assert growth <= GROWTH_MEGABYTES
    assert np.array_equal(_reference_picture(server), reference)


def _reference_picture(server: Server) -> np.ndarray:
    """The same two people at the same places, every time."""
    graph = Graph()
    people = graph.regions([graph.kept("anna"), graph.kept("ben")], [(0.0, 0.1, 0.5, 0.9), (0.4, 0.0, 0.6, 1.0)])
    graph.preview(graph.sampled(graph.apply(regions=people), size=(96, 128)))
    return pixels(server.images(server.run(graph))[0])


# Good prompts ---------------------------------------------------------------------------------------------------------


def _paint(server: Server, draw: random.Random) -> None:
    graph = Graph()
    size = draw.choice(SIZES), draw.choice(SIZES)
    people = [_person(graph, draw) for _ in range(draw.randint(1, 8))]
    alone = len(people) == 1 and draw.random() < 0.5
    whom = {"face": people[0]} if alone else {"regions": _places(graph, draw, people)}
    first, last = sorted((round(draw.random(), 2), round(draw.random(), 2)))
    options = {
        "weight": draw.choice([0.0, 0.5, 1.0, 2.0]),
        "lora_strength": draw.choice([0.0, 0.5, 1.0]),
        "gate": draw.random() < 0.8,
        "gate_threshold": round(draw.random(), 2),
        "layout_strength": draw.choice([-1.0, 0.0, 1.5, 4.0]),
        "layout_end": round(draw.random(), 2),
        "start_at": first if draw.random() < 0.3 else 0.0,
        "end_at": last if draw.random() < 0.3 else 1.0,
    }
    patched = graph.apply(**whom, **options)
    image = graph.sampled(
        patched, size=size, seed=draw.randrange(10**6), steps=draw.choice([1, 2]), cfg=draw.choice([1.0, 5.0]),
        batch=draw.choice([1, 1, 2]), prompt=draw.choice(["the sea", "a market in the rain", ""]),
    )  # fmt: skip
    graph.preview(image)
    records = options["weight"] != 0 and options["start_at"] == 0.0 and options["gate"]
    if records and draw.random() < 0.3:
        activation = graph.output(patched, 1)
        graph.preview(graph.add("DynamicIDActivationPreview", activation=activation, image=image, step=-1, person=1))
    entry = server.run(graph)
    for node, output in entry["outputs"].items():
        for path in server.images({"outputs": {node: output}}):
            # Activation Preview shows a sheet of its own on the node.
            assert graph[node]["class_type"] != "PreviewImage" or pixels(path).shape[:2] == size
            path.unlink()


def _person(graph: Graph, draw: random.Random) -> Link:
    kind = draw.random()
    if kind < PHOTO_SHARE:
        return graph.encoded(f"{draw.choice(PEOPLE)}.png", crop=draw.choice(["auto", "off"]))
    face = graph.kept(draw.choice(PEOPLE))
    if kind < 2 * PHOTO_SHARE:
        motion = _moved(graph, draw, face) if draw.random() < 0.5 else None
        return graph.edited(face, motion=motion, strength=draw.choice([0.0, 0.5, 1.0]))
    if kind < 0.15:
        other = graph.kept(draw.choice(PEOPLE))
        return graph.add("DynamicIDMixFaces", face_a=face, face_b=other, ratio=round(draw.random(), 2))
    return face


def _moved(graph: Graph, draw: random.Random, face: Link) -> Link:
    """Sliders anywhere in their ranges."""
    values = {name: round(draw.uniform(low, high), 2) for name, (low, high) in RANGES.items()}
    return graph.add("DynamicIDMotionSliders", face=face, neutralise=draw.random() < 0.3, **values)


def _places(graph: Graph, draw: random.Random, people: list[Link]) -> Link:
    """Boxes that overlap and reach over the edge, soft masks, and people without a place."""
    if draw.random() < 0.2:
        faces = {f"face_{number}": person for number, person in enumerate(people, start=1)}
        boxes = [[round(draw.random() * 0.9, 3) for _ in range(4)] for _ in people]
        return graph.add("DynamicIDRegionEditor", **faces, boxes=json.dumps(boxes))
    chain = None
    for person in people:
        kind = draw.choice(["box", "box", "mask", "none"])
        box, mask = (0.0, 0.0, 0.0, 0.0), None
        if kind == "box":
            box = (round(draw.random() * 0.9, 3), round(draw.random() * 0.9, 3),
                   round(0.01 + draw.random() * 0.9, 3), round(0.01 + draw.random() * 0.9, 3))  # fmt: skip
        elif kind == "mask":
            side = draw.choice([8, 33, 64, 100])
            solid = graph.add("SolidMask", value=round(0.2 + 0.8 * draw.random(), 2), width=side, height=side)
            edge = side // 3
            mask = graph.add("FeatherMask", mask=solid, left=edge, top=0, right=edge, bottom=draw.randint(0, edge))
        chain = graph.region(person, box, mask, chain)
    assert chain is not None
    return chain


# Bad prompts ----------------------------------------------------------------------------------------------------------


def _refuse(server: Server, draw: random.Random) -> None:
    graph = Graph()
    face = graph.kept(draw.choice(PEOPLE))
    kind = draw.choice(["no face", "index", "nine", "empty mask", "nan", "both", "neither", "file", "no imr", "pack"])
    expected = "DynamicID"
    if kind in ("no face", "index", "nan"):
        solid = {"value": float("nan"), "width": 64, "height": 64}
        image = graph.add("MaskToImage", mask=graph.add("SolidMask", **solid)) if kind == "nan" else (
            graph.photo("two.png" if kind == "index" else "nobody.png")
        )  # fmt: skip
        choice = {"face_analysis": graph.finder(), "pick": "largest", "index": 5}
        graph.look(graph.add("DynamicIDMotionFromImage", image=image, **choice))
    elif kind == "nine":
        graph.look(graph.regions([face] * 9))
    elif kind == "empty mask":
        graph.look(graph.region(face, mask=graph.add("SolidMask", value=0.0, width=64, height=64)))
    elif kind == "both":
        graph.preview(graph.sampled(graph.apply(face=face, regions=graph.region(face))))
    elif kind == "neither":
        graph.preview(graph.sampled(graph.apply()))
    elif kind == "file":
        graph.look(graph.networks("key_point_encoder.bin"))
    elif kind == "no imr":
        graph.look(graph.edited(face, dynamicid=graph.networks()))
    else:
        graph.look(graph.finder(pack="antelopev2"))
    with pytest.raises(PromptFailed) as refusal:
        server.run(graph)
    assert refusal.value.node.startswith(expected), kind
