"""Apply is neutral at zero, leaves no trace in the model it was given, and its copies are independent."""

import copy
from dataclasses import replace

import pytest
import torch

WHOLE = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def two_people(make_regions):
    return make_regions({"anna": (0.0, 0.1, 0.5, 0.6), "ben": (0.5, 0.1, 0.5, 0.6)})


def test_zero_weight_and_zero_lora_is_the_unpatched_model_to_the_last_bit(mini_model, apply, sample, two_people):
    plain = sample(mini_model)
    neutral = apply(mini_model, regions=two_people, weight=0.0, lora_strength=0.0)
    assert torch.equal(sample(neutral), plain)


def test_patched_picture_differs_and_removing_the_node_restores_it(mini_model, apply, sample, two_people):
    before = sample(mini_model)
    options = copy.deepcopy(mini_model.model_options)
    patched = apply(mini_model, regions=two_people)
    assert not torch.allclose(sample(patched), before, atol=1e-2)
    assert torch.equal(sample(mini_model), before)
    assert mini_model.model_options == options
    assert mini_model.patches == {}
    assert mini_model.wrappers == {}
    assert mini_model.attachments == {}


def test_each_strength_acts_alone(mini_model, apply, sample, two_people):
    plain = sample(mini_model)
    lora_only = sample(apply(mini_model, regions=two_people, weight=0.0))
    identity_only = sample(apply(mini_model, regions=two_people, lora_strength=0.0))
    both = sample(apply(mini_model, regions=two_people))
    pictures = [plain, lora_only, identity_only, both]
    assert all(not torch.allclose(a, b, atol=1e-3) for i, a in enumerate(pictures) for b in pictures[:i])


def test_sampling_twice_gives_the_same_picture(mini_model, apply, sample, two_people):
    model = apply(mini_model, regions=two_people)
    assert torch.equal(sample(model), sample(model))


def test_outside_the_active_range_nothing_is_left(mini_model, apply, sample, make_face):
    never = apply(mini_model, face=make_face("anna"), start_at=1.0, end_at=1.0, layout_strength=2.0)
    assert torch.equal(sample(never), sample(mini_model))


def test_range_edges_are_noise_levels(mini_model, apply, sample, make_face):
    """Two steps lie at 0 and at 0.5 of the sampling range."""
    face = make_face("anna")
    full = sample(apply(mini_model, face=face))
    assert torch.equal(sample(apply(mini_model, face=face, end_at=0.6)), full)
    assert not torch.equal(sample(apply(mini_model, face=face, end_at=0.4)), full)
    assert not torch.equal(sample(apply(mini_model, face=face, start_at=0.2)), full)
    late = sample(apply(mini_model, face=face, start_at=0.4))
    assert torch.equal(sample(apply(mini_model, face=face, start_at=0.2)), late)


def test_layout_strength_acts_until_its_end(mini_model, apply, sample, two_people):
    none = sample(apply(mini_model, regions=two_people, layout_strength=0.0))
    automatic = sample(apply(mini_model, regions=two_people, layout_strength=-1.0))
    assert torch.equal(sample(apply(mini_model, regions=two_people, layout_strength=2.0)), automatic)
    assert not torch.equal(automatic, none)
    assert torch.equal(sample(apply(mini_model, regions=two_people, layout_strength=2.0, layout_end=0.0)), none)
    first_step, whole_run = (
        sample(apply(mini_model, regions=two_people, layout_strength=2.0, layout_end=end)) for end in (0.49, 1.0)
    )
    assert torch.equal(first_step, automatic)
    assert not torch.equal(whole_run, automatic)
    assert torch.equal(sample(apply(mini_model, regions=two_people, layout_strength=2.0, layout_end=0.52)), whole_run)


def test_one_person_has_no_layout_strength_by_itself(mini_model, apply, sample, make_regions):
    one = make_regions({"anna": (0.25, 0.25, 0.5, 0.5)})
    automatic = sample(apply(mini_model, regions=one))
    assert torch.equal(automatic, sample(apply(mini_model, regions=one, layout_strength=0.0)))


def test_face_equals_one_region_over_the_whole_picture(mini_model, apply, sample, make_face, make_regions):
    alone = sample(apply(mini_model, face=make_face("anna")))
    assert torch.equal(alone, sample(apply(mini_model, regions=make_regions({"anna": WHOLE}))))


def test_people_without_a_box_share_vertical_slices(mini_model, apply, sample, make_regions):
    thirds = {name: (i / 3, 0.0, 1 / 3, 1.0) for i, name in enumerate(("anna", "ben", "cleo"))}
    automatic = make_regions(dict.fromkeys(thirds))
    assert torch.equal(
        sample(apply(mini_model, regions=automatic)), sample(apply(mini_model, regions=make_regions(thirds)))
    )


def test_a_hard_mask_is_the_box(mini_model, apply, sample, make_regions):
    mask = torch.zeros(64, 64)
    mask[:, 32:] = 1
    boxes = make_regions({"anna": (0.0, 0.0, 0.5, 1.0), "ben": (0.5, 0.0, 0.5, 1.0)})
    masks = make_regions({"anna": (0.0, 0.0, 0.5, 1.0), "ben": mask})
    assert torch.allclose(sample(apply(mini_model, regions=boxes)), sample(apply(mini_model, regions=masks)), atol=1e-5)


def test_two_apply_nodes_merge_the_lora_once(mini_model, apply, sample, make_regions):
    anna, ben = ({name: box} for name, box in (("anna", (0, 0, 0.5, 1)), ("ben", (0.5, 0, 0.5, 1))))
    first = apply(mini_model, regions=make_regions(anna))
    second = apply(first, regions=make_regions(ben))
    without = apply(first, regions=make_regions(ben), lora_strength=0.0)
    assert torch.allclose(sample(second), sample(without), atol=1e-5)
    assert not torch.allclose(sample(second), sample(first), atol=1e-3)
    neutral = apply(first, regions=make_regions(ben), lora_strength=0.0, weight=0.0)
    assert torch.equal(sample(neutral), sample(first))


@pytest.mark.parametrize("index", [0, 1], ids=["self-attention", "cross-attention"])
def test_a_layer_of_another_width_is_refused(mini_model, pack, dynamicid, two_people, index):
    module = pack.load("dynamicid.host.apply")
    layer = dynamicid.saa_layers[index]
    low_rank = layer.lora["to_k"]
    rank, width = low_rank.down.shape
    wider = replace(layer, lora={**layer.lora, "to_k": low_rank._replace(down=torch.zeros(rank, width + 8))})
    layers = [wider if number == index else other for number, other in enumerate(dynamicid.saa_layers)]
    other = replace(dynamicid, saa_layers=tuple(layers))
    with pytest.raises(ValueError, match=rf"a to_k layer is \d+ x {width + 8}, the model's is \d+ x {width}"):
        module.apply_dynamicid(mini_model, other, two_people, module.ApplyOptions())


def test_attached_caches_survive_a_deep_copy_of_the_options(mini_model, apply, sample, two_people):
    """Cores up to early 2026 deep-copy the options of a clone, later ones share the objects: both work."""
    model = apply(mini_model, regions=two_people)
    expected = sample(model)
    deep = model.clone()
    deep.model_options = copy.deepcopy(model.model_options)
    assert torch.equal(sample(deep), expected)
    shared = model.clone()
    shared.model_options = {**model.model_options}
    assert torch.equal(sample(shared), expected)


def test_keys_and_values_are_kept_by_number_format(pack, dynamicid, two_people):
    people = pack.load("dynamicid.attention.people").people_of(two_people)
    kept = pack.load("dynamicid.host.identity_keys_values").project_people(dynamicid, [people])
    for dtype in (torch.float32, torch.float16, torch.float32):
        assert kept.rows(0, torch.device("cpu"), dtype, (0, 1)).key.dtype == dtype


def test_float16_weights_of_the_pack_give_nearly_the_same_picture(mini_model, pack, sample, two_people, tmp_path):
    from tests.standin.host_files import mini_unet_shapes
    from tests.standin.weight_files import write_published_files

    write_published_files(tmp_path, mini_unet_shapes(), torch.float16)
    load = pack.load("dynamicid.checkpoints.weights").load_weights
    apply_dynamicid = pack.load("dynamicid.host.apply").apply_dynamicid
    options = pack.load("dynamicid.host.apply").ApplyOptions(gate_threshold=0.0)
    half, _ = apply_dynamicid(mini_model, load(tmp_path / "SAA.bin"), two_people, options)
    write_published_files(tmp_path, mini_unet_shapes())
    full, _ = apply_dynamicid(mini_model, load(tmp_path / "SAA.bin"), two_people, options)
    assert (sample(half) - sample(full)).abs().max() < 0.02 * sample(full).abs().max()
