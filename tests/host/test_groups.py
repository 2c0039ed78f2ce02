"""Crop, Paste and Check People in the host, on drawn people: matching, lists, repainting, bad input."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.standin.onnx_pack import draw_test_faces
from tests.standin.rule import rule_input

BOXES = [(30, 60, 106, 160), (150, 50, 250, 182), (290, 80, 350, 159)]
THIRDS = [(n / 3, 0.0, 1 / 3, 1.0) for n in range(3)]


@pytest.fixture(scope="module")
def analyzer(pack: Any, model_files: Any) -> Any:
    load = pack.load("dynamicid.faces.analysis").load_face_analysis
    return load(model_files / "insightface" / "models" / "buffalo_l", "CPU")


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """Three people side by side, (1, 256, 384, 3)."""
    return torch.from_numpy(draw_test_faces((256, 384), BOXES)).float()[None] / 255


@pytest.fixture(scope="module")
def people(analyzer: Any, picture: Any, make_face: Any, pack: Any) -> Any:
    """``people(2, 0)``: faces number 2 and 0 of the picture, as the face finder embeds them."""
    found = analyzer.detect((picture[0] * 255).byte().numpy())
    face_type = pack.load("dynamicid.faces.face").Face

    def make(*numbers: int) -> list[Any]:
        return [
            face_type(
                id_tokens=rule_input(f"face.{n}.id_tokens", (4, 768)),
                negative_tokens=rule_input(f"face.{n}.negative_tokens", (4, 768)),
                id_embedding=torch.from_numpy(found[n].embedding),
                pose=torch.tensor([0.0, 30.0 * n, 0.0]),
            )
            for n in numbers
        ]

    return make


@pytest.fixture(scope="module")
def place(pack: Any) -> Any:
    """``place(faces, places)`` -> regions; a place is a box or a mask."""
    region = pack.load("dynamicid.faces.regions").Region

    def make(faces: Any, places: Any) -> tuple[Any, ...]:
        return tuple(
            region(face, mask=where) if isinstance(where, torch.Tensor) else region(face, where)
            for face, where in zip(faces, places, strict=True)
        )

    return make


@pytest.fixture(scope="module")
def crop(pack: Any, analyzer: Any) -> Any:
    def run(image: Any, regions: Any, **changed: Any) -> tuple[Any, ...]:
        inputs = {"match": "place", "size": 128, "grow": 1.0, "prompt": "a portrait, {expression}", **changed}
        return pack.run("DynamicIDCropPeople", face_analysis=analyzer, image=image, regions=regions, **inputs)

    return run


def paste(pack: Any, images: Any, crops: Any, feather: float = 0.15, match_colour: bool = True) -> torch.Tensor:
    """The node as the host calls it: every input is a list."""
    inputs = {"image": images, "crops": [crops], "feather": [feather], "match_colour": [match_colour]}
    return pack.run("DynamicIDPastePeople", **inputs)[0]


def who_is_where(crops: Any) -> list[tuple[int, int]]:
    """Person, and number of the face in ``BOXES`` nearest to the middle of their crop."""
    pairs = []
    for cut in crops.people:
        middle = (cut.square_xyxy[0] + cut.square_xyxy[2]) / 2
        distances = [abs(middle - (box[0] + box[2]) / 2) for box in BOXES]
        pairs.append((cut.person, int(np.argmin(distances))))
    return pairs


def test_each_person_gets_the_face_at_their_place(crop, people, place, picture):
    images, faces, prompts, masks, crops, preview = crop(picture, place(people(0, 1, 2), THIRDS))
    assert [image.shape for image in images] == [(1, 128, 128, 3)] * 3
    assert [mask.shape for mask in masks] == [(1, 128, 128)] * 3
    assert [face.pose[1] for face in faces] == [0, 30, 60]
    assert prompts[0] == "a portrait, in a neutral expression, in front view"
    assert prompts[2] == "a portrait, in a neutral expression, in side view"
    assert who_is_where(crops) == [(0, 0), (1, 1), (2, 2)]
    assert preview.shape == picture.shape
    assert not torch.equal(preview, picture)


def test_places_may_be_masks_and_faces_outside_are_nobodys(crop, people, place, picture):
    right = torch.zeros(64, 96)
    right[:, 64:] = 0.2
    regions = place(people(0, 1), [right, (0.0, 0.0, 0.05, 0.05)])
    crops = crop(picture, regions)[4]
    assert who_is_where(crops) == [(0, 2)]


def test_likeness_finds_people_who_changed_places(crop, people, place, picture):
    regions = place(people(2, 0), THIRDS[:2])
    assert who_is_where(crop(picture, regions, match="likeness")[4]) == [(0, 2), (1, 0)]
    assert who_is_where(crop(picture, regions, match="place")[4]) == [(0, 0), (1, 1)]


def test_a_batch_goes_picture_after_picture_and_comes_back(pack, crop, people, place, picture, caplog):
    batch = torch.cat([picture, torch.zeros_like(picture), picture.flip(2)])
    with caplog.at_level(logging.WARNING):
        images, _, _, masks, crops, _ = crop(batch, place(people(0, 1), THIRDS[:2]))
    assert [(c.picture, c.person) for c in crops.people] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    assert "picture 2 shows no face of person 1, 2" in caplog.text
    assert torch.equal(paste(pack, images, crops), batch)
    black = paste(pack, [torch.zeros_like(image) for image in images], crops, match_colour=False)
    assert torch.equal(black[1], batch[1])
    for cut, mask in zip(crops.people, masks, strict=True):
        left, top, right, bottom = cut.square_xyxy
        before, after = (pictures[cut.picture, top:bottom, left:right] for pictures in (batch, black))
        assert mask.max() == 1
        assert after[cut.mask == 1].mean() < 0.5 * before[cut.mask == 1].mean()


def test_the_crop_of_picture_i_gets_motion_i(pack, crop, people, place, picture):
    join_frames, error = pack.load("dynamicid.faces.frames").join_frames, pack.load("dynamicid.errors").DynamicIDError
    anna, ben = people(0, 1)
    moved = join_frames([replace(anna, prompt=f"motion {i}") for i in range(2)])
    _, faces, prompts, *_ = crop(torch.cat([picture, picture]), place([moved, ben], THIRDS[:2]))
    assert [face.prompt for face in faces] == ["motion 0", None, "motion 1", None]
    assert all(face.frame_count == 1 for face in faces)
    assert (prompts[0], prompts[2]) == ("a portrait, motion 0", "a portrait, motion 1")
    with pytest.raises(error, match="hold 2 motions, but there are 1 pictures"):
        crop(picture, place([moved, ben], THIRDS[:2]))


def test_nobody_found_gives_the_picture_back(pack, crop, people, place, caplog):
    empty = torch.from_numpy(draw_test_faces((200, 300), [])).float()[None] / 255
    with caplog.at_level(logging.WARNING):
        images, faces, prompts, masks, crops, _ = crop(empty, place(people(0, 1), THIRDS[:2]))
    assert [len(x) for x in (images, faces, prompts, masks)] == [1, 1, 1, 1]
    assert masks[0].max() == 0
    assert "picture 1 shows no face of person 1, 2; nothing is repainted there" in caplog.text
    assert torch.equal(paste(pack, [torch.ones(1, 64, 64, 3)], crops), empty)


def test_a_changed_prompt_finds_no_faces_again(crop, people, place, picture, analyzer, monkeypatch):
    regions = place(people(0, 1), THIRDS[:2])
    crop(picture, regions)
    monkeypatch.setattr(type(analyzer), "detect", lambda *_: pytest.fail("faces were looked for again"))
    assert crop(picture, regions, prompt="in red\nin blue")[2] == ["in red", "in blue"]


def test_repainting_in_the_host(pack, crop, people, place, picture, apply, mini_model, sample, conditioning):
    """Apply takes the list's faces one by one; everything between is the host's."""
    images, faces, _, _, crops, _ = crop(picture, place(people(0, 1, 2), THIRDS), size=64)
    repainted = []
    for image, face in zip(images, faces, strict=True):
        latent = image.movedim(-1, 1)[:, [0, 1, 2, 0], ::8, ::8] - 0.5
        latent = sample(apply(mini_model, face=face), latent=latent, denoise=0.5)
        repainted.append(latent[:, :3].movedim(1, -1).clamp(0, 1).repeat_interleave(8, 1).repeat_interleave(8, 2))
    result = paste(pack, repainted, crops)
    covered = torch.zeros(256, 384, dtype=torch.bool)
    for cut in crops.people:
        left, top, right, bottom = cut.square_xyxy
        covered[top:bottom, left:right] |= cut.mask > 0
    assert torch.equal(result[0][~covered], picture[0][~covered])
    assert (result[0][covered] - picture[0][covered]).abs().mean() > 0.01


def test_check_takes_the_best_picture(pack, analyzer, people, place, picture):
    regions = place(people(0, 1, 2), THIRDS)
    without_last = picture.clone()
    without_last[:, :, 260:] = picture[:, :1, :1]
    batch = torch.cat([without_last, picture.flip(2), picture])
    inputs = {"face_analysis": analyzer, "regions": regions, "threshold": 0.3}
    best, passed, score, report, preview = pack.run("DynamicIDCheckPeople", image=batch, **inputs)
    assert torch.equal(best, picture)
    assert passed
    assert score > 0.95
    assert "Person 3: missing, no face at their place." in report
    assert "looks more like person 3" in report
    assert report.endswith("Best: picture 3.")
    assert preview.shape == batch.shape
    best, passed, score, _, _ = pack.run("DynamicIDCheckPeople", image=torch.zeros_like(picture), **inputs)
    assert torch.equal(best, torch.zeros_like(picture))
    assert not passed
    assert score == 0


def box(x: float, y: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "width": width, "height": height, **more}


def test_regions_from_the_hosts_boxes(pack, people, picture):
    right, left = box(290, 80, 60, 79, score=0.5), box(30, 60, 76, 100, score=0.9, label="face")
    anna, ben = people(0, 1)

    def run(boxes: Any, order: str = "as given", grow: float = 0.0, **faces: Any) -> Any:
        faces = faces or {"face_1": anna, "face_2": ben}
        return pack.run("DynamicIDRegionsFromBoxes", bboxes=boxes, image=picture, order=order, grow=grow, **faces)

    regions, preview = run([right, left])
    assert regions[0].face is anna
    assert np.allclose(regions[0].box_xywh_norm, (290 / 384, 80 / 256, 60 / 384, 79 / 256))
    assert not torch.equal(preview, picture)
    for shape in ([[right, left]], ((right, left),)):
        assert run(shape)[0] == regions
    assert run([right, left], "left to right")[0][0].box_xywh_norm == regions[1].box_xywh_norm
    assert run([right, left], "most confident first")[0][0].box_xywh_norm == regions[1].box_xywh_norm
    assert run(left, face_1=anna)[0][0].box_xywh_norm == regions[1].box_xywh_norm
    grown = run([left, right], grow=0.5)[0][0].box_xywh_norm
    assert np.allclose(grown, (0, 10 / 256, 144 / 384, 200 / 256))
    for wrong, message in (
        ([right], r"There are 1 boxes, face_2 asks for number 2"),
        ([], r"There are 0 boxes"),
        ([[right], [left]], r"boxes of 2 pictures"),
        ([right, (1, 2, 3, 4)], r"Box 2 is \(1, 2, 3, 4\)"),
        ([right, {"x": 1}], r"Box 2 is \{'x': 1\}"),
        ([right, box(500, 0, 50, 50)], r"Box 2 \(500, 0, 50 x 50\) is not inside the picture of 384 x 256"),
        ([right, box(float("nan"), 0, 50, 50)], r"Box 2 \(nan"),
    ):
        with pytest.raises(ValueError, match=message):
            run(wrong)


def test_bad_input(pack, crop, people, place, picture):
    regions = place(people(0, 1), THIRDS[:2])
    images, _, _, _, crops, _ = crop(picture, regions)
    with pytest.raises(ValueError, match=r"^prompt: It has 3 lines, and there are 2 people"):
        crop(picture, regions, prompt="a\nb\nc")
    with pytest.raises(ValueError, match=r"^image: The picture holds NaN"):
        crop(picture * float("nan"), regions)
    with pytest.raises(ValueError, match=r"^image: The picture holds NaN"):
        paste(pack, [images[0] * float("nan"), images[1]], crops)
    with pytest.raises(ValueError, match=r"^image: There are 1 pictures in 1 list elements for 2 crops"):
        paste(pack, images[:1], crops)
    with pytest.raises(ValueError, match=r"^image: Crop 1 shows what crop 2 was cut from"):
        paste(pack, images[::-1], crops)
    with pytest.raises(ValueError, match=r"^crops: There are 2 of them"):
        pack.run("DynamicIDPastePeople", image=images, crops=[crops, crops], feather=[0.1], match_colour=[True])
