"""Loads a diffusers folder of any size into the host's Stable Diffusion 1.5 classes."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import comfy.clip_vision
import comfy.diffusers_convert
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
import torch
from torch import Tensor

Config = Mapping[str, Any]
PREDICTIONS = {
    "epsilon": comfy.model_base.ModelType.EPS,
    "v_prediction": comfy.model_base.ModelType.V_PREDICTION,
}
"""Prediction type: diffusers' name -> the host's."""
State = dict[str, Tensor]


class Multiple(float):
    """A level's channel multiplier that gives a whole number of channels, which the host's layers need."""

    def __mul__(self, channels: float) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return round(float(self) * channels)

    __rmul__ = __mul__


def load_model(base: Path) -> Any:
    """The UNet as the host's SD1.5, in the host's own ModelPatcher.

    Args:
        base: diffusers folder.
    """
    config = _config(base / "unet")
    scaling = float(_config(base / "vae")["scaling_factor"])
    noise = _config(base / "scheduler", "scheduler_config.json")

    class SmallSD15(comfy.supported_models.SD15):
        unet_extra_config: ClassVar[dict[str, int]] = {
            "num_heads": config["attention_head_dim"],  # diffusers' name for it, too
            "num_head_channels": -1,
        }
        # The host's "linear" is what diffusers calls scaled linear.
        sampling_settings: ClassVar[dict[str, Any]] = {
            "beta_schedule": "linear",
            "linear_start": noise["beta_start"],
            "linear_end": noise["beta_end"],
        }

        @staticmethod
        def latent_format() -> Any:
            return comfy.latent_formats.SD15(scale_factor=scaling)

        @staticmethod
        def model_type(state_dict: Mapping[str, Tensor], prefix: str = "") -> Any:
            return PREDICTIONS[noise["prediction_type"]]

    sizes = unet_config(config)
    management = comfy.model_management
    device = management.get_torch_device()
    dtype = management.unet_dtype(device)
    settings = SmallSD15(sizes)
    settings.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device))
    offload = management.unet_offload_device()
    model = settings.get_model({}, "", device=offload)
    _set_groups(model.diffusion_model, config)
    names = comfy.utils.unet_to_diffusers(sizes)
    state = _weights(base / "unet" / "diffusion_pytorch_model.safetensors")
    _check_keys({names[key]: None for key in state}, model.diffusion_model.state_dict(), "UNet")
    model.load_model_weights({names[key]: tensor for key, tensor in state.items()}, "")
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=offload)


def unet_config(config: Config) -> dict[str, Any]:
    """The host's description of a UNet that diffusers describes as ``config``."""
    channels, count = config["block_out_channels"], config["layers_per_block"]
    depths = [int("CrossAttn" in kind) for kind in config["down_block_types"]]
    return {
        "image_size": config["sample_size"],
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": channels[0],
        "num_res_blocks": [count] * len(channels),
        "channel_mult": [Multiple(width / channels[0]) for width in channels],
        "transformer_depth": [depth for depth in depths for _ in range(count)],
        "transformer_depth_output": [depth for depth in depths for _ in range(count + 1)],
        "transformer_depth_middle": 1,
        "context_dim": config["cross_attention_dim"],
        "use_linear_in_transformer": config["use_linear_projection"],
        "use_spatial_transformer": True,
        "use_temporal_attention": False,
        "adm_in_channels": None,
        "legacy": False,
    }


def load_clip(base: Path) -> Any:
    """The text encoder and its vocabulary as the host's CLIP of SD1.5."""
    config = dict(_config(base / "text_encoder"))
    special = {"start": config["bos_token_id"], "end": config["eos_token_id"], "pad": config["eos_token_id"]}

    class SmallTextModel(comfy.sd1_clip.SDClipModel):
        def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Mapping[str, Any] | None = None):
            super().__init__(
                device=device,
                dtype=dtype,
                max_length=config["max_position_embeddings"],
                textmodel_json_config=config,
                special_tokens=special,
                return_projected_pooled=False,
                model_options=dict(model_options or {}),
            )
            # The host ignores the configured vocabulary size and uses CLIP's 49408.
            embedding = comfy.ops.manual_cast.Embedding(
                config["vocab_size"], config["hidden_size"], dtype=dtype, device=device
            )
            self.transformer.set_input_embeddings(embedding)

    class SmallTokenizer(comfy.sd1_clip.SDTokenizer):
        def __init__(self, embedding_directory: Any = None, tokenizer_data: Mapping[str, Any] | None = None):
            super().__init__(
                tokenizer_path=str(base / "tokenizer"),
                max_length=config["max_position_embeddings"],
                embedding_directory=embedding_directory,
                embedding_size=config["hidden_size"],
                tokenizer_data=dict(tokenizer_data or {}),
            )

    class SmallCLIP(comfy.sd1_clip.SD1ClipModel):
        def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Mapping[str, Any] | None = None):
            super().__init__(device, dtype, dict(model_options or {}), clip_model=SmallTextModel)

    class SmallTokenizers(comfy.sd1_clip.SD1Tokenizer):
        def __init__(self, embedding_directory: Any = None, tokenizer_data: Mapping[str, Any] | None = None):
            super().__init__(embedding_directory, dict(tokenizer_data or {}), tokenizer=SmallTokenizer)

    target = comfy.supported_models_base.ClipTarget(SmallTokenizers, SmallCLIP)
    clip = comfy.sd.CLIP(target)
    state = _weights(base / "text_encoder" / "model.safetensors")
    prefixed = {key if key.startswith("text_model.") else f"text_model.{key}": value for key, value in state.items()}
    transformer = clip.cond_stage_model.clip_l.transformer
    _check_keys(prefixed, transformer.state_dict(), "text encoder", optional={"text_projection.weight"})
    clip.load_sd(prefixed)
    return clip


def load_vae(base: Path) -> Any:
    """The autoencoder; the scaling of its latents is the model's, see ``load_model``."""
    config = _config(base / "vae")
    channels = config["block_out_channels"]
    sizes = {
        "double_z": True,
        "z_channels": config["latent_channels"],
        "resolution": config["sample_size"],
        "in_channels": config["in_channels"],
        "out_ch": config["out_channels"],
        "ch": channels[0],
        "ch_mult": [width // channels[0] for width in channels],
        "num_res_blocks": config["layers_per_block"],
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    state = comfy.diffusers_convert.convert_vae_state_dict(
        _weights(base / "vae" / "diffusion_pytorch_model.safetensors")
    )
    # The host's conversion assumes four decoder levels.
    surplus = 4 - len(channels)
    state = {
        re.sub(r"^decoder\.up\.(\d)", lambda level: f"decoder.up.{int(level[1]) - surplus}", key): tensor
        for key, tensor in state.items()
    }
    vae = comfy.sd.VAE(sd=state, config={"params": {"ddconfig": sizes, "embed_dim": config["latent_channels"]}})
    _set_groups(vae.first_stage_model, config)
    _check_keys(state, vae.first_stage_model.state_dict(), "autoencoder")
    vae.downscale_ratio = vae.upscale_ratio = 2 ** (len(channels) - 1)
    vae.latent_channels = config["latent_channels"]
    return vae


def load_vision(folder: Path) -> Any:
    """The image encoder as the host's ClipVisionModel.

    Args:
        folder: transformers folder.
    """
    vision = comfy.clip_vision.ClipVisionModel(str(folder / "config.json"))
    state = _weights(folder / "model.safetensors")
    _check_keys(state, vision.model.state_dict(), "image encoder", optional={"vision_model.embeddings.position_ids"})
    vision.load_sd(state)
    return vision


def _set_groups(network: torch.nn.Module, config: Config) -> None:
    """The host ignores the configured number of groups and uses 32."""
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.num_groups = config["norm_num_groups"]


def _config(folder: Path, name: str = "config.json") -> Config:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def _weights(path: Path) -> State:
    return comfy.utils.load_torch_file(str(path), safe_load=True)


def _check_keys(
    file: Mapping[str, object], network: Mapping[str, object], what: str, optional: frozenset | set = frozenset()
) -> None:
    """The host loads matching keys and only warns of others; here all keys but the optional ones have to match."""
    different = (file.keys() ^ network.keys()) - optional
    if different:
        raise ValueError(
            f"{what}: the file and the host's class differ in {len(different)} keys: {sorted(different)[:5]}"
        )
