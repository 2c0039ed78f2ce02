"""Motions over a batch: picture i gets the tokens i of each person, whoever splits the batch, or a clear error."""

import importlib
import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.host.conftest import HOST
from tests.host.test_row_roles import patched, rebatching, tiled, with_context_windows
from tests.standin.foreign_packs import find_foreign_pack, load_foreign_pack
from tests.standin.rule import rule_input

TOLERANCE = 1e-5
"""Largest difference as a share of the largest value."""
SIZE = (64, 96)
FRAMES = 5
PEOPLE = {"anna": (0.0, 0.1, 0.5, 0.8), "ben": (0.5, 0.1, 0.5, 0.8)}


@pytest.fixture(scope="module")
def moved(pack, make_regions):
    """``moved(people, frames)``: regions whose faces hold F motions each."""
    join_frames = pack.load("dynamicid.faces.frames").join_frames

    def with_motions(region, name, frames):
        tokens = [rule_input(f"face.{name}.motion.{i}", (4, 768)) for i in range(frames)]
        return replace(region, face=join_frames([replace(region.face, id_tokens=own) for own in tokens]))

    def make(people: int, frames: int = FRAMES) -> tuple[Any, ...]:
        names = list(PEOPLE)[:people]
        regions = make_regions({name: PEOPLE[name] for name in names})
        return tuple(with_motions(region, name, frames) for region, name in zip(regions, names, strict=True))

    return make


@pytest.fixture(scope="module")
def noise():
    """(F, 4, 8, 12), another for each picture."""
    return rule_input("motions.noise", (FRAMES, 4, 8, 12))


@pytest.fixture(scope="module")
def expected(pack, mini_model, moved, apply, sample, noise):
    """``expected(people)``: F pictures, each sampled by itself with its own motion."""
    by_picture = pack.load("dynamicid.faces.regions").regions_by_picture

    def singles(people: int, **options: Any) -> torch.Tensor:
        return torch.cat(
            [
                sample(apply(mini_model, regions=regions), SIZE, noise=noise[i : i + 1], **options)
                for i, regions in enumerate(by_picture(moved(people)))
            ]
        )

    return singles


@pytest.fixture(scope="module")
def model(mini_model, apply, moved):
    """Two people with F motions each."""
    return apply(mini_model, regions=moved(2))


@pytest.fixture(scope="module")
def expected_of_two(expected):
    return expected(2)


@pytest.fixture
def dynamicid_error(pack):
    return pack.load("dynamicid.errors").DynamicIDError


def difference(pictures, wanted):
    return float((pictures - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("people", [1, 2])
@pytest.mark.parametrize("calls", ["one call", "two calls", "positive alone"])
def test_a_batch_equals_single_pictures(people, calls, mini_model, apply, moved, sample, noise, expected, monkeypatch):
    model = apply(mini_model, regions=moved(people))
    cfg = 1.0 if calls == "positive alone" else 4.0
    wanted = expected(people, cfg=cfg)
    rows = set()

    def count_rows(apply_model, args):
        rows.add(args["input"].shape[0])
        return apply_model(args["input"], args["timestep"], **args["c"])

    model.set_model_unet_function_wrapper(count_rows)
    if calls == "two calls":
        monkeypatch.setattr(model.model, "memory_required", lambda *args, **options: 1e18)
    found = sample(model, SIZE, batch=FRAMES, noise=noise, cfg=cfg)
    assert difference(found, wanted) < TOLERANCE
    assert difference(found.roll(1, 0), wanted) > 0.01
    assert rows == {2 * FRAMES if calls == "one call" else FRAMES}


def test_one_with_motions_beside_one_without(pack, mini_model, apply, moved, make_regions, sample, noise):
    anna, _ = moved(2)
    regions = (anna, make_regions(PEOPLE)[1])
    found = sample(apply(mini_model, regions=regions), SIZE, batch=FRAMES, noise=noise)
    last = (replace(anna, face=anna.face.frame(FRAMES - 1)), regions[1])
    assert difference(found[-1:], sample(apply(mini_model, regions=last), SIZE, noise=noise[-1:])) < TOLERANCE


@pytest.mark.parametrize("schedule", ["standard_static", "standard_uniform", "batched"])
@pytest.mark.parametrize("same_noise", [False, True])
def test_context_windows_of_another_length(schedule, same_noise, model, sample, noise, expected_of_two):
    """Also while all pictures still have the same noise and cannot be told apart by their values."""
    if same_noise:
        noise = noise[:1].expand(FRAMES, -1, -1, -1)
        wanted = sample(model, SIZE, batch=FRAMES, noise=noise)
    else:
        wanted = expected_of_two
    found = sample(with_context_windows(model, schedule), SIZE, batch=FRAMES, noise=noise)
    assert difference(found, wanted) < TOLERANCE


def by_two(calc_cond_batch, model, conds, x, timestep, model_options):
    """Another pack's sub-batches of two pictures that tell nothing of their numbers."""
    parts = [
        calc_cond_batch(model, conds, x[i : i + 2], timestep[i : i + 2], model_options) for i in range(0, len(x), 2)
    ]
    return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]


@pytest.fixture
def in_parts(model):
    """The model evaluated two pictures at a time, outside of the wrappers."""
    clone = model.clone()

    class Handler:
        def should_use_context(self, *args):
            return True

        execute = staticmethod(by_two)

    clone.model_options["context_handler"] = Handler()
    return clone


def test_parts_of_the_batch_are_found_by_their_values(in_parts, sample, noise, expected_of_two):
    assert difference(sample(in_parts, SIZE, batch=FRAMES, noise=noise), expected_of_two) < TOLERANCE


def test_parts_that_cannot_be_told_apart_are_an_error(in_parts, sample, noise, dynamicid_error):
    with pytest.raises(dynamicid_error, match="not known which"):
        sample(in_parts, SIZE, batch=FRAMES, noise=noise[:1].expand(FRAMES, -1, -1, -1))


def test_rows_of_another_pack_in_any_order(model, sample, noise, expected_of_two):
    def arrange(count):
        return [list(range(count))[::-2], list(range(count))[-2::-2], [0, 0, 1]]

    found = sample(rebatching(model, arrange), SIZE, batch=FRAMES, noise=noise)
    assert difference(found, expected_of_two) < TOLERANCE


def test_rows_repeated_inside_a_cross_attention(model, sample, noise, expected_of_two):
    def before(q, k, v, extra_options):
        return tuple(x.flip(0).repeat(2, 1, 1) for x in (q, k, v))

    def after(out, extra_options):
        return out.chunk(2)[1].flip(0)

    found = sample(patched(model, before, after), SIZE, batch=FRAMES, noise=noise)
    assert difference(found, expected_of_two) < TOLERANCE


def test_tiles_and_areas(model, sample, noise, conditioning, expected):
    areas = {
        name: [*conditioning(text), *conditioning(text, area=(8, 6, 0, 6), strength=1.0)]
        for name, text in (("positive", "sea"), ("negative", "nothing"))
    }
    found = sample(model, SIZE, batch=FRAMES, noise=noise, **areas)
    assert difference(found, expected(2, **areas)) < TOLERANCE
    together, alone = (sample(tiled(model, 8, 2, count), SIZE, batch=FRAMES, noise=noise) for count in (3, 1))
    assert difference(together, alone) < TOLERANCE


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_another_number_of_pictures_is_an_error_with_both_numbers(batch, model, sample, dynamicid_error):
    with pytest.raises(dynamicid_error, match=rf"holds {FRAMES} motions, but the latent batch has {batch} picture"):
        sample(model, SIZE, batch=batch)


def test_people_with_different_numbers_are_an_error(mini_model, apply, moved, dynamicid_error):
    regions = (moved(1, 3)[0], moved(2, 5)[1])
    with pytest.raises(dynamicid_error, match="person 2: It holds 5 motions, but person 1 holds 3"):
        apply(mini_model, regions=regions)


def test_keys_and_values_grow_no_faster_than_the_motions_and_their_size_is_told(mini_model, apply, moved, caplog):
    def byte_count(frames):
        patched_model = apply(mini_model, regions=moved(2, frames))
        patch = patched_model.model_options["transformer_options"]["patches_replace"]["attn2"][("input", 1)].patch
        return sum(x.nbytes for layer in patch.keys_values.layers for x in (layer.key, layer.value))

    with caplog.at_level(logging.INFO):
        assert byte_count(1) < byte_count(16) <= 16 * byte_count(1)
    assert f"Keys and values of 16 motions take {byte_count(16) / 1e6:.0f} MB" in caplog.text


def test_projecting_many_motions_is_interrupted_between_layers_and_its_size_told_before(
    comfy, mini_model, apply, moved, caplog
):
    management = importlib.import_module("comfy.model_management")
    management.interrupt_current_processing()
    with caplog.at_level(logging.INFO), pytest.raises(management.InterruptProcessingException):
        apply(mini_model, regions=moved(1))
    assert f"Keys and values of {FRAMES} motions take" in caplog.text
    assert apply(mini_model, regions=moved(1)) is not mini_model


@pytest.fixture
def animatediff(comfy):
    """AnimateDiff-Evolved's ``(model) -> model`` with windows of two pictures that overlap by one."""
    folder = find_foreign_pack(HOST, "ComfyUI-AnimateDiff-Evolved", "animatediff/sampling.py")
    if folder is None:
        pytest.skip("ComfyUI-AnimateDiff-Evolved is not beside the host")
    nodes = load_foreign_pack("animatediff_evolved", folder).NODE_CLASS_MAPPINGS
    windows = nodes["ADE_StandardStaticContextOptions"]().create_options(2, 1)[0]
    return lambda model: nodes["ADE_UseEvolvedSampling"]().use_evolved_sampling(
        model, "use existing", context_options=windows
    )[0]


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("same_noise", [False, True])
def test_windows_of_animatediff_evolved(
    first, same_noise, animatediff, mini_model, model, moved, apply, sample, noise, expected_of_two
):
    if same_noise:
        noise = noise[:1].expand(FRAMES, -1, -1, -1)
    wanted = sample(model, SIZE, batch=FRAMES, noise=noise) if same_noise else expected_of_two
    windowed = animatediff(model) if first == "ours" else apply(animatediff(mini_model), regions=moved(2))
    rows = set()

    def count_rows(apply_model, args):
        rows.add(args["input"].shape[0])
        return apply_model(args["input"], args["timestep"], **args["c"])

    windowed.set_model_unet_function_wrapper(count_rows)
    assert difference(sample(windowed, SIZE, batch=FRAMES, noise=noise), wanted) < TOLERANCE
    assert max(rows) == 4
