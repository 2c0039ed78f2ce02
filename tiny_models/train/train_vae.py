"""The autoencoder: 128 x 128 pixels to 32 x 32 latents of 4 channels and back, Stable Diffusion's class made small."""

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from tqdm import tqdm

from ..places import BASE, SEED

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
"""Of the latents: little noise from the start, so that the decoder has something to learn from."""
SCALED_ON = 256
"""Pictures from which the latents' scaling factor is measured."""


def train_vae(pictures: np.ndarray) -> AutoencoderKL:
    """Loads the autoencoder of BASE, or trains and saves it.

    Args:
        pictures: (N, size, size, 3) uint8.
    """
    if (BASE / "vae" / "config.json").exists():
        return AutoencoderKL.from_pretrained(BASE, subfolder="vae").eval()  # pyright: ignore
    torch.manual_seed(SEED)
    vae: Any = AutoencoderKL(**SIZES)
    _quieten(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=PEAK_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=STEPS, pct_start=0.1)
    random = np.random.default_rng(SEED)
    started = time.monotonic()
    with tqdm(range(STEPS), unit="step", desc="autoencoder") as progress:
        for step in progress:
            wanted = as_pixels(_random_crops(pictures, random))
            with torch.autocast("cpu", torch.bfloat16):
                latents = vae.encode(wanted).latent_dist
                made = vae.decode(latents.sample()).sample
            loss = _difference(made.float(), wanted) + KL_WEIGHT * latents.kl().mean()
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
    print(f"autoencoder: {time.monotonic() - started:.0f} s")
    return vae.float()


def as_pixels(pictures: np.ndarray) -> Tensor:
    """(B, h, w, 3) uint8 -> (B, 3, h, w) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def _quieten(vae: Any) -> None:
    channels = SIZES["latent_channels"]
    vae.quant_conv.weight[channels:] = 0
    vae.quant_conv.bias[channels:] = FIRST_LOG_VARIANCE


def _random_crops(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    numbers = random.integers(len(pictures), size=BATCH)
    corners = random.integers(pictures.shape[1] - CROP + 1, size=(BATCH, 2))
    cut = [pictures[i, y : y + CROP, x : x + CROP] for i, (y, x) in zip(numbers, corners, strict=True)]
    return np.stack(cut)


def _difference(made: Tensor, wanted: Tensor) -> Tensor:
    """Absolute difference of the pixels and of their differences to the neighbours, which keeps thin lines."""
    loss = F.l1_loss(made, wanted)
    for dim in (2, 3):
        loss = loss + 0.5 * F.l1_loss(made.diff(dim=dim), wanted.diff(dim=dim))
    return loss


@torch.no_grad()
def _scaling_factor(vae: Any, pictures: np.ndarray) -> float:
    """One over the latents' standard deviation, as Stable Diffusion's was chosen."""
    latents = vae.encode(as_pixels(pictures[:SCALED_ON])).latent_dist.mean
    return float(1 / latents.std())
