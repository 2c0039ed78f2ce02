"""Motions for many pictures: presets, blends, gaps, smoothing, and ComfyUI's own face landmarks."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from dynamicid.errors import DynamicIDError
from dynamicid.faces.blendshapes import WEIGHTS, chosen_faces, expression_of, pose_of, sliders_of
from dynamicid.faces.detected import DetectedFace
from dynamicid.faces.expressions import Expression
from dynamicid.faces.frames import join_frames
from dynamicid.faces.motion import Motion
from dynamicid.faces.motion_frames import blend_motions, fill_gaps, preset_motions, smooth_motion
from dynamicid.faces.motion_sliders import EXPRESSIONS, Sliders, average_motion, move
from dynamicid.faces.similarity import follow_face


def posed(yaw=0.0, pitch=0.0, **expression):
    return move(average_motion(), Sliders(yaw=yaw, pitch=pitch, expression=Expression(**expression)))


def test_presets_are_every_expression_in_every_view():
    motion, labels = preset_motions(posed(20.0, smile=0.9), "happy,\nSad", "front, left , up", 1.0)
    assert labels == ["happy, front", "happy, left", "happy, up", "sad, front", "sad, left", "sad, up"]
    assert motion.frame_count == 6
    assert [frame.pose.tolist()[:2] for frame in motion.frames[:3]] == [[0, 0], [0, -35], [20, 0]]
    assert motion.frames[4].prompt == "in a sad expression, in side view"
    alone = move(posed(20.0, smile=0.9), Sliders(yaw=-35.0, expression=EXPRESSIONS["sad"], neutralise=True))
    assert torch.equal(motion.frames[4].landmarks_106, alone.landmarks_106)
    rest, _ = preset_motions(average_motion(), "angry, neutral", "front", 0.0)
    assert torch.equal(rest.frames[0].landmarks_106, rest.frames[1].landmarks_106)
    assert (
        preset_motions(average_motion(), "happy", "front", 1.5)[0].prompt == "in a very happy expression, in front view"
    )


@pytest.mark.parametrize(
    ("expressions", "views", "message"),
    [
        ("happy, joyful", "front", "expressions: There is no 'joyful'. Use some of: happy, surprised"),
        ("happy", "behind", "views: There is no 'behind'"),
        (" ,\n", "front", "expressions: It is empty"),
    ],
)
def test_unknown_presets_are_errors(expressions, views, message):
    with pytest.raises(DynamicIDError, match=message):
        preset_motions(average_motion(), expressions, views, 1.0)


def test_a_blend_goes_from_one_motion_to_the_other():
    left, right = posed(-30.0, smile=0.9), posed(30.0, eyes_closed=1.0)
    linear = blend_motions(left, right, 7, "linear")
    assert linear.frame_count == 7
    for end, given in ((linear.frames[0], left), (linear.frames[-1], right)):
        assert torch.equal(end.landmarks_106, given.landmarks_106)
        assert end.prompt == given.prompt
    assert torch.tensor([frame.pose[1] for frame in linear.frames]).allclose(torch.linspace(-30, 30, 7), atol=1e-4)
    assert linear.frames[3].prompt == "in a neutral expression, eyes closed, in front view"
    # A head that turns is as wide in the middle as from the front; points drawn straight across would make it narrower.
    contours = (motion.landmarks_106[:33, 0].numpy() for motion in (linear.frames[3], average_motion()))
    width, front = (float(np.ptp(contour)) for contour in contours)
    assert abs(width - front) < 0.03 * front
    ease = [float(frame.pose[1]) for frame in blend_motions(left, right, 7, "ease").frames]
    assert ease[1] < float(linear.frames[1].pose[1])
    assert ease[3] == pytest.approx(0, abs=1e-4)
    several = blend_motions(join_frames([right, left]), join_frames([right, left]), 2, "linear")
    assert torch.equal(several.landmarks_106, left.landmarks_106)
    assert torch.equal(several.frames[1].landmarks_106, right.landmarks_106)
    for frames, curve in ((1, "linear"), (2001, "linear"), (4, "bouncing")):
        with pytest.raises(DynamicIDError):
            blend_motions(left, right, frames, curve)


def test_gaps_lie_between_their_neighbours():
    filled = fill_gaps([None, posed(0.0), None, None, posed(30.0), None])
    yaws = torch.tensor([frame.pose[1] for frame in filled.frames])
    assert yaws.allclose(torch.tensor([0.0, 0.0, 10.0, 20.0, 30.0, 30.0]), atol=1e-4)


def test_smoothing_keeps_a_steady_turn_and_takes_jitter_off():
    steady = join_frames([posed(2.0 * i) for i in range(21)])
    jitter = torch.randn(21, generator=torch.Generator().manual_seed(0))
    shaken = join_frames(
        [Motion(f.landmarks_106 + 4 * j, f.pose + j, f.prompt) for f, j in zip(steady.frames, jitter, strict=True)]
    )
    assert smooth_motion(shaken, 0.0) is shaken
    smooth = smooth_motion(shaken, 2.0)
    inside = slice(6, 15)
    for name in ("landmarks_106", "pose"):
        wanted, before, after = (
            torch.stack([getattr(frame, name) for frame in motion.frames[inside]])
            for motion in (steady, shaken, smooth)
        )
        assert (after - wanted).std() < 0.6 * (before - wanted).std()
    exact = smooth_motion(steady, 2.0).frames[10]
    assert exact.pose.allclose(steady.frames[10].pose, atol=1e-4)


def rotation(pitch, yaw, roll):
    """R = Rz Ry Rx in InsightFace's axes (y down), turned to the camera's (y up), 7 times as large."""
    a, b, c = np.radians([pitch, yaw, roll])
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    flip = np.diag([1.0, -1.0, 1.0])
    matrix = np.eye(4)
    matrix[:3, :3] = 7 * flip @ z @ y @ x @ flip
    return matrix


NAMES = sorted({name for weights in WEIGHTS.values() for name in weights})


def shapes(**values):
    return {**dict.fromkeys(NAMES, 0.0), **values}


def test_the_pose_of_a_transformation_matrix():
    for pose in ((0, 0, 0), (20, -30, 10), (-15, 45, -25)):
        assert pose_of(rotation(*pose)) == pytest.approx(pose, abs=1e-6)
    # The nose (z) of a face that looks up and to the picture's right.
    nose = rotation(20, 30, 0)[:3, 2]
    assert nose[0] > 0
    assert nose[1] > 0


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {}),
        ({"mouthSmileLeft": 0.8, "mouthSmileRight": 0.4}, {"smile": 0.6}),
        ({"mouthFrownLeft": 1.0, "mouthFrownRight": 1.0}, {"smile": -1.0}),
        ({"jawOpen": 0.7}, {"mouth_open": 0.7}),
        ({"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0}, {"eyebrows": 1.0}),
        ({"browDownLeft": 0.6, "browDownRight": 0.4}, {"eyebrows": -0.5}),
        ({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, {"eyes_closed": 1.0}),
        ({"eyeSquintLeft": 0.5, "eyeSquintRight": 0.3}, {"squint": 0.4}),
        ({"mouthPucker": 0.9, "mouthFunnel": 0.8}, {"pucker": 1.0}),
        ({"jawLeft": 0.5}, {"jaw_sideways": 0.5}),
        ({"jawRight": 0.5}, {"jaw_sideways": -0.5}),
    ],
)
def test_blendshapes_move_the_sliders(given, wanted):
    found = asdict(expression_of(shapes(**given)))
    assert found == pytest.approx({**dict.fromkeys(found, 0.0), **wanted})


def landmarks(*yaws):
    """Frames with one face each, or none where the yaw is None."""
    face = lambda yaw: {"blendshapes": shapes(jawOpen=0.5), "transformation_matrix": rotation(0, yaw, 0)}  # noqa: E731
    return {"frames": [[] if yaw is None else [face(yaw)] for yaw in yaws], "image_size": (512, 512)}


def test_landmarks_become_sliders_of_a_face_at_rest():
    faces = chosen_faces(landmarks(10.0, None, -20.0), 0)
    assert faces[1] is None
    assert faces[2] is not None
    sliders = sliders_of(faces[2]["blendshapes"], faces[2]["transformation_matrix"])
    assert (sliders.yaw, sliders.expression.mouth_open, sliders.neutralise) == (pytest.approx(-20), 0.5, True)


@pytest.mark.parametrize(
    "other",
    [
        None,
        torch.zeros(2, 478, 3),
        {"people": [{"face_keypoints_2d": [0.0]}]},
        {"frames": [[{"landmarks_xy": np.zeros((68, 2))}]]},
        {"frames": [[{"blendshapes": {"jawOpen": 1.0}, "transformation_matrix": np.eye(4)}]]},
        {"frames": [[{"blendshapes": shapes(), "transformation_matrix": np.zeros((4, 4))}]]},
        {"frames": [[{"blendshapes": shapes(), "transformation_matrix": np.zeros(3)}]]},
    ],
)
def test_landmarks_of_another_format_are_refused(other):
    with pytest.raises(DynamicIDError, match="face_landmarks: It holds no faces with the 52 ARKit blendshapes"):
        chosen_faces(other, 0)


def test_no_such_face_in_any_frame_is_an_error():
    for value, index in ((landmarks(None, None), 0), (landmarks(0.0, 5.0), 1), ({"frames": []}, 0)):
        with pytest.raises(DynamicIDError, match=rf"None of its {len(value['frames'])} frames shows a face {index}"):
            chosen_faces(value, index)


def seen(*embeddings):
    return [DetectedFace((0.0, 0.0, 1.0, 1.0), 1.0, np.zeros((106, 2)), np.zeros(3), e) for e in np.array(embeddings)]


def test_a_person_is_followed_through_frames():
    anna, ben = [1.0, 0.0], [0.0, 1.0]
    first = seen(anna, ben)
    assert follow_face(first, 1, []) == 1
    assert follow_face(seen(anna), 1, []) is None
    assert follow_face(seen(ben, anna), 1, first) == 0
    assert follow_face(seen(anna), 1, first) is None
    assert follow_face([], 0, first) is None
    # Alone in the first frame: whoever is alone in another frame is the same person, or another photo's.
    assert follow_face(seen(ben), 0, seen(anna)) == 0
    assert follow_face(seen(ben, [-1.0, 0.0]), 0, seen(anna)) is None
