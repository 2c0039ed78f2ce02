"""Loss terms of both stages (docs/method.md, Training)."""

import torch
import torch.nn.functional as F
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor


def noise_target(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the UNet should predict: the noise, or the velocity if the base predicts that. (B, 4, h, w)."""
    if scheduler.config["prediction_type"] == "v_prediction":
        return scheduler.get_velocity(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
    return noise


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error in float32 of two tensors of the same shape -> ()."""
    return F.mse_loss(prediction.float(), target.float())


def contrastive_loss(features: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """InfoNCE over people, symmetric in its two arguments.

    Args:
        features: (P, T, width), one photo of each of P people, without motion.
        positives: (P, T, width), another photo of each; those of other people are the negatives.
        temperature: Of the softmax.

    Returns:
        (); 0 for one person.
    """
    a, b = (F.normalize(x.float().flatten(1), dim=-1) for x in (features, positives))
    similarity = a @ b.T / temperature
    people = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(similarity, people) + F.cross_entropy(similarity.T, people)) / 2
