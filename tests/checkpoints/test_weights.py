"""Loading good files in every accepted layout."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dynamicid.checkpoints import DynamicIDWeights, load_weights
from dynamicid.checkpoints.bases import SD15_BLOCK_WIDTHS, SUPPORTED_BASES, fitting_base
from dynamicid.checkpoints.saa import SAAShape
from dynamicid.errors import DynamicIDError
from dynamicid.models import IMR, FaceProjector, KeypointEncoder
from tests.checkpoints.small_files import (
    LAYER_WIDTHS,
    TEXT_WIDTH,
    TOKEN_WIDTH,
    published_saa,
    rule_network,
    saa_state,
    small_imr,
    small_keypoint_encoder,
    small_projector,
    write_small_files,
)
from tests.standin.rule import rule_tensor


def assert_is_small_saa(weights: DynamicIDWeights) -> None:
    """The networks of ``published_saa``, value for value."""
    expected = rule_network("projector", small_projector())
    state = weights.projector.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert len(weights.saa_layers) == len(LAYER_WIDTHS)
    for index, (layer, width) in enumerate(zip(weights.saa_layers, LAYER_WIDTHS, strict=True)):
        assert layer.width == width
        assert layer.is_cross == bool(index % 2)
        assert set(layer.lora) == {"to_q", "to_k", "to_v", "to_out"}
        up = rule_tensor(f"saa.{index}.to_v_lora.up.weight", (width, 4))
        assert torch.equal(layer.lora["to_v"].up, up)
        assert layer.lora["to_k"].down.shape == (4, TEXT_WIDTH if index % 2 else width)
        if layer.to_k_ip is not None and layer.to_v_ip is not None:
            assert torch.equal(layer.to_k_ip, rule_tensor(f"saa.{index}.to_k_ip.weight", (width, TOKEN_WIDTH)))
            assert layer.to_v_ip.shape == (width, TOKEN_WIDTH)


def test_published_files_load_with_every_value(tmp_path: Path):
    folder = write_small_files(tmp_path)
    weights = load_weights(folder / "SAA.bin", folder / "IMR.bin")
    assert_is_small_saa(weights)
    assert weights.imr is not None
    assert weights.keypoint_encoder is not None
    expected = rule_network("imr", small_imr())
    assert all(torch.equal(value, expected[key]) for key, value in weights.imr.state_dict().items())
    expected = rule_network("keypoints", small_keypoint_encoder())
    assert all(torch.equal(value, expected[key]) for key, value in weights.keypoint_encoder.state_dict().items())
    assert weights.source == "SAA.bin + IMR.bin + key_point_encoder.bin"


def test_loaded_networks_are_frozen_and_compute_what_they_were_saved_from(tmp_path: Path):
    folder = write_small_files(tmp_path)
    weights = load_weights(folder / "SAA.bin", folder / "IMR.bin")
    saved = {"projector": small_projector(), "imr": small_imr(), "keypoints": small_keypoint_encoder()}
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "projector": ((2, 32), (2, 5, 96)),
        "imr": ((2, 4, TOKEN_WIDTH), (2, 160), (2, 160)),
        "keypoints": ((2, 1, 96, 96),),
    }
    networks = {"projector": weights.projector, "imr": weights.imr, "keypoints": weights.keypoint_encoder}
    for name, network in networks.items():
        assert network is not None
        assert not network.training
        assert not any(p.requires_grad or p.is_meta or p.dtype != torch.float32 for p in network.parameters())
        saved[name].load_state_dict(rule_network(name, saved[name]))
        values = [torch.randn(shape, generator=generator) for shape in inputs[name]]
        assert torch.equal(network(*values), saved[name].eval()(*values))


@pytest.mark.parametrize("names", [("image_proj", "ip_adapter"), ("image_proj", "adapter_modules")])
def test_older_names_load(names: tuple[str, str], tmp_path: Path):
    state = published_saa()
    torch.save({names[0]: state["proj_module"], names[1]: state["SAA_module"]}, tmp_path / "old.bin")
    assert_is_small_saa(load_weights(tmp_path / "old.bin"))


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
def test_legacy_pickles_load(suffix: str, tmp_path: Path):
    path = tmp_path / f"SAA{suffix}"
    torch.save(published_saa(), path, _use_new_zipfile_serialization=False)
    assert_is_small_saa(load_weights(path))


def test_parameters_and_state_dicts_with_metadata_load(tmp_path: Path):
    projector = small_projector()
    projector.load_state_dict(rule_network("projector", projector))
    layers = {key: torch.nn.Parameter(value) for key, value in saa_state().items()}
    torch.save({"proj_module": projector.state_dict(), "SAA_module": layers}, tmp_path / "SAA.bin")
    assert_is_small_saa(load_weights(tmp_path / "SAA.bin"))


def test_safetensors_versions_of_the_published_files_load(tmp_path: Path):
    flat = {f"{group}.{key}": value for group, state in published_saa().items() for key, value in state.items()}
    save_file(flat, tmp_path / "SAA.safetensors")
    save_file(rule_network("imr", small_imr()), tmp_path / "IMR.safetensors")
    save_file(rule_network("keypoints", small_keypoint_encoder()), tmp_path / "key_point_encoder.safetensors")
    weights = load_weights(tmp_path / "SAA.safetensors", tmp_path / "IMR.safetensors")
    assert_is_small_saa(weights)
    assert weights.keypoint_encoder is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_files_give_float32_networks_and_keep_the_layers(dtype: torch.dtype, tmp_path: Path):
    state = {group: {k: v.to(dtype) for k, v in tensors.items()} for group, tensors in published_saa().items()}
    torch.save(state, tmp_path / "SAA.bin")
    weights = load_weights(tmp_path / "SAA.bin")
    assert weights.projector.norm.weight.dtype == torch.float32
    assert torch.equal(weights.projector.norm.weight, state["proj_module"]["norm.weight"].float())
    assert weights.saa_layers[1].to_k_ip is not None
    assert weights.saa_layers[1].to_k_ip.dtype == dtype
    assert weights.saa_layers[0].lora["to_q"].up.dtype == dtype


def test_double_precision_files_give_float32(tmp_path: Path):
    state = {group: {k: v.double() for k, v in tensors.items()} for group, tensors in published_saa().items()}
    torch.save(state, tmp_path / "SAA.bin")
    assert_is_small_saa(load_weights(tmp_path / "SAA.bin"))


def test_loaded_tensors_survive_the_file(tmp_path: Path):
    folder = write_small_files(tmp_path)
    weights = load_weights(folder / "SAA.bin", folder / "IMR.bin")
    for path in folder.iterdir():
        path.write_bytes(b"\x00" * path.stat().st_size)
    assert_is_small_saa(weights)


def test_depth_and_sizes_come_from_the_file(tmp_path: Path):
    folder = write_small_files(tmp_path)
    torch.save(rule_network("imr", small_imr(depth=3)), folder / "IMR.bin")
    weights = load_weights(folder / "SAA.bin", folder / "IMR.bin")
    assert weights.imr is not None
    assert len(weights.imr.entangleNet) == 3
    assert len(weights.projector.perceiver_resampler.layers) == 2


@pytest.mark.parametrize(
    ("imr_name", "partner"),
    [
        ("IMR_3_5000.bin", "key_point_encoder_3_5000.bin"),
        ("IMR_3_5000.bin", "keypoint_encoder_3_5000.bin"),
        ("imr.bin", "key_point_encoder.bin"),
        ("my-IMR v2.bin", "my-key_point_encoder v2.bin"),
        ("editor.bin", "key_point_encoder.bin"),
    ],
)
def test_the_partner_is_found_by_name(imr_name: str, partner: str, tmp_path: Path):
    folder = tmp_path / "dossier é with spaces"
    folder.mkdir()
    write_small_files(folder)
    (folder / "IMR.bin").rename(folder / imr_name)
    (folder / "key_point_encoder.bin").rename(folder / partner)
    weights = load_weights(folder / "SAA.bin", folder / imr_name)
    assert weights.source.endswith(partner)


def test_a_missing_partner_is_named_with_its_folder(tmp_path: Path):
    folder = write_small_files(tmp_path)
    (folder / "IMR.bin").rename(folder / "IMR_3_5000.bin")
    with pytest.raises(DynamicIDError) as refusal:
        load_weights(folder / "SAA.bin", folder / "IMR_3_5000.bin")
    text = str(refusal.value)
    assert text.startswith("imr: ")
    assert "is an IMR without its key-point encoder: 'key_point_encoder_3_5000.bin' is not in" in text
    assert str(folder) in text


def test_a_partner_elsewhere_may_be_named(tmp_path: Path):
    folder = write_small_files(tmp_path)
    (folder / "other").mkdir()
    shutil.move(folder / "key_point_encoder.bin", folder / "other" / "points.bin")
    weights = load_weights(folder / "SAA.bin", folder / "IMR.bin", folder / "other" / "points.bin")
    assert weights.keypoint_encoder is not None


def test_files_at_the_wrong_input_are_told_apart(tmp_path: Path):
    folder = write_small_files(tmp_path)
    with pytest.raises(DynamicIDError, match=r"^imr: .*holds the face projector and the SAA layers, but no IMR"):
        load_weights(folder / "SAA.bin", folder / "SAA.bin")
    with pytest.raises(DynamicIDError, match=r"^imr: .*holds the key-point encoder, but no IMR"):
        load_weights(folder / "SAA.bin", folder / "key_point_encoder.bin")


@pytest.mark.parametrize(
    ("imr", "encoder", "text"),
    [
        (
            IMR(64, 160, 128),
            small_keypoint_encoder(),
            "tokens of width 64, the face projector makes 128",
        ),
        (IMR(128, 64, 128), small_keypoint_encoder(), "leaves no room for the face prompt"),
        (small_imr(), KeypointEncoder(4, ((4, 1),), 64), "has 1 stages, expected 5"),
        (small_imr(), small_projector(), "is no DynamicID weight file"),
    ],
)
def test_networks_that_do_not_fit_one_another(imr: IMR, encoder: torch.nn.Module, text: str, tmp_path: Path):
    folder = write_small_files(tmp_path)
    torch.save(rule_network("imr", imr), folder / "IMR.bin")
    torch.save(rule_network("keypoints", encoder), folder / "key_point_encoder.bin")
    with pytest.raises(DynamicIDError, match=text):
        load_weights(folder / "SAA.bin", folder / "IMR.bin")


def test_unequal_nets_of_an_imr_are_refused(tmp_path: Path):
    folder = write_small_files(tmp_path)
    state = rule_network("imr", small_imr(depth=2))
    shorter = {key: value for key, value in state.items() if not key.startswith("entangleNet.1.")}
    torch.save(shorter, folder / "IMR.bin")
    with pytest.raises(DynamicIDError, match=r"the IMR in 'IMR.bin' lacks \d+ tensors: 'entangleNet\.1\."):
        load_weights(folder / "SAA.bin", folder / "IMR.bin")


def test_published_sizes_load(tmp_path: Path):
    """Zeros at the published sizes: 32 layers of SD1.5, rank 128, and the three networks' default constructors."""
    widths = tuple(width for width in SD15_BLOCK_WIDTHS for _ in range(2))
    with torch.device("meta"):
        networks = {"SAA": FaceProjector(), "IMR": IMR(), "key_point_encoder": KeypointEncoder()}
    states = {name: _half_zeros(network.state_dict()) for name, network in networks.items()}
    layers = {}
    for index, width in enumerate(widths):
        context = 768 if index % 2 else width
        for target in ("to_q", "to_k", "to_v", "to_out"):
            layers[f"{index}.{target}_lora.down.weight"] = (128, context if target in ("to_k", "to_v") else width)
            layers[f"{index}.{target}_lora.up.weight"] = (width, 128)
        if index % 2:
            layers[f"{index}.to_k_ip.weight"] = layers[f"{index}.to_v_ip.weight"] = (width, 768)
    saa = {key: torch.zeros(shape, dtype=torch.float16) for key, shape in layers.items()}
    torch.save({"proj_module": states["SAA"], "SAA_module": saa}, tmp_path / "SAA.bin")
    torch.save(states["IMR"], tmp_path / "IMR.bin")
    torch.save(states["key_point_encoder"], tmp_path / "key_point_encoder.bin")
    weights = load_weights(tmp_path / "SAA.bin", tmp_path / "IMR.bin")
    assert [layer.width for layer in weights.saa_layers] == list(widths)
    assert weights.projector.token_count == 4
    assert weights.imr is not None
    assert weights.imr.motion_width == 1536
    assert fitting_base(SAAShape(widths, 768, 768, (128,))) is SUPPORTED_BASES[0]
    assert fitting_base(SAAShape(widths[:-2], 768, 768, (128,))) is None


def _half_zeros(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        key: torch.zeros(value.shape, dtype=torch.float16 if value.is_floating_point() else value.dtype)
        for key, value in state.items()
    }
