"""The query-level gate: how much identity each image query takes in (spec section 5)."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

DEFAULT_THRESHOLD = 0.3


@lru_cache(maxsize=64)
def _just_below(threshold: float, dtype: torch.dtype) -> float:
    """The largest number of ``dtype`` below ``threshold``: F.threshold keeps x > t, the rule keeps x >= t."""
    bound = torch.tensor(threshold, dtype=dtype)
    return float(torch.nextafter(bound.float(), torch.tensor(-math.inf)))


def activation(query: Tensor, key_mean: Tensor, threshold: float = DEFAULT_THRESHOLD) -> Tensor:
    """a = minmax(sum of S over heads and keys), values below ``threshold`` set to 0.

    The sum needs no score tensor: it is query . (sum of the keys).

    Args:
        query: (B, L, C), LoRA-merged.
        key_mean: (R, C, 1) mean identity key of each chunk; R divides B, chunk after chunk.
        threshold: 0..1.

    Returns:
        (B, L) in 0..1. A constant row (max = min) opens nowhere: 0.
    """
    chunks = key_mean.shape[0]
    score = torch.bmm(query.reshape(chunks, -1, query.shape[-1]), key_mean).view(query.shape[:2])
    if torch.is_grad_enabled():  # aminmax is one kernel less, but has no derivative
        low, high = score.amin(dim=-1, keepdim=True), score.amax(dim=-1, keepdim=True)
    else:
        low, high = torch.aminmax(score, dim=-1, keepdim=True)
    span = (high - low).clamp_min(torch.finfo(score.dtype).tiny)
    return F.threshold((score - low) / span, _just_below(threshold, score.dtype), 0.0)
