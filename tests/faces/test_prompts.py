"""The sentence that describes a face."""

import numpy as np
import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.faces.prompts import EMOTIONS, describe_motion, describe_pose


@pytest.mark.parametrize(
    ("pitch", "yaw", "expected"),
    [
        (0, 0, "in front view"),
        (10, 9.99, "in front view"),
        (-10, -9.99, "in front view"),
        (0, 10, "in side view"),
        (0, -10, "in side view"),
        (10.01, 0, "facing up, in front view"),
        (-10.01, 0, "facing down, in front view"),
        (30, -45, "facing up, in side view"),
        (-30, 45, "facing down, in side view"),
    ],
)
def test_pose_words_change_at_ten_degrees(pitch: float, yaw: float, expected: str) -> None:
    assert describe_pose(pitch, yaw) == expected


def test_sentences_of_the_golden_case() -> None:
    assert describe_motion((0.0, 0.0, 0.0), "happy") == "in a happy expression, in front view"
    up_and_aside = np.asarray([20, 30, 0], dtype=np.float32)
    assert describe_motion(up_and_aside, "surprise") == "in a surprise expression, facing up, in side view"


def test_roll_is_not_described_and_neutral_is_the_fallback() -> None:
    assert describe_motion((0, 0, 80)) == "in a neutral expression, in front view"
    assert "neutral" in EMOTIONS


@pytest.mark.parametrize("pose", [(0, 0), (0, 0, np.nan), ((0, 0, 0),)])
def test_malformed_pose_is_refused(pose: tuple[float, ...]) -> None:
    with pytest.raises(DynamicIDError, match="pitch, yaw and roll"):
        describe_motion(pose)
