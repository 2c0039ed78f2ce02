"""Faces: mixing, regions, and the public file format."""

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dynamicid.errors import DynamicIDError
from dynamicid.faces.face import Face, mix_faces
from dynamicid.faces.face_file import load_face, save_face
from dynamicid.faces.frames import join_frames
from dynamicid.faces.regions import (
    MAX_PEOPLE,
    Region,
    append_region,
    checked_box,
    checked_mask,
    numbered_people,
    regions_of,
)
from tests.standin.rule import rule_input


def face(name="anna", width=768, **extra):
    embedding = rule_input(f"{name}.embedding", (512,))
    tokens, negative = (rule_input(f"{name}.{kind}", (4, width)) for kind in ("tokens", "negative"))
    return Face(tokens, negative, embedding / embedding.norm(), **extra)


def full_face():
    return face(
        landmarks_106=rule_input("landmarks", (106, 2)),
        pose=torch.tensor([1.0, 2.0, 3.0]),
        crop=torch.arange(5 * 4 * 3, dtype=torch.uint8).view(5, 4, 3),
        crop_box_xyxy=(-12.5, 30.0, 400.25, 512.0),
        emotion="surprise",
    )


def test_a_mix_holds_both_people_with_their_shares():
    mixed = mix_faces(face("anna"), face("ben"), 0.3)
    assert mixed.is_mixed
    assert not face().is_mixed
    assert mixed.id_tokens.shape == mixed.negative_tokens.shape == (8, 768)
    assert torch.allclose(mixed.token_scale, torch.tensor([0.3] * 4 + [0.7] * 4))
    assert torch.equal(mixed.id_tokens[4:], face("ben").id_tokens)
    assert torch.allclose(mixed.id_embedding.norm(), torch.tensor(1.0))
    assert mixed.landmarks_106 is mixed.emotion is None


def test_what_cannot_be_mixed():
    mixed = mix_faces(face("anna"), face("ben"), 0.5)
    with pytest.raises(DynamicIDError, match=r"face_b: .*already a mix"):
        mix_faces(face(), mixed, 0.5)
    with pytest.raises(DynamicIDError, match=r"face_b: .*2048 wide, those of face_a 768"):
        mix_faces(face(), face(width=2048), 0.5)


@pytest.mark.parametrize("person", [face(), full_face()], ids=["tokens only", "everything"])
def test_a_saved_face_comes_back_as_it_was(person, tmp_path):
    path = tmp_path / "a folder" / "änna.safetensors"
    save_face(person, path)
    loaded = load_face(path)
    for name in ("id_tokens", "negative_tokens", "id_embedding", "landmarks_106", "pose", "crop", "token_scale"):
        before, after = getattr(person, name), getattr(loaded, name)
        assert (after is None) if before is None else torch.equal(before, after), name
    assert loaded.crop_box_xyxy == person.crop_box_xyxy
    assert loaded.emotion == person.emotion
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_face_with_motions_comes_back_and_says_version_2(tmp_path):
    path = tmp_path / "face.safetensors"
    frames = [replace(full_face(), id_tokens=full_face().id_tokens + i, pose=torch.ones(3) * i) for i in range(3)]
    save_face(join_frames(frames), path)
    loaded = load_face(path)
    assert loaded.frame_count == 3
    for before, after in zip(frames, loaded.frames, strict=True):
        for name in ("id_tokens", "negative_tokens", "id_embedding", "landmarks_106", "pose", "crop", "token_scale"):
            assert torch.equal(getattr(before, name), getattr(after, name)), name
        assert (after.crop_box_xyxy, after.emotion) == (before.crop_box_xyxy, before.emotion)
    with safe_open(path, "pt") as file:
        assert file.metadata()["version"] == "2"
        assert file.get_tensor("id_tokens").shape == (3, 4, 768)
        assert file.get_tensor("negative_tokens").shape == (4, 768)
    save_face(frames[0], path)
    with safe_open(path, "pt") as file:
        assert file.metadata()["version"] == "1"
    with pytest.raises(DynamicIDError, match="With 1500 motions it takes 17 MB"):
        save_face(join_frames([face()] * 1500), tmp_path / "long.safetensors")


def test_a_mix_of_people_with_motions():
    anna = join_frames([face("anna"), face("ben")])
    mixed = mix_faces(anna, face("cleo"), 0.3)
    for number, name in enumerate(("anna", "ben")):
        alone = mix_faces(face(name), face("cleo"), 0.3)
        assert torch.equal(mixed.frame(number).id_tokens, alone.id_tokens)
    with pytest.raises(DynamicIDError, match="face_b: It holds 3 motions, but face_a holds 2"):
        mix_faces(anna, join_frames([face()] * 3), 0.5)


@pytest.mark.parametrize("width", [128, 768, 2048])
@pytest.mark.parametrize("count", [1, 4, 16])
def test_tokens_of_any_number_and_width_are_saved_and_loaded(width, count, tmp_path):
    """Their sizes follow from the weights; what has another type is written as float32."""
    positive, negative = rule_input("tokens", (2, count, width)).half()
    save_face(Face(positive, negative, torch.ones(256) / 16), tmp_path / "face.safetensors")
    loaded = load_face(tmp_path / "face.safetensors")
    assert torch.equal(loaded.id_tokens, positive.float())
    assert torch.equal(loaded.negative_tokens, negative.float())
    assert load_file(tmp_path / "face.safetensors")["id_tokens"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id_tokens": torch.full((4, 768), torch.nan)}, "id_tokens holds values"),
        ({"pose": torch.ones(2)}, r"pose has shape \(2,\), expected \(3\)"),
        ({"negative_tokens": torch.ones(4, 64)}, r"negative_tokens has shape \(4, 64\), expected \(4, 768\)"),
    ],
)
def test_what_could_not_be_loaded_is_not_written(change, fault, tmp_path):
    with pytest.raises(DynamicIDError, match=f"face: The tensor {fault}"):
        save_face(replace(full_face(), **change), tmp_path / "face.safetensors")
    assert not list(tmp_path.iterdir())


def test_whoever_may_read_other_files_may_read_a_face(tmp_path):
    (tmp_path / "plain").touch()
    save_face(face(), tmp_path / "face.safetensors")
    assert (tmp_path / "face.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_mix_cannot_be_saved(tmp_path):
    with pytest.raises(DynamicIDError, match="mix of two people cannot be saved"):
        save_face(mix_faces(face("anna"), face("ben"), 0.5), tmp_path / "mix.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DynamicIDError, match=r"name: .* cannot be written"):
        save_face(face(), tmp_path / "file" / "face.safetensors")


GOOD = {
    "id_tokens": torch.ones(4, 768),
    "negative_tokens": torch.ones(4, 768),
    "id_embedding": torch.ones(512),
}
META = {"format": "dynamicid-face", "version": "1"}
SPOILT = {
    "another format": (GOOD, {"format": "pt"}, "format is 'pt'"),
    "no metadata": (GOOD, None, "format is 'not given'"),
    "another version": (GOOD, {**META, "version": "3"}, "version is '3'"),
    "no motions": (GOOD, {**META, "version": "2"}, r"id_tokens has shape \(4, 768\), expected \(F, T, width\)"),
    "more poses": (
        {**GOOD, "id_tokens": torch.ones(3, 4, 768), "pose": torch.ones(2, 3)},
        {**META, "version": "2"},
        r"pose has shape \(2, 3\), expected \(3, 3\)",
    ),
    "missing": ({k: v for k, v in GOOD.items() if k != "id_tokens"}, META, "id_tokens is missing"),
    "shape": (
        {**GOOD, "negative_tokens": torch.ones(5, 768)},
        META,
        r"negative_tokens has shape \(5, 768\), expected \(4, 768\)",
    ),
    "dimensions": ({**GOOD, "id_tokens": torch.ones(4)}, META, r"id_tokens has shape \(4,\), expected \(T, width\)"),
    "no embedding": ({**GOOD, "id_embedding": torch.ones(0)}, META, r"id_embedding has shape \(0,\)"),
    "nan": ({**GOOD, "id_embedding": torch.full((512,), torch.nan)}, META, "id_embedding holds values"),
    "integers": ({**GOOD, "pose": torch.ones(3, dtype=torch.int32)}, META, "pose holds values"),
    "emotion": (GOOD, {**META, "emotion": "in a rage"}, "emotion is 'in a rage', expected one of happy, surprise"),
    "large tokens": ({**GOOD, "id_tokens": torch.full((4, 768), 1e6)}, META, "id_tokens holds values"),
    "beyond float32": ({**GOOD, "pose": torch.full((3,), 1e300, dtype=torch.float64)}, META, "pose holds values"),
    "far landmarks": ({**GOOD, "landmarks_106": torch.full((106, 2), 1e12)}, META, "landmarks_106 holds values"),
    "float8": ({**GOOD, "pose": torch.ones(3).to(torch.float8_e4m3fn)}, META, "pose holds values"),
    "long format": (GOOD, {"format": "x" * 10_000}, "format is 'x{60}', not"),
    "large file": ({**GOOD, "crop": torch.zeros(3000, 3000, 3, dtype=torch.uint8)}, META, "more than 16 MB"),
    "crop": ({**GOOD, "crop": torch.ones(3, 3, 4, dtype=torch.uint8)}, META, "crop is torch.uint8"),
}


def test_an_emotion_stands_beside_what_older_packs_read(tmp_path):
    """Format, version and tensors are the same with and without; a file without one loads."""
    with_emotion, without = tmp_path / "with.safetensors", tmp_path / "without.safetensors"
    save_face(full_face(), with_emotion)
    save_face(replace(full_face(), emotion=None), without)
    with safe_open(with_emotion, "pt") as new, safe_open(without, "pt") as old:
        assert new.metadata() == {**old.metadata(), "emotion": "surprise"}
        assert set(new.keys()) == set(old.keys())
    assert load_face(without).emotion is None


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_face_files_are_refused(name, tmp_path):
    tensors, metadata, message = SPOILT[name]
    save_file(tensors, tmp_path / "face.safetensors", metadata)
    with pytest.raises(DynamicIDError, match=message):
        load_face(tmp_path / "face.safetensors")


def test_files_that_are_no_safetensors_are_refused(tmp_path):
    path = tmp_path / "face.safetensors"
    with pytest.raises(DynamicIDError, match="cannot be read"):
        load_face(path)
    for content in (b"", b"not a face", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(DynamicIDError, match="cannot be read"):
            load_face(path)


def test_half_precision_floats_are_read_as_float32(tmp_path):
    save_file({key: value.half() for key, value in GOOD.items()}, tmp_path / "f.safetensors", META)
    assert load_face(tmp_path / "f.safetensors").id_tokens.dtype == torch.float32
    assert set(load_file(tmp_path / "f.safetensors")) == set(GOOD)


def test_regions_grow_to_eight_people():
    regions = ()
    for _ in range(MAX_PEOPLE):
        regions = append_region(regions, Region(face()), "regions")
    with pytest.raises(DynamicIDError, match="regions: This makes 9 people; at most 8"):
        append_region(regions, Region(face()), "regions")


def test_either_face_or_regions():
    regions = (Region(face()),)
    assert regions_of(None, regions) == regions
    alone = regions_of(face(), None)
    assert alone[0].box_xywh_norm == (0.0, 0.0, 1.0, 1.0)
    with pytest.raises(DynamicIDError, match="Both"):
        regions_of(face(), regions)
    with pytest.raises(DynamicIDError, match="Neither"):
        regions_of(None, None)


def test_any_person_may_be_missing_but_not_everybody():
    second = face()
    assert numbered_people({"face_1": None, "face_2": second}) == {2: second}
    for nobody in ({}, {"face_1": None}):
        with pytest.raises(DynamicIDError, match=r"face_1: No person is connected\. Connect"):
            numbered_people(nobody)


def test_boxes_are_checked():
    assert checked_box(0.1, 0.2, 0.3, 0.4) == (0.1, 0.2, 0.3, 0.4)
    assert checked_box(0.1, 0.2, 0.0, 0.4) is None
    assert checked_box(0.1, 0.2, 0.3, 0.0) is None
    with pytest.raises(DynamicIDError, match="x: A box that begins at"):
        checked_box(1.0, 0.2, 0.3, 0.4)
    for values in ((-0.1, 0, 1, 1), (0, 0, 1.5, 1), (0, float("nan"), 1, 1)):
        with pytest.raises(DynamicIDError, match=r"outside 0\.\.1"):
            checked_box(*values)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(1, 8, 8), "empty"),
        (torch.full((1, 8, 8), torch.nan), "NaN"),
        (torch.ones(2, 8, 8), "2 masks for one person"),
        (torch.ones(1, 0, 8), "shape"),
        (torch.ones(8), "shape"),
    ],
)
def test_masks_are_checked(mask, message):
    with pytest.raises(DynamicIDError, match=f"mask: .*{message}"):
        checked_mask(mask)


def test_good_masks_become_height_by_width():
    for mask in (torch.ones(6, 4), torch.ones(1, 6, 4), torch.full((1, 1, 6, 4), 3.0)):
        assert torch.equal(checked_mask(mask), torch.ones(6, 4))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "[1, 2, 3]",
        '["a", 0, 1, 1]',
        "[0, 0, NaN, 1]",
        "[5, 0, 5, 1]",
        "[[0], 0, 1, 1]",
        "[0, 0, 1e5, 1e5]",
        f"[0, 0, {'9' * 400}, 1]",
        "[" * 100_000,
    ],
)
def test_a_crop_box_that_is_none_is_refused(text, tmp_path):
    path = tmp_path / "face.safetensors"
    save_file(GOOD, path, metadata={"format": "dynamicid-face", "version": "1", "crop_box_xyxy": text})
    with pytest.raises(DynamicIDError, match=r"no face file\. Its crop_box_xyxy"):
        load_face(path)
