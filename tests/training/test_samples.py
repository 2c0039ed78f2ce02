"""Sample pictures: DDIM with guidance reaches the picture that the predictions describe."""

from pathlib import Path

import torch

from dynamicid.pipeline.stable_diffusion import load_base
from dynamicid.training.samples import GUIDANCE, sample_pictures

from .small_world import saa_config


def test_noise_is_removed_with_guidance(world: Path):
    base = load_base(saa_config(world).base.model)
    clean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.2
    error = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))

    def predict(latents: torch.Tensor, timesteps: torch.Tensor, is_negative: bool) -> torch.Tensor:
        """The noise in ``latents``, with errors in both branches that guidance cancels."""
        share = base.scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noise = (latents - share.sqrt() * clean) / (1 - share).sqrt()
        return noise + error * (1.0 if is_negative else 1 - 1 / GUIDANCE)

    pictures = sample_pictures(base, predict, (2, 4, 8, 8), torch.device("cpu"))
    with torch.no_grad():
        decoded = base.vae.decode(clean / base.vae.config["scaling_factor"]).sample  # pyright: ignore
    expected = ((decoded.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1)
    assert pictures.dtype == torch.uint8
    assert pictures.shape == (2, 16, 16, 3)
    assert (pictures - expected).abs().max() < 1
    assert expected.std() > 10
