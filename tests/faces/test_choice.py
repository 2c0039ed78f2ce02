"""Which face is meant: every way to pick, and the errors."""

import numpy as np
import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.faces.analysis import FaceAnalyzer
from dynamicid.faces.detected import PICKS, DetectedFace, choose_face, choose_faces, order_faces
from dynamicid.faces.similarity import warn_of_strangers


def face(box: tuple[float, float, float, float], score: float = 0.9) -> DetectedFace:
    return DetectedFace(box, score, np.zeros((106, 2), np.float32), np.zeros(3, np.float32), np.zeros(512, np.float32))


LEFT = face((0, 50, 30, 90), 0.7)
MIDDLE = face((100, 40, 200, 160), 0.8)
RIGHT = face((300, 0, 340, 50), 0.9)


@pytest.mark.parametrize(
    ("pick", "expected"),
    [
        ("largest", [MIDDLE, RIGHT, LEFT]),
        ("leftmost", [LEFT, MIDDLE, RIGHT]),
        ("rightmost", [RIGHT, MIDDLE, LEFT]),
        ("topmost", [RIGHT, LEFT, MIDDLE]),
        ("most confident", [RIGHT, MIDDLE, LEFT]),
    ],
)
def test_each_pick_orders_all_faces(pick: str, expected: list[DetectedFace]) -> None:
    faces = [MIDDLE, RIGHT, LEFT]
    assert order_faces(faces, pick) == expected
    assert [choose_face(faces, pick, index, "image") for index in range(3)] == expected
    assert faces == [MIDDLE, RIGHT, LEFT]


def test_equal_faces_keep_their_order_from_left_to_right() -> None:
    twins = [face((100, 0, 140, 50)), face((0, 0, 40, 50))]
    for pick in ("largest", "topmost", "most confident"):
        assert order_faces(twins, pick) == [twins[1], twins[0]]


def test_picks_on_a_real_detection(analyzer: FaceAnalyzer, three_people: np.ndarray) -> None:
    faces = analyzer.detect(three_people)
    chosen = {pick: faces.index(choose_face(faces, pick, 0, "image")) for pick in PICKS}
    best = int(np.argmax([found.score for found in faces]))
    assert len({found.score for found in faces}) == 3
    assert chosen == {"largest": 1, "leftmost": 0, "rightmost": 2, "topmost": 2, "most confident": best}


def test_no_face_is_an_error_that_names_the_input() -> None:
    with pytest.raises(DynamicIDError, match=r"^image: No face was found"):
        choose_face([], "largest", 0, "image")


@pytest.mark.parametrize(
    ("faces", "index", "message"),
    [
        ([LEFT], 1, "1 face was found in the picture, but index is 1. Set index to 0 "),
        ([LEFT, RIGHT], 2, "2 faces were found in the picture, but index is 2. Set index to 0 to 1 "),
        ([LEFT, RIGHT], -1, "2 faces were found in the picture, but index is -1. Set index to 0 to 1 "),
    ],
)
def test_index_past_the_faces_says_how_many_there_are(faces: list[DetectedFace], index: int, message: str) -> None:
    with pytest.raises(DynamicIDError) as caught:
        choose_face(faces, "largest", index, "reference")
    assert str(caught.value).startswith(f"reference: {message}")


def test_of_several_pictures_all_without_the_face_are_named() -> None:
    assert choose_faces([[LEFT, RIGHT], [MIDDLE]], "rightmost", 0, "image") == [RIGHT, MIDDLE]
    for batch, index, message in (
        ([[LEFT], [], [RIGHT]], 0, "No face was found in picture 2 of 3. Use pictures"),
        ([[], [LEFT], [], []], 0, "No face was found in pictures 1, 3 and 4 of 4. Use"),
        ([[LEFT, RIGHT], [LEFT]], 1, "There are fewer than 2 faces in picture 2 of 2, but index is 1. Set a lower"),
        ([[]], 0, "No face was found in the picture. Use a picture"),
    ):
        with pytest.raises(DynamicIDError) as caught:
            choose_faces(batch, "largest", index, "image")
        assert str(caught.value).startswith(f"image: {message}")


def test_photos_of_different_people_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    vectors = np.eye(512, dtype=np.float32)
    same = np.cos(1.0) * vectors[0] + np.sin(1.0) * vectors[1]
    warn_of_strangers([vectors[0], same])
    warn_of_strangers([vectors[0]])
    assert not caplog.text
    warn_of_strangers([vectors[0], same, vectors[2]])
    assert "photos 1 and 3 (cosine 0.00), 2 and 3 (cosine 0.00) look like different people" in caplog.text
    assert "below 0.35" in caplog.text
    warn_of_strangers(list(vectors[:4]))
    assert "and 3 more pairs" in caplog.text


def test_unknown_pick_lists_the_known_ones() -> None:
    with pytest.raises(DynamicIDError, match="most confident"):
        order_faces([LEFT], "prettiest")
