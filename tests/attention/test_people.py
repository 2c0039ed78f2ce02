"""The people of a picture: whose tokens, whose place, and how rows of several pictures stand together."""

import torch

from dynamicid.attention.identity import LayerIdentity
from dynamicid.attention.people import LayerMasks, nobody, people_of, stack_masks, token_rows
from dynamicid.attention.person_maps import person_maps
from dynamicid.attention.saa import Gate
from dynamicid.faces.face import Face
from dynamicid.faces.regions import Region
from tests.standin.rule import rule_input


def region(name, box=None, mask=None, count=4):
    positive, negative = (rule_input(f"people.{name}.{kind}", (count, 8)) for kind in ("positive", "negative"))
    return Region(Face(positive, negative, torch.ones(4) / 2, token_scale=torch.full((count,), 0.5)), box, mask)


def test_tokens_stand_person_after_person_and_places_are_mask_then_box_then_slice():
    mask = torch.zeros(4, 4)
    mask[:2] = 1
    regions = [
        region("a", (0.5, 0.0, 0.5, 0.5)),
        region("b"),
        region("c", (0.0, 0.0, 1.0, 1.0), mask, count=8),
        region("d"),
    ]
    people = people_of(regions)
    assert people.counts == (4, 4, 8, 4)
    assert torch.equal(people.positive[8:16], regions[2].face.id_tokens)
    assert torch.equal(people.negative[16:], regions[3].face.negative_tokens)
    assert people.scale.tolist() == [0.5] * 20
    expected = torch.zeros(4, 2, 2)
    expected[0, 0, 1], expected[1, :, 0], expected[2, 0], expected[3, :, 1] = 1, 1, 1, 1
    assert torch.equal(people.maps((2, 2)), expected)


def test_pictures_without_layout_or_bias_are_neutral_rows():
    two = people_of([region("a", (0.0, 0.0, 0.5, 1.0)), region("b", (0.5, 0.0, 0.5, 1.0))])
    one = people_of([region("c", (0.0, 0.0, 1.0, 1.0), count=8)])
    stacked = stack_masks([two.masks((1, 2), 8, 2.0), one.masks((1, 2), 8, 0.0)])
    assert stacked.bias is not None
    assert stacked.gain is not None
    assert stacked.offset is not None
    assert stacked.bias.shape == (2, 1, 2, 8)
    assert (stacked.bias[0, 0] == 0).tolist() == [[True] * 4 + [False] * 4, [False] * 4 + [True] * 4]
    assert not stacked.bias[1].any()
    assert stacked.gain.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert stacked.offset.tolist() == [[2.0, 2.0], [0.0, 0.0]]
    assert stack_masks([one.masks((1, 2), 8, 0.0)] * 2) == LayerMasks(None, None, None)


def test_without_a_gate_places_bind_nobody():
    free = people_of([region("a", (0.0, 0.0, 0.5, 1.0)), region("b", (0.5, 0.0, 0.5, 1.0))], assigned=False)
    assert free.masks((2, 2), 8, 2.0) == LayerMasks(None, None, None)


def test_positive_rows_of_all_pictures_come_before_the_negative_ones():
    person = people_of([region("a")])
    rows = token_rows([person, nobody(8)])
    assert torch.equal(rows.tokens[0], person.positive)
    assert torch.equal(rows.tokens[2], person.negative)
    assert not rows.tokens[[1, 3]].any()
    assert rows.scale[:, :1].flatten().tolist() == [0.5, 1.0, 0.5, 1.0]


def test_person_maps_are_the_activation_shared_by_attention_mass():
    """Against the formula with a full score tensor; with the gate off the maps of all people sum to 1."""
    heads, width, cells, counts = 2, 8, 6, (4, 8)
    key, value = (rule_input(f"maps.{name}", (2, 16, width)) for name in ("key", "value"))
    identity = LayerIdentity(key, value, rule_input("maps.mean", (2, width, 1)))
    query = rule_input("maps.query", (4, cells, width)) * 2
    bias = torch.zeros(2 * cells, 16)
    bias[:, 12:] = -torch.inf
    bias[3:9, :4] = -torch.inf
    gate = Gate(0.7, 0.3, bias[None, None], torch.full((1, 2 * cells), 0.5), torch.full((1, 2 * cells), 0.25))
    expected = torch.zeros(2, 2, 2 * cells)
    for row in range(4):
        chunk, start = row // 2, cells * (row % 2)
        score = (
            torch.einsum("lhd,khd->hlk", query[row].view(cells, heads, -1), identity.key[chunk].view(16, heads, -1))
            / (width / heads) ** 0.5
        )
        mass = (score + bias[start : start + cells]).softmax(-1).mean(0)
        total = (query[row] @ identity.key_mean[chunk])[:, 0]
        a = (total - total.min()) / (total.max() - total.min())
        a = torch.where(a < 0.3, 0.0, a) * 0.5 + 0.25
        for person, keys in enumerate((slice(0, 4), slice(4, 12))):
            expected[chunk, person, start : start + cells] = a * mass[:, keys].sum(-1)
    with torch.no_grad():
        assert torch.allclose(person_maps(query, identity, heads, gate, counts), expected, atol=1e-5)
        ungated = person_maps(query, identity, heads, Gate(threshold=None, bias=gate.bias), counts)
    assert torch.allclose(ungated.sum(1), torch.ones(2, 2 * cells), atol=1e-5)
