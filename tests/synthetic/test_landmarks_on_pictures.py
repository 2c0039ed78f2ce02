"""Landmarks, key points and boxes lie on what is drawn."""

import numpy as np
import pytest

from dynamicid.synthetic import EXPRESSIONS, NUMBERING, POSES, DrawnMotion, posed, render_portrait, sample_identity
from dynamicid.synthetic.colours import MOUTH_INSIDE, PUPIL, TEETH
from tests.synthetic.samples import colour_at, is_close, mask_of, plain_person, portrait_of

SIZE = 256


def test_the_numbering_names_every_landmark_once():
    assert sorted(number for group in NUMBERING.values() for number in group) == list(range(106))


def test_groups_run_as_the_numbering_says():
    _, annotation = render_portrait(portrait_of(plain_person()), SIZE)
    points = annotation.faces[0].landmarks_106
    contour = points[list(NUMBERING["contour"])]
    around = contour - points[72]
    angles = np.unwrap(np.arctan2(around[:, 1], around[:, 0]))
    assert (np.diff(angles) < 0).all()
    assert contour[:, 1].argmax() == 16
    assert NUMBERING["contour"][16] == 0
    assert points[35, 0] < points[39, 0] < points[89, 0] < points[93, 0]
    assert points[40, 1] < points[33, 1]
    assert points[43, 0] < points[50, 0] < points[102, 0] < points[101, 0]
    assert points[72, 1] < points[73, 1] < points[74, 1] < points[86, 1] < points[80, 1]
    assert points[77, 0] < points[80, 0] < points[83, 0]
    assert points[52, 0] < points[71, 0] < points[61, 0]
    assert points[71, 1] < points[62, 1] <= points[60, 1] < points[53, 1]


@pytest.mark.parametrize("pose", POSES)
def test_pupils_lie_on_pixels_of_the_iris_or_the_pupil(pose: str):
    for number in range(4):
        who = plain_person(number)
        picture, annotation = render_portrait(portrait_of(who, posed("neutral", pose)), SIZE)
        points = annotation.faces[0].landmarks_106
        # Where the nose or the head's edge hides the far eye, the near one is looked at.
        near = (88,) if "left" in pose else (34,) if "right" in pose else (34, 88)
        for index in near:
            colour = colour_at(picture, points[index])
            assert is_close(colour, who.eye_colour) or is_close(colour, PUPIL), (number, index, colour)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_mouth_group_surrounds_the_lips(expression: str):
    who = plain_person(2)
    picture, annotation = render_portrait(portrait_of(who, EXPRESSIONS[expression]), SIZE)
    points = annotation.faces[0].landmarks_106[list(NUMBERING["outer lips"])]
    rows, columns = np.nonzero(mask_of(picture, who.lip_colour))
    low, high = points.min(axis=0), points.max(axis=0)
    assert len(rows) > 40
    assert (np.array([columns.min(), rows.min()]) > low - 4).all()
    assert (np.array([columns.max(), rows.max()]) < high + 4).all()
    middle = colour_at(picture, (points[0] + points[6]) / 2)
    assert any(is_close(middle, wanted, 90) for wanted in (who.lip_colour, MOUTH_INSIDE, TEETH, who.skin))


@pytest.mark.parametrize("pose", POSES)
def test_the_contour_lies_on_the_edge_of_the_skin_or_on_skin(pose: str):
    who = plain_person(1)
    picture, annotation = render_portrait(portrait_of(who, posed("neutral", pose)), SIZE)
    face = annotation.faces[0]
    contour = face.landmarks_106[list(NUMBERING["contour"])]
    inward = face.landmarks_106[86] - contour
    inner = contour + 5 * inward / np.linalg.norm(inward, axis=1, keepdims=True)
    ground = picture[2, 2].astype(int)
    assert all(np.abs(colour_at(picture, place) - ground).max() > 30 for place in inner)
    if pose == "front":
        outer = contour - 5 * inward / np.linalg.norm(inward, axis=1, keepdims=True)
        below_ears = outer[8:25]
        assert not any(is_close(colour_at(picture, place), who.skin, 12) for place in below_ears)


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("pose", POSES)
def test_the_box_holds_landmarks_and_key_points_and_fits_tightly(expression: str, pose: str):
    for number in (3, 10_001):
        _, annotation = render_portrait(portrait_of(sample_identity(0, number), posed(expression, pose)), 64)
        face = annotation.faces[0]
        x0, y0, x1, y1 = face.box_xyxy
        for points in (face.landmarks_106, face.key_points_5):
            assert (points >= (x0 - 1e-6, y0 - 1e-6)).all()
            assert (points <= (x1 + 1e-6, y1 + 1e-6)).all()
        assert x0 == pytest.approx(face.landmarks_106[:, 0].min(), abs=3)
        assert 0.8 < (y1 - y0) / (64 / 2.2) < 1.25
        assert 0.6 < (x1 - x0) / (y1 - y0) < 1.3


def test_key_points_are_eyes_nose_and_corners_of_the_mouth():
    _, annotation = render_portrait(portrait_of(plain_person(5), posed("happy", "up right")), SIZE)
    face = annotation.faces[0]
    left_eye, right_eye, nose, left_corner, right_corner = face.key_points_5
    points = face.landmarks_106
    assert np.linalg.norm(left_eye - points[list(NUMBERING["left eye"])].mean(axis=0)) < 6
    assert np.linalg.norm(right_eye - points[list(NUMBERING["right eye"])].mean(axis=0)) < 6
    np.testing.assert_allclose(nose, points[86])
    np.testing.assert_allclose([left_corner, right_corner], points[[52, 61]])


@pytest.mark.parametrize(
    ("motion", "direction"),
    [
        (DrawnMotion(yaw=25), (1, 0)),
        (DrawnMotion(yaw=-25), (-1, 0)),
        (DrawnMotion(pitch=20), (0, -1)),
        (DrawnMotion(pitch=-20), (0, 1)),
    ],
)
def test_the_nose_moves_the_way_the_face_turns(motion: DrawnMotion, direction: tuple[int, int]):
    """Signs of InsightFace's pose: yaw positive = to the picture's right, pitch positive = up."""
    shifts = []
    for turned in (DrawnMotion(), motion):
        points = render_portrait(portrait_of(plain_person(), turned), 64)[1].faces[0].landmarks_106
        shifts.append(points[86] - (points[1] + points[17]) / 2)
    assert (shifts[1] - shifts[0]) @ np.array(direction) > 2


def test_roll_leans_the_head_clockwise():
    points = render_portrait(portrait_of(plain_person(), DrawnMotion(roll=15)), 64)[1].faces[0].key_points_5
    across = points[1] - points[0]
    assert np.degrees(np.arctan2(across[1], across[0])) == pytest.approx(15, abs=1e-6)


def test_insightface_reads_the_pose_that_was_rendered():
    """The rotation matrix is taken apart as InsightFace's `matrix2angle` does it."""
    from dynamicid.synthetic.head import rotation

    turn = rotation(12.0, -33.0, 7.0)
    pitch = np.degrees(np.arctan2(turn[2, 1], turn[2, 2]))
    yaw = np.degrees(np.arctan2(-turn[2, 0], np.hypot(turn[0, 0], turn[1, 0])))
    roll = np.degrees(np.arctan2(turn[1, 0], turn[0, 0]))
    np.testing.assert_allclose([pitch, yaw, roll], [12.0, -33.0, 7.0])


def test_landmarks_grow_with_the_picture():
    small = render_portrait(portrait_of(plain_person(), posed("fear", "left")), 48)[1].faces[0]
    large = render_portrait(portrait_of(plain_person(), posed("fear", "left")), 192)[1].faces[0]
    np.testing.assert_allclose(4 * small.landmarks_106, large.landmarks_106)
    np.testing.assert_allclose(4 * np.array(small.box_xyxy), large.box_xyxy)
