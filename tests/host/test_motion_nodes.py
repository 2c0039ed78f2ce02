"""Nodes that make motions for many pictures, as the host calls them."""

import logging
from typing import Any

import numpy as np
import pytest
import torch

from tests.faces.test_motion_frames import landmarks, posed
from tests.standin.onnx_pack import draw_test_faces

SIZE = (200, 300)
ANNA, BEN = (30, 40, 106, 140), (170, 40, 270, 172)


@pytest.fixture(scope="module")
def analyzer(pack: Any, model_files: Any) -> Any:
    load = pack.load("dynamicid.faces.analysis").load_face_analysis
    return load(model_files / "insightface" / "models" / "buffalo_l", "CPU")


@pytest.fixture(scope="module")
def read(pack: Any, analyzer: Any) -> Any:
    """``read(frames, index=0, smooth=0.0)``: Motion from Image; a frame is a list of boxes of faces.

    ``shades``: of the first face of every frame, of the second, ...; see ``draw_test_faces``.
    """

    def run(frames: list[Any], shades: Any = None, **inputs: Any) -> Any:
        pictures = np.stack([draw_test_faces(SIZE, boxes, shades=shades) for boxes in frames])
        image = torch.from_numpy(pictures).float() / 255
        return pack.run(
            "DynamicIDMotionFromImage",
            **{"face_analysis": analyzer, "image": image, "pick": "largest", "index": 0, **inputs},
        )

    return run


def test_each_frame_of_a_batch_is_a_motion_and_gaps_are_told(read, caplog):
    frames = [[ANNA], [], [(60, 50, 136, 150)]]
    with caplog.at_level(logging.WARNING):
        motion, preview = read(frames)
    assert motion.frame_count == 3
    assert preview.shape == (3, *SIZE, 3)
    assert "1 of 3 pictures do not show the face (2)" in caplog.text
    for number in (0, 2):
        alone = read([frames[number]])[0]
        assert alone.frame_count == 1
        assert torch.equal(motion.frame(number).landmarks_106, alone.landmarks_106)
    middle = (motion.frame(0).pose + motion.frame(2).pose) / 2
    assert torch.allclose(motion.frame(1).pose, middle, atol=1e-4)


@pytest.mark.parametrize("index", [0, 1])
def test_people_who_change_places_are_told_apart(index, read):
    """The first of each frame has one skin and looks ahead, the second has another and looks aside."""
    motion, _ = read([[ANNA, BEN], [BEN, ANNA], [ANNA, BEN]], shades=[0.0, 0.4], pick="leftmost", index=index)
    yaws = [abs(float(frame.pose[1])) for frame in motion.frames]
    assert max(yaws) < 5 if index == 0 else min(yaws) > 15


def test_a_long_clip_shows_its_first_frames(read, pack, monkeypatch):
    monkeypatch.setattr(pack.load("dynamicid.host.faces"), "MOST_SHOWN", 2)
    motion, preview = read([[ANNA], [ANNA], [ANNA]])
    assert (motion.frame_count, len(preview)) == (3, 2)


def test_smoothing_one_frame_and_no_frame(read, pack):
    frames = [[ANNA], [(40, 40, 116, 150)], [ANNA]]
    rough, smooth = read(frames)[0], read(frames, smooth=2.0)[0]
    assert not torch.equal(rough.frame(1).landmarks_106, smooth.frame(1).landmarks_106)
    assert torch.equal(read([[ANNA]], smooth=2.0)[0].landmarks_106, rough.landmarks_106)
    error = pack.load("dynamicid.errors").DynamicIDError
    with pytest.raises(error, match="image: None of the 2 pictures shows a face"):
        read([[], []])
    with pytest.raises(error, match=r"image: Expected pictures of shape \(batch, height, width, 3\), found \(0, "):
        read([[ANNA]], image=torch.zeros(0, *SIZE, 3))
    with pytest.raises(error, match="smooth: -1 is out of range"):
        read(frames, smooth=-1)


def test_landmarks_of_the_core_become_motions_of_a_person(pack, make_face):
    motion, preview = pack.run(
        "DynamicIDMotionFromLandmarks", face_landmarks=landmarks(0.0, None, 30.0), index=0, smooth=0.0
    )
    assert torch.stack([frame.pose[1] for frame in motion.frames]).allclose(torch.tensor([0.0, 15.0, 30.0]), atol=1e-3)
    assert motion.frame(2).prompt == "in a neutral expression, mouth open, in side view"
    assert preview.shape == (3, 588, 512, 3)
    own, _ = pack.run(
        "DynamicIDMotionFromLandmarks", face_landmarks=landmarks(0.0), index=0, smooth=0.0, face=make_face("anna")
    )
    assert not torch.allclose(own.landmarks_106, motion.frame(0).landmarks_106, atol=1.0)


def test_presets_sliders_and_sheet(pack, make_face):
    motion, labels = pack.run(
        "DynamicIDMotionPresets", face=make_face("anna"), expressions="happy, sad", views="front, left", strength=1.0
    )
    assert labels == "happy, front\nhappy, left\nsad, front\nsad, left"
    sliders = dict.fromkeys(pack.load("dynamicid.faces.motion_sliders").RANGES, 0.0)
    moved, preview = pack.run("DynamicIDMotionSliders", motion=motion, **{**sliders, "roll": 10.0})[:2]
    assert [float(frame.pose[2]) for frame in moved.frames] == [10.0] * 4
    assert preview.shape == (1, 588, 512, 3)
    shown = pack.run("DynamicIDMotionSliders", motion=motion, **sliders)[1]
    single = pack.run("DynamicIDMotionSliders", motion=motion.frame(0), **sliders)[1]
    assert torch.equal(shown[:, :512], single[:, :512])  # The first frame,
    assert not torch.equal(shown[:, 512:], single[:, 512:])  # and the words say of how many.
    pictures = torch.rand(4, 32, 64, 3)
    sheet = pack.run("DynamicIDContactSheet", image=pictures, labels=labels, columns=2)[0]
    assert sheet.shape == (1, 2 * (32 + 16 + 2) + 2, 2 * 66 + 2, 3)
    assert torch.allclose(sheet[0, 2:34, 2:66], pictures[0], atol=1 / 255)
    blend = pack.run("DynamicIDBlendMotions", motion_a=motion, motion_b=moved, frames=5, curve="ease")[0]
    assert blend.frame_count == 5


def test_frames_print_no_person(pack):
    frames = pack.load("dynamicid.faces.frames")
    motion_type = pack.load("dynamicid.faces.motion").Motion
    one = motion_type(posed().landmarks_106, posed().pose, "in a sad expression")
    assert repr(frames.join_frames([one] * 3)) == "Motion('in a sad expression', 3 frames)"
