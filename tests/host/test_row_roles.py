"""Beside packs that batch, repeat, reorder or tile rows, every row gets its own person's tokens, or a clear error."""

import importlib
import inspect
import itertools
import random
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 2e-5
"""Largest difference as a share of the largest value."""
SIZE = (64, 96)  # 8 x 12 cells


@pytest.fixture(scope="module")
def model(mini_model, apply, make_regions):
    """The small model with anna in the left and ben in the right half."""
    return apply(mini_model, regions=make_regions({"anna": (0.0, 0.1, 0.5, 0.8), "ben": (0.5, 0.1, 0.5, 0.8)}))


@pytest.fixture(scope="module")
def expected(model, sample):
    """Two pictures, with nothing else in between."""
    return sample(model, SIZE, batch=2)


@pytest.fixture
def dynamicid_error(pack):
    return pack.load("dynamicid.errors").DynamicIDError


def difference(picture, wanted):
    return float((picture - wanted).abs().max() / wanted.abs().max())


def rebatching(model, arrange, keep=lambda name: True):
    """The model behind a function wrapper that hands on rows ``arrange(rows)`` in calls of its own.

    Args:
        arrange: Number of rows -> one list of row numbers per call; every row must occur.
        keep: Names of the conditionings that are handed on.
    """

    def wrapper(apply_model, args):
        x, t, conds = args["input"], args["timestep"], args["c"]
        out = torch.empty_like(x)
        for call in arrange(x.shape[0]):
            chosen = {
                name: value[call] if isinstance(value, Tensor) and value.shape[0] == x.shape[0] else value
                for name, value in conds.items()
                if keep(name)
            }
            out[call] = apply_model(x[call], t[call], **chosen)
        return out

    clone = model.clone()
    clone.set_model_unet_function_wrapper(wrapper)
    return clone


@pytest.mark.parametrize("seed", range(4))
def test_random_batches_of_another_pack_change_nothing(seed, model, sample, expected):
    choose = random.Random(seed)

    def arrange(count):
        rows = [row for row in range(count) for _ in range(choose.choice((1, 1, 2)))]
        choose.shuffle(rows)
        cuts = sorted({0, len(rows), *(choose.randrange(len(rows)) for _ in range(2))})
        return [rows[a:b] for a, b in itertools.pairwise(cuts)]

    assert difference(sample(rebatching(model, arrange), SIZE, batch=2), expected) < TOLERANCE


def test_rows_without_their_numbers_are_an_error_where_their_count_changes(model, sample, dynamicid_error):
    alone = rebatching(model, lambda count: [[row] for row in range(count)], keep=lambda name: "dynamicid" not in name)
    with pytest.raises(dynamicid_error, match="2 were expected"):
        sample(alone, (64, 64))


def patched(model, before, after):
    """The model with callables of another pack around each cross-attention."""
    clone = model.clone()
    clone.set_model_attn2_patch(before)
    clone.set_model_attn2_output_patch(after)
    return clone


@pytest.mark.parametrize("seed", range(4))
def test_random_rows_inside_a_cross_attention_change_nothing(seed, model, sample, expected):
    choose, memory = random.Random(seed), SimpleNamespace(order=[])

    def before(q, k, v, extra_options):
        memory.order = [row for row in range(q.shape[0]) for _ in range(choose.choice((1, 2)))]
        choose.shuffle(memory.order)
        pick = choose.choice(
            [
                lambda x: x[memory.order],
                lambda x: torch.cat([x[row : row + 1] for row in memory.order]),
                lambda x: x.index_select(0, torch.tensor(memory.order)),
                lambda x: torch.stack([x.unbind(0)[row] for row in memory.order]) if x.ndim == 3 else x,
            ]
        )
        return pick(q), k[memory.order], v[memory.order]

    def after(out, extra_options):
        return torch.stack([out[memory.order.index(row)] for row in range(max(memory.order) + 1)])

    assert difference(sample(patched(model, before, after), SIZE, batch=2), expected) < TOLERANCE


def test_regional_prompts_that_say_the_same_change_nothing(model, sample, expected, conditioning):
    """Attention couple: positive rows once per prompt, blended by masks afterwards."""
    text = conditioning("sea")[0][0]
    memory = {}

    def before(q, k, v, extra_options):
        roles = extra_options["cond_or_uncond"]
        parts = [x.chunk(len(roles)) for x in (q, k, v)]
        memory["counts"] = [3 if role == 0 else 1 for role in roles]
        size = q.shape[0] // len(roles)
        regional = text.to(k).expand(size, -1, -1)
        joined = [[], [], []]
        for role, *chunk in zip(roles, *parts, strict=True):
            joined[0].append(chunk[0].repeat(3 if role == 0 else 1, 1, 1))
            for place, original in zip(joined[1:], chunk[1:], strict=True):
                place += [original, regional, regional] if role == 0 else [original]
        return tuple(torch.cat(part) for part in joined)

    def after(out, extra_options):
        size = out.shape[0] // sum(memory["counts"])
        parts = out.split([count * size for count in memory["counts"]])
        return torch.cat([part.unflatten(0, (-1, size)).mean(0) for part in parts])

    assert difference(sample(patched(model, before, after), SIZE, batch=2), expected) < TOLERANCE


def test_rows_that_cannot_be_followed_are_an_error_that_names_the_patch(model, sample, dynamicid_error):
    def mixes_rows(q, k, v, extra_options):
        return q.sort(dim=0).values, k, v

    clone = model.clone()
    clone.set_model_attn2_patch(mixes_rows)
    with pytest.raises(dynamicid_error, match="mixes_rows"):
        sample(clone)


def tiled(model, width, step, together, change=lambda tile: tile):
    """MultiDiffusion: overlapping tiles of ``width`` columns, ``together`` of them in a call, tile after tile."""

    def wrapper(apply_model, args):
        x, t, conds = args["input"], args["timestep"], args["c"]
        rows, starts = x.shape[0], list(range(0, x.shape[-1] - width + 1, step))
        out, count = torch.zeros_like(x), torch.zeros_like(x)
        for first in range(0, len(starts), together):
            part = starts[first : first + together]
            tile = change(torch.cat([x[..., start : start + width] for start in part]))
            repeated = {
                name: value.repeat(len(part), *[1] * (value.ndim - 1))
                if isinstance(value, Tensor) and value.shape[0] == rows
                else value
                for name, value in conds.items()
            }
            done = apply_model(tile, t.repeat(len(part)), **repeated)[..., :width]
            for start, result in zip(part, done.split(rows), strict=True):
                out[..., start : start + width] += result
                count[..., start : start + width] += 1
        return out / count

    clone = model.clone()
    clone.set_model_unet_function_wrapper(wrapper)
    return clone


def test_tiles_one_at_a_time_and_together_give_the_same(model, sample):
    one, three = (sample(tiled(model, 8, 2, together), SIZE, batch=2) for together in (1, 3))
    assert difference(three, one) < TOLERANCE


def test_a_tile_equals_area_conditioning_of_the_same_part(model, sample, conditioning):
    """People keep their places of the whole picture in both."""
    areas = {
        name: conditioning(text, area=(8, 6, 0, 6), strength=1.0)
        for name, text in (("positive", "sea"), ("negative", "nothing"))
    }
    tiles, area = sample(tiled(model, 6, 6, 2), SIZE, steps=1), sample(model, SIZE, steps=1, **areas)
    assert difference(tiles[..., 6:], area[..., 6:]) < TOLERANCE


def test_a_tile_is_found_where_it_was_cut(pack):
    rows, window = pack.load("dynamicid.host.rows"), pack.load("dynamicid.attention.assignment").Window
    latent = torch.randn(2, 4, 10, 16, generator=torch.Generator().manual_seed(0))
    origins = tuple(rows.Origin(i, 0, 0) for i in range(2))
    entries = (
        rows.Entry(rows.POSITIVE, (0, None), (0, 0, 10, 16)),
        rows.Entry(rows.NEGATIVE, (1, None), (0, 0, 10, 16)),
    )
    evaluation = rows.Evaluation(entries, latent, (10, 16), origins, picture_count=2)
    tiles = torch.stack([latent[1, :, 2:7, 8:16], latent[0, :, 5:10, 0:8]])
    found = evaluation.rows_of_numbers([(0, 1), (1, 0)], tiles)
    assert found == (
        rows.Row(rows.POSITIVE, 1, window(0.5, 0.2, 0.5, 0.5)),
        rows.Row(rows.NEGATIVE, 0, window(0.0, 0.5, 0.5, 0.5)),
    )


def test_rows_of_one_role_and_another_window_are_chunks_of_their_own(pack):
    rows, window = pack.load("dynamicid.host.rows"), pack.load("dynamicid.attention.assignment").Window
    left, right = window(0.0, 0.0, 0.5, 1.0), window(0.5, 0.0, 0.5, 1.0)
    groups = rows.group_rows([rows.Row(0, picture, part) for part in (left, right) for picture in (0, 1)])
    assert groups == rows.RowGroups((0, 0), (left, right), ((0, 1), (0, 1)))
    uneven = rows.group_rows([rows.Row(0, 0, left), rows.Row(0, 0, right), rows.Row(0, 1, right)])
    assert uneven == rows.RowGroups((0, 0, 0), (left, right, right), ((0,), (0,), (1,)))


def test_a_tile_that_is_not_part_of_the_latent_is_an_error(model, sample, dynamicid_error):
    padded = tiled(model, 8, 4, 1, change=lambda tile: F.pad(tile, (0, 2, 0, 0), mode="replicate"))
    with pytest.raises(dynamicid_error, match="10 x 8 cells"):
        sample(padded, SIZE)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun"])
def test_one_activation_map_per_step_and_picture(
    sampler, pack, mini_model, dynamicid, make_regions, sample, conditioning, apply_options
):
    """Whatever areas there are and however often a sampler evaluates a step; a share between 0 and 1."""
    module = pack.load("dynamicid.host.apply")
    regions = make_regions({"anna": (0.0, 0.0, 0.5, 1.0), "ben": (0.5, 0.0, 0.5, 1.0)})
    options = module.ApplyOptions(**{**apply_options, "layout_strength": 0.0})
    patched_model, record = module.apply_dynamicid(mini_model, dynamicid, regions, options, record=True)
    areas = [conditioning("sea", area=(8, 8, 0, x), strength=1.0)[0] for x in (0, 4)]
    sample(patched_model, SIZE, batch=2, steps=2, sampler=sampler, positive=[*conditioning("hill"), *areas])
    assert len(record.steps) == 2
    maps = record.maps(None)
    assert maps.shape == (2, 2, 8, 12)
    assert 0.01 < maps.max() <= 1 + 1e-5
    assert maps.min() >= 0
    assert maps.sum(1).max() <= 1 + 1e-5
    assert min(step.weight.min() for step in record.steps) > 0


def test_activation_maps_of_tiles_lie_where_the_tiles_do(
    pack, mini_model, dynamicid, make_regions, sample, apply_options
):
    module = pack.load("dynamicid.host.apply")
    regions = make_regions({"anna": (0.0, 0.0, 0.5, 1.0), "ben": (0.5, 0.0, 0.5, 1.0)})
    options = module.ApplyOptions(**{**apply_options, "layout_strength": 0.0, "gate_threshold": 0.0})
    model, record = module.apply_dynamicid(mini_model, dynamicid, regions, options, record=True)
    sample(tiled(model, 6, 6, 2), SIZE, steps=2)
    anna, ben = record.maps(None)[0]
    assert anna[:, 6:].abs().max() < 1e-6 < anna[:, :6].max()
    assert ben[:, :6].abs().max() < 1e-6 < ben[:, 6:].max()


def with_context_windows(model, schedule="standard_static"):
    """The model sampled in the host's own windows of two pictures that overlap by one."""
    windows = importlib.import_module("comfy.context_windows")
    if "freenoise" not in inspect.signature(windows.IndexListContextHandler).parameters:
        # 0.3.64 compares the noise levels of all steps with one noise level for each picture.
        pytest.skip("the context windows of this ComfyUI fail with batches of pictures")
    clone = model.clone()
    clone.model_options["context_handler"] = windows.IndexListContextHandler(
        context_schedule=windows.get_matching_context_schedule(schedule),
        fuse_method=windows.get_matching_fuse_method("flat"),
        context_length=2,
        context_overlap=1,
        dim=0,
    )
    windows.create_prepare_sampling_wrapper(clone)
    return clone


@pytest.mark.parametrize("schedule", ["standard_static", "standard_uniform", "batched"])
def test_context_windows_of_the_host_change_nothing(schedule, model, sample):
    """Pictures of SD1.5 know nothing of each other: each is what it is without windows."""
    expected, rows = sample(model, SIZE, batch=5), set()
    windowed = with_context_windows(model, schedule)

    def count_rows(apply_model, args):
        rows.add(args["input"].shape[0])
        return apply_model(args["input"], args["timestep"], **args["c"])

    windowed.set_model_unet_function_wrapper(count_rows)
    assert difference(sample(windowed, SIZE, batch=5), expected) < TOLERANCE
    assert max(rows) < 10  # rows of 5 pictures, positive and negative, without windows


def test_activation_maps_with_context_windows(pack, mini_model, dynamicid, make_regions, sample, apply_options):
    module = pack.load("dynamicid.host.apply")
    regions = make_regions({"anna": (0.0, 0.0, 0.5, 1.0), "ben": (0.5, 0.0, 0.5, 1.0)})
    options = module.ApplyOptions(**{**apply_options, "layout_strength": 0.0})
    maps = []
    for windowed in (False, True):
        model, record = module.apply_dynamicid(mini_model, dynamicid, regions, options, record=True)
        sample(with_context_windows(model) if windowed else model, SIZE, batch=5)
        assert len(record.steps) == 2
        maps.append(record.maps(None))
    assert maps[0].shape == (5, 2, 8, 12)
    assert difference(maps[1], maps[0]) < TOLERANCE
