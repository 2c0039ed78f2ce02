"""Stand-ins for the files ComfyUI itself loads: an SD1.5 checkpoint and a ViT-H image encoder, by the golden rule.

Keys and shapes come from ComfyUI's own model classes, so ComfyUI must be importable.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .rule import rule_state

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "data" / "golden"
SD15_UNET = {
    "image_size": 32,
    "use_spatial_transformer": True,
    "legacy": False,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "use_linear_in_transformer": False,
    "context_dim": 768,
    "num_heads": 8,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}
_VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}

Shapes = dict[str, tuple[int, ...]]


def mini_unet_shapes() -> Shapes:
    """The 44 M-parameter UNet of the golden cases, original (LDM) naming without prefix."""
    return _read_shapes("mini_unet_keys.json")


def sd15_unet_shapes() -> Shapes:
    """The full UNet of Stable Diffusion 1.5, original (LDM) naming without prefix."""
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    operations: Any = comfy.ops.disable_weight_init
    return _shapes_of(UNetModel(**SD15_UNET, device="meta", operations=operations))  # pyright: ignore[reportArgumentType]


def write_checkpoint(path: Path, unet: Shapes, dtype: torch.dtype = torch.float16) -> None:
    """A single-file SD1.5 checkpoint: UNet of the given shapes, CLIP-L and VAE, in the original naming."""
    import comfy.ops
    import comfy.sd1_clip
    from comfy.ldm.models.autoencoder import AutoencoderKL

    clip = comfy.sd1_clip.SDClipModel(device="meta", dtype=torch.float32)
    text = {key: shape for key, shape in _shapes_of(clip.transformer).items() if key.startswith("text_model.")}
    vae = _shapes_of(AutoencoderKL(ddconfig=_VAE, embed_dim=4))
    state = {
        **_prefixed("model.diffusion_model.", rule_state("unet", unet)),
        **_prefixed("cond_stage_model.transformer.", rule_state("clip_l", text)),
        **_prefixed("first_stage_model.", rule_state("vae", vae)),
    }
    _save(state, path, dtype)


def clip_vision_state() -> dict[str, Tensor]:
    """A ViT-H/14 image encoder, as the golden case ``vision_states`` has it, in float32."""
    return rule_state("clip_vision", _read_shapes("clip_vision_keys.json"))


def write_clip_vision(path: Path, dtype: torch.dtype = torch.float16) -> None:
    """The same as a file."""
    _save(clip_vision_state(), path, dtype)


def _read_shapes(name: str) -> Shapes:
    return {key: tuple(shape) for key, shape in json.loads((GOLDEN / name).read_text()).items()}


def _shapes_of(module: torch.nn.Module) -> Shapes:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def _prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def _save(state: dict[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    save_file(half, path)
