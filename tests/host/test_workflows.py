"""The workflow templates: right in every name and link, and each painted by a real ComfyUI on rule-made weights."""

import json
import re
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.host.clips import read_clip, write_clip
from tests.host.server import Server
from tests.host.ui_graph import DYNAMIC_COMBO, NOTES, api_graph, input_specs, is_widget
from tests.standin.painted_faces import DEFAULT_TONES, Box, draw_test_faces

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
# Fewest people first: then the server has most of the next workflow's faces in its cache.
FILES = sorted(FOLDER.glob("*.json"), key=lambda file: (file.read_text("utf-8").count("EncodeFace"), file.stem))
CHECKPOINT = "Realistic_Vision_V6.0_NV_B1_fp16.safetensors"
# Files that the fixtures' ComfyUI lacks and a user's has, or gets by the note in the workflow.
USER_FILES = {
    ("CheckpointLoaderSimple", "ckpt_name"): CHECKPOINT,
    ("LoadImage", "image"): "example.png",
    ("LoadVideo", "file"): "clip.mp4",
}
MODEL_FOLDERS = {"CheckpointLoaderSimple": "checkpoints", "CLIPVisionLoader": "clip_vision"}
CORE_MODULES = ("nodes", "comfy_extras.")
OUR_PREFIX = "DynamicID"
PHOTO_SIZE = 512
PICTURE_WIDTH, PICTURE_HEIGHT = 96, 64
CROP_SIZE = 64
COMPOSITION = [(40.0, 90.0, 192.0, 290.0), (300.0, 150.0, 452.0, 350.0)]
GROUP = [(48.0, 240.0, 124.0, 340.0), (218.0, 240.0, 294.0, 340.0), (388.0, 240.0, 464.0, 340.0)]
# Template -> the photo that people are cut out of, the faces that are repainted and those that stay.
REPAINTED = {
    "group-with-every-face-repainted": ("group", GROUP, []),
    "person-into-photo": ("composition", COMPOSITION[:1], COMPOSITION[1:]),
}
SHEETS = {"expression-sheet": (7, 3)}
"""Template -> rows and columns of the sheet that it saves."""
CLIPS = {"moving-portrait"}
CLIP_FRAMES, PAINTED_FRAMES, FRAME_RATE = 5, 4, 8
THUMBNAIL_BYTES = 60_000
TITLE_HEIGHT = 30

pytestmark = pytest.mark.server
every_workflow = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def object_info(server: Server) -> dict[str, Any]:
    """What the server says of its nodes."""
    return server.get("object_info")


@pytest.fixture(scope="module")
def photos(server: Server) -> dict[str, Any]:
    """Painted photos in the server's input folder: ``people``, an ``expression``, a ``composition``, a ``group``; and
    a ``clip`` of somebody who opens the mouth and turns.
    """
    folder = server.base / "input"

    def write(name: str, boxes: list[Box], **looks: Any) -> str:
        Image.fromarray(draw_test_faces((PHOTO_SIZE, PHOTO_SIZE), boxes, **looks)).save(folder / name)
        return name

    middle = [(165.0, 120.0, 347.0, 360.0)]
    return {
        "people": [write(f"person-{n}.png", middle, tones=[DEFAULT_TONES[n]]) for n in range(2)],
        "expression": write("expression.png", middle, tones=[DEFAULT_TONES[3]], shades=[0.4], mouths=[0.3]),
        "composition": write("composition.png", COMPOSITION),
        "group": write("group.png", GROUP),
        "clip": write_clip(folder / "somebody.mp4", turning(middle), FRAME_RATE),
    }


def turning(boxes: list[Box]) -> list[np.ndarray]:
    """Somebody who opens the mouth and turns."""
    return [
        draw_test_faces(
            (PHOTO_SIZE, PHOTO_SIZE), boxes, tones=[DEFAULT_TONES[3]], shades=[0.4 * share], mouths=[0.1 + 0.2 * share]
        )
        for share in np.linspace(0, 1, CLIP_FRAMES).tolist()
    ]


def test_all_templates_are_there() -> None:
    assert {file.stem for file in FILES} == {
        "one-person",
        "edited-expression",
        "two-people-in-boxes",
        "three-people-by-masks",
        "mixed-identity",
        "regions-from-picture",
        "group-with-every-face-repainted",
        "person-into-photo",
        "paint-four-keep-the-best",
        "expression-sheet",
        "moving-portrait",
    }


@every_workflow
def test_thumbnail(file: Path) -> None:
    thumbnail = file.with_suffix(".jpg")
    assert 0 < thumbnail.stat().st_size <= THUMBNAIL_BYTES
    with Image.open(thumbnail) as image:
        assert image.format == "JPEG"
        assert min(image.size) >= 256


@every_workflow
def test_notes_say_what_to_do_and_name_the_licence(file: Path) -> None:
    text = "\n".join(node["widgets_values"][0] for node in read(file)["nodes"] if node["type"] in NOTES)
    for needed in (CHECKPOINT, "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors", "SAA.bin", "buffalo_l", "non-commercial",
                   "python -m dynamicid download"):  # fmt: skip
        assert needed in text
    assert "agreed" in text


@every_workflow
def test_the_list_of_missing_models_can_fetch_what_it_may(file: Path) -> None:
    """The page takes addresses of a few sites only, and no .bin or .onnx files."""
    for node in read(file)["nodes"]:
        if (folder := MODEL_FOLDERS.get(node["type"])) is not None:
            (model,) = node["properties"]["models"]
            assert model["name"] == node["widgets_values"][0]
            assert model["directory"] == folder
            assert model["url"].startswith("https://huggingface.co/")
            assert model["url"].endswith(".safetensors")


@every_workflow
def test_nodes_do_not_overlap(file: Path) -> None:
    nodes = read(file)["nodes"]
    for position, node in enumerate(nodes):
        for other in nodes[position + 1 :]:
            apart_x = _apart(node["pos"][0], node["size"][0], other["pos"][0], other["size"][0])
            tops = node["pos"][1] - TITLE_HEIGHT, other["pos"][1] - TITLE_HEIGHT
            apart_y = _apart(tops[0], node["size"][1] + TITLE_HEIGHT, tops[1], other["size"][1] + TITLE_HEIGHT)
            assert apart_x or apart_y, f"{node['type']} {node['id']} lies over {other['type']} {other['id']}"


def _apart(start: float, length: float, other_start: float, other_length: float) -> bool:
    return start + length <= other_start or other_start + other_length <= start


@every_workflow
def test_only_core_nodes_and_ours(file: Path, object_info: dict[str, Any]) -> None:
    types = {node["type"] for node in read(file)["nodes"]} - NOTES
    assert types <= object_info.keys()
    foreign = {
        kind for kind in types
        if not kind.startswith(OUR_PREFIX) and not object_info[kind]["python_module"].startswith(CORE_MODULES)
    }  # fmt: skip
    assert not foreign
    assert "DynamicIDApply" in types


@every_workflow
def test_links_join_sockets_that_fit(file: Path, object_info: dict[str, Any]) -> None:
    workflow = read(file)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link_id, source_id, output, target_id, slot, kind in workflow["links"]:
        source, target = nodes[source_id], nodes[target_id]
        assert link_id in source["outputs"][output]["links"]
        assert target["inputs"][slot]["link"] == link_id
        assert object_info[source["type"]]["output"][output] == kind
        specs = {name: spec for name, spec, _ in input_specs(object_info[target["type"]])}
        assert specs[target["inputs"][slot]["name"]] in (kind, "*")
    linked = [entry["link"] for node in workflow["nodes"] for entry in node["inputs"] if entry["link"] is not None]
    assert sorted(linked) == sorted(link[0] for link in workflow["links"])


@every_workflow
def test_values_are_ones_the_nodes_take(file: Path, object_info: dict[str, Any]) -> None:
    for node in api_graph(read(file), object_info).values():
        info = object_info[node["class_type"]]
        for name, kind, options in input_specs(info):
            where = f"{node['class_type']}.{name}"
            if name not in node["inputs"]:
                assert name in info["input"].get("optional", {}), f"{where} is not connected"
            elif is_widget(kind, options) and not isinstance(node["inputs"][name], list):
                value = node["inputs"][name]
                known = USER_FILES.get((node["class_type"], name))
                assert value == known or _is_valid(value, kind, options), f"{where} does not take {value!r}"


def _is_valid(value: Any, kind: Any, options: dict[str, Any]) -> bool:
    if isinstance(kind, list) or kind == "COMBO":
        return value in (kind if isinstance(kind, list) else options["options"])
    if kind == DYNAMIC_COMBO:
        return value in [option["key"] for option in options["options"]]
    if kind == "BOOLEAN":
        return isinstance(value, bool)
    if kind == "STRING":
        return isinstance(value, str)
    number = int if kind == "INT" else (int, float)
    return (
        isinstance(value, number) and not isinstance(value, bool)
        and options.get("min", value) <= value <= options.get("max", value)
    )  # fmt: skip


@every_workflow
def test_queued_it_paints_the_people(
    file: Path, server: Server, object_info: dict[str, Any], photos: dict[str, Any]
) -> None:
    graph = api_graph(read(file), object_info)
    shrink(graph, photos)
    plain_of = add_plain_pictures(graph)
    entry = server.run(graph)
    # What an earlier workflow has shown already, the server takes from its cache and does not show again.
    for node_id in server.executed(entry):
        kind = graph[node_id]["class_type"]
        if object_info[kind]["output_node"]:
            assert entry["outputs"].get(node_id), f"{kind} {node_id} showed nothing"
            for image in entry["outputs"][node_id].get("images", []):
                assert picture(server, image).std() > 1, f"{kind} {node_id} showed an empty picture"
    assert plain_of
    for painted_id, plain_id in plain_of.items():
        painted, plain = (picture(server, entry["outputs"][n]["images"][0]) for n in (painted_id, plain_id))
        assert np.abs(painted - plain).mean() > 1
        if file.stem in REPAINTED:
            photo, *faces = REPAINTED[file.stem]
            given = picture(server, {"type": "input", "subfolder": "", "filename": photos[photo]})
            assert_only_faces_changed(given, painted, *faces)
        elif file.stem in SHEETS:
            assert_every_picture_of_the_sheet_differs(painted, plain, *SHEETS[file.stem])
        elif file.stem in CLIPS:
            assert_only_the_motion_changes_from_frame_to_frame(server, entry["outputs"], painted_id, plain_id)
        else:
            assert painted.shape == plain.shape == (PICTURE_HEIGHT, PICTURE_WIDTH, 3)
    for node_id, node in graph.items():
        shows = graph[node["inputs"]["source"][0]]["class_type"] if node["class_type"] == "PreviewAny" else None
        if shows == "DynamicIDCheckPeople":
            (report,) = entry["outputs"][node_id]["text"]
            assert re.findall(r"^Picture \d|^  Person \d", report, re.MULTILINE) == [
                line for n in range(1, 5) for line in (f"Picture {n}", "  Person 1", "  Person 2")
            ]


def assert_every_picture_of_the_sheet_differs(painted: np.ndarray, plain: np.ndarray, rows: int, columns: int) -> None:
    """From the plain one, while what is written below it is the same."""
    cell_height, cell_width = (side // count for side, count in zip(painted.shape, (rows, columns), strict=False))
    assert cell_width - PICTURE_WIDTH < 8 < cell_height - PICTURE_HEIGHT < 24
    assert painted.shape == plain.shape
    for row in range(rows):
        for column in range(columns):
            top, left = row * cell_height, column * cell_width
            cell = np.abs(painted - plain)[top : top + PICTURE_HEIGHT, left : left + PICTURE_WIDTH]
            assert cell.mean() > 1, (row, column)
            assert not np.abs(painted - plain)[
                top + PICTURE_HEIGHT + 4 : top + cell_height, left : left + cell_width
            ].any()


def assert_only_the_motion_changes_from_frame_to_frame(
    server: Server, outputs: dict[str, Any], painted_id: str, plain_id: str
) -> None:
    """All frames begin with the same noise: without motions they are equal. The clip has as many."""
    painted, plain = (
        [picture(server, image) for image in outputs[node_id]["images"]] for node_id in (painted_id, plain_id)
    )
    assert len(painted) == len(plain) == PAINTED_FRAMES
    for before, after in pairwise(painted):
        assert np.abs(after - before).mean() > 0.02
    for before, after in pairwise(plain):
        assert np.array_equal(after, before)
    (clip,) = (
        image for output in outputs.values() for image in output.get("images", []) if image["filename"].endswith(".mp4")
    )
    frames = read_clip(server.base / clip["type"] / clip["subfolder"] / clip["filename"])
    assert frames.shape == (PAINTED_FRAMES, PICTURE_HEIGHT, PICTURE_WIDTH, 3)
    # The codec keeps brightness at full size, colours at half.
    assert np.abs((frames - np.stack(painted)).mean(axis=-1)).mean() < 8


def assert_only_faces_changed(given: np.ndarray, painted: np.ndarray, changed: list[Box], kept: list[Box]) -> None:
    """Each ``changed`` face differs; ``kept`` ones and what is not around a changed one are equal to the last bit."""
    untouched = np.ones(given.shape[:2], dtype=bool)
    for x0, y0, x1, y1 in changed:
        reach = 0.7 * (y1 - y0)  # Head, hair and neck, as the mask of Crop People has them.
        untouched[area((x0 - reach, y0 - reach, x1 + reach, y1 + reach))] = False
        assert np.abs(painted - given)[area((x0, y0, x1, y1))].mean() > 1
    for box in kept:
        untouched[area(box)] = True
    assert 0.3 < untouched.mean() < 1
    assert np.array_equal(painted[untouched], given[untouched])


def area(box: Box) -> tuple[slice, slice]:
    """Rows and columns of a box; it may stick out of the picture."""
    x0, y0, x1, y1 = (max(0, round(edge)) for edge in box)
    return slice(y0, y1), slice(x0, x1)


def shrink(graph: dict[str, Any], photos: dict[str, Any]) -> None:
    """Changes ``graph``: the fixtures' files, a small picture, two steps; a third person is the first again."""
    people = cycle(photos["people"])
    # On rule-made weights no picture shows a face: the score is that of the photo against itself, and people are cut
    # out of a photo.
    for node in graph.values():
        if node["class_type"] == "DynamicIDFaceSimilarity":
            node["inputs"]["image"] = node["inputs"]["reference"]
    special = {"DynamicIDMotionFromImage": photos["expression"], "DynamicIDRegionsFromImage": photos["composition"]}
    for node_id, node in graph.items():
        inputs = node["inputs"]
        match node["class_type"]:
            case "CheckpointLoaderSimple":
                inputs["ckpt_name"] = "small.safetensors"
            case "EmptyLatentImage":
                inputs.update(width=PICTURE_WIDTH, height=PICTURE_HEIGHT)
            case "KSampler":
                inputs["steps"] = 2
            case "DynamicIDCropPeople":
                inputs["size"] = CROP_SIZE
            case "LoadVideo":
                inputs["file"] = photos["clip"]
            case "ImageFromBatch":
                inputs["length"] = PAINTED_FRAMES
            case "LoadImage":
                uses = {other["class_type"] for other in graph.values() if other["inputs"].get("image") == [node_id, 0]}
                found = [special[kind] for kind in uses if kind in special]
                inputs["image"] = found[0] if found else next(people)
    cuts = [node["inputs"] for node in graph.values() if node["class_type"] == "DynamicIDCropPeople"]
    for inputs in cuts:
        if graph[inputs["image"][0]]["class_type"] != "LoadImage":
            graph["group"] = {"class_type": "LoadImage", "inputs": {"image": photos["group"]}}
            inputs["image"] = ["group", 0]


def add_plain_pictures(graph: dict[str, Any]) -> dict[str, str]:
    """Adds the picture without Apply, the model straight from the loader; saved picture's node -> plain one's."""
    applies = [node_id for node_id, node in graph.items() if node["class_type"] == "DynamicIDApply"]
    bypass = {(node_id, 0): graph[node_id]["inputs"]["model"] for node_id in applies}

    def plain_value(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return bypass.get((value[0], value[1])) or [plain_node(value[0]), value[1]]

    def plain_node(node_id: str) -> str:
        node = graph[node_id]
        inputs = {name: plain_value(value) for name, value in node["inputs"].items()}
        if inputs == node["inputs"]:
            return node_id
        graph[f"plain-{node_id}"] = {**node, "inputs": inputs}
        return f"plain-{node_id}"

    saved = [node_id for node_id, node in graph.items() if node["class_type"] == "SaveImage"]
    return {node_id: plain_node(node_id) for node_id in saved}


def picture(server: Server, image: dict[str, str]) -> np.ndarray:
    """(height, width, 3) in 0..255 of an image the server names; of a video its first frame."""
    path = server.base / image["type"] / image["subfolder"] / image["filename"]
    if path.suffix == ".mp4":
        return read_clip(path)[0]
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"), dtype=np.float32)
