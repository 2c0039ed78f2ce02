"""The tiny models in the host: every network says what diffusers and transformers say, and pictures come out alike."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tiny_models import places

CLOSE = 1e-4
PIXELS_APART = 3
"""Of 255, at most, between the picture that ComfyUI paints and the one that diffusers paints from the same noise."""
TEXTS = (
    "a photo of two people at the beach, the left one in a red shirt, the right one in a blue shirt",
    "in a happy expression, facing up, in side view",
    "",
)
STEPS, GUIDANCE, SEED = 10, 5.0, 11


@pytest.fixture(scope="module")
def networks(comfy: Any) -> Any:
    """The extension's loaders."""
    return importlib.import_module("tiny_models.comfyui.networks")


@pytest.fixture(scope="module")
def base() -> Any:
    """The same base model in diffusers."""
    training = importlib.import_module("dynamicid.pipeline.stable_diffusion")
    return training.load_base(places.BASE)


@pytest.fixture(scope="module")
def model(networks: Any) -> Any:
    return networks.load_model(places.BASE)


@pytest.fixture(scope="module")
def clip(networks: Any) -> Any:
    return networks.load_clip(places.BASE)


@pytest.fixture(scope="module")
def vae(networks: Any) -> Any:
    return networks.load_vae(places.BASE)


@pytest.fixture(scope="module")
def weights() -> Path:
    """The DynamicID weights of the tiny models."""
    return places.DYNAMICID


def randoms(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_unet(comfy: Any, model: Any, base: Any) -> None:
    comfy.model_management.load_models_gpu([model])
    size = base.unet.config["sample_size"]
    latents, times = randoms(1, 2, 4, size, size), torch.tensor([3.0, 701.0])
    text = randoms(2, 2, 77, base.unet.config["cross_attention_dim"])
    with torch.inference_mode():
        found = model.model.diffusion_model(latents, times, context=text)
        wanted = base.unet(latents, times, text).sample
    assert (found - wanted).abs().max() < CLOSE * wanted.abs().max()
    assert model.model.latent_format.scale_factor == base.vae.config["scaling_factor"]


@pytest.mark.parametrize("text", TEXTS)
def test_text(text: str, clip: Any, base: Any, pack: Any) -> None:
    tokens = clip.tokenize(text)
    numbers = base.tokenizer(text, padding="max_length", max_length=77).input_ids
    assert [token for token, *_ in tokens["l"][0]] == numbers
    with torch.inference_mode():
        found = clip.encode_from_tokens(tokens)
        pooled = pack.load("dynamicid.host.encoders").pooled_face_prompt(clip, text)
        states, wanted = importlib.import_module("dynamicid.pipeline.stable_diffusion").encode_text(base, [text])
    assert (found - states).abs().max() < CLOSE * states.abs().max()
    assert (pooled - wanted).abs().max() < CLOSE * wanted.abs().max()


def test_autoencoder(vae: Any, base: Any) -> None:
    latents, picture = randoms(3, 1, 4, 16, 16), randoms(4, 1, 64, 64, 3).sigmoid()
    with torch.inference_mode():
        found = vae.decode(latents)
        wanted = (base.vae.decode(latents).sample.clamp(-1, 1) + 1) / 2
        encoded = base.vae.encode(picture.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mean
    assert found.shape == (1, 64, 64, 3)
    assert (found - wanted.permute(0, 2, 3, 1)).abs().max() < CLOSE
    assert (vae.encode(picture) - encoded).abs().max() < CLOSE * encoded.abs().max()


def test_image_encoder(comfy: Any, networks: Any, pack: Any) -> None:
    training = importlib.import_module("dynamicid.pipeline.stable_diffusion")
    vision, reference = networks.load_vision(places.VISION), training.load_clip_vision(places.VISION)
    side = reference.config.image_size
    picture = randoms(5, 1, side, side, 3).sigmoid()
    pixels = importlib.import_module("comfy.clip_vision").clip_preprocess(picture, size=side)
    encoders = pack.load("dynamicid.host.encoders")
    with torch.inference_mode():
        found = encoders.clip_hidden_states(vision, picture)
        nobody = encoders.zero_hidden_states(vision)
        wanted = training.vision_states(reference, pixels)
        zero = training.vision_states(reference, torch.zeros_like(pixels))
    assert (found - wanted).abs().max() < CLOSE * wanted.abs().max()
    assert (nobody - zero).abs().max() < CLOSE * zero.abs().max()
    encoders.check_clip_vision(vision, reference.config.hidden_size)


@pytest.mark.parametrize(("count", "base_only_steps"), [(1, 0), (2, 0), (3, 0), (3, 2)])
def test_the_same_noise_becomes_the_same_picture(
    count: int,
    base_only_steps: int,
    comfy: Any,
    pack: Any,
    model: Any,
    clip: Any,
    vae: Any,
    base: Any,
    weights: Path,
    apply_options: Any,
) -> None:
    """Nodes and samplers here, ``dynamicid.pipeline.painter`` there: DDIM, boxes, layout, gate and activation maps."""
    width = base.unet.config["cross_attention_dim"]
    tokens = [randoms(20 + n, 2, 4, width) for n in range(count)]
    boxes = [(n / count, 0.0, 1 / count, 0.9) for n in range(count)] if count > 1 else [None]

    def people(load: Any) -> tuple[Any, ...]:
        face, region = load("dynamicid.faces.face").Face, load("dynamicid.faces.regions").Region
        return tuple(region(face(*pair, torch.zeros(512)), box) for pair, box in zip(tokens, boxes, strict=True))

    painting, files, checkpoints = (
        importlib.import_module(f"dynamicid.{name}")
        for name in ("pipeline.painter", "pipeline.weight_export", "checkpoints.weights")
    )
    painter = painting.Painter(base, files.saa_state_dict(checkpoints.load_weights(weights)))
    settings = painting.PaintSettings((32, 32), STEPS, GUIDANCE, base_only_steps=base_only_steps, record=True)
    order = painting.PictureRequest(TEXTS[0], people(importlib.import_module), SEED)
    wanted = painter.paint([order], settings)

    patched, record = pack.load("dynamicid.host.apply").apply_dynamicid(
        model,
        pack.load("dynamicid.checkpoints.weights").load_weights(weights),
        people(pack.load),
        pack.load("dynamicid.host.apply").ApplyOptions(**apply_options),
        record=True,
    )
    picture = sampled(model, patched, base_only_steps, clip, vae)
    difference = (picture.int() - wanted.pictures[0].int()).abs()
    assert difference.max() <= PIXELS_APART
    assert difference.float().mean() < 0.1
    assert torch.allclose(record.maps(None)[0], wanted.activations[0], atol=0.02)


def sampled(plain: Any, patched: Any, base_only_steps: int, clip: Any, vae: Any) -> Tensor:
    """(128, 128, 3) uint8 through the host's own samplers; ``plain`` takes the first ``base_only_steps``."""
    sampling = importlib.import_module("comfy.sample")
    latent = torch.zeros(1, 4, 32, 32)
    texts = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (TEXTS[0], "")]
    noise = sampling.prepare_noise(latent, SEED)

    def steps(model: Any, noise: Tensor, latent: Tensor, **span: Any) -> Tensor:
        ddim = "ddim", "ddim_uniform"
        found = sampling.sample(
            model, noise, STEPS, GUIDANCE, *ddim, *texts, latent, disable_pbar=True, seed=SEED, **span
        )
        assert isinstance(found, Tensor)
        return found

    with torch.inference_mode():
        if base_only_steps:
            latent = steps(plain, noise, latent, last_step=base_only_steps)
            noise = torch.zeros_like(noise)
        latent = steps(patched, noise, latent, start_step=base_only_steps)
        return (vae.decode(latent)[0] * 255).round().to(torch.uint8)


def test_repainted_by_nodes_and_by_the_pipeline(
    comfy: Any, pack: Any, model: Any, clip: Any, vae: Any, weights: Path, apply_options: Any
) -> None:
    """Crop People, noise mask, Apply and KSampler for each crop, Paste People; ``DynamicIDPipeline.repaint_people``."""
    load_file = importlib.import_module
    pipeline = load_file("dynamicid.pipeline.pipeline").DynamicIDPipeline.from_files(
        places.BASE, places.VISION, weights, places.FACE_PACK
    )
    painter, synthetic = load_file("dynamicid.pipeline.painter"), load_file("dynamicid.synthetic")
    scene = synthetic.sample_scene(places.SEED, 60_001, synthetic.Split.held_out, (2, 2))
    photo = synthetic.render_scene(scene, places.PICTURE_SIZE)[0]
    width = pipeline.weights.projector.width
    tokens = [randoms(40 + n, 2, 4, width) for n in range(2)]

    def people(load: Any) -> tuple[Any, ...]:
        face, region = load("dynamicid.faces.face").Face, load("dynamicid.faces.regions").Region
        return tuple(region(face(*pair, torch.ones(512))) for pair in tokens)

    prompt, steps, share = "a portrait of a person in a red shirt", 5, 0.5
    request = painter.PictureRequest("", people(load_file), SEED)
    settings = painter.PaintSettings((32, 32), steps, GUIDANCE, denoise=share)
    wanted = pipeline.repaint_people(torch.from_numpy(photo)[None], [request], settings, prompt)

    picture = torch.from_numpy(photo).float()[None] / 255
    finder = pack.load("dynamicid.faces.analysis").load_face_analysis(places.FACE_PACK)
    options = {"match": "place", "size": places.PICTURE_SIZE, "grow": 1.0, "prompt": prompt}
    crops = pack.run("DynamicIDCropPeople", face_analysis=finder, image=picture, regions=people(pack.load), **options)
    assert len(crops[0]) == 2
    loaded = pack.load("dynamicid.checkpoints.weights").load_weights(weights)
    sampling = importlib.import_module("comfy.sample")
    negative = clip.encode_from_tokens_scheduled(clip.tokenize(""))
    repainted = []
    with torch.inference_mode():
        for image, face, text, mask in zip(*crops[:4], strict=True):
            patched = pack.run("DynamicIDApply", model=model, dynamicid=loaded, face=face, **apply_options)[0]
            latent = vae.encode(image)
            noise = sampling.prepare_noise(latent, SEED)
            positive = clip.encode_from_tokens_scheduled(clip.tokenize(text))
            ddim = "ddim", "ddim_uniform"
            latent = sampling.sample(
                patched, noise, steps, GUIDANCE, *ddim, positive, negative, latent,
                denoise=share, disable_pbar=True, seed=SEED, noise_mask=mask[:, None],
            )  # fmt: skip
            repainted.append(vae.decode(latent))
    result = pack.run("DynamicIDPastePeople", image=repainted, crops=[crops[4]], feather=[0.15], match_colour=[True])[0]
    difference = ((result * 255).round() - wanted).abs()
    assert (wanted[0] - torch.from_numpy(photo)).abs().float().mean() > 1
    assert difference.max() <= PIXELS_APART
    assert difference.mean() < 0.1


@pytest.fixture(scope="module")
def encode(pack: Any, networks: Any, weights: Path) -> Any:
    """``encode(images)`` -> face and previews; the largest face of each photo, (n, H, W, 3) in 0..1."""
    given = {
        "dynamicid": pack.load("dynamicid.checkpoints.weights").load_weights(weights),
        "face_analysis": pack.load("dynamicid.faces.analysis").load_face_analysis(places.FACE_PACK, "CPU"),
        "clip_vision": networks.load_vision(places.VISION),
        "pick": "largest",
        "index": 0,
        "crop": "auto",
    }

    def run(images: Tensor) -> Any:
        with torch.inference_mode():
            return pack.run("DynamicIDEncodeFace", image=images, **given)

    return run


def photo_of(number: int) -> Tensor:
    """A drawn person's photo, (1, H, W, 3)."""
    with Image.open(places.PHOTOS / f"person_{number}.png") as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).float()[None] / 255


def test_a_batch_of_photos_is_one_person_averaged(encode: Any) -> None:
    photos = photo_of(1), photo_of(1).flip(2)
    (both, previews), (first, _), (second, _) = (encode(images) for images in (torch.cat(photos), *photos))
    assert previews.shape == torch.cat(photos).shape
    assert (first.id_tokens - second.id_tokens).abs().max() > 0.01
    assert torch.allclose(both.id_tokens, (first.id_tokens + second.id_tokens) / 2, atol=1e-4)
    mean = first.id_embedding + second.id_embedding
    assert torch.allclose(both.id_embedding, mean / mean.norm(), atol=1e-5)
    assert torch.equal(both.landmarks_106, first.landmarks_106)
    assert torch.allclose(both.negative_tokens, first.negative_tokens)
    assert both.crop.dtype == torch.uint8


def test_a_crop_shows_its_person_only_with_that_face_alone(
    comfy: Any, pack: Any, encode: Any, model: Any, clip: Any, vae: Any, weights: Path, apply_options: Any
) -> None:
    """Detailers and tiled upscalers sample a crop as a picture of its own: `regions` would lie wrong in it."""
    loaded = pack.load("dynamicid.checkpoints.weights").load_weights(weights)
    finder = pack.load("dynamicid.faces.analysis").load_face_analysis(places.FACE_PACK, "CPU")
    regions = None
    for number, x in ((1, 0.0), (2, 0.5)):
        face, box = encode(photo_of(number))[0], {"x": x, "y": 0.0, "width": 0.5, "height": 1.0}
        regions = pack.run("DynamicIDRegion", face=face, **box, mask=None, regions=regions)[0]
    assert regions is not None

    def painted(latent: Tensor, text: str, steps: int, denoise: float, **people: Any) -> Tensor:
        patched = model
        if people:
            patched = pack.run("DynamicIDApply", model=model, dynamicid=loaded, **people, **apply_options)[0]
        sampling, (guidance, seed) = importlib.import_module("comfy.sample"), (3.0, 3)
        with torch.inference_mode():
            noise = sampling.prepare_noise(latent, seed)
            texts = [clip.encode_from_tokens_scheduled(clip.tokenize(words)) for words in (text, "")]
            latent = sampling.sample(
                patched, noise, steps, guidance, "ddim", "ddim_uniform", *texts, latent,
                denoise=denoise, disable_pbar=True, seed=seed,
            )  # fmt: skip
            return vae.decode(latent).clamp(0, 1)

    def margin(person: int, **people: Any) -> float:
        """By how much a person's part, cut out and painted over, is more like them than like the other one."""
        crop = picture[:, 20:88, (0, 60)[person] : (68, 128)[person]].movedim(-1, 1)
        crop = torch.nn.functional.interpolate(crop, size=picture.shape[1:3], mode="bilinear").movedim(1, -1)
        result = painted(vae.encode(crop), "a portrait of a person", steps=20, denoise=0.6, **people)
        found = finder.detect((result[0] * 255).round().to(torch.uint8).numpy())[0]
        cosines = [float(torch.from_numpy(found.embedding) @ region.face.id_embedding) for region in regions]
        return cosines[person] - cosines[1 - person]

    picture = painted(torch.zeros(1, 4, 32, 32), TEXTS[0], steps=12, denoise=1.0)
    assert margin(0, face=regions[0].face) > 0.1
    assert margin(1, face=regions[1].face) > 0.1
    assert margin(1, regions=regions) < -0.1
