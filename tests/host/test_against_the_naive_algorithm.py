"""Random settings: the patch predicts what the published algorithm, written down as it is, predicts."""

import pytest
import torch

from benchmarks.naive import NaiveSettings, apply_naive
from tests.standin.rule import rule_input

PLACES = {
    "boxes": {"anna": (0.1, 0.1, 0.3, 0.5), "ben": (0.3, 0.2, 0.4, 0.5), "cleo": (0.8, 0.5, 0.15, 0.4)},
    "masks": {
        "anna": rule_input("naive.mask.a", (40, 30)).sigmoid(),
        "ben": rule_input("naive.mask.b", (64, 64)).sigmoid(),
        "cleo": (0.8, 0.5, 0.15, 0.4),
    },
    "eight": {f"person{i}": (i / 8, 0.1 * (i % 3), 1 / 8, 0.6) for i in range(8)},
    "slices": {"anna": None, "ben": None},
    "tiny box": {"anna": (0.71, 0.33, 0.01, 0.01), "ben": (0.0, 0.0, 0.5, 0.5)},
}


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("places", PLACES)
def test_noise_prediction(places, mixed, gated, comfy, pack, mini_model, dynamicid, make_regions, make_face, apply):
    regions = make_regions(PLACES[places])
    if mixed:
        face = pack.load("dynamicid.faces.face").mix_faces(make_face("dora"), make_face("emil"), 0.35)
        region = pack.load("dynamicid.faces.regions").Region
        regions = (region(face, regions[0].box_xywh_norm, regions[0].mask), *regions[1:])
    settings = NaiveSettings(0.8, gated, 1.5 if gated else 0.0)
    ours = apply(
        mini_model,
        regions=regions,
        weight=settings.weight,
        gate=gated,
        layout_strength=settings.layout_strength,
        layout_end=1.0,
    )
    naive = apply_naive(mini_model, dynamicid, regions, [(16, 12), (8, 6)], settings)
    latent, text = rule_input("naive.latent", (2, 4, 16, 12)), rule_input("naive.text", (2, 77, 768))
    results = []
    for model in (ours, naive):
        comfy.model_management.load_models_gpu([model])
        options = {**model.model_options["transformer_options"], "cond_or_uncond": [1, 0], "sigmas": torch.ones(2)}
        with torch.inference_mode():
            results.append(
                model.model.diffusion_model(
                    latent, torch.full((2,), 601.0), context=text, transformer_options=options
                ).clone()
            )
        comfy.model_management.unload_all_models()  # puts the attention modules back
    assert (results[0] - results[1]).abs().max() < 2e-5
