"""Sample pictures during training, for TensorBoard."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..pipeline.sampling import ddim_uniform, denoise
from ..pipeline.stable_diffusion import StableDiffusion, decode_pictures

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
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)

    def predict_branches(latents: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
        timesteps = torch.full((len(latents),), timestep, device=device)
        positive, negative = (predict(latents, timesteps, is_negative).float() for is_negative in (False, True))
        return positive, negative

    latents = denoise(
        ddim_uniform(base.scheduler, SAMPLE_STEPS), torch.zeros_like(noise), noise, predict_branches, GUIDANCE
    )
    vae_device: torch.device = base.vae.device
    base.vae.to(device)  # pyright: ignore[reportArgumentType]
    pictures = decode_pictures(base, latents)
    base.vae.to(vae_device)  # pyright: ignore[reportArgumentType]
    return pictures
