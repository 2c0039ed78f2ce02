"""The frozen networks of Stable Diffusion 1.5 and the image encoder, from local files only."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from einops import rearrange
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from ..errors import DynamicIDError
from .model_configs import SD15_CONFIGS, VIT_H_CONFIG

SINGLE_FILE_SUFFIXES = (".safetensors", ".ckpt")


@dataclass(frozen=True, eq=False)
class StableDiffusion:
    """Frozen, in evaluation mode, on the CPU in float32. ``scheduler`` adds the training noise."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDPMScheduler


def load_base(model: Path, tokenizer: Path | None = None) -> StableDiffusion:
    """Loads Stable Diffusion 1.5, or a smaller model of the same classes.

    Args:
        model: A diffusers folder, or a single checkpoint file.
        tokenizer: CLIP-L tokenizer folder; needed where ``model`` is a single file.

    Raises:
        DynamicIDError: Nothing there, not Stable Diffusion 1.5, or a single file without a tokenizer folder.
    """
    if not model.exists():
        raise DynamicIDError("base.model", f"'{model}' does not exist.", "Name a diffusers folder or a file.")
    try:
        parts = _load_folder(model) if model.is_dir() else _load_single_file(model, tokenizer)
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        if isinstance(error, DynamicIDError):
            raise
        raise DynamicIDError(
            "base.model",
            f"'{model}' does not load as Stable Diffusion 1.5 ({type(error).__name__}: {error}).",
            "Choose a diffusers folder with unet, vae, text_encoder, tokenizer and scheduler, or one checkpoint file.",
        ) from error
    for network in (parts.unet, parts.vae, parts.text_encoder):
        network.train(False).requires_grad_(False)
    return parts


def _load_folder(folder: Path) -> StableDiffusion:
    local: dict[str, Any] = {"local_files_only": True, "torch_dtype": torch.float32}
    return StableDiffusion(
        unet=UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **local),  # pyright: ignore
        vae=AutoencoderKL.from_pretrained(folder, subfolder="vae", **local),  # pyright: ignore
        text_encoder=CLIPTextModel.from_pretrained(
            folder, subfolder="text_encoder", local_files_only=True, dtype=torch.float32
        ),
        tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True),
        scheduler=DDPMScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True),  # pyright: ignore
    )


def _load_single_file(model: Path, tokenizer_folder: Path | None) -> StableDiffusion:
    """Through diffusers' own conversion; it wants the model's configuration files, which are written for it."""
    if model.suffix not in SINGLE_FILE_SUFFIXES:
        raise DynamicIDError("base.model", f"'{model}' is no checkpoint.", "Use .safetensors or .ckpt.")
    if tokenizer_folder is None or not tokenizer_folder.is_dir():
        raise DynamicIDError(
            "base.tokenizer",
            "A single checkpoint file brings no tokenizer.",
            "Name the CLIP-L tokenizer's folder, for example ComfyUI's comfy/sd1_tokenizer.",
        )
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, contents in SD15_CONFIGS.items():
            place = Path(folder) / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(json.dumps(contents), encoding="utf-8")
        pipeline = StableDiffusionPipeline.from_single_file(
            str(model),
            config=folder,
            tokenizer=tokenizer,
            safety_checker=None,
            feature_extractor=None,
            local_files_only=True,
            torch_dtype=torch.float32,
        )
    scheduler: Any = DDPMScheduler.from_config(SD15_CONFIGS["scheduler/scheduler_config.json"])
    return StableDiffusion(pipeline.unet, pipeline.vae, pipeline.text_encoder, tokenizer, scheduler)


def encode_text(base: StableDiffusion, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """(B, 77, 768) hidden states for the UNet and (B, 768) pooled embeddings for the IMR.

    Pooled: the final-layer-normed state at the end-of-text token, no projection (docs/method.md, IMR).
    """
    tokens = base.tokenizer(
        list(prompts),
        padding="max_length",
        truncation=True,
        max_length=base.text_encoder.config.max_position_embeddings,
        return_tensors="pt",
    )
    with torch.no_grad():
        out = base.text_encoder(tokens.input_ids.to(base.text_encoder.device))
    return out.last_hidden_state, out.pooler_output


def encode_pictures(base: StableDiffusion, pixels: Tensor) -> Tensor:
    """pixels (B, 3, size, size) in [-1, 1] -> (B, 2, 4, size/8, size/8): mean and deviation of the scaled latents."""
    with torch.no_grad():
        latents = base.vae.encode(pixels.to(base.vae.device, base.vae.dtype)).latent_dist  # pyright: ignore
    return torch.stack([latents.mean, latents.std], dim=1) * base.vae.config.scaling_factor  # pyright: ignore


def decode_pictures(base: StableDiffusion, latents: Tensor) -> Tensor:
    """Scaled latents (B, 4, h, w) -> (B, height, width, 3) uint8 on the CPU."""
    vae: Any = base.vae
    pixels = vae.decode(latents.to(vae.device, vae.dtype) / vae.config["scaling_factor"]).sample
    pictures = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
    return rearrange(pictures, "b c h w -> b h w c")


def load_clip_vision(path: Path | None) -> CLIPVisionModelWithProjection:
    """The image encoder: a transformers folder, or the weight file of ViT-H/14 that ComfyUI users have.

    Raises:
        DynamicIDError: None given, nothing there, or other weights.
    """
    path = _existing_clip_vision(path)
    if path.is_dir():
        model = CLIPVisionModelWithProjection.from_pretrained(path, local_files_only=True, dtype=torch.float32)
        return model.train(False).requires_grad_(False)
    from safetensors.torch import load_file

    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_H_CONFIG))
    try:
        state = {k: v for k, v in load_file(path).items() if not k.endswith("position_ids")}
        model.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError, OSError) as error:
        raise DynamicIDError(
            "base.clip_vision", f"'{path}' is not CLIP ViT-H/14 in transformers' layout.", "Take the published file."
        ) from error
    return model.train(False).requires_grad_(False)


def clip_vision_size(path: Path | None) -> int:
    """Side of the image encoder's input in pixels, without loading it. Raises DynamicIDError: nothing there."""
    path = _existing_clip_vision(path)
    config = CLIPVisionConfig.from_pretrained(path, local_files_only=True) if path.is_dir() else None
    return int(config.image_size if config else VIT_H_CONFIG["image_size"])  # pyright: ignore[reportArgumentType]


def _existing_clip_vision(path: Path | None) -> Path:
    if path is None or not path.exists():
        raise DynamicIDError("base.clip_vision", f"'{path}' does not exist.", "'python -m dynamicid download' gets it.")
    return path


def vision_states(model: CLIPVisionModelWithProjection, pixels: Tensor) -> Tensor:
    """Penultimate hidden states. pixels (B, 3, 224, 224), CLIP-normalised -> (B, 257, 1280)."""
    with torch.no_grad():
        out = model(pixels.to(model.device, model.dtype), output_hidden_states=True)
    return out.hidden_states[-2]
