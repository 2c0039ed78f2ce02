"""torch.compile of the patched model: one graph, the same prediction."""

import importlib
from dataclasses import replace

import pytest
import torch

from tests.standin.rule import rule_input


@pytest.mark.parametrize("pictures", [1, 2])
def test_the_patched_model_is_one_graph(pictures, pack, comfy, mini_model, apply, make_regions):
    """``fullgraph`` refuses any graph break; the backend "eager" traces as the others do and needs no compiler."""
    regions = make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": (0.5, 0.1, 0.5, 0.6)})
    join_frames = pack.load("dynamicid.faces.frames").join_frames
    anna = join_frames(
        [replace(regions[0].face, id_tokens=regions[0].face.id_tokens * (i + 1)) for i in range(pictures)]
    )
    model = apply(mini_model, regions=(replace(regions[0], face=anna), regions[1]), layout_end=1.0)
    comfy.model_management.load_models_gpu([model])
    rows = 2 * pictures
    latent, text = rule_input("compile.latent", (rows, 4, 8, 8)), rule_input("compile.text", (rows, 77, 768))
    attention = importlib.import_module("comfy.ldm.modules.attention").attention_pytorch
    options = {
        **model.model_options["transformer_options"],
        "cond_or_uncond": [1, 0],
        "sigmas": torch.full((rows,), 3.0),
        "uuids": [1, 2],
        # What the host takes on GPUs; its choice for the CPU asks the system for free memory, which no graph can hold.
        "optimized_attention_override": lambda _, *args, **kwargs: attention(*args, **kwargs),
    }
    unet, arguments = model.model.diffusion_model, (latent, torch.full((rows,), 601.0))
    torch._dynamo.reset()
    with torch.no_grad():
        expected = unet(*arguments, context=text, transformer_options=options)
        compiled = torch.compile(unet, backend="eager", fullgraph=True)
        prediction = compiled(*arguments, context=text, transformer_options=options)
    torch._dynamo.reset()
    assert (prediction - expected).abs().max() < 2e-5
