"""Identity keys and values of one layer: they do not depend on the step, so they are made once per patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TOKEN_MULTIPLE = 8
"""Keys are padded to this multiple, so that GPU kernels take the assignment bias as it is (they want aligned rows)."""


class TokenSet(NamedTuple):
    """The tokens of everybody in the picture, person after person.

    positive, negative: (T, width) float32. scale: (T,), what each token's score is multiplied with before the softmax
    (1, or the shares of a mixed identity). counts: tokens of each person, in order; their sum is T.
    """

    positive: Tensor
    negative: Tensor
    scale: Tensor
    counts: tuple[int, ...]


@dataclass(frozen=True)
class LayerIdentity:
    """K_id and V_id of one cross-attention layer.

    key, value: (R, K, C). key_mean: (R, C, 1), the mean key over all tokens: query @ key_mean is
    the mean of S over heads and keys up to a positive factor, which the min-max normalisation removes. The shares of a
    mixed identity do not enter the gate, only the softmax.
    """

    key: Tensor
    value: Tensor
    key_mean: Tensor

    def rows(self, chunk_roles: tuple[int, ...]) -> "LayerIdentity":
        """One row a chunk: ``chunk_roles`` holds 0 (positive) or 1 (negative) for each of R chunks."""
        if chunk_roles == tuple(range(self.key.shape[0])):
            return self
        index = list(chunk_roles)
        return LayerIdentity(*(torch.stack([x[i] for i in index]) for x in (self.key, self.value, self.key_mean)))

    def to(self, device: torch.device, dtype: torch.dtype) -> "LayerIdentity":
        """A copy on ``device`` in ``dtype``; the original stays where it is."""
        return LayerIdentity(*(x.to(device, dtype) for x in (self.key, self.value, self.key_mean)))


def key_count(counts: Sequence[int], assigned: bool = True) -> int:
    """K: number of keys for people of ``counts`` tokens.

    Padded where an assignment bias hides the padding: not for one person, and not where nobody is ``assigned``.
    """
    total = sum(counts)
    if len(counts) == 1 or not assigned:
        return total
    return -(-total // TOKEN_MULTIPLE) * TOKEN_MULTIPLE


def project_identity(tokens: TokenSet, to_k_ip: Tensor, to_v_ip: Tensor, keys: int) -> LayerIdentity:
    """K_id, V_id = to_k_ip, to_v_ip of the tokens, rows [positive, negative] (spec section 5).

    Args:
        tokens: All people's tokens, (T, width).
        to_k_ip: (C, width) key projection of this layer.
        to_v_ip: (C, width) value projection of this layer.
        keys: K, from ``key_count``.

    Returns:
        The layer's identity with R = 2. Padding keys are zero; the assignment bias hides them.
    """
    stacked = torch.stack([tokens.positive, tokens.negative])
    unscaled = stacked @ to_k_ip.float().T
    mean = unscaled.mean(dim=1)
    key = unscaled * tokens.scale[None, :, None]
    value = stacked @ to_v_ip.float().T
    key, value = (F.pad(x, (0, 0, 0, keys - x.shape[1])) for x in (key, value))
    return LayerIdentity(key, value, mean.unsqueeze(-1))
