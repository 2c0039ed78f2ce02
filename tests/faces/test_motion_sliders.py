"""Landmarks moved by sliders: exact at rest, sane at every corner, in InsightFace's own angles, in the right words."""

from itertools import product

import numpy as np
import pytest
import torch

from dynamicid.errors import DynamicIDError
from dynamicid.faces import landmark_layout as layout
from dynamicid.faces.expressions import Expression, express, neutralised
from dynamicid.faces.head_model import AVERAGE_FACE, LARGEST_POSE, lift, project
from dynamicid.faces.landmarks import LANDMARK_COUNT, LANDMARK_SIZE
from dynamicid.faces.motion import described_motion
from dynamicid.faces.motion_sliders import (
    EXPRESSIONS,
    POSES,
    RANGES,
    Sliders,
    average_motion,
    describe_expression,
    move,
    sliders_from,
)

HEAD = ("yaw", "pitch", "roll")
CORNERS = [dict(zip(RANGES, values, strict=True)) for values in product(*RANGES.values())]
EYES = (
    (layout.LEFT_EYE_UPPER, layout.LEFT_EYE_LOWER, layout.LEFT_BROW),
    (layout.RIGHT_EYE_UPPER, layout.RIGHT_EYE_LOWER, layout.RIGHT_BROW),
)


def photo(yaw=0.0, pitch=0.0, roll=0.0, **expression):
    """A motion as if read off a photo: an average face with some noise, at a pose and with an expression."""
    noise = np.random.default_rng(3).normal(0, 0.012, (LANDMARK_COUNT, 3))
    points = express(AVERAGE_FACE + noise, Expression(**expression))
    pose = np.array([pitch, yaw, roll])
    return described_motion(torch.from_numpy(250 + 210 * project(points, pose)).float(), torch.from_numpy(pose).float())


PHOTOS = {
    "front": photo(),
    "side, laughing": photo(yaw=38, pitch=-12, roll=9, smile=0.8, mouth_open=0.5),
    "profile": photo(yaw=-80, pitch=10),
}
every_photo = pytest.mark.parametrize("name", PHOTOS)


def test_every_landmark_belongs_to_one_group_and_has_a_twin():
    groups = (
        layout.CONTOUR, layout.LEFT_EYE, layout.RIGHT_EYE, layout.LEFT_BROW, layout.RIGHT_BROW, layout.NOSE,
        layout.MOUTH,
    )  # fmt: skip
    assert sorted(number for group in groups for number in group) == list(range(LANDMARK_COUNT))
    assert (layout.MIRROR[layout.MIRROR] == np.arange(LANDMARK_COUNT)).all()
    assert np.allclose(AVERAGE_FACE[layout.MIRROR] * (-1, 1, 1), AVERAGE_FACE)


def test_the_groups_lie_where_their_names_say():
    x, y, _ = AVERAGE_FACE.T
    assert x[list(layout.LEFT_EYE)].max() < 0 < x[list(layout.RIGHT_EYE)].min()
    for rows in (layout.CONTOUR, layout.OUTER_LIP_UPPER, layout.NOSE_BASE, layout.LEFT_BROW_UPPER):
        assert (np.diff(x[list(rows)]) > 0).all()
    assert y[list(layout.LEFT_BROW)].max() < y[list(layout.LEFT_EYE)].min()
    assert y[list(layout.LEFT_EYE)].max() < y[layout.NOSE_TIP] < y[list(layout.MOUTH)].min()
    assert y.argmax() == layout.CHIN


def test_the_average_face_has_the_proportions_of_insightface():
    """Against the mean shape by which InsightFace reads poses; 106 -> 68 by the points that both name."""
    mean = np.asarray(pytest.importorskip("insightface.data").get_object("meanshape_68.pkl"))
    ours = [layout.CHIN, *layout.LEFT_EYE_CORNERS, *layout.RIGHT_EYE_CORNERS, *layout.MOUTH_CORNERS, layout.NOSE_TIP]
    theirs = [8, 36, 39, 42, 45, 48, 54, 30]
    assert np.abs(AVERAGE_FACE[ours] - mean[theirs]).max() < 0.03


@pytest.mark.parametrize("pose", [(20.0, 0.0, 0.0), (0.0, -35.0, 0.0), (0.0, 0.0, 25.0), (-15.0, 30.0, 10.0)])
def test_poses_are_insightfaces_angles(pose):
    transform = pytest.importorskip("insightface.utils.transform")
    inner = np.setdiff1d(np.arange(LANDMARK_COUNT), layout.CONTOUR)
    flat = project(AVERAGE_FACE, np.array(pose))
    rows = np.linalg.lstsq(AVERAGE_FACE[inner], flat[inner], rcond=None)[0].T
    rotation = np.stack([*rows, np.cross(*rows)])
    assert transform.matrix2angle(rotation) == pytest.approx(pose, abs=1.5)


def test_a_head_from_the_front_is_its_own_x_and_y():
    points = AVERAGE_FACE + np.random.default_rng(3).normal(0, 0.05, (LANDMARK_COUNT, 3))
    assert np.allclose(project(points, np.zeros(3)), points[:, :2])


@every_photo
def test_sliders_at_rest_give_the_very_motion(name):
    assert move(PHOTOS[name], Sliders()) is PHOTOS[name]


@every_photo
def test_lifting_a_head_loses_nothing(name):
    motion = PHOTOS[name]
    head = lift(motion.landmarks_106.numpy(), motion.pose.numpy())
    assert np.allclose(head.seen(head.points, head.pose), motion.landmarks_106.numpy(), atol=1e-4)
    assert head.scale == pytest.approx(210, rel=0.06)


def test_there_and_back_again():
    turned = move(PHOTOS["front"], sliders_from({"yaw": 25.0, "pitch": 10.0, "roll": -12.0}))
    back = move(turned, sliders_from({"yaw": -25.0, "pitch": -10.0, "roll": 12.0}))
    inner = np.setdiff1d(np.arange(LANDMARK_COUNT), layout.CONTOUR)
    difference = (back.landmarks_106 - PHOTOS["front"].landmarks_106)[inner].norm(dim=1)
    assert difference.mean() < 3
    assert torch.allclose(back.pose, PHOTOS["front"].pose, atol=1e-4)


@every_photo
def test_every_corner_of_the_ranges_is_a_face(name):
    """All 1024 corners: nothing crosses, nothing leaves the head, nothing is infinite."""
    motion = PHOTOS[name]
    head = lift(motion.landmarks_106.numpy(), motion.pose.numpy())
    for values in CORNERS:
        sliders = sliders_from(values)
        y = express(head.points, sliders.expression)[:, 1]
        for upper, lower, brow in EYES:
            assert (y[list(upper)] <= y[list(lower)] + 1e-9).all(), values
            assert y[list(brow)].max() < y[list(upper)].min(), values
        for upper, lower in (
            (layout.INNER_LIP_UPPER, layout.INNER_LIP_LOWER),
            (layout.OUTER_LIP_UPPER, layout.OUTER_LIP_LOWER),
        ):
            crossed = y[list(upper)] - y[list(lower)]
            before = head.points[list(upper), 1] - head.points[list(lower), 1]
            assert (crossed <= np.maximum(before, 0) + 1e-9).all(), values
        assert y[list(layout.NOSE_BASE)].max() < y[list(layout.OUTER_LIP_LOWER)].min(), values
        assert y[list(layout.OUTER_LIP_LOWER)].max() < y[layout.CHIN], values
        moved = move(motion, sliders)
        assert bool(moved.landmarks_106.isfinite().all())
        assert float(moved.landmarks_106.min()) > -LANDMARK_SIZE / 2, values
        assert float(moved.landmarks_106.max()) < LANDMARK_SIZE * 1.5, values


@pytest.mark.parametrize("yaw", [-60.0, 60.0])
def test_a_turned_head_folds_nothing_over_its_outline(yaw):
    points = move(average_motion(), sliders_from({"yaw": yaw})).landmarks_106.numpy()
    far = (layout.RIGHT_BROW_UPPER, (*layout.RIGHT_EYE_CORNERS[:1], *layout.RIGHT_EYE_UPPER)) if yaw > 0 else (
        layout.LEFT_BROW_UPPER[::-1], (*layout.LEFT_EYE_CORNERS[1:], *layout.LEFT_EYE_UPPER[::-1])
    )  # fmt: skip
    for row in far:
        assert (np.diff(points[list(row), 0]) * np.sign(yaw) >= -1e-3).all()
    outward = (points[:, 0] - points[layout.CHIN, 0]) * np.sign(yaw)
    assert outward[list(layout.CONTOUR)].max() > outward[[*layout.LEFT_EYE, *layout.RIGHT_EYE]].max()


def test_thin_lips_that_smile_do_not_cross():
    y = express(AVERAGE_FACE, Expression(smile=1.0))[:, 1]
    assert (y[list(layout.INNER_LIP_UPPER)] <= y[list(layout.INNER_LIP_LOWER)] + 1e-9).all()


def test_a_mouth_close_to_the_nose_stays_below_it():
    person = AVERAGE_FACE.copy()
    person[list(layout.MOUTH), 1] -= 0.085
    y = express(person, Expression(smile=1.0, mouth_open=1.0, pucker=1.0))[:, 1]
    assert y[list(layout.MOUTH)].min() > y[list(layout.NOSE_BASE)].max()


def test_the_sliders_do_what_they_are_called():
    rest = average_motion().landmarks_106

    def moved(**values):
        return move(average_motion(), sliders_from(values)).landmarks_106 - rest

    corners, brows = list(layout.MOUTH_CORNERS), [*layout.LEFT_BROW, *layout.RIGHT_BROW]
    assert (moved(smile=1.0)[corners, 1] < -5).all()
    assert (moved(smile=-1.0)[corners, 1] > 5).all()
    assert moved(mouth_open=1.0)[layout.CHIN, 1] > 20
    assert (moved(eyebrows=1.0)[brows, 1] < -10).all()
    assert (moved(eyebrows=-1.0)[brows, 1] > 2).all()
    assert moved(jaw_sideways=1.0)[layout.CHIN, 0] > 10
    assert moved(yaw=30.0)[layout.NOSE_TIP, 0] > 30
    assert moved(pitch=20.0)[layout.NOSE_TIP, 1] < -30
    assert moved(roll=30.0)[layout.CHIN, 0] < -30
    width = moved(pucker=1.0)[corners, 0]
    assert width[0] > 10
    assert width[1] < -10
    for name, share in (("eyes_closed", 0.0), ("squint", 0.5)):
        points = rest + moved(**{name: 1.0})
        opening = points[list(layout.LEFT_EYE_LOWER), 1] - points[list(layout.LEFT_EYE_UPPER), 1]
        before = rest[list(layout.LEFT_EYE_LOWER), 1] - rest[list(layout.LEFT_EYE_UPPER), 1]
        assert (opening <= share * before + 1e-3).all()


def test_neutralised_is_the_person_at_rest_from_the_front():
    laughing = PHOTOS["side, laughing"]
    calm = move(laughing, Sliders(neutralise=True))
    assert calm.prompt == "in a neutral expression, in front view"
    assert calm.pose.tolist() == [0, 0, 0]
    lips = calm.landmarks_106[list(layout.INNER_LIP_LOWER), 1] - calm.landmarks_106[list(layout.INNER_LIP_UPPER), 1]
    assert float(lips.max()) < 8
    eyes = calm.landmarks_106[[*layout.LEFT_EYE_CORNERS, *layout.RIGHT_EYE_CORNERS], 1]
    assert float(eyes.max() - eyes.min()) < 25
    assert np.allclose(neutralised(AVERAGE_FACE), AVERAGE_FACE, atol=1e-9)


@pytest.mark.parametrize(
    "values", [{"mouth_open": 1.0}, {"smile": 1.0}, {"smile": -1.0}, {"eyebrows": 1.0}, {"eyes_closed": 1.0}], ids=str
)
def test_neutralised_takes_an_expression_back(values):
    expressive = express(AVERAGE_FACE, Expression(**values))
    assert np.abs(expressive - AVERAGE_FACE)[:, :2].max() > 0.045
    assert np.abs(neutralised(expressive) - AVERAGE_FACE)[:, :2].max() < 0.04


@pytest.mark.parametrize("word", [word for word in EXPRESSIONS if word != "neutral"])
def test_a_preset_is_called_by_its_name(word):
    assert describe_expression(EXPRESSIONS[word]) == (word, [])


def test_the_words_follow_strength_and_details():
    assert describe_expression(Expression(mouth_open=1.0, eyebrows=1.0)) == ("very surprised", [])
    assert describe_expression(Expression(smile=-0.25)) == ("slightly sad", [])
    assert describe_expression(Expression(smile=0.05)) == ("neutral", [])
    assert describe_expression(Expression(eyes_closed=1.0)) == ("neutral", ["eyes closed"])
    assert describe_expression(Expression(smile=1.0, squint=0.3, eyes_closed=0.6))[0] == "happy"
    assert move(average_motion(), sliders_from({"mouth_open": 1.0, "eyebrows": 1.0})).prompt == (
        "in a very surprised expression, in front view"
    )
    assert move(average_motion(), Sliders(expression=EXPRESSIONS["angry"])).prompt.startswith("in an angry")


def test_turning_the_head_keeps_the_words_for_the_expression():
    sad = described_motion(PHOTOS["front"].landmarks_106, PHOTOS["front"].pose)
    sad = type(sad)(sad.landmarks_106, sad.pose, "in a sad expression, in front view")
    assert move(sad, sliders_from(POSES["left"])).prompt == "in a sad expression, in side view"
    assert move(sad, sliders_from(POSES["up"])).prompt == "in a sad expression, facing up, in front view"


def test_a_pose_beyond_the_limits_is_kept_until_it_is_turned():
    profile = PHOTOS["profile"]
    assert move(profile, sliders_from({"smile": 0.5})).pose.tolist() == pytest.approx([10, -80, 0], abs=1e-4)
    turned = move(profile, sliders_from({"yaw": -30.0}))
    assert abs(float(turned.pose[1])) >= LARGEST_POSE[1]
    assert abs(float(move(profile, sliders_from({"yaw": 40.0})).pose[1])) < LARGEST_POSE[1]


def test_landmarks_that_are_no_face_break_nothing():
    noise = torch.from_numpy(np.random.default_rng(1).normal(256, 60, (LANDMARK_COUNT, 2))).float()
    for values in CORNERS[::37]:
        moved = move(described_motion(noise, torch.zeros(3)), sliders_from(values))
        assert bool(moved.landmarks_106.isfinite().all())


@pytest.mark.parametrize("values", [{"yaw": 61.0}, {"smile": float("nan")}, {"mouth_open": -0.1}, {"nose": 1.0}])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(DynamicIDError, match=f"^{next(iter(values))}: "):
        sliders_from(values)


def test_landmarks_that_are_no_numbers_are_refused():
    broken = described_motion(torch.full((LANDMARK_COUNT, 2), torch.nan), torch.zeros(3))
    with pytest.raises(DynamicIDError, match="not finite"):
        move(broken, sliders_from({"yaw": 5.0}))
