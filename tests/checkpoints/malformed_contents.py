"""Sound containers with wrong contents: keys, shapes, values, other models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .malformed_registry import pickle_of, safetensors_of
from .small_files import State, published_saa, rule_network, saa_state, small_imr, small_keypoint_encoder


def _changed(name: str, expected: str, change: Callable[[State, State], Any]) -> None:
    """A published SAA file after ``change(proj_module, SAA_module)``."""

    def make(_: Path) -> State:
        state = published_saa()
        change(state["proj_module"], state["SAA_module"])
        return state

    pickle_of(name, expected, make)


def _spoil(tensor: Tensor, value: float) -> Tensor:
    """A copy with one bad value in its middle."""
    spoilt = tensor.clone()
    spoilt.view(-1)[tensor.numel() // 2] = value
    return spoilt


def _put(state: State, key: str, change: Callable[[Tensor], Any]) -> None:
    state[key] = change(state[key])


_changed("missing_key", "lacks 1 tensor: 'proj_module.norm.bias'", lambda proj, saa: proj.pop("norm.bias"))
_changed(
    "missing_first_key", "lacks the tensor 'proj_module.proj.0.weight'", lambda proj, saa: proj.pop("proj.0.weight")
)
_changed(
    "missing_many_keys",
    "and 2 more",
    lambda proj, saa: [
        proj.pop(key) for key in list(proj) if "layers.0.1" in key or "norm_out" in key or "proj_out.w" in key
    ],
)
_changed("extra_key", "1 tensor too many: 'proj_module.bonus'", lambda proj, saa: proj.update(bonus=torch.ones(2)))
_changed(
    "wrong_shape",
    "'proj_module.perceiver_resampler.layers.1.0.to_kv.weight' has the shape [128, 256], expected [256, 128]",
    lambda proj, saa: _put(proj, "perceiver_resampler.layers.1.0.to_kv.weight", lambda t: t.t().contiguous()),
)
_changed("wrong_dimensions", "expected 1 dimensions", lambda proj, saa: _put(proj, "norm.weight", lambda t: t[None]))
_changed("empty_tensor", "has the shape [0]", lambda proj, saa: _put(proj, "norm.weight", lambda t: t[:0]))
_changed(
    "odd_token_width",
    "expected a multiple of 127",
    lambda proj, saa: _put(proj, "norm.weight", lambda t: t[:127].clone()),
)
_changed(
    "width_of_no_whole_heads",
    "'proj_module.norm.weight' says width 32, expected a multiple of the head width 64",
    lambda proj, saa: _put(proj, "norm.weight", lambda t: t[:32].clone()),
)
_changed("no_layers", "has 0 layers", lambda proj, saa: [proj.pop(key) for key in list(proj) if ".layers." in key])
_changed(
    "absurd_depth",
    "has 10000 layers",
    lambda proj, saa: proj.update({"perceiver_resampler.layers.9999.0.norm1.weight": torch.ones(2)}),
)
_changed(
    "nan_in_projector",
    "NaN (not a number) values in the tensor 'proj_module.proj.2.weight'",
    lambda proj, saa: _put(proj, "proj.2.weight", lambda t: _spoil(t, float("nan"))),
)
_changed(
    "infinity_in_projector",
    "infinite values in the tensor 'proj_module.norm.bias'",
    lambda proj, saa: _put(proj, "norm.bias", lambda t: _spoil(t, float("-inf"))),
)
_changed(
    "overflow_in_projector",
    "overflows 32-bit",
    lambda proj, saa: _put(proj, "norm.bias", lambda t: _spoil(t.double(), 1e300)),
)
_changed(
    "nan_in_lora",
    "NaN (not a number) values in the tensor 'SAA_module.2.to_v_lora.up.weight'",
    lambda proj, saa: _put(saa, "2.to_v_lora.up.weight", lambda t: _spoil(t.half(), float("nan"))),
)
_changed(
    "infinity_in_to_k_ip",
    "infinite values in the tensor 'SAA_module.3.to_k_ip.weight'",
    lambda proj, saa: _put(saa, "3.to_k_ip.weight", lambda t: _spoil(t.bfloat16(), float("inf"))),
)
_changed("integers", "holds int64 values", lambda proj, saa: _put(proj, "norm.weight", lambda t: t.long()))
_changed(
    "integers_in_lora", "holds int8 values", lambda proj, saa: _put(saa, "0.to_q_lora.up.weight", lambda t: t.char())
)
_changed("complex_numbers", "holds complex64 values", lambda proj, saa: _put(proj, "norm.weight", lambda t: t + 0j))
_changed(
    "eight_bit_floats",
    "holds float8_e4m3fn values",
    lambda proj, saa: _put(saa, "1.to_v_ip.weight", lambda t: t.to(torch.float8_e4m3fn)),
)
_changed(
    "gap_in_layers", "layer 0 is missing", lambda proj, saa: [saa.pop(key) for key in list(saa) if key.startswith("0.")]
)
_changed(
    "odd_number_of_layers",
    "3 layers are an odd number",
    lambda proj, saa: [saa.pop(key) for key in list(saa) if key.startswith("3.")],
)
_changed(
    "missing_lora_half",
    "lack 1 tensor: 'SAA_module.1.to_k_lora.up.weight'",
    lambda proj, saa: saa.pop("1.to_k_lora.up.weight"),
)
_changed(
    "missing_to_k_ip", "lack 1 tensor: 'SAA_module.1.to_k_ip.weight'", lambda proj, saa: saa.pop("1.to_k_ip.weight")
)
_changed(
    "values_of_another_width",
    "'SAA_module.1.to_v_ip.weight' has the shape [64, 64], expected [64, 128]",
    lambda proj, saa: _put(saa, "1.to_v_ip.weight", lambda t: t[:, :64].clone()),
)
_changed(
    "self_attention_with_to_k_ip",
    "1 tensor too many: 'SAA_module.0.to_k_ip.weight'",
    lambda proj, saa: saa.update({"0.to_k_ip.weight": torch.ones(64, 128)}),
)
_changed(
    "layer_without_number",
    "names there start with a layer number",
    lambda proj, saa: saa.update({"middle.to_k_ip.weight": torch.ones(2)}),
)
_changed(
    "absurd_layer_number", "layer 4 is missing", lambda proj, saa: saa.update({"99999.to_k_ip.weight": torch.ones(2)})
)
_changed(
    "ranks_disagree",
    "'SAA_module.0.to_q_lora.up.weight' has the shape [64, 3], expected [64, 4]",
    lambda proj, saa: _put(saa, "0.to_q_lora.up.weight", lambda t: t[:, :3].clone()),
)
_changed(
    "flat_lora",
    "expected two dimensions",
    lambda proj, saa: _put(saa, "0.to_q_lora.down.weight", lambda t: t.flatten()),
)
_changed(
    "self_attention_of_another_width",
    "'SAA_module.0.to_k_lora.down.weight' has the shape [4, 32], expected [4, 64]",
    lambda proj, saa: [
        _put(saa, f"0.{name}_lora.down.weight", lambda t: t[:, :32].clone()) for name in ("to_k", "to_v")
    ],
)
_changed(
    "lora_of_rank_0",
    "'SAA_module.0.to_q_lora.up.weight' has the shape [64, 0], expected two dimensions",
    lambda proj, saa: [
        _put(saa, "0.to_q_lora.up.weight", lambda t: t[:, :0].clone()),
        _put(saa, "0.to_q_lora.down.weight", lambda t: t[:0].clone()),
    ],
)
_changed(
    "to_k_ip_of_another_projector",
    "'SAA_module.1.to_k_ip.weight' has the shape [64, 64], expected [64, 128]",
    lambda proj, saa: _put(saa, "1.to_k_ip.weight", lambda t: t[:, :64].clone()),
)
_changed(
    "mixed_text_widths",
    "mix text widths [96, 192]",
    lambda proj, saa: [
        _put(saa, f"3.{name}_lora.down.weight", lambda t: t[:, :96].clone()) for name in ("to_k", "to_v")
    ],
)

pickle_of(
    "no_saa_module",
    "holds the face projector, but no SAA layers",
    lambda _: {"proj_module": published_saa()["proj_module"]},
)
pickle_of("no_proj_module", "holds the SAA layers, but no face projector", lambda _: {"SAA_module": saa_state()})
pickle_of(
    "both_names", "holds the face projector twice", lambda _: {**published_saa(), "image_proj": {"a": torch.ones(2)}}
)
pickle_of(
    "leftover_group",
    "1 tensor of no DynamicID network: 'optimizer.step'",
    lambda _: {**published_saa(), "optimizer": {"step": torch.ones(1)}},
)
pickle_of("imr_file", "belongs at the input 'imr'", lambda _: rule_network("imr", small_imr()))
pickle_of("keypoint_file", "holds the key-point encoder", lambda _: rule_network("keypoints", small_keypoint_encoder()))
pickle_of(
    "sd_checkpoint",
    "looks like a Stable Diffusion checkpoint",
    lambda _: {"state_dict": {"model.diffusion_model.out.0.weight": torch.ones(2)}},
)
pickle_of("lora_file", "looks like a LoRA", lambda _: {"lora_unet_mid.lora_up.weight": torch.ones(2)})
pickle_of(
    "ip_adapter_file",
    "looks like an IP-Adapter",
    lambda _: {"image_proj": {"proj.weight": torch.ones(2)}, "ip_adapter": {"1.to_k_ip.weight": torch.ones(2)}},
)
pickle_of(
    "ip_adapter_without_lora",
    "looks like an IP-Adapter",
    lambda _: {"image_proj": published_saa()["proj_module"], "ip_adapter": {"1.to_k_ip.weight": torch.ones(2)}},
)
pickle_of("vae_file", "looks like a VAE", lambda _: {"decoder.up.0.weight": torch.ones(2)})
pickle_of("unknown_tensors", "'w4' and 2 more", lambda _: {f"w{i}": torch.ones(2) for i in range(7)})
safetensors_of(
    "saved_face", "is a saved face", {"id_tokens": torch.ones(4, 768)}, {"format": "dynamicid-face", "version": "1"}
)
safetensors_of(
    "newer_version", "of version '2'", {"projector.a": torch.ones(1)}, {"format": "dynamicid", "version": "2"}
)
safetensors_of("sd_safetensors", "looks like a Stable Diffusion checkpoint", {"model.diffusion_model.a": torch.ones(1)})
