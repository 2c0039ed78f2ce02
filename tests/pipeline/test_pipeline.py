"""The pipeline class: the example of the docs on the tiny models, and errors that name the input."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dynamicid.errors import DynamicIDError
from dynamicid.faces.regions import Region
from dynamicid.pipeline.painter import PaintSettings, PictureRequest
from dynamicid.pipeline.pipeline import DynamicIDPipeline
from tiny_models.places import BASE, DYNAMICID, FACE_PACK, PHOTOS, VISION

DOCS = Path(__file__).resolve().parents[2] / "docs" / "diffusers.md"


@pytest.fixture(scope="module")
def pipeline() -> DynamicIDPipeline:
    return DynamicIDPipeline.from_files(BASE, VISION, DYNAMICID, FACE_PACK)


def photo(number: int) -> Image.Image:
    return Image.open(sorted(PHOTOS.glob("*.png"))[number])


def test_the_example_of_the_docs_paints_two_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(code.group(1), encoding="utf-8")
    names = runpy.run_path("example.py")
    picture = np.asarray(Image.open(tmp_path / "two_people.png"))
    assert picture.shape == (128, 128, 3)
    assert picture.std() > 20
    happy, left, pipe = names["happy"], names["left"], names["pipeline"]
    assert not torch.equal(happy.id_tokens, left.id_tokens)  # pyright: ignore
    unlike = pipe("a photo of two people at the beach", [Region(happy)], seed=1).pictures[0]  # pyright: ignore
    assert np.abs(unlike.numpy().astype(int) - picture).max() > 50


def test_pictures_and_arrays_of_one_person_are_averaged(pipeline: DynamicIDPipeline) -> None:
    first, second = (pipeline.encode_face(photo(number)) for number in (0, 1))
    both = pipeline.encode_face([photo(0), np.asarray(photo(1).convert("RGB"))])
    assert torch.allclose(both.id_tokens, (first.id_tokens + second.id_tokens) / 2, atol=1e-4)
    assert torch.equal(both.landmarks_106, pipeline.motion_from_photo(photo(0)).landmarks_106)  # pyright: ignore


def test_batches_with_strangers_or_without_a_face_are_noticed(
    pipeline: DynamicIDPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DynamicIDError, match=r"photos: No face was found in pictures 2 and 3 of 4\."):
        pipeline.encode_face([photo(0), *[np.full((256, 256, 3), 128, np.uint8)] * 2, photo(0)])
    pipeline.encode_face([photo(0), photo(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    assert not caplog.text
    pipeline.encode_face([photo(0), photo(1)])
    assert re.search(r"photos 1 and 2 \(cosine -?0\.\d+\) look like different people.*below 0\.35", caplog.text)


def test_activation_maps_come_with_the_picture(pipeline: DynamicIDPipeline) -> None:
    face = pipeline.encode_face(photo(0))
    settings = PaintSettings((32, 32), steps=2, record=True)
    people = [Region(face, (0.0, 0.0, 0.5, 1.0)), Region(face, (0.5, 0.0, 0.5, 1.0))]
    painted = pipeline("a photo", people, settings=settings)
    assert painted.activations[0].shape == (2, 32, 32)
    assert painted.images[0].size == (128, 128)
    assert pipeline.base_painter.unet is not pipeline.painter.unet


def test_what_is_missing_is_named(pipeline: DynamicIDPipeline) -> None:
    with pytest.raises(DynamicIDError, match=r"photos: No face was found"):
        pipeline.encode_face(np.zeros((128, 128, 3), np.uint8))
    with pytest.raises(DynamicIDError, match=r"imr: The weights hold no IMR"):
        pipeline.edit_face(pipeline.encode_face(photo(0)), "in a happy expression")


def test_people_who_are_not_found_stay_as_they_are(pipeline: DynamicIDPipeline) -> None:
    face = pipeline.encode_face(photo(0))
    request, settings = PictureRequest("", (Region(face),), 1), PaintSettings((32, 32), steps=2, denoise=0.5)
    grey = torch.full((1, 128, 128, 3), 128, dtype=torch.uint8)
    assert torch.equal(pipeline.repaint_people(grey, [request], settings), grey)
    portrait = torch.from_numpy(np.asarray(photo(0).convert("RGB").resize((128, 128))).copy())[None]
    repainted = pipeline.repaint_people(portrait, [request], settings)
    changed = (repainted != portrait).any(dim=3)[0]
    assert 0.1 < changed.float().mean() < 0.9


def test_a_picture_to_begin_with_has_the_size_asked_for(pipeline: DynamicIDPipeline) -> None:
    request = PictureRequest("", start=torch.zeros(64, 128, 3))
    with pytest.raises(DynamicIDError, match="128 x 64 pixels"):
        pipeline.paint([request], PaintSettings((32, 32), steps=2, denoise=0.5))
