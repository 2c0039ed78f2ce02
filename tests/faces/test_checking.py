"""Who is missing, doubled or blended in a picture."""

import numpy as np

from dynamicid.faces.checking import best_picture, check_picture, describe_checks
from dynamicid.faces.detected import DetectedFace

SIZE = (100, 200)
PLACES = [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)]
ANNA, BEN = np.eye(512, dtype=np.float32)[:2]
PEOPLE = np.stack([ANNA, BEN])


def detected(x: float, embedding: np.ndarray) -> DetectedFace:
    return DetectedFace((x - 10, 40, x + 10, 60), 0.9, np.zeros((106, 2)), np.zeros(3), embedding.astype(np.float32))


def like(anna: float, ben: float) -> np.ndarray:
    """An embedding of unit length with these cosines."""
    return anna * ANNA + ben * BEN + np.sqrt(1 - anna**2 - ben**2) * np.eye(512)[2]


def check(*faces: DetectedFace):
    return check_picture(PLACES, PEOPLE, faces, SIZE, 0.3)


def test_everybody_right():
    result = check(detected(50, like(0.8, 0.1)), detected(150, like(0.2, 0.6)))
    assert result.right == 2
    assert result.others == 0
    assert np.isclose(result.mean_cosine, 0.7)
    assert result.passes(0.5)
    assert not result.passes(0.7)
    assert "Person 2: cosine 0.60, with person 1 0.20: right, but below the threshold of 0.7." in describe_checks(
        [result], 0.7
    )


def test_missing_and_doubled():
    result = check(detected(40, like(0.8, 0.1)), detected(80, like(0.7, 0.1)))
    assert [person.face for person in result.people] == [0, None]
    assert result.right == 1
    assert result.others == 1
    report = describe_checks([result], 0.3)
    assert "Person 1: cosine 0.80, with person 2 0.10: right. Doubled: 1 more at other places." in report
    assert "Person 2: missing, no face at their place." in report
    assert "Faces at nobody's place: 1." in report


def test_a_copy_counts_for_whom_it_is_most_like():
    result = check(detected(50, like(0.8, 0.1)), detected(150, like(0.1, 0.8)), detected(90, like(0.4, 0.6)))
    assert [person.copies for person in result.people] == [0, 1]


def test_swapped_and_blended():
    swapped = check(detected(50, like(0.1, 0.8)), detected(150, like(0.8, 0.1)))
    assert swapped.right == 0
    assert describe_checks([swapped], 0.3).count("looks more like person") == 2
    blended = check(detected(50, like(0.5, 0.45)), detected(150, like(0.1, 0.8)))
    assert blended.right == 2
    assert "Person 1: cosine 0.50, with person 2 0.45: blended with person 2." in describe_checks([blended], 0.3)


def test_the_best_has_most_people_right_then_the_highest_cosine():
    weak = check(detected(50, like(0.4, 0.1)), detected(150, like(0.1, 0.4)))
    strong = check(detected(50, like(0.6, 0.1)), detected(150, like(0.1, 0.6)))
    one = check(detected(50, like(0.9, 0.1)), detected(150, like(0.9, 0.1)))
    assert best_picture([weak, one, strong, strong]) == 2
    assert best_picture([check(), one]) == 1
    assert check().mean_cosine == 0
    assert not check().passes(0.0)


def test_a_person_alone_has_no_rival():
    result = check_picture([(0.0, 0.0, 1.0, 1.0)], PEOPLE[:1], [detected(50, like(0.8, 0.1))], SIZE, 0.3)
    assert result.passes(0.5)
    assert "Person 1: cosine 0.80: right." in describe_checks([result], 0.3)
