"""Portraits, identity tokens and edits, written down independently for made-up detections and small networks."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamicid.errors import DynamicIDError
from dynamicid.faces.detected import DetectedFace
from dynamicid.faces.editing import MOTIONS_AT_ONCE, EditingNetworks, edit_face, edit_tokens
from dynamicid.faces.encoding import Portrait, encode_portraits, identity_tokens, read_portrait
from dynamicid.faces.face import Face, mix_faces
from dynamicid.faces.frames import join_frames
from dynamicid.faces.landmarks import keypoint_map
from dynamicid.faces.motion import Motion
from dynamicid.models import IMR, FaceProjector, KeypointEncoder

PHOTO = np.arange(400 * 600 * 3, dtype=np.uint32).reshape(400, 600, 3).astype(np.uint8)
BOX = (300.0, 100.0, 380.0, 200.0)
PORTRAIT = (230, 48, 450, 268)
"""Of BOX in PHOTO: 220 = 2.2 x 100 pixels a side, the middle 8 pixels below the box's."""


def detected(box: tuple[float, float, float, float], number: int) -> DetectedFace:
    generator = np.random.default_rng(number)
    landmarks = generator.uniform(100, 400, (106, 2)).astype(np.float32)
    return DetectedFace(
        box, 0.9, landmarks, np.array([number, 0, 0], np.float32), np.eye(512, dtype=np.float32)[number]
    )


class Detections:
    """Answers with these faces and remembers what it was asked."""

    def __init__(self, *faces: DetectedFace) -> None:
        self.faces, self.seen = list(faces), []

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        self.seen.append(image)
        return self.faces


def test_the_motion_is_that_of_the_same_face_in_the_portrait() -> None:
    face, same, other = detected(BOX, 1), detected((70.0, 60.0, 150.0, 152.0), 2), detected((10.0, 20.0, 40.0, 60.0), 3)
    detector = Detections(other, same)
    portrait = read_portrait(detector, PHOTO, face)
    left, top, right, bottom = PORTRAIT
    assert np.array_equal(portrait.picture, PHOTO[top:bottom, left:right])
    assert np.array_equal(detector.seen[0], portrait.picture)
    assert portrait.landmarks_106 is same.landmarks_106
    assert portrait.pose is same.pose
    assert portrait.embedding is face.embedding


@pytest.mark.parametrize("found", [(), (detected((100.0, 100.0, 180.0, 200.0), 2),)], ids=["nothing", "another face"])
def test_a_face_lost_in_the_portrait_keeps_the_motion_of_the_photo(found: tuple[DetectedFace, ...]) -> None:
    """The other face overlaps by 0.19, less than 0.3."""
    face = detected(BOX, 1)
    portrait = read_portrait(Detections(*found), PHOTO, face)
    pixels = face.landmarks_106 * (600 / 512, 400 / 512) - PORTRAIT[:2]
    assert np.allclose(portrait.landmarks_106, pixels * (512 / 220), atol=1e-3)
    assert portrait.pose is face.pose


def test_a_photo_taken_whole_is_not_searched_again() -> None:
    face, detector = detected(BOX, 1), Detections()
    portrait = read_portrait(detector, PHOTO, face, crop=False)
    assert portrait.picture.shape == PHOTO.shape
    assert portrait.landmarks_106 is face.landmarks_106
    assert detector.seen == []
    left, top, right, bottom = portrait.crop_box_xyxy
    assert np.allclose((left * 600 / 512, top * 400 / 512), (265, 75), atol=1)
    assert np.allclose((right * 600 / 512, bottom * 400 / 512), (415, 225), atol=1)
    assert np.array_equal(portrait.crop, PHOTO[75:225, 265:415])


def portrait_of(number: int) -> Portrait:
    face = detected(BOX, number)
    return Portrait(face.embedding, PHOTO, face.landmarks_106, face.pose, PHOTO, (0.0, 0.0, 9.0, 9.0), f"word {number}")


def test_several_photos_are_averaged() -> None:
    torch.manual_seed(1)
    projector = FaceProjector(width=64, media_width=24, depth=1)
    states, zero = torch.randn(2, 5, 24), torch.randn(1, 5, 24)
    face = encode_portraits(projector, [portrait_of(1), portrait_of(2)], states, zero)
    embeddings = torch.eye(512)[1:3]
    with torch.no_grad():
        single = [projector(embeddings[i : i + 1], states[i : i + 1])[0] for i in (0, 1)]
        nobody = projector(torch.zeros(1, 512), zero)[0]
    assert torch.allclose(face.id_tokens, (single[0] + single[1]) / 2, atol=1e-5)
    assert torch.allclose(face.negative_tokens, nobody, atol=1e-5)
    assert torch.allclose(face.id_embedding, embeddings.sum(0) / 2**0.5, atol=1e-6)
    assert face.emotion == "word 1"
    assert face.pose is not None
    assert face.crop is not None
    assert face.pose[0] == 1
    assert face.crop.shape == (171, 256, 3)
    assert torch.allclose(identity_tokens(projector, embeddings, states)[1], single[1], atol=1e-5)


@pytest.fixture(scope="module")
def networks() -> EditingNetworks:
    torch.manual_seed(2)
    encoder = KeypointEncoder(4, ((8, 1),) * 5, 32).eval()
    return EditingNetworks(IMR(token_width=64, motion_width=32 + 16, width=64).eval(), encoder, prompts)


def prompts(texts: object) -> torch.Tensor:
    """(B, 16): every text has its own numbers."""
    assert isinstance(texts, list)
    return torch.stack([torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, t)))) for t in texts])


def person() -> Face:
    tokens = torch.randn(4, 64, generator=torch.Generator().manual_seed(3))
    landmarks = torch.rand(106, 2, generator=torch.Generator().manual_seed(4)) * 500
    return Face(tokens, -tokens, torch.eye(512)[0], landmarks, torch.zeros(3), emotion="happy")


def test_an_edit_puts_the_wanted_motion_in(networks: EditingNetworks) -> None:
    imr, encoder = networks.imr, networks.keypoint_encoder
    face = person()
    assert face.landmarks_106 is not None
    motion = Motion(face.landmarks_106.flip(0) * 0.9, torch.tensor([0.0, 40.0, 0.0]), "in a sad expression")
    edited, said = edit_face(face, networks, motion=motion)
    assert said == "in a happy expression, in front view"
    with torch.no_grad():
        source, target = (
            torch.cat([encoder(keypoint_map(points)[None]), prompts([text])], dim=1)
            for points, text in ((face.landmarks_106, said), (motion.landmarks_106, motion.prompt))
        )
        wanted = imr.entangle(imr.disentangle(face.id_tokens[None], source), target)[0]
    assert torch.allclose(edited.id_tokens, wanted, atol=1e-5)
    assert torch.equal(edited.landmarks_106, motion.landmarks_106)  # pyright: ignore[reportArgumentType]
    assert edited.emotion is None
    quarter = edit_face(face, networks, motion=motion, strength=0.25)[0]
    assert torch.allclose(quarter.id_tokens, 0.75 * face.id_tokens + 0.25 * wanted, atol=1e-5)
    assert quarter.pose is not None
    assert quarter.pose[1] == 10
    assert edit_face(face, networks, motion=motion, strength=0.0)[0] is face


def test_source_and_target_are_not_mixed_up(networks: EditingNetworks) -> None:
    landmarks, pooled = [torch.rand(106, 2) * 500 for _ in range(2)], prompts(["a", "b"])
    tokens = person().id_tokens[None]
    forth, back = (
        edit_tokens(networks, tokens, landmarks, pooled),
        edit_tokens(networks, tokens, landmarks[::-1], pooled.flip(0)),
    )
    assert not torch.allclose(forth, back, atol=1e-3)


def test_many_motions_are_each_what_they_are_alone(networks: EditingNetworks) -> None:
    imr = networks.imr
    face, runs = person(), {"phi1": 0, "phi2": 0, "prompts": 0}
    motions = [
        Motion(torch.rand(106, 2) * 500, torch.tensor([0.0, 9.0 * i, 0.0]), f"in a {'sad' if i % 2 else 'happy'} way")
        for i in range(70)
    ]

    def counted(texts: object) -> torch.Tensor:
        assert isinstance(texts, list)
        runs["prompts"] += len(texts)
        return prompts(texts)

    def count(name: str) -> Callable[..., None]:
        return lambda *_: runs.update({name: runs[name] + 1})

    hooks = [
        next(net[0].children()).register_forward_hook(count(name))
        for name, net in (("phi1", imr.disentangleNet), ("phi2", imr.entangleNet))
    ]
    edited, said = edit_face(face, replace(networks, encode_prompts=counted), motion=join_frames(motions), strength=0.5)
    for hook in hooks:
        hook.remove()
    assert runs == {"phi1": 1, "phi2": 2, "prompts": 3}
    assert (edited.frame_count, said) == (70, "in a happy expression, in front view")
    for number in (0, 1, 69):
        alone, _ = edit_face(face, networks, motion=motions[number], strength=0.5)
        found = edited.frame(number)
        assert torch.allclose(found.id_tokens, alone.id_tokens, atol=1e-5)
        assert found.prompt == alone.prompt
        for name in ("landmarks_106", "pose"):
            assert torch.equal(getattr(found, name), getattr(alone, name))
    again = edit_face(edited, networks, "in an angry expression")[0]
    assert again.frame_count == 70
    last = edit_face(edited.frame(69), networks, "in an angry expression")[0]
    assert torch.allclose(again.frame(69).id_tokens, last.id_tokens, atol=1e-5)
    with pytest.raises(DynamicIDError, match="motion: It holds 2 motions, but face holds 70"):
        edit_face(edited, networks, motion=join_frames(motions[:2]))


def test_thousands_of_motions_are_edited_in_parts_and_can_be_interrupted(networks: EditingNetworks) -> None:
    face, done, sizes = person(), [], []
    motion = join_frames([Motion(torch.rand(106, 2) * 500, torch.zeros(3), "in a sad expression")] * 2000)

    def watch(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        sizes.append(len(inputs[0]))

    hook = networks.keypoint_encoder.register_forward_pre_hook(watch)
    edited = edit_face(face, replace(networks, on_progress=done.append), motion=motion)[0]
    hook.remove()
    assert edited.frame_count == sum(done) == sum(sizes) - 1 == 2000
    assert max(done) == max(sizes) == MOTIONS_AT_ONCE
    assert torch.allclose(edited.id_tokens, edited.frame(1999).id_tokens, atol=1e-5)

    def stop(count: int) -> None:
        done.append(count)
        raise KeyboardInterrupt

    done.clear()
    with pytest.raises(KeyboardInterrupt):
        edit_face(face, replace(networks, on_progress=stop), motion=motion)
    assert done == [MOTIONS_AT_ONCE]


def test_what_cannot_be_edited(networks: EditingNetworks) -> None:
    face = person()
    for broken, message in (
        (mix_faces(face, face, 0.5), "mix of two people"),
        (replace(face, landmarks_106=None), "no landmarks"),
        (replace(face, pose=None), "no pose to describe"),
        (face, "no motion is connected"),
    ):
        with pytest.raises(DynamicIDError, match=message):
            edit_face(broken, networks)
