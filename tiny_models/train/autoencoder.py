"""The autoencoder: 128 x 128 pixels to 32 x 32 latents of 4 channels and back, Stable Diffusion's class made small."""

from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from ..places import BASE, SEED
from ..precision import mixed_precision
from .small_networks import picture_tensor

SIZES: dict[str, Any] = {
    "block_out_channels": (32, 32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 128,
}
STEPS, BATCH, CROP = 3000, 16, 64
PEAK_RATE = 3e-3
KL_WEIGHT = 1e-6
FIRST_LOG_VARIANCE = -8.0
"""Initial log variance of the latents: little noise, so that the decoder learns from the start."""
SCALING_PICTURES = 256
"""Pictures from which the scaling factor of the latents is measured."""


def train_autoencoder(pictures: np.ndarray) -> AutoencoderKL:
    """Loads the autoencoder of BASE, or trains and saves it.

    Args:
        pictures: (N, size, size, 3) uint8.
    """
    if (BASE / "vae" / "config.json").exists():
        return AutoencoderKL.from_pretrained(BASE, subfolder="vae").eval()  # pyright: ignore
    torch.manual_seed(SEED)
    vae: Any = AutoencoderKL(**SIZES)
    _init_log_variance(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=PEAK_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=STEPS, pct_start=0.1)
    random = np.random.default_rng(SEED)
    with tqdm(range(STEPS), unit="step", desc="autoencoder") as progress:
        for step in progress:
            crops = picture_tensor(_random_crops(pictures, random))
            with mixed_precision():
                latents = vae.encode(crops).latent_dist
                decoded = vae.decode(latents.sample()).sample
            loss = _reconstruction_loss(decoded.float(), crops) + KL_WEIGHT * latents.kl().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % 50 == 0:
                progress.set_postfix(loss=f"{loss.item():.4f}")
    vae.eval()
    vae.register_to_config(scaling_factor=_scaling_factor(vae, pictures))
    vae.half().save_pretrained(BASE / "vae")
    return vae.float()


@torch.no_grad()
def _init_log_variance(vae: Any) -> None:
    channels = SIZES["latent_channels"]
    vae.quant_conv.weight[channels:] = 0
    vae.quant_conv.bias[channels:] = FIRST_LOG_VARIANCE


def _random_crops(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    positions = random.integers(len(pictures), size=BATCH)
    corners = random.integers(pictures.shape[1] - CROP + 1, size=(BATCH, 2))
    crops = [pictures[i, y : y + CROP, x : x + CROP] for i, (y, x) in zip(positions, corners, strict=True)]
    return np.stack(crops)


def _reconstruction_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """L1 of the pixels and of the differences between neighbours, which preserves thin lines."""
    loss = functional.l1_loss(decoded, pixels)
    for dim in (2, 3):
        loss = loss + 0.5 * functional.l1_loss(decoded.diff(dim=dim), pixels.diff(dim=dim))
    return loss


@torch.no_grad()
def _scaling_factor(vae: Any, pictures: np.ndarray) -> float:
    """One over the standard deviation of the latents, as for Stable Diffusion."""
    latents = vae.encode(picture_tensor(pictures[:SCALING_PICTURES])).latent_dist.mean
    return float(1 / latents.std())
