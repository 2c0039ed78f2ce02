"""Sample pictures during training, for TensorBoard."""

from collections.abc import Callable

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from ..pipeline.stable_diffusion import StableDiffusion

Predictor = Callable[[Tensor, Tensor, bool], Tensor]
SAMPLE_STEPS = 20
GUIDANCE = 5.0


@torch.no_grad()
def sample_pictures(base: StableDiffusion, predict: Predictor, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """DDIM with classifier-free guidance, from the same noise at every call.

    Args:
        base: Its VAE decodes, its scheduler defines the noise levels.
        predict: (latents (B, 4, h, w), timesteps (B,), is_negative) -> prediction of that branch (B, 4, h, w).
        shape: (B, 4, h, w) of the latents.
        device: Device of the UNet; the VAE is moved there while it decodes.

    Returns:
        (B, 8 h, 8 w, 3) uint8 on the CPU.
    """
    scheduler = DDIMScheduler.from_config(base.scheduler.config, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(SAMPLE_STEPS)  # pyright: ignore[reportAttributeAccessIssue]
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    for timestep in scheduler.timesteps:  # pyright: ignore[reportAttributeAccessIssue]
        times = timestep.to(device).expand(len(latents))
        positive, negative = (predict(latents, times, branch).float() for branch in (False, True))
        guided = negative + GUIDANCE * (positive - negative)
        latents = scheduler.step(guided, timestep, latents).prev_sample  # pyright: ignore
    vae_device: torch.device = base.vae.device
    base.vae.to(device)  # pyright: ignore[reportArgumentType]
    scaled = latents.to(base.vae.dtype) / base.vae.config["scaling_factor"]
    pictures = base.vae.decode(scaled).sample  # pyright: ignore[reportAttributeAccessIssue]
    base.vae.to(vae_device)  # pyright: ignore[reportArgumentType]
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8).permute(0, 2, 3, 1)
