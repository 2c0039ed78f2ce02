"""Every error of the node contract, provoked through a running server: what it says, and that the queue goes on."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.checkpoints.malformed import CANARY, MALFORMED
from tests.host.graphs import PEOPLE, Graph, Link, picture_of, pixels, write_inputs
from tests.host.server import PromptFailed, Server

pytestmark = pytest.mark.server
NAN = float("nan")
_fresh = itertools.count()


@pytest.fixture(scope="module")
def host_server(server: Server) -> Server:
    """The server with photos, faces and the files that provoke errors."""
    write_inputs(server.base)
    _write_foreign_models(server.base / "models")
    _write_bad_weights(server.base / "models" / "dynamicid")
    picture = Image.open(server.base / "input" / "anna.png")
    picture.convert("L").save(server.base / "input" / "grey.png")
    return server


@pytest.fixture
def failing(host_server: Server) -> Iterator[Callable[[Graph], PromptFailed]]:
    """``failing(graph)`` -> the error. Afterwards the server must answer a small prompt."""

    def run(graph: Graph) -> PromptFailed:
        with pytest.raises(PromptFailed) as caught:
            host_server.run(graph)
        return caught.value

    yield run
    graph = Graph()
    ratio = next(_fresh) / 1000  # new every time, so that the answer does not come from the cache
    graph.look(graph.add("DynamicIDMixFaces", face_a=graph.kept("anna"), face_b=graph.kept("ben"), ratio=ratio))
    assert "DynamicIDMixFaces" in host_server.executed(host_server.run(graph))


@pytest.fixture(scope="module")
def good_picture(host_server: Server) -> np.ndarray:
    """What the good prompt paints before anything went wrong."""
    return _good(host_server)


@pytest.fixture
def paints_after(host_server: Server, good_picture: np.ndarray) -> Iterator[None]:
    """After the test the server must paint the good picture, bit for bit."""
    yield
    assert np.array_equal(_good(host_server), good_picture)


def _good(server: Server) -> np.ndarray:
    # The end of a pull that is off changes nothing but the cache key, so the node and the sampler really run.
    graph = picture_of(["anna"], layout_strength=0.0, layout_end=next(_fresh) / 1000)
    entry = server.run(graph)
    assert {"DynamicIDApply", "KSampler"} <= server.executed(entry)
    return pixels(server.images(entry)[0])


def _write_foreign_models(models: Path) -> None:
    """Just the tensors by which the host tells a family; all others stay unwritten, and nothing is ever computed."""
    sd2 = _unet_shapes({1: (1, 1024)})
    # SDXL itself has ten transformers in a row; the host takes its distilled sibling KOALA-700M for an SDXL as well.
    sdxl = {**_unet_shapes({1: (0, 0), 3: (2, 2048), 5: (5, 2048)}), "label_emb.0.0.weight": (1280, 2816)}
    flux = {
        "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
        "img_in.weight": (3072, 64),
        "vector_in.in_layer.weight": (3072, 768),
    }
    layers = {f"vision_model.encoder.layers.{i}.layer_norm1.weight": (1024,) for i in range(24)}
    files = {
        "diffusion_models/sd2": sd2,
        "diffusion_models/sdxl": sdxl,
        "diffusion_models/flux": flux,
        "clip_vision/vit_l": {**layers, "vision_model.embeddings.position_embedding.weight": (257, 1024)},
        "text_encoders/clip_l": {"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)},
        "text_encoders/clip_g": {"text_model.encoder.layers.30.mlp.fc1.weight": (5120, 1280)},
        "text_encoders/clip_h": {"text_model.encoder.layers.22.mlp.fc1.weight": (4096, 1024)},
        "text_encoders/t5_base": {"encoder.block.0.layer.0.SelfAttention.k.weight": (768, 768)},
    }
    for name, shapes in files.items():
        path = models / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: torch.zeros(shape, dtype=torch.float16) for key, shape in shapes.items()}, path)


def _unet_shapes(levels: dict[int, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    """Telling keys of a UNet: ``levels`` maps an input block to its count of transformers and its text width."""
    shapes: dict[str, tuple[int, ...]] = {"input_blocks.0.0.weight": (320, 4, 3, 3), "out.2.weight": (4, 320, 3, 3)}
    for block, (depth, text_width) in levels.items():
        if block > 1:
            shapes[f"input_blocks.{block - 1}.0.op.weight"] = (320, 320, 3, 3)
        shapes[f"input_blocks.{block}.0.in_layers.0.weight"] = (320,)
        shapes[f"input_blocks.{block}.0.out_layers.3.weight"] = (320, 320, 3, 3)
        if depth:
            shapes[f"input_blocks.{block}.1.proj_in.weight"] = (320, 320)
        for i in range(depth):
            shapes[f"input_blocks.{block}.1.transformer_blocks.{i}.attn2.to_k.weight"] = (320, text_width)
    for block in range(max(levels) + 1):
        shapes[f"output_blocks.{block}.0.in_layers.0.weight"] = (640,)
    return shapes


def _write_bad_weights(folder: Path) -> None:
    bad = folder / "bad"
    bad.mkdir(exist_ok=True)
    shutil.copy(folder / "IMR.bin", bad / "IMR_7_100.bin")
    (bad / "half.bin").write_bytes((folder / "SAA.bin").read_bytes()[:1_000_000])
    (bad / "IMR_half.bin").write_bytes((folder / "IMR.bin").read_bytes()[:1_000_000])
    shutil.copy(MALFORMED["code_in_zip"](bad), bad / "code.bin")
    shutil.copy(folder.parent / "diffusion_models" / "sd2.safetensors", bad / "unet.safetensors")


# Pictures without a usable face ---------------------------------------------------------------------------------------


def _looking_at(image: Callable[[Graph], Link], **choice: Any) -> Graph:
    graph = Graph()
    graph.look(graph.add("DynamicIDMotionFromImage", face_analysis=graph.finder(), image=image(graph),
                         **{"pick": "largest", "index": 0, **choice}))  # fmt: skip
    return graph


def _nan_image(graph: Graph) -> Link:
    return graph.add("MaskToImage", mask=graph.add("SolidMask", value=NAN, width=64, height=64))


def _tiny_image(graph: Graph) -> Link:
    return graph.add("EmptyImage", width=1, height=1, batch_size=1, color=0)


@pytest.mark.usefixtures("paints_after")
def test_a_picture_without_a_face(failing):
    error = failing(_looking_at(lambda graph: graph.photo("nobody.png")))
    assert error.node == "DynamicIDMotionFromImage"
    assert error.message.startswith("image: No face was found in the picture.")
    assert "Use a picture that shows the face" in error.message


def test_encode_face_refuses_the_same_pictures_in_the_same_words(failing):
    for image, text in ((_nan_image, "NaN"), (_tiny_image, "1 x 1 pixels")):
        graph = Graph()
        graph.look(graph.encoded(image(graph)))
        error = failing(graph)
        assert error.node == "DynamicIDEncodeFace"
        assert error.message.startswith("image: ")
        assert text in error.message


def test_one_photo_of_a_batch_without_a_face(failing):
    graph = Graph()
    batch = graph.add("ImageBatch", image1=graph.photo("anna.png"), image2=graph.photo("nobody.png"))
    graph.look(graph.encoded(batch))
    assert failing(graph).message.startswith("image: No face was found in")


def test_fewer_faces_than_index(failing):
    error = failing(_looking_at(lambda graph: graph.photo("two.png"), index=2))
    assert error.message.startswith("image: 2 faces were found in the picture, but index is 2. Set index to 0 to 1")
    error = failing(_looking_at(lambda graph: graph.photo("anna.png"), index=1))
    assert error.message.startswith("image: 1 face was found in the picture, but index is 1. Set index to 0")


def test_fewer_faces_than_people_in_the_region_picture(failing):
    graph = Graph()
    faces = {f"face_{n}": graph.kept(PEOPLE[n]) for n in (1, 2, 3)}
    graph.look(graph.add("DynamicIDRegionsFromImage", face_analysis=graph.finder(), image=graph.photo("two.png"),
                         order="left to right", grow=0.5, **faces))  # fmt: skip
    error = failing(graph)
    assert error.message.startswith("image: The picture shows 2 faces, face_3 asks for number 3.")
    assert "connect fewer people" in error.message


def test_similarity_names_the_input_without_a_face(failing):
    for reference, image, where in (("nobody.png", "anna.png", "reference"), ("anna.png", "nobody.png", "image")):
        graph = Graph()
        graph.look(graph.add("DynamicIDFaceSimilarity", face_analysis=graph.finder(),
                             reference=graph.photo(reference), image=graph.photo(image)))  # fmt: skip
        assert failing(graph).message.startswith(f"{where}: No ")


@pytest.mark.usefixtures("paints_after")
def test_nan_images(failing):
    error = failing(_looking_at(_nan_image))
    assert error.message.startswith("image: The picture holds NaN or infinite values. Check the node that made it")


def test_one_pixel_images(failing):
    error = failing(_looking_at(_tiny_image))
    assert error.message == (
        "image: The picture is 1 x 1 pixels, too small to show a face. Use a photo of at least 256 pixels a side."
    )


def test_frames_of_which_none_shows_a_face(failing):
    def batch(graph: Graph) -> Link:
        return graph.add("ImageBatch", image1=graph.photo("grey.png"), image2=graph.photo("grey.png"))

    assert failing(_looking_at(batch)).message.startswith("image: None of the 2 pictures shows a face.")


def test_a_grey_photo_is_read_and_answered_in_words(failing):
    """The stand-in detector looks for skin colour, so a grey picture shows nobody; the real one finds the face."""
    assert failing(_looking_at(lambda graph: graph.photo("grey.png"))).message.startswith("image: No face was found")


def test_an_rgba_picture_is_as_good_as_rgb(host_server: Server):
    graph = Graph()
    photo = graph.photo("two.png")
    alpha = graph.add("SolidMask", value=0.5, width=384, height=256)
    choice = {"face_analysis": graph.finder(), "pick": "leftmost", "index": 0}
    for image in (photo, graph.add("JoinImageWithAlpha", image=photo, alpha=alpha)):
        motion = graph.add("DynamicIDMotionFromImage", image=image, **choice)
        graph.preview(graph.output(motion, 1))
        graph.motion_of(motion=motion)
    entry = host_server.run(graph)
    outputs = entry["outputs"]
    rgb, rgba = (
        pixels(host_server.images({"outputs": {node: outputs[node]}})[0]) for node in ("PreviewImage", "PreviewImage_3")
    )
    assert np.array_equal(rgb, rgba)
    motions = [outputs[f"DynamicIDMotionSliders{end}"]["dynamicid_motion"] for end in ("", "_2")]
    assert motions[0] == motions[1]


# Models of another kind -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("paints_after")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sd2", "This is Stable Diffusion 2; there are no DynamicID weights for it."),
        ("sdxl", "This is SDXL; there are no DynamicID weights for it."),
        ("flux", "This model (Flux) has no UNet with cross-attention to text."),
    ],
)
def test_a_model_that_is_no_sd15(name, found, failing):
    graph = Graph()
    model = graph.add("UNETLoader", unet_name=f"{name}.safetensors", weight_dtype="default")
    graph.look(graph.apply(model, face=graph.kept("anna")))
    error = failing(graph)
    assert error.node == "DynamicIDApply"
    assert error.message == f"model: {found} Load a checkpoint of SD1.5."


@pytest.mark.usefixtures("paints_after")
def test_a_clip_vision_other_than_vit_h(failing):
    graph = Graph()
    graph.look(graph.encoded("anna.png", clip_vision=graph.vision("vit_l.safetensors")))
    error = failing(graph)
    assert error.message.startswith("clip_vision: This image encoder is not ViT-H/14 (24 layers")
    assert error.message.endswith("Load CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors with Load CLIP Vision.")


def test_a_checkpoint_without_image_encoder(failing):
    graph = Graph()
    loader = graph.add("unCLIPCheckpointLoader", ckpt_name="small.safetensors")
    graph.look(graph.encoded("anna.png", clip_vision=graph.output(loader, 3)))
    assert failing(graph).message.startswith("clip_vision: The connected loader found no image encoder in its file.")


def _edited_with(clip: Callable[[Graph], Link]) -> Graph:
    graph = Graph()
    graph.look(graph.edited(graph.kept("anna"), clip=clip(graph)))
    return graph


@pytest.mark.usefixtures("paints_after")
@pytest.mark.parametrize(
    ("kind", "names", "found"),
    [
        ("sdxl", ("clip_l", "clip_g"), "This text encoder is CLIP-L together with clip_g."),
        ("stable_diffusion", ("clip_h",), "This text encoder is SD2ClipModel, not CLIP-L."),
        ("stable_audio", ("t5_base",), "This text encoder is SAT5Model, not CLIP-L."),
    ],
)
def test_a_clip_that_is_no_clip_l(kind, names, found, failing):
    def clip(graph: Graph) -> Link:
        files = [f"{name}.safetensors" for name in names]
        if len(files) == 2:
            return graph.add("DualCLIPLoader", clip_name1=files[0], clip_name2=files[1], type=kind)
        return graph.add("CLIPLoader", clip_name=files[0], type=kind)

    error = failing(_edited_with(clip))
    assert error.node == "DynamicIDEditFace"
    assert error.message == f"clip: {found} Connect the CLIP output of an SD1.5 checkpoint."


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("paints_after")
def test_imr_asked_for_but_not_loaded(failing):
    graph = Graph()
    graph.look(graph.edited(graph.kept("anna"), dynamicid=graph.networks()))
    error = failing(graph)
    assert error.message.startswith("dynamicid: The loader was asked for no IMR.")
    assert "at the loader's `imr`" in error.message


@pytest.mark.parametrize(
    ("files", "where", "texts"),
    [
        ({"saa": "bad/half.bin"}, "saa", ["half.bin", "truncated or damaged"]),
        ({"saa": "bad/code.bin"}, "saa", ["code.bin", "a pickle with code in it"]),
        ({"saa": "bad/unet.safetensors"}, "saa", ["unet.safetensors"]),
        ({"saa": "IMR.bin"}, "saa", ["IMR.bin", "belongs at the input 'imr'"]),
        ({"imr": "bad/IMR_half.bin"}, "imr", ["IMR_half.bin", "truncated or damaged"]),
        ({"imr": "bad/IMR_7_100.bin"}, "imr",
         ["without its key-point encoder", "key_point_encoder_7_100.bin", "into the same folder"]),
        ({"imr": "SAA.bin"}, "imr", ["SAA.bin", "IMR"]),
        ({"imr": "bad/unet.safetensors"}, "imr", ["unet.safetensors"]),
        ({"imr": "bad/code.bin"}, "imr", ["a pickle with code in it"]),
        ({"saa": "gone.bin"}, "saa", ["There is no weight file 'gone.bin'.", "huggingface.co/meteorite2023/DynamicID"]),
        ({"saa": "none"}, "saa", ["No weight file is chosen.", "Put SAA.bin, IMR.bin and key_point_encoder.bin"]),
        ({"imr": "../../../input/anna.png"}, "imr", ["There is no weight file"]),
    ],
)  # fmt: skip
def test_a_file_that_is_no_dynamicid_weight_file(files, where, texts, failing, host_server):
    graph = Graph()
    graph.look(graph.networks(**files))
    error = failing(graph)
    assert error.node == "DynamicIDLoader"
    assert error.message.startswith(f"{where}: ")
    assert [text for text in texts if text not in error.message] == []
    assert not list((host_server.base / "models").rglob(CANARY))


def test_a_missing_face_file(failing):
    graph = Graph()
    graph.look(graph.kept("nobody"))
    error = failing(graph)
    assert error.message.startswith("name: There is no face file 'nobody'. Save a face first, or put the file into")


@pytest.mark.usefixtures("paints_after")
def test_a_missing_insightface_pack(failing):
    for pack in ("antelopev2", "../models/buffalo_l"):
        graph = Graph()
        graph.look(graph.finder(pack=pack))
        error = failing(graph)
        assert error.node == "DynamicIDFaceAnalysisLoader"
        assert error.message.startswith(f"pack: No InsightFace pack {pack!r} was found.")
        assert "det_10g.onnx" in error.message
        assert "non-commercial" in error.message


def test_a_provider_that_cannot_start_falls_back_with_a_warning(host_server: Server):
    graph = Graph()
    graph.look(graph.add("DynamicIDMotionFromImage", face_analysis=graph.finder(provider="CUDA"),
                         image=graph.photo("anna.png"), pick="largest", index=0))  # fmt: skip
    graph.look(graph.finder(provider="CUDA"))
    entry = host_server.run(graph)
    assert "CPU" in str(entry["outputs"]["PreviewAny_2"])
    assert "onnxruntime's provider CUDA could not start" in host_server.log()
    assert "faces are found on the CPU instead" in host_server.log()


# People and places ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("paints_after")
def test_more_than_eight_people(failing):
    graph = Graph()
    graph.look(graph.regions([graph.kept(name) for name in (*PEOPLE, "anna")]))
    error = failing(graph)
    assert error.message == "regions: This makes 9 people; at most 8 fit into one picture. Remove some of them."


@pytest.mark.usefixtures("paints_after")
def test_bad_masks(failing):
    cases = [
        ({"value": 0.0}, "mask: It is empty: no pixel is above 0. Paint where the person may appear."),
        ({"value": NAN}, "mask: It holds NaN or infinite values. Check the node that makes the mask."),
    ]
    for solid, text in cases:
        graph = Graph()
        graph.look(graph.region(graph.kept("anna"), mask=graph.add("SolidMask", **solid, width=64, height=64)))
        assert failing(graph).message == text


def test_several_masks_for_one_person(failing):
    graph = Graph()
    image = graph.add("EmptyImage", width=64, height=64, batch_size=3, color=0xFFFFFF)
    graph.look(graph.region(graph.kept("anna"), mask=graph.add("ImageToMask", image=image, channel="red")))
    assert failing(graph).message.startswith("mask: There are 3 masks for one person.")


def test_a_box_outside_the_picture(failing):
    graph = Graph()
    graph.look(graph.region(graph.kept("anna"), box=(1.0, 0.0, 0.5, 0.5)))
    assert failing(graph).message.startswith("x: A box that begins at 1.0 lies outside the picture.")


@pytest.mark.usefixtures("paints_after")
def test_both_or_neither_of_face_and_regions(failing):
    graph = Graph()
    face = graph.kept("anna")
    graph.look(graph.apply(face=face, regions=graph.region(face)))
    assert failing(graph).message == ("regions: Both `face` and `regions` are connected. Disconnect one of the two.")
    graph = Graph()
    graph.look(graph.apply())
    assert failing(graph).message == ("face: Neither `face` nor `regions` is connected. Connect one of the two.")


def test_mixed_faces_say_what_they_cannot_do(failing):
    mixed_twice, saved, edited = Graph(), Graph(), Graph()
    for graph in (mixed_twice, saved, edited):
        mix = graph.add("DynamicIDMixFaces", face_a=graph.kept("anna"), face_b=graph.kept("ben"), ratio=0.5)
        if graph is mixed_twice:
            graph.look(graph.add("DynamicIDMixFaces", face_a=graph.kept("cleo"), face_b=mix, ratio=0.5))
        elif graph is saved:
            graph.add("DynamicIDSaveFace", face=mix, name="mix")
        else:
            graph.look(graph.edited(mix))
    assert failing(mixed_twice).message.startswith("face_b: This face is already a mix of two people.")
    assert failing(saved).message.startswith("face: A mix of two people cannot be saved")
    assert failing(edited).message.startswith("face: A mix of two people cannot be edited.")


def test_an_edit_without_a_target(failing):
    graph = Graph()
    graph.look(graph.edited(graph.kept("anna"), target_prompt=" "))
    assert failing(graph).message.startswith("target_prompt: It is empty and no motion is connected.")


def test_names_that_lead_out_of_the_face_folder(failing, host_server: Server):
    for name in ("../../escaped", "", "a\\..\\..\\b:c", "/etc/escaped"):
        graph = Graph()
        graph.add("DynamicIDSaveFace", face=graph.kept("anna"), name=name)
        error = failing(graph)
        assert error.message.startswith("name: ")
        assert "is no usable file name" in error.message
    assert not list(host_server.base.rglob("*escaped*"))


HALF = "\ud83d"
"""Half of an emoji, as a page may cut one."""


@pytest.mark.parametrize("name", ["x" * 300, f"{HALF}", "\udcff", "a\0b", 7, {"a": 1}], ids=ascii)
def test_a_name_that_no_file_can_have(failing, name):
    for input_id in ("name", "saa", "pack"):
        graph = Graph()
        if input_id == "name":
            graph.look(graph.add("DynamicIDLoadFace", name=name))
        else:
            graph.look(graph.networks(saa=name) if input_id == "saa" else graph.finder(pack=name))
        assert failing(graph).message.startswith(f"{input_id}: ")


@pytest.mark.parametrize(
    ("name", "text"), [("x" * 300, "is too long"), (HALF, "is no file name"), ("\udcff", "is no usable file name")]
)
def test_a_name_that_no_saved_face_can_have(failing, name, text):
    graph = Graph()
    graph.add("DynamicIDSaveFace", face=graph.kept("anna"), name=name)
    assert text in failing(graph).message


def test_a_file_whose_name_is_not_utf_8(failing, host_server):
    """The list names it with a half character; the answer escapes it."""
    folder = host_server.base / "models" / "dynamicid" / "bad"
    name = os.fsdecode(b"bad/caf\xe9.bin")
    (folder.parent / name).write_bytes(b"x")
    graph = Graph()
    graph.look(graph.networks(saa=name))
    message = failing(graph).message
    (folder.parent / name).unlink()
    assert "caf\\udce9.bin" in message


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("in a happy expression " * 50_000, "75 tokens"), ("so happy " * 40, "75 tokens"), (HALF, "half characters")],
    ids=["a megabyte", "two chunks", "half"],
)
def test_a_prompt_that_clip_cannot_read(failing, prompt, text):
    for where in ("target_prompt", "source_prompt"):
        graph = Graph()
        graph.look(graph.edited(graph.kept("anna"), **{where: prompt}))
        error = failing(graph)
        assert error.message.startswith(f"{where}: It ")
        assert text in error.message


def test_a_megabyte_is_refused_uncounted(pack):
    with pytest.raises(ValueError, match="75 tokens"):
        pack.load("dynamicid.host.encoders").check_face_prompt(None, "happy " * 200_000, "target_prompt")


@pytest.mark.parametrize("value", [NAN, 1e18, -5.0])
def test_values_out_of_range(failing, value):
    """The host lets NaN pass, and checks no linked value."""
    for name in (
        "weight",
        "lora_strength",
        "gate_threshold",
        "layout_strength",
        "start_at",
        "strength",
        "ratio",
        "grow",
    ):
        graph = Graph()
        number = value if value != value else graph.add("PrimitiveFloat", value=value)
        face = graph.kept("anna")
        if name == "strength":
            graph.look(graph.edited(face, strength=number))
        elif name == "ratio":
            graph.look(graph.add("DynamicIDMixFaces", face_a=face, face_b=graph.kept("ben"), ratio=number))
        elif name == "grow":
            found = {"face_analysis": graph.finder(), "image": graph.photo("two.png"), "face_1": face}
            graph.look(graph.add("DynamicIDRegionsFromImage", order="left to right", grow=number, **found))
        else:
            graph.look(graph.apply(face=face, **{name: number}))
        assert failing(graph).message.startswith(f"{name}: {float(value)} is out of range. Use ")


@pytest.mark.usefixtures("paints_after")
def test_a_heat_map_of_nothing(failing):
    graph = Graph()
    patched = graph.apply(face=graph.kept("anna"))
    image = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0)
    graph.preview(graph.add("DynamicIDActivationPreview", activation=graph.output(patched, 1), image=image))
    assert failing(graph).message.startswith("activation: Nothing was recorded.")


def test_a_heat_map_of_a_step_or_person_that_is_not_there(failing):
    for choice, text in (({"step": 2}, "step: There is no step 2; 2 were recorded."),
                         ({"person": 2}, "person: There is no person 2.")):  # fmt: skip
        graph = Graph()
        patched = graph.apply(face=graph.kept("anna"))
        image = graph.sampled(patched)
        activation = graph.output(patched, 1)
        graph.preview(graph.add("DynamicIDActivationPreview", activation=activation, image=image, **choice))
        assert failing(graph).message.startswith(text)


@pytest.mark.parametrize(
    ("boxes", "text"),
    [
        ("{", "boxes: It is no JSON"),
        ("[[0, 0, 2, 1]]", "boxes: Box 1: width: 2.0 is outside 0..1."),
        ("[[0, 0, 1]]", "boxes: Box 1 is [0, 0, 1]."),
        (str([[0, 0, 1, 1]] * 9), "boxes: It holds 9 boxes"),
    ],
)
def test_boxes_that_are_none(failing, boxes, text):
    graph = Graph()
    graph.look(graph.add("DynamicIDRegionEditor", face_1=graph.kept("anna"), boxes=boxes))
    error = failing(graph)
    assert error.message.startswith(text)
    assert "Draw the boxes on the node" in error.message


def test_a_mix_has_no_motion_to_move(failing):
    graph = Graph()
    mixed = graph.add("DynamicIDMixFaces", face_a=graph.kept("anna"), face_b=graph.kept("ben"), ratio=0.5)
    sliders = dict.fromkeys(
        ("yaw", "pitch", "roll", "smile", "mouth_open", "eyebrows", "eyes_closed", "squint", "pucker", "jaw_sideways"),
        0.0,
    )
    graph.look(graph.add("DynamicIDMotionSliders", face=mixed, neutralise=False, **sliders))
    assert failing(graph).message.startswith("face: A mix of two people has no motion of its own.")
