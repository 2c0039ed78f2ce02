"""DDIM by diffusers' own scheduler, at the timesteps of ComfyUI's ``ddim_uniform``."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

PredictBranches = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""Latents (B, 4, h, w) and timestep -> predictions of the positive and the negative branch, float32."""


def ddim_uniform(training_scheduler: DDPMScheduler, steps: int, denoise: float = 1.0) -> DDIMScheduler:
    """A DDIM scheduler whose timesteps are those of ComfyUI's sampler ``ddim`` with scheduler ``ddim_uniform``.

    The timesteps are 1, 1 + r, 1 + 2 r, ... with r = (number of training timesteps) // steps, from high to low. Their
    number is larger than ``steps`` where the division leaves a rest: 17 for 16 of 1000. The last step ends at a clean
    picture.

    Args:
        training_scheduler: Its noise levels and its kind of prediction (noise or velocity) are taken over.
        steps: Number of steps asked for.
        denoise: Share of the noise levels that is used, as KSampler means it: the last ``steps`` of steps / denoise.
    """
    if denoise < 1:
        scheduler = ddim_uniform(training_scheduler, int(steps / denoise))
        scheduler.timesteps = scheduler.timesteps[-steps:]
        return scheduler
    scheduler: Any = DDIMScheduler.from_config(training_scheduler.config, clip_sample=False, set_alpha_to_one=True)
    count = scheduler.config.num_train_timesteps
    # `step` derives the following timestep from the number of steps, which is therefore left as it was asked for.
    scheduler.set_timesteps(min(steps, count))
    scheduler.timesteps = torch.arange(1, count, max(count // steps, 1)).flip(0)
    return scheduler


def denoise(
    scheduler: Any,
    start: Tensor,
    noise: Tensor,
    predict: PredictBranches,
    guidance: float,
    kept: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Latents from noise, with classifier-free guidance and without added noise.

    Args:
        scheduler: From ``ddim_uniform``.
        start: (B, 4, h, w) scaled latents that the noise is added to; zeros for a new picture, as ComfyUI begins.
        noise: (B, 4, h, w) of unit variance.
        predict: Both branches' predictions.
        guidance: Classifier-free guidance scale.
        kept: Mask (B, 1, h, w) in 0..1, where ``start`` may change, and the noise (B, 4, h, w) that is added to the
            rest, as ComfyUI's ``ddim`` does with a latent noise mask; None = everything may change.

    Returns:
        (B, 4, h, w).
    """
    # Steps from a clean latent instead of the model's prediction, to which what is kept can be added.
    from_clean: Any = DDIMScheduler.from_config(scheduler.config, prediction_type="sample")
    from_clean.num_inference_steps = scheduler.num_inference_steps
    latents = scheduler.add_noise(start, noise, scheduler.timesteps[:1])
    for timestep in scheduler.timesteps:
        shown = latents
        if kept is not None:
            mask, mask_noise = kept
            shown = latents * mask + scheduler.add_noise(start, mask_noise, timestep[None]) * (1 - mask)
        positive, negative = predict(shown, int(timestep))
        guided = negative + guidance * (positive - negative)
        step = scheduler.step(guided, int(timestep), shown)
        if kept is not None:
            clean = step.pred_original_sample * kept[0] + start * (1 - kept[0])
            step = from_clean.step(clean, int(timestep), latents)
        latents = step.prev_sample
    return latents
