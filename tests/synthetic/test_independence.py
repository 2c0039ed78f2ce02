"""Who somebody is and what the face does never touch each other; the same numbers give the same bytes."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from dynamicid.faces.prompts import EMOTIONS, describe_motion
from dynamicid.synthetic import (
    EXPRESSIONS,
    POSES,
    DrawnMotion,
    Split,
    motion_prompt,
    posed,
    render_portrait,
    render_scene,
    sample_identity,
    sample_motion,
    sample_portrait,
    sample_scene,
)
from dynamicid.synthetic.colours import EYES, HAIRS, SKINS
from dynamicid.synthetic.identity import HAIR_STYLES, MARKS
from tests.synthetic.samples import mask_of, plain_person, portrait_of


def test_the_same_numbers_give_the_same_bytes():
    for number in range(4):
        first = render_scene(sample_scene(5, number), 96)
        second = render_scene(sample_scene(5, number), 96)
        assert first[0].tobytes() == second[0].tobytes()
        assert first[1].as_json() == second[1].as_json()
    one, two = (render_portrait(sample_portrait(5, 3), 64)[0] for _ in range(2))
    assert one.tobytes() == two.tobytes()
    assert one.shape == (64, 64, 3)
    assert one.dtype == np.uint8


def test_other_seeds_and_numbers_give_other_pictures():
    pictures = {render_scene(sample_scene(seed, number), 64)[0].tobytes() for seed in (1, 2) for number in range(6)}
    assert len(pictures) == 12


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_motion_leaves_the_identity_alone(expression: str):
    """Colours of skin, iris and lips are the same in every motion."""
    who = plain_person(4)
    for pose in ("front", "down right"):
        picture, annotation = render_portrait(portrait_of(who, posed(expression, pose)), 160)
        assert annotation.faces[0].identity == who
        assert mask_of(picture, who.skin, 2).sum() > 2000
        assert mask_of(picture, who.lip_colour, 40).sum() > 12
        if EXPRESSIONS[expression].eyelids < 0.4:
            assert mask_of(picture, who.eye_colour, 40).sum() > 12


def test_an_identity_leaves_the_motion_alone():
    motion = posed("happy", "up left")
    faces = [render_portrait(portrait_of(sample_identity(0, n), motion), 64)[1].faces[0] for n in range(12)]
    assert {face.pose for face in faces} == {(20.0, -28.0, 0.0)}
    assert {face.prompt for face in faces} == {"in a happy expression, facing up, in side view"}
    noses = [(face.key_points_5[2] - face.key_points_5[:2].mean(axis=0))[0] for face in faces]
    assert all(shift < -1 for shift in noses)


def test_motions_are_sampled_without_looking_at_people():
    assert sample_motion(3, 8) == sample_motion(3, 8)
    who = [sample_identity(0, 1), sample_identity(0, 2)]
    motions = [sample_portrait(3, 7, identity=identity).motion for identity in who]
    assert motions[0] == motions[1]


def test_every_expression_moves_the_landmarks():
    rest = render_portrait(portrait_of(plain_person(6)), 64)[1].faces[0].landmarks_106
    seen = []
    for name, motion in EXPRESSIONS.items():
        moved = render_portrait(portrait_of(plain_person(6), motion), 64)[1].faces[0].landmarks_106 - rest
        assert (np.abs(moved).max() > 0.7) == (name != "neutral")
        seen.append(moved)
    distances = [np.abs(a - b).max() for i, a in enumerate(seen) for b in seen[:i]]
    assert min(distances) > 0.7


def test_people_are_clearly_distinct():
    """Of all pairs among 60 people, none looks nearly the same at 64 pixels."""
    people = [sample_identity(0, number) for number in range(60)]
    pictures = np.stack([render_portrait(portrait_of(one), 64)[0][:44] for one in people]).astype(float)
    differences = [np.abs(pictures[i] - pictures[j]).mean() for i in range(60) for j in range(i)]
    assert min(differences) > 3


@pytest.mark.parametrize(
    ("trait", "values"),
    [("skin", SKINS), ("hair_style", HAIR_STYLES), ("hair_colour", HAIRS), ("eye_colour", EYES), ("mark", MARKS)],
)
def test_people_in_a_row_share_no_trait_until_all_its_values_were_used(trait: str, values: tuple):
    for seed in (0, 1):
        row = [getattr(sample_identity(seed, number), trait) for number in range(3 * len(values))]
        cycles = [row[start : start + len(values)] for start in range(0, len(row), len(values))]
        assert all(sorted(cycle) == sorted(values) for cycle in cycles)
        assert cycles[0] != cycles[1] or cycles[1] != cycles[2]


def test_expressions_are_those_of_the_face_prompts():
    assert set(EXPRESSIONS) == set(EMOTIONS)
    assert all(motion.expression == name for name, motion in EXPRESSIONS.items())


def test_the_face_prompt_is_that_of_the_pack():
    motion = posed("fear", "down right")
    assert motion_prompt(motion) == describe_motion(motion.pose, "fear")


def test_jitter_never_crosses_the_thresholds_of_the_prompt():
    ranges = {pose: describe_motion((*POSES[pose], 0.0)) for pose in POSES}
    prompts = set(ranges.values())
    for number in range(300):
        motion = sample_motion(1, number)
        assert describe_motion(motion.pose) in prompts
        assert abs(abs(motion.yaw) - 10) > 1.5
        assert abs(abs(motion.pitch) - 10) > 1.5
        assert all(-1 <= value <= 1 for name, value in asdict(motion).items() if name not in _NOT_SHARES)
        assert 0 <= motion.mouth_open <= 1
        assert 0 <= motion.eyelids <= 1


_NOT_SHARES = ("yaw", "pitch", "roll", "expression")


def test_light_and_ground_change_the_picture_but_not_the_annotation():
    plain = portrait_of(plain_person(1))
    dark = replace(plain, light=-0.6, wall="blue")
    (first, a), (second, b) = render_portrait(plain, 64), render_portrait(dark, 64)
    assert first.mean() > second.mean()
    np.testing.assert_array_equal(a.faces[0].landmarks_106, b.faces[0].landmarks_106)


def test_closed_eyes_show_no_iris():
    who = plain_person(3)
    opened = render_portrait(portrait_of(who), 128)[0]
    closed = render_portrait(portrait_of(who, DrawnMotion(eyelids=1.0)), 128)[0]
    assert mask_of(opened, who.eye_colour).sum() > 10
    assert mask_of(closed, who.eye_colour).sum() == 0


def test_gaze_moves_the_pupils_only():
    who = plain_person(3)
    ahead = render_portrait(portrait_of(who), 128)[1].faces[0].landmarks_106
    aside = render_portrait(portrait_of(who, DrawnMotion(gaze_x=1.0)), 128)[1].faces[0].landmarks_106
    moved = np.flatnonzero(np.abs(aside - ahead).max(axis=1) > 1e-9)
    assert moved.tolist() == [34, 38, 88, 92]
    assert (aside[moved, 0] > ahead[moved, 0] + 1).all()


def test_held_out_motions_are_new_combinations():
    combinations = {}
    for split in Split:
        found = set()
        for number in range(400):
            motion = sample_motion(2, number, split)
            nearest = min(POSES, key=lambda pose, m=motion: np.hypot(m.pitch - POSES[pose][0], m.yaw - POSES[pose][1]))
            found.add((motion.expression, nearest))
        combinations[split] = found
    assert not combinations[Split.train] & combinations[Split.held_out]
    assert {expression for expression, _ in combinations[Split.train]} == set(EXPRESSIONS)
    assert {pose for _, pose in combinations[Split.train]} == set(POSES)
