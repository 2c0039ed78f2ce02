"""The loss terms of both stages, by their names (spec section 6)."""

import torch
import torch.nn.functional as F
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor


def noise_target(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the UNet should predict: the noise, or the velocity where the base was trained so. (B, 4, h, w)."""
    if scheduler.config["prediction_type"] == "v_prediction":
        return scheduler.get_velocity(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
    return noise


def noise_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Stage 1: mean squared error of the predicted noise, in float32. (B, 4, h, w) twice -> ()."""
    return F.mse_loss(prediction.float(), target.float())


def feature_matching(predicted_tokens: Tensor, target_tokens: Tensor) -> Tensor:
    """Stage 2: MSE of the rewritten identity tokens and those of the target photo. (B, 4, 768) twice -> ()."""
    return F.mse_loss(predicted_tokens.float(), target_tokens.float())


def latent_diffusion_consistency(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Stage 2: MSE of the noise predicted under the rewritten tokens and under the target's own. (B, 4, h, w) -> ()."""
    return F.mse_loss(predicted.float(), wanted.float())


def contrastive(features: Tensor, others: Tensor, temperature: float) -> Tensor:
    """InfoNCE on phi1's output: the same person's other photo is the positive, other people the negatives.

    Args:
        features: (P, T, width), one photo of each of P people, motion taken out.
        others: (P, T, width), another photo of each.
        temperature: Of the softmax.

    Returns:
        (), the mean over both directions; 0 for one person.
    """
    a, b = (F.normalize(x.float().flatten(1), dim=-1) for x in (features, others))
    similarity = a @ b.T / temperature
    people = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(similarity, people) + F.cross_entropy(similarity.T, people)) / 2
