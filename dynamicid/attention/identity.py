"""Identity keys and values of one layer: they do not depend on the step, so they are made once per patch."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class TokenRows(NamedTuple):
    """The identity tokens of several rows of a batch, padded to one length.

    tokens: (R, K, width) float32, zero in the padding. scale: (R, K), what the score of each token is multiplied with
    before the softmax (1, or the shares of a mixed identity).
    """

    tokens: Tensor
    scale: Tensor


@dataclass(frozen=True)
class LayerIdentity:
    """K_id and V_id of one cross-attention layer.

    key, value: (R, K, C). key_mean: (R, C, 1), the mean over all keys: query @ key_mean is
    the mean of S over heads and keys up to a positive factor, which the min-max normalisation removes. The shares of a
    mixed identity do not enter the gate, only the softmax.
    """

    key: Tensor
    value: Tensor
    key_mean: Tensor

    def rows(self, token_rows: tuple[int, ...]) -> "LayerIdentity":
        """One row a chunk: ``token_rows`` holds the number of the row for each of R chunks."""
        if token_rows == tuple(range(self.key.shape[0])):
            return self
        index = list(token_rows)
        return LayerIdentity(*(torch.stack([x[i] for i in index]) for x in (self.key, self.value, self.key_mean)))

    def to(self, device: torch.device, dtype: torch.dtype) -> "LayerIdentity":
        """A copy on ``device`` in ``dtype``; the original stays where it is."""
        return LayerIdentity(*(x.to(device, dtype) for x in (self.key, self.value, self.key_mean)))


def project_identity(rows: TokenRows, to_k_ip: Tensor, to_v_ip: Tensor) -> LayerIdentity:
    """K_id, V_id = to_k_ip, to_v_ip of the identity tokens (docs/method.md, SAA).

    Args:
        rows: Tokens of R rows.
        to_k_ip: (C, width) key projection of this layer.
        to_v_ip: (C, width) value projection of this layer.

    Returns:
        The layer's identity, R rows in float32. Padding keys and values are zero; the assignment bias hides them.
    """
    unscaled = rows.tokens @ to_k_ip.float().T
    key = unscaled * rows.scale.unsqueeze(-1)
    return LayerIdentity(key, rows.tokens @ to_v_ip.float().T, unscaled.mean(dim=1).unsqueeze(-1))
