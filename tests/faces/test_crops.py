"""Cutting people out and pasting them back, at odd sizes and at every edge."""

import numpy as np
import pytest
import torch

from dynamicid.errors import DynamicIDError
from dynamicid.faces.crops import Crops, check_repainted, cut_person, paste_people, resize
from dynamicid.faces.detected import DetectedFace
from dynamicid.faces.face import Face, mix_faces
from dynamicid.faces.region_drawing import draw_crops
from dynamicid.faces.regions import Region, person_prompts

SIZES = [(512, 512), (333, 517), (97, 241), (720, 405), (64, 64)]
PLACES = [(0.5, 0.5), (0.02, 0.03), (0.97, 0.5), (0.5, 0.98), (0.1, 0.9), (0.9, 0.1), (0.3, 0.6), (0.75, 0.4)]
"""Middles of faces as shares of the picture: 5 sizes x 8 places."""


def detected(x: float, y: float, height: float) -> DetectedFace:
    """A face with its middle at x and y, in pixels."""
    box = (x - 0.4 * height, y - height / 2, x + 0.4 * height, y + height / 2)
    return DetectedFace(box, 0.9, np.zeros((106, 2), np.float32), np.zeros(3, np.float32), np.zeros(512, np.float32))


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """(height, width, 3) of independent pixels: nothing is harder to scale and scale back."""
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("x", "y"), PLACES)
def test_what_was_not_repainted_stays(height, width, x, y):
    picture, face = noise(height, width), detected(x * width, y * height, 0.23 * min(height, width))
    crop = cut_person(picture, 0, 0, face, [], 128, 1.0)
    crops = Crops(picture[None], (crop,))
    assert torch.equal(paste_people(crops, [crop.given], 0.15, True), crops.pictures)

    new = paste_people(crops, [1 - crop.given], 0.15, False)[0]
    left, top, right, bottom = crop.square_xyxy
    assert right - left == bottom - top
    assert left >= 0
    assert top >= 0
    assert right <= width
    assert bottom <= height
    covered = torch.zeros(height, width, dtype=torch.bool)
    covered[top:bottom, left:right] = crop.mask > 0
    assert torch.equal(new[~covered], picture[~covered])
    core = torch.zeros_like(covered)
    core[top:bottom, left:right] = crop.mask == 1
    assert core.sum() > 0.2 * covered.sum()
    assert (new[core] - picture[core]).abs().mean() > 0.05


@pytest.mark.parametrize("grow", [0.5, 1.0, 2.0])
def test_masks_end_inside_the_square_but_for_the_edges_of_the_picture(grow):
    inside = cut_person(noise(200, 200), 0, 0, detected(100, 100, 40), [], 64, grow)
    border = torch.ones(inside.side, inside.side, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert inside.mask[border].max() < 0.05
    corner = cut_person(noise(200, 200), 0, 0, detected(8, 10, 40), [], 64, grow)
    assert corner.square_xyxy[:2] == (0, 0)
    assert corner.mask[0, 0] > 0.9
    assert corner.mask[-1].max() < 0.05
    opposite = cut_person(noise(200, 200), 0, 0, detected(192, 190, 40), [], 64, grow)
    assert opposite.square_xyxy[2:] == (200, 200)
    assert opposite.mask[-1, -1] > 0.9
    assert opposite.mask[0].max() < 0.05


def test_there_is_no_transition_at_the_edges_of_the_picture():
    picture = torch.zeros(200, 200, 3)
    for place, edge in (((8, 10), (0, 0)), ((192, 190), (199, 199))):
        crops = Crops(picture[None], (cut_person(picture, 0, 0, detected(*place, 40), [], 64, 1.0),))
        assert paste_people(crops, [torch.ones(64, 64, 3)], 0.3, False)[0, edge[1], edge[0]].min() > 0.9


def test_crops_grow():
    sides = [cut_person(noise(400, 400), 0, 0, detected(200, 200, 50), [], 64, grow).side for grow in (0.5, 1.0, 2.0)]
    assert sides == [55, 110, 220]


def test_nobody_repaints_a_neighbour():
    left, right = detected(60, 60, 40), detected(95, 60, 40)
    alone = cut_person(noise(128, 160), 0, 0, left, [], 64, 1.0)
    beside = cut_person(noise(128, 160), 0, 0, left, [right], 64, 1.0)
    x, y = 95 - alone.square_xyxy[0], 60 - alone.square_xyxy[1]
    assert alone.mask[y, x - 10] > 0.5
    assert beside.mask[y, x - 10 :].max() == 0
    assert beside.mask[y, 60 - beside.square_xyxy[0]] == 1
    twice = cut_person(noise(128, 160), 0, 0, left, [detected(62, 61, 36)], 64, 1.0)
    assert torch.equal(twice.mask, alone.mask)


def test_people_in_front_are_pasted_last():
    picture = torch.full((128, 160, 3), 0.5)
    back, front = detected(70, 60, 30), detected(90, 64, 44)
    crops = Crops(picture[None], tuple(cut_person(picture, 0, n, f, [], 64, 1.0) for n, f in enumerate((front, back))))
    black, white = torch.zeros(64, 64, 3), torch.ones(64, 64, 3)
    assert paste_people(crops, [black, white], 0.0, False)[0, 64, 80].tolist() == [0, 0, 0]


def test_feather_widens_the_transition():
    picture = torch.zeros(160, 160, 3)
    crops = Crops(picture[None], (cut_person(picture, 0, 0, detected(80, 80, 60), [], 160, 1.0),))
    hard, soft = (paste_people(crops, [torch.ones(160, 160, 3)], feather, False)[0, ..., 0] for feather in (0.0, 0.3))
    assert set(hard.round(decimals=4).unique().tolist()) == {0.0, 1.0}
    between = (soft > 0) & (soft < 1)
    assert between.sum() > 0.3 * (soft > 0).sum()
    assert soft[80, 80] == 1


def test_colours_are_brought_to_those_of_the_picture():
    picture = 0.3 + 0.4 * noise(160, 160)
    crops = Crops(picture[None], (cut_person(picture, 0, 0, detected(80, 80, 60), [], 132, 1.0),))
    repainted = crops.people[0].given + torch.tensor([0.1, -0.05, 0.02])
    plain, matched = (paste_people(crops, [repainted], 0.3, match)[0] for match in (False, True))
    assert (plain - picture).abs().mean() > 10 * (matched - picture).abs().mean()


def test_another_face_keeps_its_own_colours():
    picture = 0.3 + 0.4 * noise(160, 160)
    crop = cut_person(picture, 0, 0, detected(80, 80, 60), [], 132, 1.0)
    repainted = crop.given + 0.2 * (crop.mask >= 0.5)[..., None]
    plain, matched = (paste_people(Crops(picture[None], (crop,)), [repainted], 0.3, m)[0] for m in (False, True))
    assert torch.allclose(plain, matched, atol=1e-4)


def test_lists_that_do_not_fit_are_refused():
    picture = torch.cat([noise(96, 96) * 0.2, 0.7 + noise(96, 96) * 0.2], dim=1)
    people = tuple(cut_person(picture, 0, n, detected(48 + 96 * n, 48, 30), [], 64, 1.0) for n in range(2))
    crops = Crops(picture[None], people)
    first, second = (crop.given[None] for crop in people)
    check_repainted(crops, [first, second])
    check_repainted(crops, [resize(first[0], 128)[None], second])
    with pytest.raises(DynamicIDError, match=r"1 pictures in 1 list elements for 2 crops"):
        check_repainted(crops, [first])
    with pytest.raises(DynamicIDError, match=r"3 pictures in 2 list elements for 2 crops"):
        check_repainted(crops, [torch.cat([first, first]), second])
    with pytest.raises(DynamicIDError, match=r"Crop 2 is now 64 x 32 pixels"):
        check_repainted(crops, [first, second[:, :32]])
    with pytest.raises(DynamicIDError, match=r"Crop 1 shows what crop 2 was cut from"):
        check_repainted(crops, [second, first])
    with pytest.raises(DynamicIDError, match=r"Crop 1 shows what crop 2 was cut from"):
        check_repainted(crops, [second * 0.95, first * 0.95])
    assert repr(crops) == "Crops(2 of 1 pictures)"


def test_prompts():
    tokens = torch.zeros(4, 8)
    face = Face(tokens, tokens, torch.ones(512), pose=torch.tensor([0.0, 20.0, 0.0]), emotion="happy")
    edited = Face(tokens, tokens, torch.ones(512), prompt="in a sad expression, facing up, in front view")
    regions = [Region(face), Region(edited)]
    assert person_prompts("a portrait, {expression}", regions) == [
        "a portrait, in a happy expression, in side view",
        "a portrait, in a sad expression, facing up, in front view",
    ]
    assert person_prompts("in red\nin blue\n", regions) == ["in red", "in blue"]
    assert person_prompts("", regions) == ["", ""]
    assert person_prompts("a portrait, {expression}", [Region(mix_faces(face, face, 0.5))]) == ["a portrait"]
    with pytest.raises(DynamicIDError, match=r"3 lines, and there are 2 people"):
        person_prompts("a\nb\nc", regions)


def test_drawing_shows_squares_and_masks():
    picture = np.zeros((120, 160, 3), np.uint8)
    crop = cut_person(torch.from_numpy(picture).float(), 0, 1, detected(80, 60, 40), [], 64, 1.0)
    drawn = draw_crops(picture, [crop])
    left, top, *_ = crop.square_xyxy
    assert drawn[60, 80].any()
    assert drawn[top + crop.side // 2, left].any()
    assert not drawn[:top].any()
    assert not picture.any()
