"""Hostile files and texts: each is taken or refused in words, nothing else, and no memory is kept."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch

from dynamicid.checkpoints import load_weights
from dynamicid.errors import DynamicIDError
from dynamicid.faces.analysis import load_face_analysis
from dynamicid.faces.boxes import parse_boxes
from dynamicid.faces.editing import keypoint_map
from dynamicid.faces.emotions import load_emotion_reader
from dynamicid.faces.face import Face
from dynamicid.faces.face_file import load_face, save_face
from dynamicid.faces.motion import described_motion
from dynamicid.faces.motion_drawing import draw_motion
from dynamicid.faces.motion_sliders import average_motion, move, sliders_from
from dynamicid.synthetic import Split, pictures_of, render_portrait, sample_portrait
from tests.checkpoints.small_files import published_saa, write_small_files
from tests.curation.conftest import EMOTION_MODEL, PACK
from tests.standin.rule import rule_input

from .hostile import changed_json, memory_watched, numbers, only_in_words, safetensors_bytes, spoilt

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_weight_files(kind: str, tmp_path: Path, pytestconfig: pytest.Config):
    from dynamicid.checkpoints.combined import gather_tensors, save_combined
    from dynamicid.checkpoints.weights import find_parts

    path = tmp_path / "SAA.bin"
    torch.save(published_saa(), path, _use_new_zipfile_serialization=kind == "zip")
    if kind == "safetensors":
        folder = tmp_path / "published"
        folder.mkdir()
        parts = find_parts(write_small_files(folder) / "SAA.bin", folder / "IMR.bin")
        path = save_combined(tmp_path / "all.safetensors", gather_tensors(parts))
    content, taken = path.read_bytes(), 0
    with memory_watched():
        for number in numbers(pytestconfig, 0.4):
            draw = Random(f"{kind} {number}")
            path.write_bytes((safetensors_bytes if kind == "safetensors" else spoilt)(content, draw))
            taken += only_in_words(partial(load_weights, path), DynamicIDError)
    assert taken < len(numbers(pytestconfig, 0.4))


def test_face_files(tmp_path: Path, pytestconfig: pytest.Config):
    """What is taken must also be drawn and moved."""
    path = tmp_path / "face.safetensors"
    tokens, motion = rule_input("tokens", (4, 64)), average_motion()
    crop = torch.zeros(8, 8, 3, dtype=torch.uint8)
    save_face(
        Face(
            tokens,
            tokens,
            torch.ones(16) / 4,
            motion.landmarks_106,
            motion.pose,
            crop,
            (0.0, 0.0, 99.0, 99.0),
            emotion="happy",
        ),
        path,
    )
    content, sliders = path.read_bytes(), sliders_from({"yaw": 20.0, "smile": 0.5})

    def use() -> None:
        face = load_face(path)
        if face.landmarks_106 is not None and face.pose is not None:
            before = described_motion(face.landmarks_106, face.pose, face.emotion)
            keypoint_map(before.landmarks_106)
            draw_motion(face, before, move(before, sliders))

    with memory_watched():
        for number in numbers(pytestconfig, 2):
            path.write_bytes(safetensors_bytes(content, Random(f"face {number}")))
            only_in_words(use, DynamicIDError)


def test_boxes_and_requests_of_the_page(pytestconfig: pytest.Config):
    from dynamicid.host.routes import moved

    boxes = [[0.1, 0.2, 0.3, 0.4], {"x": 0, "y": 0, "width": 1, "height": 1}, None]
    request = {"id": "", "sliders": {"yaw": 20, "smile": 0.5}, "neutralise": False}
    with memory_watched():
        for number in numbers(pytestconfig, 4):
            draw = Random(f"text {number}")
            only_in_words(partial(parse_boxes, json.dumps(changed_json(boxes, draw))), DynamicIDError)
            body = json.dumps(changed_json(request, draw)).encode("utf-8", "surrogatepass")
            only_in_words(partial(moved, spoilt(body, draw) if number % 3 == 0 else body), ValueError, LookupError)


OPEN = (
    "import sys; from tests.fuzz import test_files as t; getattr(t, sys.argv[1])(*map(int, sys.argv[2:4]), sys.argv[4])"
)


def open_emotion_networks(first: str, count: str, folder: str) -> None:
    """Opens hostile emotion networks."""
    content, path = EMOTION_MODEL.read_bytes(), Path(folder, "emotion.onnx")
    for number in range(int(first), int(first) + int(count)):
        path.write_bytes(spoilt(content, Random(f"onnx {number}")))
        only_in_words(partial(load_emotion_reader, path, 1), DynamicIDError)


def open_face_packs(first: str, count: str, folder: str) -> None:
    """Opens packs with one hostile network, and finds the face of a portrait with those that open."""
    files = {path.name: path.read_bytes() for path in sorted(PACK.glob("*.onnx"))}
    for name, content in files.items():
        Path(folder, name).write_bytes(content)
    portrait = render_portrait(sample_portrait(0, pictures_of(Split.train)[0], Split.train), 128)[0]
    assert load_face_analysis(Path(folder), "CPU", threads=1).detect(portrait)
    for number in range(int(first), int(first) + int(count)):
        draw = Random(f"pack {number}")
        name = draw.choice(list(files))
        Path(folder, name).write_bytes(spoilt(files[name], draw))
        only_in_words(lambda: load_face_analysis(Path(folder), "CPU", threads=1).detect(portrait), DynamicIDError)
        Path(folder, name).write_bytes(files[name])


@pytest.mark.parametrize(("kind", "share"), [("open_emotion_networks", 0.3), ("open_face_packs", 0.3)])
def test_onnx_networks(kind: str, share: float, tmp_path: Path, pytestconfig: pytest.Config):
    """In a process of their own, as native code may end it."""
    wanted = numbers(pytestconfig, share)
    command = [sys.executable, "-c", OPEN, kind, str(wanted.start), str(len(wanted)), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
