"""Previews and crops."""

import numpy as np
import pytest
import torch

from dynamicid.faces.colours import PERSON_COLOURS
from dynamicid.faces.detected import DetectedFace
from dynamicid.faces.drawing import CHOSEN_COLOUR, OTHER_COLOUR, draw_faces, face_crop_box, portrait_crop_box
from dynamicid.faces.face import Face
from dynamicid.faces.region_drawing import draw_places


def face(box: tuple[float, float, float, float]) -> DetectedFace:
    return DetectedFace(
        box, 0.9, np.full((106, 2), 256, np.float32), np.zeros(3, np.float32), np.zeros(512, np.float32)
    )


def count(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((image == np.asarray(colour, dtype=np.uint8)).all(-1).sum())


def test_drawing_marks_every_face_and_the_chosen_one_differently() -> None:
    image = np.zeros((300, 500, 3), dtype=np.uint8)
    faces = [face((20, 60, 100, 160)), face((200, 60, 300, 190))]
    plain, marked = draw_faces(image, faces), draw_faces(image, faces, [1])
    assert image.max() == 0
    assert plain.shape == image.shape
    assert plain.dtype == np.uint8
    assert count(plain, OTHER_COLOUR) > 0
    assert count(plain, CHOSEN_COLOUR) == 0
    assert count(marked[:, :150], CHOSEN_COLOUR) == 0
    assert count(marked[:, 180:320], CHOSEN_COLOUR) > 200


def test_numbers_differ_by_position() -> None:
    image = np.zeros((300, 500, 3), dtype=np.uint8)
    one, other = face((20, 60, 100, 160)), face((200, 60, 300, 190))
    assert not np.array_equal(draw_faces(image, [one, other]), draw_faces(image, [other, one]))


def test_numbers_start_where_asked() -> None:
    """The second face counted from 0 carries the same label as the first counted from 1."""
    image = np.zeros((300, 500, 3), dtype=np.uint8)
    left, right = face((20, 60, 100, 160)), face((200, 60, 300, 190))
    from_zero, from_one = draw_faces(image, [left, right]), draw_faces(image, [right, left], first_number=1)
    np.testing.assert_array_equal(from_zero[:, 180:], from_one[:, 180:])
    assert not np.array_equal(from_zero[:, :150], from_one[:, :150])


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (24, 16), (128, 128), (2000, 3000)])
def test_drawing_works_at_any_size_and_past_the_edges(size: tuple[int, int]) -> None:
    height, width = size
    faces = [face((-5.0, -5.0, width * 1.2, height * 1.2)), face((width + 4.0, 2.0, width + 9.0, 5.0))]
    drawn = draw_faces(np.zeros((height, width, 3), dtype=np.uint8), faces, [0])
    assert drawn.shape == (height, width, 3)
    assert drawn.max() > 150


def test_lines_grow_with_the_picture() -> None:
    shares = []
    for scale in (1, 8):
        box = (50.0 * scale, 50.0 * scale, 150.0 * scale, 180.0 * scale)
        drawn = draw_faces(np.zeros((250 * scale, 250 * scale, 3), dtype=np.uint8), [face(box)])
        shares.append(count(drawn, OTHER_COLOUR) / drawn[..., 0].size)
    assert shares[1] == pytest.approx(shares[0], rel=0.5)


@pytest.mark.parametrize(
    ("box", "side"),
    [((100, 100, 140, 150), 75), ((0, 0, 40, 50), 75), ((-30, 260, 40, 310), 105), ((0, 0, 500, 300), 300)],
)
def test_face_crop_is_square_and_inside(box: tuple[float, float, float, float], side: int) -> None:
    left, top, right, bottom = face_crop_box(box, 300, 500, 0.25)
    assert right - left == bottom - top == side
    assert 0 <= left < right <= 500
    assert 0 <= top < bottom <= 300


def test_face_crop_holds_the_face() -> None:
    left, top, right, bottom = face_crop_box((450, 100, 490, 150), 300, 500, 0.1)
    assert left <= 450 < 490 <= right
    assert top <= 100 < 150 <= bottom


def test_portrait_of_a_small_face_is_a_square_with_more_room_below() -> None:
    left, top, right, bottom = portrait_crop_box((480, 300, 556, 400), 1024, 1024)
    assert right - left == bottom - top == 220
    assert (left + right) / 2 == pytest.approx(518, abs=1)
    assert 45 <= 300 - top < bottom - 400 <= 75


@pytest.mark.parametrize("box", [(0, 0, 76, 100), (948, 924, 1024, 1024), (-20, 500, 60, 600)])
def test_portrait_is_moved_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = portrait_crop_box(box, 1024, 1024)
    assert 0 <= left < right <= 1024
    assert 0 <= top < bottom <= 1024
    assert right - left == bottom - top == 220


def test_face_that_fills_the_picture_keeps_it_whole() -> None:
    assert portrait_crop_box((120, 80, 400, 450), 512, 512) == (0, 0, 512, 512)
    assert portrait_crop_box((120, 180, 400, 550), 768, 512) == (0, 0, 512, 768)


def test_face_at_the_end_of_a_tall_picture_is_not_left_to_the_middle_square() -> None:
    """CLIP's transform would cut the head off a whole-body photo."""
    assert portrait_crop_box((150, 60, 360, 340), 2000, 512) == (0, 0, 512, 512)


def test_a_place_has_its_persons_colour_number_and_crop() -> None:
    crop = torch.full((64, 64, 3), 255, dtype=torch.uint8)
    person = Face(torch.zeros(4, 8), torch.zeros(4, 8), torch.zeros(512), crop=crop)
    background = np.zeros((300, 500, 3), dtype=np.uint8)
    drawn = draw_places(background, {2: (person, (0.0, 0.0, 0.5, 1.0)), 3: (person, (0.98, 0.96, 0.02, 0.04))})
    assert background.max() == 0
    assert count(drawn[:, :250], (255, 255, 255)) > 60 * 60
    assert count(drawn[:60, :60], PERSON_COLOURS[1]) > 1000
    # The label of the tiny place is moved inside the picture.
    assert count(drawn[280:, 480:], PERSON_COLOURS[2]) > 60
