"""`start_at` and `end_at` hold back all of DynamicID, LoRA included, in one sampler; models with one LoRA share it."""

import contextlib
import importlib
import itertools
from types import SimpleNamespace

import pytest
import torch

from tests.host.test_interoperation import lora_file
from tests.standin.host_files import mini_unet_shapes
from tests.standin.rule import rule_state

KEYS = 8 * 7
"""Query, key, value and output of both attentions in the seven transformer blocks of the small UNet."""
STEPS = 5
START, END = 0.3, 0.7
TOLERANCE = 2e-5
WITHOUT_HISTORY = ("euler", "ddim")
SAMPLERS = (
    *WITHOUT_HISTORY, "heun", "heunpp2", "dpm_2", "lms", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde", "euler_ancestral",
    "res_multistep", "er_sde", "lcm", "uni_pc",
)  # fmt: skip


@pytest.fixture(scope="module")
def load(comfy):
    sd = importlib.import_module("comfy.sd")

    def run(dtype=torch.float32):
        return sd.load_diffusion_model_state_dict(
            rule_state("unet", mini_unet_shapes()), model_options={"dtype": dtype}
        )

    return run


@pytest.fixture(scope="module")
def twin(load):
    """The small model once more, with weights of its own: it can be loaded beside the first."""
    return load()


@pytest.fixture(scope="module")
def people(make_regions):
    return make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": (0.5, 0.1, 0.5, 0.6)})


@pytest.fixture(scope="module")
def host(comfy):
    names = ("sample", "samplers", "lora", "hooks", "utils", "model_management", "patcher_extension")
    return SimpleNamespace(**{name: importlib.import_module(f"comfy.{name}") for name in names})


@pytest.fixture(scope="module")
def paint(host, conditioning):
    """``paint(model, sampler, sigmas=None, latent=None)`` -> (latent, predicted pictures of all steps)."""

    def run(model, sampler="euler", sigmas=None, latent=None, seed=7, positive=None):
        sigmas = noise_levels(host, model) if sigmas is None else sigmas
        sampler = host.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
        noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(seed))
        steps = []
        with torch.inference_mode():
            picture = host.sample.sample_custom(
                model, noise if latent is None else torch.zeros_like(noise), 4.0, sampler, sigmas,
                positive or conditioning("sea"), conditioning("nothing"),
                torch.zeros_like(noise) if latent is None else latent,
                callback=lambda step, x0, x, total: steps.append(x0.clone()), disable_pbar=True, seed=seed,
            )  # fmt: skip
        return picture.clone(), steps

    return run


@pytest.fixture
def merges(host, monkeypatch):
    """A list that gets the name of each weight that is merged."""
    merged = []
    original = host.lora.calculate_weight

    def counting(patches, weight, key, *args, **kwargs):
        merged.append(key)
        return original(patches, weight, key, *args, **kwargs)

    monkeypatch.setattr(host.lora, "calculate_weight", counting)
    return merged


def noise_levels(host, model, steps=STEPS):
    return host.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)


def to_sigma(model, share):
    return model.get_model_object("model_sampling").percent_to_sigma(share)


def steps_above(host, model, share):
    return int((noise_levels(host, model) > to_sigma(model, share)).sum())


def difference(picture, expected):
    return float((picture - expected).abs().max() / expected.abs().max())


@contextlib.contextmanager
def switched_by_hand(host, plain, patched, start=START, end=1.0):
    """``plain`` with each noise prediction in the range made by ``patched``, a model with weights of its own."""
    first, last = to_sigma(plain, start), to_sigma(plain, end)

    def predict(executor, x, timestep, model_options, seed):
        if not last <= float(timestep[0]) <= first:
            return executor(x, timestep, model_options, seed)
        guider = executor.class_obj
        return host.samplers.sampling_function(
            patched.model, x, timestep, guider.conds["negative"], guider.conds["positive"], guider.cfg,
            model_options=patched.model_options, seed=seed,
        )  # fmt: skip

    model = plain.clone()
    kind = host.patcher_extension.WrappersMP.PREDICT_NOISE
    host.patcher_extension.add_wrapper_with_key(kind, "by hand", predict, model.model_options, is_model_options=True)
    with torch.inference_mode():
        host.model_management.load_models_gpu([patched])
    patched.pre_run()
    yield model
    patched.cleanup()


def back_over_the_edge(model, x, sigmas, extra_args, callback, disable):
    """A restart sampler: down over the edge of the range, up by fresh noise, down again."""
    ones = x.new_ones([x.shape[0]])
    generator = torch.Generator().manual_seed(3)
    levels = [*sigmas[:4].tolist(), *sigmas[1:4].tolist(), *sigmas[1:].tolist()]
    for i, (sigma, following) in enumerate(itertools.pairwise(levels)):
        if following > sigma:
            x = x + (following**2 - sigma**2) ** 0.5 * torch.randn(x.shape, generator=generator)
            continue
        denoised = model(x, sigma * ones, **extra_args)
        callback({"i": i, "denoised": denoised, "x": x, "sigma": sigma, "sigma_hat": sigma})
        x = denoised + (x - denoised) * (following / sigma)
    return x


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_paints_what_a_model_switched_by_hand_paints(
    sampler, mini_model, twin, apply, people, host, paint, merges
):
    host.model_management.load_models_gpu([mini_model])
    merges.clear()
    picture, _ = paint(apply(mini_model, regions=people, start_at=START), sampler)
    assert len(merges) == KEYS
    with switched_by_hand(host, mini_model, apply(twin, regions=people)) as by_hand:
        assert torch.equal(picture, paint(by_hand, sampler)[0])


@pytest.mark.parametrize("sampler", WITHOUT_HISTORY)
def test_one_sampler_equals_two_in_a_row(sampler, mini_model, apply, people, host, paint):
    sigmas, first = noise_levels(host, mini_model), steps_above(host, mini_model, START)
    plain, plain_steps = paint(mini_model, sampler)
    layout, _ = paint(mini_model, sampler, sigmas[: first + 1])
    expected, _ = paint(apply(mini_model, regions=people), sampler, sigmas[first:], layout)
    picture, steps = paint(apply(mini_model, regions=people, start_at=START), sampler)
    assert difference(picture, expected) < TOLERANCE
    assert difference(picture, plain) > 0.01
    assert all(map(torch.equal, steps[:first], plain_steps[:first]))
    assert not torch.equal(steps[first], plain_steps[first])


def test_a_range_in_the_middle_merges_once_and_takes_out_once(mini_model, twin, apply, people, host, paint, merges):
    """Also with a LoRA of the user's on some of the weights, which the host merges first."""
    load_lora = importlib.import_module("comfy.sd").load_lora_for_models
    for before in (mini_model, load_lora(mini_model, None, lora_file(), 1.0, 0)[0]):
        own = len(before.patches)
        ranged = apply(before, regions=people, start_at=START, end_at=END)
        plain = paint(before)[0]
        merges.clear()
        picture, _ = paint(ranged)
        assert len(merges) == KEYS + own
        other = twin if not own else load_lora(twin, None, lora_file(), 1.0, 0)[0]
        with switched_by_hand(host, before, apply(other, regions=people), end=END) as by_hand:
            assert torch.equal(picture, paint(by_hand)[0])
        assert torch.equal(paint(before)[0], plain)


def test_going_back_over_the_edge_merges_no_second_time(mini_model, twin, apply, people, host, paint, merges):
    sampler = host.samplers.KSAMPLER(back_over_the_edge)
    ranged = apply(mini_model, regions=people, start_at=START)
    paint(mini_model)
    merges.clear()
    picture, _ = paint(ranged, sampler)
    assert len(merges) == KEYS
    with switched_by_hand(host, mini_model, apply(twin, regions=people)) as by_hand:
        assert torch.equal(picture, paint(by_hand, sampler)[0])


def test_the_whole_range_is_plain_weight_patches(mini_model, apply, people):
    wrappers = apply(mini_model, regions=people).model_options["transformer_options"]["wrappers"]
    assert not any("dynamicid.lora" in by_key for by_key in wrappers.values())


def test_runs_repeat_and_leave_no_trace(mini_model, apply, people, host, paint):
    weights = {key: value.clone() for key, value in mini_model.model.state_dict().items()}
    ranged = apply(mini_model, regions=people, start_at=START, end_at=END)
    patches, patches_uuid = ranged.patches, ranged.patches_uuid
    first, _ = paint(ranged)
    assert torch.equal(paint(ranged)[0], first)
    assert ranged.patches is patches
    assert ranged.patches_uuid == patches_uuid
    whole, _ = paint(apply(mini_model, regions=people))
    assert torch.equal(paint(ranged)[0], first)
    assert torch.equal(paint(apply(mini_model, regions=people))[0], whole)
    host.model_management.unload_all_models()
    assert all(torch.equal(weights[key], value) for key, value in mini_model.model.state_dict().items())


class Stop(Exception):
    pass


@pytest.mark.parametrize("at_step", [0, 2, 4])
def test_an_interrupted_run_leaves_no_trace(at_step, mini_model, apply, people, host, paint):
    plain, _ = paint(mini_model)
    ranged = apply(mini_model, regions=people, start_at=START, end_at=END)
    expected, _ = paint(ranged)
    patches = ranged.patches

    def stop(args):
        if args["sigma"][0] <= noise_levels(host, mini_model)[at_step]:
            raise Stop
        return args["denoised"]

    stopping = ranged.clone()
    stopping.set_model_sampler_post_cfg_function(stop)
    with pytest.raises(Stop):
        paint(stopping)
    assert set(stopping.patches) == set(patches)
    assert torch.equal(paint(ranged)[0], expected)
    assert torch.equal(paint(mini_model)[0], plain)


def test_a_merge_that_fails_leaves_no_trace(mini_model, apply, people, host, paint, monkeypatch):
    ranged = apply(mini_model, regions=people, start_at=START)
    expected, _ = paint(ranged)
    plain, _ = paint(mini_model)
    original, calls = host.lora.calculate_weight, []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == KEYS // 2:
            raise Stop
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(host.lora, "calculate_weight", failing)
        with pytest.raises(Stop):
            paint(ranged)
    assert torch.equal(paint(mini_model)[0], plain)
    assert torch.equal(paint(ranged)[0], expected)


def test_nodes_in_a_row_have_ranges_of_their_own(mini_model, apply, make_regions, host, paint):
    """The LoRA acts at the larger strength of the nodes that are active."""
    anna, ben = (make_regions({name: None}) for name in ("anna", "ben"))
    both = apply(apply(mini_model, regions=anna, lora_strength=0.5), regions=ben, start_at=START)
    sigmas, first = noise_levels(host, mini_model), steps_above(host, mini_model, START)
    layout, _ = paint(apply(mini_model, regions=anna, lora_strength=0.5), sigmas=sigmas[: first + 1])
    full = apply(apply(mini_model, regions=anna, lora_strength=0.5), regions=ben)
    expected, _ = paint(full, sigmas=sigmas[first:], latent=layout)
    assert difference(paint(both)[0], expected) < TOLERANCE


def test_hooks_of_the_user_beside_a_range(mini_model, twin, apply, people, host, paint, conditioning):
    group = host.hooks.create_hook_lora(lora=lora_file(5.0), strength_model=1.0, strength_clip=0.0)
    positive = host.hooks.set_hooks_for_conditioning(conditioning("sea"), hooks=group)
    ranged = apply(mini_model, regions=people, start_at=START, end_at=END)
    plain, unhooked = paint(mini_model)[0], paint(ranged)[0]
    sigmas = noise_levels(host, mini_model)
    first, last = (steps_above(host, mini_model, share) for share in (START, END))
    expected, _ = paint(mini_model, sigmas=sigmas[: first + 1], positive=positive)
    whole = apply(mini_model, regions=people)
    expected, _ = paint(whole, sigmas=sigmas[first : last + 1], latent=expected, positive=positive)
    expected, _ = paint(mini_model, sigmas=sigmas[last:], latent=expected, positive=positive)
    picture, _ = paint(ranged, positive=positive)
    assert difference(picture, expected) < TOLERANCE
    assert difference(picture, unhooked) > 1e-3
    assert torch.equal(paint(ranged)[0], unhooked)
    assert torch.equal(paint(mini_model)[0], plain)


@pytest.mark.parametrize("name", ["Guider_Basic", "Guider_DualCFG"])
def test_other_guiders(name, comfy, mini_model, apply, people, host, conditioning):
    guiders = importlib.import_module("comfy_extras.nodes_custom_sampler")
    sigmas, first = noise_levels(host, mini_model), steps_above(host, mini_model, START)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(7))

    def run(model, sigmas, noise, latent):
        guider = getattr(guiders, name)(model)
        if name == "Guider_Basic":
            guider.set_conds(conditioning("sea"))
        else:
            guider.set_conds(conditioning("sea"), conditioning("hill"), conditioning("nothing"))
            guider.set_cfg(4.0, 2.0)
        with torch.inference_mode():
            sampler = host.samplers.sampler_object("euler")
            return guider.sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=7).clone()

    zeros = torch.zeros_like(noise)
    layout = run(mini_model, sigmas[: first + 1], noise, zeros)
    expected = run(apply(mini_model, regions=people), sigmas[first:], zeros, layout)
    picture = run(apply(mini_model, regions=people, start_at=START), sigmas, noise, zeros)
    assert difference(picture, expected) < TOLERANCE


@pytest.mark.parametrize(
    ("dtype", "resident"),
    [("float32", 0.5), ("float16", 0), ("float16", 1), ("float8_e4m3fn", 0), ("float8_e4m3fn", 1)],
)
def test_weights_of_all_kinds_and_places(dtype, resident, load, apply, people, host, paint, monkeypatch):
    """All weights are loaded and merged, a half of them, or none: with little memory they are patched as they come."""
    loaded = host.model_management.LoadedModel
    original = loaded.model_load

    def model_load(self, memory=0, *args, **kwargs):
        if resident < 1:
            memory = max(self.model.model_size() * resident - self.model_loaded_memory(), 1)
        return original(self, memory, *args, **kwargs)

    monkeypatch.setattr(loaded, "model_load", model_load)
    first, second = load(getattr(torch, dtype)), load(getattr(torch, dtype))
    plain, plain_steps = paint(first)
    assert first.model.model_lowvram == (resident < 1)
    picture, steps = paint(apply(first, regions=people, start_at=START, end_at=END))
    assert first.model.model_lowvram == (resident < 1)
    with switched_by_hand(host, first, apply(second, regions=people), end=END) as by_hand:
        # Which half is loaded depends on the patches.
        assert difference(picture, paint(by_hand)[0]) < (TOLERANCE if resident == 0.5 else 1e-9)
    before = steps_above(host, first, START)
    assert all(map(torch.equal, steps[:before], plain_steps[:before]))
    assert torch.equal(paint(first)[0], plain)


def test_models_with_the_same_lora_share_one_merge(mini_model, apply, make_face, make_regions, host, paint, merges):
    paint(mini_model)
    models = [apply(mini_model, face=make_face(name)) for name in ("anna", "ben", "cleo")]
    merges.clear()
    pictures = [paint(model)[0] for model in (*models, *models)]
    assert len(merges) == KEYS
    assert all(map(torch.equal, pictures[:3], pictures[3:]))
    assert len({model.patches_uuid for model in models}) == 1
    assert models[0].clone_has_same_weights(models[1])
    weaker = apply(mini_model, face=make_face("anna"), lora_strength=0.5)
    assert weaker.patches_uuid not in {models[0].patches_uuid, mini_model.patches_uuid}
    merges.clear()
    assert not torch.equal(paint(weaker)[0], pictures[0])
    assert len(merges) == KEYS


def test_weights_loaded_anew_are_merged_anew(mini_model, pack, weights_folder, apply_options, make_face):
    load_weights = pack.load("dynamicid.checkpoints.weights").load_weights
    uuids = {
        pack.run(
            "DynamicIDApply", model=mini_model, dynamicid=load_weights(weights_folder / "SAA.bin"),
            face=make_face("anna"), **apply_options,
        )[0].patches_uuid
        for _ in range(2)
    }  # fmt: skip
    assert len(uuids) == 2


def test_ranged_models_with_the_same_lora_share_the_merged_weights(mini_model, apply, make_face, paint, merges):
    models = [apply(mini_model, face=make_face(name), start_at=START) for name in ("anna", "ben")]
    paint(mini_model)
    merges.clear()
    pictures = [paint(model)[0] for model in (*models, *models)]
    assert len(merges) == KEYS
    assert not torch.equal(*pictures[:2])
    assert all(map(torch.equal, pictures[:2], pictures[2:]))
