"""The text of the region editor, and the pictures of places and motions."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamicid.errors import DynamicIDError
from dynamicid.faces.boxes import parse_boxes
from dynamicid.faces.colours import PERSON_COLOURS
from dynamicid.faces.face import Face
from dynamicid.faces.motion_drawing import draw_motion
from dynamicid.faces.motion_sliders import average_motion, move, sliders_from
from dynamicid.faces.region_drawing import draw_places

ROOT = Path(__file__).resolve().parents[2]


def face(colour):
    crop = torch.tensor(colour, dtype=torch.uint8).expand(40, 40, 3).contiguous()
    return Face(torch.zeros(4, 768), torch.zeros(4, 768), torch.ones(512), crop=crop, crop_box_xyxy=(96, 96, 416, 416))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("[]", []),
        (" [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]] ", [(0, 0, 0.5, 1), (0.5, 0, 0.5, 1)]),
        ('[{"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}]', [(0.1, 0.2, 0.3, 0.4)]),
        ("[null, [0, 0, 1, 1], [0.5, 0.5, 0, 0.2]]", [None, (0, 0, 1, 1), None]),
    ],
)
def test_boxes_are_read(text, expected):
    assert parse_boxes(text) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "no JSON"),
        ("{}", "dict, not a list"),
        ("[" * 5000, "no JSON"),
        ("[[0, 0, 1]]", "Box 1 is"),
        ('["0, 0, 1, 1"]', "Box 1 is"),
        ("[[0, 0, 1, 1], [0, 0, true, 1]]", "Box 2 is"),
        ("[[0, 0, 1, NaN]]", "outside 0..1"),
        ("[[0, 0, 1, 1e999]]", "outside 0..1"),
        ("[[0, -0.1, 1, 1]]", "outside 0..1"),
        ("[[1, 0, 0.5, 1]]", "outside the picture"),
        (str([[0, 0, 1, 1]] * 9), "9 boxes"),
        ("[" + "0," * 9000 + "0]", "characters long"),
    ],
)
def test_what_is_no_list_of_boxes_is_refused_in_words(text, found):
    with pytest.raises(DynamicIDError, match=f"^boxes: .*{re.escape(found)}.*Draw the boxes"):
        parse_boxes(text)


def test_places_are_drawn_in_their_colours_with_the_crops():
    background = np.full((100, 200, 3), 128, dtype=np.uint8)
    drawn = draw_places(background, {1: (face((255, 0, 0)), (0, 0, 0.4, 1)), 3: (face((0, 0, 255)), (0.6, 0, 0.4, 1))})
    assert (background == 128).all()
    assert tuple(drawn[99, 40]) == PERSON_COLOURS[0]
    assert tuple(drawn[99, 160]) == PERSON_COLOURS[2]
    assert tuple(drawn[50, 40]) == (255, 0, 0)
    assert tuple(drawn[50, 160]) == (0, 0, 255)
    assert tuple(drawn[50, 100]) == (128, 128, 128)


def test_tiny_places_and_pictures_are_drawn_without_an_error():
    for size in ((1, 1), (3, 500)):
        drawn = draw_places(np.zeros((*size, 3), dtype=np.uint8), {8: (face((9, 9, 9)), (0.99, 0.99, 0.01, 0.01))})
        assert drawn.shape == (*size, 3)


def test_the_canvas_has_the_same_colours():
    script = (ROOT / "web" / "people.js").read_text(encoding="utf-8")
    found = re.findall(r'"rgb\((\d+), (\d+), (\d+)\)"', script)
    assert [tuple(map(int, colour)) for colour in found] == list(PERSON_COLOURS)


def test_a_motion_is_drawn_over_the_crop():
    before = average_motion()
    drawn = draw_motion(face((10, 20, 200)), before, move(before, sliders_from({"yaw": 30.0})))
    assert drawn.shape == (588, 512, 3)
    assert (drawn == (10, 20, 200)).all(axis=-1).mean() > 0.3
    assert (drawn[512:] == 235).any()
    nobody = draw_motion(None, before, before)
    assert not (nobody == (10, 20, 200)).all(axis=-1).any()
