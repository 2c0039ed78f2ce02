"""Apply on ComfyUI's dynamic VRAM patcher, on the CPU as far as it goes there.

The host gives this patcher to models on a GPU only, and the part that applies LoRA patches to weights in flight refuses
the CPU. The tests make the patcher for the CPU all the same and apply the patches that it attached to each layer.
"""

import importlib
from typing import Any

import pytest
import torch

from tests.standin.host_files import mini_unet_shapes
from tests.standin.rule import rule_state

BLOCKS = 7
"""Transformer blocks of the small UNet."""


@pytest.fixture(scope="module")
def dynamic_class(comfy: Any) -> Any:
    """``ModelPatcherDynamic`` for the CPU."""
    patchers = importlib.import_module("comfy.model_patcher")
    if not hasattr(patchers, "ModelPatcherDynamic"):
        pytest.skip("this ComfyUI has no dynamic VRAM")
    if not importlib.import_module("comfy_aimdo.control").init("cuda"):
        pytest.skip("comfy-aimdo has no library for this system")
    # The module takes the library over when it is imported, which was before the library was loaded.
    importlib.reload(importlib.import_module("comfy_aimdo.host_buffer"))

    class DynamicOnCPU(patchers.ModelPatcherDynamic):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return object.__new__(cls)

        def load(self, *args: Any, **kwargs: Any) -> None:
            super().load(*args, **kwargs)
            for module in self.model.modules():
                attached = getattr(module, "weight_lowvram_function", None)
                if attached is not None:
                    module.weight_function.append(attached)

        def partially_unload(self, device_to: Any, memory_to_free: int = 0, force_patch_weights: bool = False) -> int:
            return self.restore_loaded_backups()

    return DynamicOnCPU


@pytest.fixture(scope="module")
def dynamic_model(dynamic_class: Any) -> Any:
    """The small SD1.5 under the dynamic patcher; the same weights as ``mini_model``."""
    sd = importlib.import_module("comfy.sd")
    state = rule_state("unet", mini_unet_shapes())
    loaded = sd.load_diffusion_model_state_dict(state, model_options={"dtype": torch.float32})
    model = dynamic_class(loaded.model, loaded.load_device, loaded.offload_device)
    assert model.is_dynamic()
    return model


@pytest.fixture
def two_people(make_regions: Any) -> Any:
    return make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": (0.5, 0.1, 0.5, 0.6)})


def attached_patches(model: Any) -> list[Any]:
    """What the host attached to the layers of a loaded model, to be applied as their weights are used."""
    found = (getattr(module, "weight_lowvram_function", None) for module in model.model.modules())
    return [patch for patch in found if patch is not None]


def attention_patches(model: Any) -> dict[Any, Any]:
    return model.model_options["transformer_options"]["patches_replace"]["attn2"]


def test_the_patched_clone_is_dynamic_and_its_source_untouched(dynamic_model: Any, apply: Any, two_people: Any) -> None:
    patched = apply(dynamic_model, regions=two_people)
    assert type(patched) is type(dynamic_model)
    assert patched.is_clone(dynamic_model)
    # Query, key, value and output of self-attention and cross-attention.
    assert len(patched.patches) == 8 * BLOCKS
    assert len(attention_patches(patched)) == BLOCKS
    assert (dynamic_model.patches, dynamic_model.attachments) == ({}, {})
    assert dynamic_model.model_options == {"transformer_options": {}}


def test_a_clone_shares_what_is_large_and_is_stacked_upon_alone(
    dynamic_model: Any, apply: Any, two_people: Any
) -> None:
    patched = apply(dynamic_model, regions=two_people)
    clone = patched.clone()
    assert patched.clone_has_same_weights(clone)
    for key, patches in patched.patches.items():
        assert [entry[1] for entry in clone.patches[key]] == [entry[1] for entry in patches]
    for key, own in attention_patches(patched).items():
        copy = attention_patches(clone)[key]
        assert copy.patch is own.patch
        copy.add(lambda *args, **kwargs: 0)
        assert own.stacked == ()


def test_every_lora_patch_is_attached_when_the_model_is_loaded(
    comfy: Any, dynamic_model: Any, apply: Any, two_people: Any
) -> None:
    patched = apply(dynamic_model, regions=two_people)
    comfy.model_management.load_models_gpu([patched])
    attached = attached_patches(patched)
    assert len(attached) == len(patched.patches)
    for patch in attached:
        weight = comfy.utils.get_attr(patched.model, patch.key).detach().clone()
        merged = patch(weight.clone())
        assert not torch.equal(merged, weight)
        # The host copies a patch's tensors to the GPU one after another in a buffer of this size.
        patch.prepare(torch.empty(patch.memory_required(), dtype=torch.uint8), None)
        assert torch.equal(patch(weight.clone()), merged)
        patch.clear_prepared()
    comfy.model_management.load_models_gpu([dynamic_model])
    assert attached_patches(dynamic_model) == []


def test_pictures_are_those_of_the_ordinary_patcher(
    dynamic_model: Any, mini_model: Any, apply: Any, two_people: Any, make_face: Any, sample: Any
) -> None:
    plain = sample(mini_model)
    for options in ({"regions": two_people}, {"face": make_face("cleo"), "lora_strength": 0.0}):
        picture = sample(apply(dynamic_model, **options))
        assert torch.equal(picture, sample(apply(mini_model, **options)))
        assert not torch.allclose(picture, plain, atol=1e-2)
        assert torch.equal(sample(dynamic_model), plain)


def test_two_apply_nodes_in_a_row(
    dynamic_model: Any, mini_model: Any, apply: Any, two_people: Any, sample: Any
) -> None:
    anna, ben = two_people
    pictures = [
        sample(apply(apply(model, regions=(anna,)), regions=(ben,), lora_strength=0.5))
        for model in (dynamic_model, mini_model)
    ]
    assert torch.equal(*pictures)


def test_a_range_of_sampling_holds_back_the_lora(
    dynamic_model: Any, mini_model: Any, apply: Any, two_people: Any, sample: Any
) -> None:
    plain = sample(dynamic_model)
    for start_at, end_at in ((0.4, 1.0), (0.0, 0.4), (0.3, 0.7)):
        pictures = [
            sample(apply(model, regions=two_people, start_at=start_at, end_at=end_at), steps=4)
            for model in (dynamic_model, mini_model)
        ]
        assert torch.equal(*pictures)
    assert torch.equal(sample(dynamic_model), plain)
