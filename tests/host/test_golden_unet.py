"""The golden UNet cases through a real ComfyUI model patched by DynamicIDApply."""

import pytest
import torch

from tests.standin.host_files import mini_unet_shapes
from tests.standin.rule import rule_input, rule_state

TOLERANCE = 2e-5
CASES = ("unet_single", "unet_two_boxes", "unet_mix", "unet_ungated")


def _regions(pack, case, tokens):
    face_type = pack.load("dynamicid.faces.face").Face
    embedding = torch.ones(512) / 512**0.5
    people = [
        face_type(tokens[1, 4 * i : 4 * i + 4], tokens[0, 4 * i : 4 * i + 4], embedding)
        for i in range(case["identities"])
    ]
    if case["mix"] is not None:
        people = [pack.run("DynamicIDMixFaces", face_a=people[0], face_b=people[1], ratio=case["mix"])[0]]
    regions = None
    for face, (y0, x0, y1, x1) in zip(people, case["boxes_yxyx"], strict=True):
        box = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
        regions = pack.run("DynamicIDRegion", face=face, regions=regions, **box)[0]
    return regions


@pytest.mark.parametrize("name", CASES)
def test_noise_prediction_is_the_references(name, golden, pack, mini_model, apply, comfy):
    case, expected = golden(name)
    inputs = {key: rule_input(f"{name}.{key}", case[key]) for key in ("latent", "text", "id_tokens")}
    model = apply(
        mini_model,
        regions=_regions(pack, case, inputs["id_tokens"]),
        weight=case["id_scale"],
        gate=case["gated"],
        layout_strength=case["layout_boost"],
        layout_end=1.0,
    )
    comfy.model_management.load_models_gpu([model])
    timestep = torch.tensor([case["timestep"]] * 2)
    options = {
        **model.model_options["transformer_options"],
        "cond_or_uncond": [1, 0],
        "sigmas": model.get_model_object("model_sampling").sigma(timestep),
    }
    with torch.inference_mode():
        noise = model.model.diffusion_model(
            inputs["latent"], timestep, context=inputs["text"], transformer_options=options
        )
    assert (noise - expected["noise"]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("wrapped", [True, False])
def test_layers_work_without_the_model_call_wrapper(wrapped, golden, pack, mini_model, apply, comfy):
    """Packs that call the UNet themselves may drop wrappers; the callables then decide for themselves."""
    case, expected = golden("unet_single")
    inputs = {key: rule_input(f"unet_single.{key}", case[key]) for key in ("latent", "text", "id_tokens")}
    model = apply(mini_model, regions=_regions(pack, case, inputs["id_tokens"]))
    comfy.model_management.load_models_gpu([model])
    options = {**model.model_options["transformer_options"], "cond_or_uncond": [1, 0]}
    if not wrapped:
        options.pop("wrappers")
    timestep = torch.tensor([case["timestep"]] * 2)
    with torch.inference_mode():
        noise = model.model.diffusion_model(
            inputs["latent"], timestep, context=inputs["text"], transformer_options=options
        )
    assert (noise - expected["noise"]).abs().max() <= TOLERANCE


def test_an_inpainting_checkpoint_paints_people(comfy, pack, mini_model, apply, make_regions, conditioning, sample):
    """Nine input channels: with zero weights for the mask and the masked picture it is the ordinary checkpoint."""
    regions = make_regions({"anna": (0.0, 0.0, 0.5, 1.0), "ben": (0.5, 0.0, 0.5, 1.0)})
    weight = mini_model.model.diffusion_model.state_dict()["input_blocks.0.0.weight"]
    state = rule_state("unet", mini_unet_shapes())
    masked = torch.zeros(weight.shape[0], 5, 3, 3)

    def painted(five_channels, **options):
        state["input_blocks.0.0.weight"] = torch.cat([weight, five_channels], 1)
        model = comfy.sd.load_diffusion_model_state_dict(dict(state), model_options={"dtype": torch.float32})
        left = {"concat_latent_image": torch.zeros(1, 4, 8, 8), "concat_mask": torch.ones(1, 1, 64, 64)}
        prompts = {"positive": conditioning("sea", **left), "negative": conditioning("nothing", **left)}
        return sample(apply(model, regions=regions, **options), **prompts)

    ordinary = sample(apply(mini_model, regions=regions))
    assert (painted(masked) - ordinary).abs().max() <= TOLERANCE
    used = rule_input("unet.masked", tuple(masked.shape)) * 0.1
    assert (painted(used) - painted(used, weight=0.0)).abs().max() > 100 * TOLERANCE
    assert (painted(used) - ordinary).abs().max() > 100 * TOLERANCE
