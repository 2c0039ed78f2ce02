"""Scores of sheets and clips: drawn frames are what was wanted of them, and frames in another order are not."""

from dataclasses import replace

import numpy as np
import pytest

from dynamicid.synthetic import DrawnPortrait, render_portrait
from tiny_models.measure.benchmark import PORTRAITS, make_cases
from tiny_models.measure.motions import CLIP, SHEET, score_frames
from tiny_models.places import CLASSIFIERS, PICTURE_SIZE
from tiny_models.train.classifiers import load_classifiers


@pytest.mark.parametrize("motions", [SHEET, CLIP], ids=["sheet", "clip"])
def test_drawn_frames_follow_their_motions_and_others_do_not(motions):
    (case,) = make_cases(PORTRAITS, 1)
    assert isinstance(case.drawing, DrawnPortrait)
    frames = [render_portrait(replace(case.drawing, motion=motion), PICTURE_SIZE)[0] for motion in motions]
    right, wrong = (
        score_frames(load_classifiers(CLASSIFIERS), [case], motions, np.stack(pictures)[None])
        for pictures in (frames, frames[len(frames) // 3 :] + frames[: len(frames) // 3])
    )
    assert right["pose"].shape == (1, len(motions))
    assert right["pose"].mean() > 0.9
    assert np.median(right["yaw_error"]) < 5
    assert wrong["pose"].mean() < 0.7
    assert np.median(wrong["yaw_error"]) > 15
    assert right["expr"].mean() > 0.8
