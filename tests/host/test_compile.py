"""torch.compile of the patched model: one graph, the same prediction."""

import importlib

import torch

from tests.standin.rule import rule_input


def test_the_patched_model_is_one_graph(comfy, mini_model, apply, make_regions):
    """``fullgraph`` refuses any graph break; the backend "eager" traces as the others do and needs no compiler."""
    regions = make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": (0.5, 0.1, 0.5, 0.6)})
    model = apply(mini_model, regions=regions, layout_end=1.0)
    comfy.model_management.load_models_gpu([model])
    latent, text = rule_input("compile.latent", (2, 4, 8, 8)), rule_input("compile.text", (2, 77, 768))
    attention = importlib.import_module("comfy.ldm.modules.attention").attention_pytorch
    options = {
        **model.model_options["transformer_options"],
        "cond_or_uncond": [1, 0],
        "sigmas": torch.tensor([3.0, 3.0]),
        "uuids": [1, 2],
        # What the host takes on GPUs; its choice for the CPU asks the system for free memory, which no graph can hold.
        "optimized_attention_override": lambda _, *args, **kwargs: attention(*args, **kwargs),
    }
    unet, arguments = model.model.diffusion_model, (latent, torch.full((2,), 601.0))
    torch._dynamo.reset()
    with torch.no_grad():
        expected = unet(*arguments, context=text, transformer_options=options)
        compiled = torch.compile(unet, backend="eager", fullgraph=True)
        prediction = compiled(*arguments, context=text, transformer_options=options)
    torch._dynamo.reset()
    assert (prediction - expected).abs().max() < 2e-5
