"""The interoperation list of the node contract: what else may act on the same model, line by line."""

import importlib
import sys

import pytest
import torch

from scripts._bootstrap import find_host
from tests.standin.host_files import mini_unet_shapes
from tests.standin.ip_adapter import find_ip_adapter, load_ip_adapter
from tests.standin.rule import rule_input, rule_tensor


@pytest.fixture
def model(mini_model, apply, make_regions):
    """The small model with two people in it."""
    return apply(mini_model, regions=make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": (0.5, 0.1, 0.5, 0.6)}))


@pytest.fixture
def two_people(make_regions):
    return make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": (0.5, 0.1, 0.5, 0.6)})


def changed(a, b):
    """Two pictures differ by more than rounding."""
    return (a - b).abs().max() > 1e-4 * b.abs().max()


def same(a, b):
    """Two pictures are equal up to the order of float32 sums."""
    return (a - b).abs().max() < 1e-5 * b.abs().max()


def lora_file(strength=1.0):
    """A LoRA in the format other packs use, on two attention layers."""
    base = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0"
    state = {}
    for layer, width in (("attn1_to_q", 320), ("attn2_to_k", 768)):
        state[f"{base}_{layer}.lora_up.weight"] = rule_tensor(f"lora.{layer}.up", (320, 8)) * strength
        state[f"{base}_{layer}.lora_down.weight"] = rule_tensor(f"lora.{layer}.down", (8, width))
    return state


def test_lora_before_equals_lora_after(comfy, mini_model, apply, two_people, sample):
    sd = importlib.import_module("comfy.sd")
    before = apply(sd.load_lora_for_models(mini_model, None, lora_file(), 1.0, 0)[0], regions=two_people)
    after = sd.load_lora_for_models(apply(mini_model, regions=two_people), None, lora_file(), 1.0, 0)[0]
    picture = sample(after)
    assert same(sample(before), picture)
    assert changed(picture, sample(apply(mini_model, regions=two_people)))


def test_lora_hook_acts_and_leaves(comfy, model, sample, conditioning):
    hooks = importlib.import_module("comfy.hooks")
    plain = sample(model)
    group = hooks.create_hook_lora(lora=lora_file(5.0), strength_model=1.0, strength_clip=0.0)
    hooked = model.clone()
    hooked.register_all_hook_patches(group, hooks.create_target_dict(hooks.EnumWeightTarget.Model))
    positive = hooks.set_hooks_for_conditioning(conditioning("sea"), hooks=group)
    assert changed(sample(hooked, positive=positive), plain)
    assert same(sample(model), plain)


def test_controlnet(comfy, mini_model, model, sample, conditioning):
    """A control that adds to the middle and output blocks, through the host's own control path."""
    controlnet = importlib.import_module("comfy.controlnet")

    class Control(controlnet.ControlBase):
        def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
            shape = (x_noisy.shape[0], 320, x_noisy.shape[2] // 2, x_noisy.shape[3] // 2)
            return {"middle": [torch.full(shape, 3.0)], "output": []}

        def copy(self):
            copied = Control()
            self.copy_to(copied)
            return copied

        def get_models(self):
            return []

    controlled = [[tensor, {**extra, "control": Control(), "control_apply_to_uncond": True}]
                  for tensor, extra in conditioning("sea")]  # fmt: skip
    assert changed(sample(model, positive=controlled), sample(model))
    assert changed(sample(model, positive=controlled), sample(mini_model, positive=controlled))


def test_freeu(comfy, mini_model, apply, two_people, sample):
    freeu = importlib.import_module("comfy_extras.nodes_freelunch").FreeU_V2

    def with_freeu(m):
        if hasattr(freeu, "execute"):
            return freeu.execute(m, 1.3, 1.4, 0.9, 0.2)[0]
        return freeu().patch(m, 1.3, 1.4, 0.9, 0.2)[0]

    before, after = apply(with_freeu(mini_model), regions=two_people), with_freeu(apply(mini_model, regions=two_people))
    assert torch.equal(sample(before), sample(after))
    assert changed(sample(after), sample(with_freeu(mini_model)))


def test_hypernetwork_style_attention_patch(comfy, mini_model, apply, two_people, sample):
    """Hypernetworks act through attn1_patch and attn2_patch."""

    def with_hypernetwork(m):
        m = m.clone()
        m.set_model_attn1_patch(lambda q, k, v, extra: (q, k * 1.2, v * 0.8))
        m.set_model_attn2_patch(lambda q, k, v, extra: (q, k * 1.2, v * 0.8))
        return m

    before = sample(apply(with_hypernetwork(mini_model), regions=two_people))
    after = sample(with_hypernetwork(apply(mini_model, regions=two_people)))
    assert torch.equal(before, after)
    assert changed(after, sample(apply(mini_model, regions=two_people)))


@pytest.mark.parametrize("key", [("input", 1), ("input", 1, 0), ("middle", 0), ("middle", 0, 0)])
def test_another_packs_patch_on_the_same_block_is_wrapped(key, mini_model, apply, two_people, sample):
    calls = []

    def foreign(q, k, v, extra_options):
        calls.append(extra_options["block"])
        return torch.zeros_like(q)

    def with_foreign(m):
        m = m.clone()
        m.set_model_attn2_replace(foreign, *key)
        return m

    foreign_alone = sample(with_foreign(mini_model))
    calls.clear()
    both = sample(apply(with_foreign(mini_model), regions=two_people))
    assert calls
    assert changed(both, foreign_alone)
    assert changed(both, sample(apply(mini_model, regions=two_people)))
    if len(key) == 3:
        assert torch.equal(sample(with_foreign(apply(mini_model, regions=two_people))), both)


def test_a_patch_that_moves_and_brings_models_is_still_asked(mini_model, apply, two_people):
    class Foreign:
        moved = ()

        def __call__(self, q, k, v, extra_options):
            return q

        def to(self, target):
            Foreign.moved += (target,)
            return self

        def models(self):
            return ["a model"]

    plain = mini_model.clone()
    plain.set_model_attn2_replace(Foreign(), "input", 1)
    patched = apply(plain, regions=two_people)
    patched.model_patches_to(torch.device("cpu"))
    assert Foreign.moved == (torch.device("cpu"),)
    assert patched.model_patches_models() == ["a model"]


def test_stacking_on_a_clone_leaves_the_original_alone(model, sample):
    """cubiq's IP-Adapter calls ``add`` on the object it finds; a core may share that object with the original."""
    plain = sample(model)
    clone = model.clone()
    blocks = clone.model_options["transformer_options"]["patches_replace"]["attn2"]
    for patch in blocks.values():
        patch.add(lambda out, q, k, v, extra_options, **kwargs: out * 0.5, sigma_start=999.0, sigma_end=0.0)
    assert changed(sample(clone), plain)
    assert torch.equal(sample(model), plain)
    assert changed(sample(clone.clone()), plain)


def test_stacked_callbacks_keep_to_their_range(model, sample):
    plain = sample(model)
    clone = model.clone()
    for patch in clone.model_options["transformer_options"]["patches_replace"]["attn2"].values():
        patch.add(lambda out, q, k, v, extra_options, **kwargs: out * 0.5, sigma_start=-1.0, sigma_end=-2.0)
    assert torch.equal(sample(clone), plain)


def test_shared_option_objects_stay_independent(model, sample):
    """Newer cores copy dicts and share objects on clone; ON_CLONE then gives the clone callables of its own."""
    plain = sample(model)
    clone = model.clone()
    patcher = importlib.import_module("comfy.patcher_extension")
    clone.model_options = patcher.copy_nested_dicts(model.model_options)
    for callback in clone.get_all_callbacks(patcher.CallbacksMP.ON_CLONE):
        callback(model, clone)
    for patch in clone.model_options["transformer_options"]["patches_replace"]["attn2"].values():
        patch.add(lambda out, q, k, v, extra_options, **kwargs: out, sigma_start=999.0, sigma_end=0.0)
    assert changed(sample(clone), plain)
    assert torch.equal(sample(model), plain)


def test_attention_override_of_the_host_still_acts(model, sample):
    plain = sample(model)
    seen = []
    clone = model.clone()

    def override(function, *args, **kwargs):
        seen.append(kwargs.get("transformer_options", {}).get("block"))
        return function(*args, **kwargs)

    clone.model_options["transformer_options"]["optimized_attention_override"] = override
    assert torch.equal(sample(clone), plain)
    assert ("middle", 0) in seen


def test_conditioning_mask(model, sample, conditioning):
    mask = torch.zeros(1, 8, 8)
    mask[:, :, :4] = 1
    masked = conditioning("sea", mask=mask, set_area_to_bounds=False, mask_strength=1.0) + conditioning("hill")
    picture = sample(model, positive=masked)
    assert torch.isfinite(picture).all()
    assert changed(picture, sample(model))


def test_area_conditioning_keeps_people_in_their_places_of_the_whole_picture(mini_model, apply, make_regions, sample,
                                                                             conditioning):  # fmt: skip
    """A person in the left half has nothing to say in an area that is the right half: anna's tokens do not matter."""
    area = conditioning("sea", area=(8, 4, 0, 4), strength=1.0)

    def picture(name):
        regions = make_regions({name: (0.0, 0.0, 0.5, 1.0), "ben": (0.5, 0.0, 0.5, 1.0)})
        return sample(apply(mini_model, regions=regions, layout_strength=0.0, lora_strength=0.0, gate_threshold=0.0),
                      positive=area, negative=area, cfg=1.0)  # fmt: skip

    ours, others = picture("anna"), picture("cleo")
    assert torch.isfinite(ours).all()
    # The gate sums over everybody's keys, so exchanging the absent person may only act through it.
    gate_off_left = (ours - others)[..., 4:].abs().max()
    swapped = make_regions({"anna": (0.5, 0.0, 0.5, 1.0), "ben": (0.0, 0.0, 0.5, 1.0)})
    in_place = sample(apply(mini_model, regions=swapped, layout_strength=0.0, lora_strength=0.0, gate_threshold=0.0),
                      positive=area, negative=area, cfg=1.0)  # fmt: skip
    assert changed(in_place[..., 4:], ours[..., 4:])
    assert gate_off_left < (in_place - ours)[..., 4:].abs().max()


def test_batch_of_four_is_four_single_pictures(model, sample):
    four = sample(model, batch=4, size=(64, 64))
    noise = torch.zeros(4, 4, 8, 8)
    assert four.shape == noise.shape
    assert torch.isfinite(four).all()
    pairs = [(i, j) for i in range(4) for j in range(i)]
    assert all(changed(four[i], four[j]) for i, j in pairs)


def test_rows_of_a_batch_do_not_touch_one_another(comfy, mini_model, apply, two_people):
    """The UNet's noise prediction for a batch equals the predictions one by one."""
    model = apply(mini_model, regions=two_people)
    comfy.model_management.load_models_gpu([model])
    latent = rule_input("batch.latent", (3, 4, 16, 12))
    text = rule_input("batch.text", (1, 77, 768))
    timestep = torch.tensor([500.0])

    def predict(rows):
        patched = model.model_options["transformer_options"]
        options = {**patched, "cond_or_uncond": [0, 1], "sigmas": torch.tensor([3.0])}
        both = torch.cat([rows, rows])
        with torch.inference_mode():
            return model.model.diffusion_model(
                both, timestep.expand(len(both)), context=text.expand(len(both), -1, -1), transformer_options=options
            )

    batch = predict(latent)
    for i in range(3):
        single = predict(latent[i : i + 1])
        assert (batch[[i, 3 + i]] - single).abs().max() < 2e-5


def test_any_order_and_grouping_of_conditionings_gives_the_same(comfy, mini_model, apply, two_people):
    model = apply(mini_model, regions=two_people)
    comfy.model_management.load_models_gpu([model])
    latent, text = rule_input("order.latent", (1, 4, 16, 16)), rule_input("order.text", (1, 77, 768))

    def predict(pattern):
        patched = model.model_options["transformer_options"]
        options = {**patched, "cond_or_uncond": pattern, "sigmas": torch.tensor([3.0])}
        count = len(pattern)
        with torch.inference_mode():
            return model.model.diffusion_model(
                latent.expand(count, -1, -1, -1),
                torch.full((count,), 500.0),
                context=text.expand(count, -1, -1),
                transformer_options=options,
            )

    positive, negative = predict([0])[0], predict([1])[0]
    assert changed(positive, negative)
    for pattern in ([0, 1], [1, 0], [0, 0, 1], [1, 1, 0, 1]):
        for row, index in zip(predict(pattern), pattern, strict=True):
            assert (row - (negative if index else positive)).abs().max() < 2e-5


def test_cfg_1_runs_the_positive_alone(mini_model, apply, make_face, sample):
    face = make_face("anna")
    changed_negative = type(face)(face.id_tokens, face.negative_tokens * 2, face.id_embedding)
    one = sample(apply(mini_model, face=face), cfg=1.0)
    assert torch.equal(one, sample(apply(mini_model, face=changed_negative), cfg=1.0))
    assert changed(sample(apply(mini_model, face=face)), sample(apply(mini_model, face=changed_negative)))


def test_negative_longer_than_positive(model, sample, conditioning):
    picture = sample(model, negative=conditioning("long", tokens=154))
    assert torch.isfinite(picture).all()
    assert changed(picture, sample(model))


@pytest.mark.parametrize("size", [(264, 392), (264, 136), (136, 264), (72, 72), (64, 8), (8, 8)])
def test_odd_sizes(size, model, sample):
    picture = sample(model, size=size, steps=1)
    assert picture.shape[-2:] == (size[0] // 8, size[1] // 8)
    assert torch.isfinite(picture).all()


def test_masks_follow_odd_grids(mini_model, apply, make_regions, sample):
    ramp = torch.linspace(0, 1, 97).expand(65, -1)
    regions = make_regions({"anna": ramp, "ben": 1 - ramp, "cleo": (0.4, 0.4, 0.2, 0.2)})
    assert torch.isfinite(sample(apply(mini_model, regions=regions), size=(104, 152), steps=1)).all()


def test_image_to_image_and_a_second_pass_at_another_size(model, sample):
    first = sample(model, size=(64, 96))
    larger = torch.nn.functional.interpolate(first, scale_factor=1.5, mode="nearest-exact")
    second = sample(model, latent=larger, denoise=0.5)
    assert second.shape == larger.shape
    assert torch.equal(sample(model, size=(64, 96)), first)
    assert torch.equal(sample(model, latent=larger, denoise=0.5), second)


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m", "dpm_2", "heun", "uni_pc"])
def test_samplers_that_call_more_than_once_a_step(sampler, model, sample):
    assert torch.isfinite(sample(model, sampler=sampler)).all()


def guided(comfy, model, sample, conditioning, order):
    """The host's own guiders that hand over more than two conditionings."""
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    guider = custom.Guider_DualCFG(model)
    if order == "dual":
        try:
            guider.set_cfg(3.0, 2.0)
        except TypeError:
            guider.set_cfg(3.0, 2.0, False)
        guider.set_conds(conditioning("sea"), conditioning("hill"), conditioning("nothing"))
    samplers = importlib.import_module("comfy.samplers")
    latent = torch.zeros(1, 4, 8, 8)
    noise = importlib.import_module("comfy.sample").prepare_noise(latent, 3)
    sigmas = samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    with torch.inference_mode():
        return guider.sample(noise, latent, samplers.sampler_object("ddim"), sigmas, disable_pbar=True, seed=3)


def test_dual_cfg_knows_its_negative_by_name(comfy, mini_model, apply, make_face, sample, conditioning):
    """DualCFG hands over [negative, middle, positive]: positions do not tell the roles."""
    face = make_face("anna")
    double = type(face)(face.id_tokens, face.negative_tokens * 2, face.id_embedding)
    calls = {}
    for name, person in (("one", face), ("two", double)):
        calls[name] = guided(comfy, apply(mini_model, face=person), sample, conditioning, "dual")
    assert torch.isfinite(calls["one"]).all()
    assert changed(calls["one"], calls["two"])
    wrappers = sys.modules["custom_nodes_dynamicid.dynamicid.host.wrappers"]
    rows = sys.modules["custom_nodes_dynamicid.dynamicid.host.rows"]
    named = {"negative": [1], "middle": [2], "positive": [3]}

    class Guider:
        conds = named

    roles = wrappers._roles(Guider(), [named["negative"], named["middle"], named["positive"]])
    assert roles == (rows.NEGATIVE, rows.POSITIVE, rows.POSITIVE)
    assert wrappers._roles(None, [[1], [2]]) == (rows.POSITIVE, rows.NEGATIVE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, "float8_e4m3fn"])
def test_half_and_fp8_weights(dtype, comfy, apply, make_regions, sample):
    from tests.standin.rule import rule_state

    dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    sd = importlib.import_module("comfy.sd")
    model = sd.load_diffusion_model_state_dict(rule_state("unet", mini_unet_shapes()), model_options={"dtype": dtype})
    regions = make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": None, "cleo": None})
    patched = apply(model, regions=regions, gate_threshold=0.0)
    picture = sample(patched)
    assert torch.isfinite(picture).all()
    assert changed(picture, sample(model))


def test_weights_that_stay_offloaded_are_patched_as_they_come(comfy, mini_model, apply, two_people):
    """--lowvram: the host keeps weights aside and applies the patches when a layer needs them."""
    latent, text = rule_input("low.latent", (2, 4, 8, 8)), rule_input("low.text", (2, 77, 768))

    def predict(**loading):
        comfy.model_management.unload_all_models()
        model = apply(mini_model, regions=two_people)
        model.patch_model(torch.device("cpu"), **loading)
        options = {**model.model_options["transformer_options"], "cond_or_uncond": [1, 0], "sigmas": torch.ones(2)}
        with torch.inference_mode():
            noise = model.model.diffusion_model(
                latent, torch.full((2,), 601.0), context=text, transformer_options=options
            ).clone()
        offloaded = getattr(model.model, "model_lowvram", False)
        model.unpatch_model()
        return noise, offloaded

    full, _ = predict()
    low, offloaded = predict(lowvram_model_memory=1)
    assert offloaded
    assert (full - low).abs().max() < 2e-5


def test_half_precision_queries(comfy, mini_model, apply, make_regions):
    """The identity branch in fp16 and bf16 stays close to float32."""
    from importlib import import_module

    state = import_module("custom_nodes_dynamicid.dynamicid.host.state")
    rows = import_module("custom_nodes_dynamicid.dynamicid.host.rows")
    attention = import_module("custom_nodes_dynamicid.dynamicid.attention.saa")
    regions = make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": (0.5, 0.1, 0.5, 0.6), "cleo": None})
    model = apply(mini_model, regions=regions, gate_threshold=0.0)
    patch = model.model_options["transformer_options"]["patches_replace"]["attn2"][("input", 1)].patch
    query = rule_input("half.query", (2, 64, 320))
    options = {"cond_or_uncond": [0, 1], "sigmas": torch.tensor([9.0])}
    results = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        call = state.CallState(patch, options, rows.rows_by_default(options, 2))
        q = query.to(dtype)
        with torch.no_grad():
            results[dtype] = attention.add_identity(
                torch.zeros_like(q), q, call.identity(0, q), 8, call.gate(q, (8, 8))
            )
    reference = results.pop(torch.float32)
    for dtype, result in results.items():
        assert result.dtype == dtype
        assert (result.float() - reference).abs().max() < 0.05 * reference.abs().max()


@pytest.fixture
def ip_adapter(comfy):
    """``ip_adapter(model, name, mask=None)`` patches the model as cubiq's node does, with weights by rule."""
    folder = find_ip_adapter(find_host())
    if folder is None:
        pytest.skip("cubiq's ComfyUI_IPAdapter_plus is not beside the host")
    return load_ip_adapter(folder, mini_unet_shapes())


def test_ip_adapter_before_and_after(mini_model, apply, two_people, sample, ip_adapter):
    alone, ours = sample(ip_adapter(mini_model, "x")), sample(apply(mini_model, regions=two_people))
    before = sample(apply(ip_adapter(mini_model, "x"), regions=two_people))
    after = sample(ip_adapter(apply(mini_model, regions=two_people), "x"))
    assert same(before, after)
    assert changed(before, alone)
    assert changed(before, ours)


def test_ip_adapter_after_a_clone_leaves_the_first_alone(mini_model, apply, two_people, sample, ip_adapter):
    ours = apply(mini_model, regions=two_people)
    plain = sample(ours)
    ip_adapter(ours, "x")
    assert torch.equal(sample(ours), plain)
