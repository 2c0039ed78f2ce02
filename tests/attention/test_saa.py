"""SAA against the formula written out: full score tensor, one row and one person at a time."""

import math

import pytest
import torch

from dynamicid.attention.activation import activation
from dynamicid.attention.assignment import Window, assignment_bias, box_map, layout, mask_map
from dynamicid.attention.identity import project_identity
from dynamicid.attention.options import ApplyOptions
from dynamicid.attention.people import People, token_rows, vertical_slices
from dynamicid.attention.saa import Gate, add_identity
from tests.standin.rule import rule_input

HEADS, WIDTH, TEXT_WIDTH = 4, 32, 24
GRID = (6, 5)


def people(counts, scale=None, assigned=True):
    total = sum(counts)
    return People(
        rule_input("saa.positive", (total, TEXT_WIDTH)),
        rule_input("saa.negative", (total, TEXT_WIDTH)),
        torch.ones(total) if scale is None else torch.tensor(scale),
        tuple(counts),
        tuple(vertical_slices(len(counts))),
        assigned,
    )


def layer(everybody):
    to_k, to_v = (rule_input(f"saa.{name}", (WIDTH, TEXT_WIDTH)) / TEXT_WIDTH**0.5 for name in ("to_k", "to_v"))
    return to_k, to_v, project_identity(token_rows([everybody]), to_k, to_v)


def reference(text, query, row_tokens, everybody, to_k, to_v, maps, strength, weight, gated):
    """One picture: text (L, C), query (L, C), tokens (T, width), maps (N, L). Straight from the paper's formula."""
    length, d = query.shape[0], WIDTH // HEADS
    q = query.view(length, HEADS, d)
    k, v = ((row_tokens @ w.T).view(-1, HEADS, d) for w in (to_k, to_v))
    score = torch.einsum("lhd,khd->hlk", q, k) / math.sqrt(d)
    a = score.sum(dim=(0, 2))
    a = (a - a.min()) / (a.max() - a.min())
    a = torch.where(a < 0.3, torch.zeros_like(a), a)
    m = maps.max(dim=0).values
    a = (1 - m) * a / (strength + 1) + m * (a + strength)
    mask = torch.zeros(length, sum(everybody.counts))
    start = 0
    for person, count in enumerate(everybody.counts):
        mask[:, start : start + count] = torch.log(maps[person] + 1 - m)[:, None]
        start += count
    if not gated:
        a, mask = torch.ones_like(a), torch.zeros_like(mask)
    probability = (score * everybody.scale + mask).softmax(-1)
    branch = torch.einsum("hlk,khd->lhd", probability, v).reshape(length, WIDTH)
    return text + weight * a[:, None] * branch


@pytest.mark.parametrize("counts", [(4,), (4, 4), (4, 8, 4), (4,) * 8])
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("pictures", [1, 3])
def test_equals_the_formula_written_out(counts, gated, pictures):
    scale = [0.3 + 0.1 * i for i in range(sum(counts))] if 8 in counts else None
    everybody, strength, weight = people(counts, scale, assigned=gated), 2.0, 0.7
    to_k, to_v, identity = layer(everybody)
    cells = GRID[0] * GRID[1]
    maps = torch.stack([rule_input(f"saa.map{i}", GRID).sigmoid().flatten() for i in range(len(counts))])
    if len(counts) == 1:
        maps = torch.ones(1, cells)
    chunk_roles = (1, 0, 0)
    rows = len(chunk_roles) * pictures
    text, query = (rule_input(f"saa.{name}", (rows, cells, WIDTH)) for name in ("text", "query"))
    bias = assignment_bias(maps, counts, everybody.key_count)
    places = layout(maps, strength)
    gate = Gate(
        weight,
        0.3 if gated else None,
        bias.repeat(pictures, 1)[None, None] if gated else None,
        places.gain.repeat(pictures)[None] if gated else None,
        places.offset.repeat(pictures)[None] if gated else None,
    )
    with torch.no_grad():
        result = add_identity(text.clone(), query, identity.rows(chunk_roles), HEADS, gate)
    for row in range(rows):
        row_tokens = everybody.negative if chunk_roles[row // pictures] else everybody.positive
        expected = reference(text[row], query[row], row_tokens, everybody, to_k, to_v, maps, strength, weight, gated)
        assert (result[row] - expected).abs().max() < 1e-5


def test_keys_are_padded_only_where_an_assignment_hides_the_padding():
    assert [people(counts).key_count for counts in ((4,), (8,), (4, 4), (4, 4, 4))] == [4, 8, 8, 16]
    assert people((4, 4, 4), assigned=False).key_count == 12
    keys = token_rows([people((4, 4, 4)), people((4,))])
    assert keys.tokens.shape == (4, 16, TEXT_WIDTH)
    assert not keys.tokens[0, 12:].any()
    assert not keys.tokens[1, 4:].any()


def test_text_attention_is_not_written_to():
    _, _, identity = layer(people((4,)))
    text, query = rule_input("keep.text", (2, 8, WIDTH)), rule_input("keep.query", (2, 8, WIDTH))
    before = text.clone()
    with torch.no_grad():
        add_identity(text, query, identity, HEADS, Gate())
    assert torch.equal(text, before)


def test_gradients_reach_query_text_and_projections():
    """Training runs through the same function."""
    to_k, to_v = (rule_input(f"grad.{n}", (WIDTH, TEXT_WIDTH)).requires_grad_() for n in ("k", "v"))
    identity = project_identity(token_rows([people((4, 4))]), to_k, to_v)
    text, query = (rule_input(f"grad.{n}", (2, 30, WIDTH)).requires_grad_() for n in ("text", "query"))
    maps = torch.stack([box_map(box, GRID).flatten() for box in vertical_slices(2)])
    bias = assignment_bias(maps, (4, 4), 8)
    out = add_identity(text, query, identity, HEADS, Gate(bias=bias[None, None]))
    out.square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in (text, query, to_k, to_v))


def test_activation_is_minmax_of_the_score_sum_and_cut_below_the_threshold():
    query, key_mean = rule_input("act.query", (2, 20, WIDTH)), rule_input("act.key", (2, WIDTH, 1))
    score = (query @ key_mean)[..., 0]
    low, high = score.amin(1, keepdim=True), score.amax(1, keepdim=True)
    expected = (score - low) / (high - low)
    assert torch.allclose(activation(query, key_mean, 0.0), expected, atol=1e-6)
    cut = activation(query, key_mean, 0.3)
    assert torch.equal(cut == 0, expected < 0.3)
    assert torch.equal(cut[cut > 0], activation(query, key_mean, 0.0)[cut > 0])


def test_activation_keeps_a_value_equal_to_the_threshold():
    query = torch.tensor([[[0.0], [0.25], [1.0]]])
    key_mean = torch.ones(1, 1, 1)
    assert activation(query, key_mean, 0.25).tolist() == [[0.0, 0.25, 1.0]]
    assert activation(query, key_mean, 1.0).tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_constant_activation_opens_nowhere(length, dtype):
    query = torch.ones(2, length, WIDTH, dtype=dtype)
    assert torch.equal(
        activation(query, torch.ones(1, WIDTH, 1, dtype=dtype), 0.3), torch.zeros(2, length, dtype=dtype)
    )


@pytest.mark.parametrize(
    ("box", "grid", "cells"),
    [
        ((0.0, 0.0, 0.5, 1.0), (2, 4), [[1, 1, 0, 0]] * 2),
        ((0.6, 0.1, 0.3, 0.4), (10, 10), (range(1, 5), range(6, 9))),
        ((0.1, 0.1, 0.3, 0.4), (10, 10), (range(1, 5), range(1, 4))),
        ((0.3, 0.3, 0.01, 0.01), (2, 2), [[1, 0], [0, 0]]),
        ((0.99, 0.99, 0.01, 0.01), (2, 2), [[0, 0], [0, 1]]),
        ((1 - 1e-9, 0.0, 1e-9, 1.0), (2, 2), [[0, 1], [0, 1]]),
        ((0.9, 0.0, 0.9, 2.0), (1, 10), [[0] * 9 + [1]]),
        ((0.0, 0.0, 1.0, 1.0), (3, 2), [[1, 1]] * 3),
        ((0.29, 0.0, 0.29, 1.0), (1, 100), (range(1), range(29, 58))),
    ],
)
def test_boxes_become_cells_by_truncation(box, grid, cells):
    if isinstance(cells, tuple):
        rows, columns = cells
        cells = [[int(y in rows and x in columns) for x in range(grid[1])] for y in range(grid[0])]
    assert box_map(box, grid).tolist() == cells


def test_a_box_in_a_window_covers_what_it_covers_in_the_whole():
    box, grid = (0.25, 0.0, 0.5, 0.5), (8, 8)
    whole = box_map(box, grid)
    assert torch.equal(box_map(box, (8, 4), Window(0.5, 0.0, 0.5, 1.0)), whole[:, 4:])
    assert torch.equal(box_map(box, (4, 8), Window(0.0, 0.5, 1.0, 0.5)), torch.zeros(4, 8))
    right_half = (0.5, 0.0, 0.5, 1.0)
    assert torch.equal(box_map(right_half, (8, 4), Window(0.0, 0.0, 0.5, 1.0)), torch.zeros(8, 4))


@pytest.mark.parametrize(("people", "strength"), [(1, 0.0), (2, 2.0), (3, 2.0)])
def test_the_automatic_layout_is_for_two_and_more(people, strength):
    assert ApplyOptions().layout_strength_for(people) == strength


def test_a_mask_is_averaged_over_cells_and_cropped_to_its_window():
    mask = torch.zeros(8, 8)
    mask[:4, 2:4] = 1
    assert mask_map(mask, (2, 2)).tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert mask_map(mask, (2, 2), Window(0.0, 0.0, 0.5, 0.5)).tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_overlapping_boxes_see_the_union_and_take_the_layout_once():
    maps = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    bias = assignment_bias(maps, (1, 1, 1), 8)
    visible = [[True, False, False], [True, True, False], [False, True, False], [True, True, True]]
    assert (bias[:, :3] == 0).tolist() == visible
    assert (bias[:, 3:] == -torch.inf).all()
    places = layout(maps, 2.0)
    assert places.offset.tolist() == [2.0, 2.0, 2.0, 0.0]
    assert torch.allclose(places.gain, torch.tensor([1.0, 1.0, 1.0, 1 / 3]))


def test_soft_masks_lie_between_inside_and_outside():
    maps = torch.tensor([[0.25], [0.75]])
    bias = assignment_bias(maps, (1, 1), 8)
    assert torch.allclose(bias[0, :2].exp(), torch.tensor([0.5, 1.0]))
    places = layout(maps, 2.0)
    assert torch.allclose(places.gain, torch.tensor([0.25 / 3 + 0.75]))
    assert torch.allclose(places.offset, torch.tensor([1.5]))
