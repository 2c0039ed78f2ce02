"""The activation: how much identity each image query takes in (docs/method.md, SAA)."""

import torch
from torch import Tensor


def activation(query: Tensor, key_mean: Tensor, threshold: float) -> Tensor:
    """a = minmax(sum of S over heads and keys), values below ``threshold`` set to 0.

    The sum needs no score tensor: it is query . (sum of the keys).

    Args:
        query: (B, L, C), LoRA-merged.
        key_mean: (R, C, 1) mean identity key of each chunk; R divides B, chunk after chunk.
        threshold: 0..1.

    Returns:
        (B, L) in 0..1. A constant row (max = min) gives 0 everywhere.
    """
    score = torch.bmm(query.reshape(key_mean.shape[0], -1, query.shape[-1]), key_mean).view(query.shape[:2])
    if torch.is_grad_enabled():  # aminmax is one kernel less, but has no derivative
        low, high = score.amin(dim=-1, keepdim=True), score.amax(dim=-1, keepdim=True)
    else:
        low, high = torch.aminmax(score, dim=-1, keepdim=True)
    span = (high - low).clamp_min(torch.finfo(score.dtype).tiny)
    a = (score - low) / span
    return torch.where(a < threshold, 0.0, a)
