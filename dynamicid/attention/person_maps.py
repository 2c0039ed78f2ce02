"""Where each person enters the picture: the gate of a layer, shared out among the people."""

import torch
from einops import rearrange
from torch import Tensor

from .identity import LayerIdentity
from .saa import Gate, gated_activation


def person_maps(query: Tensor, identity: LayerIdentity, heads: int, gate: Gate, counts: tuple[int, ...]) -> Tensor:
    """a' of every query times each person's share of the identity branch.

    Args:
        query: (B, L, C), B = R n.
        identity: The layer's identity, one row a chunk.
        heads: H.
        gate: The gate of this layer's grid; its weight does not enter.
        counts: Tokens of each of N people, in the order of the keys; padding keys come after them.

    Returns:
        (R, N, n L) float32, at least 0; the sum over people is a', or 1 with the gate off.
    """
    share = _shares(query, identity, heads, gate.bias, counts)
    a = gated_activation(query, identity, gate)
    return share if a is None else share * a.float().unsqueeze(1)


def _shares(query: Tensor, identity: LayerIdentity, heads: int, bias: Tensor | None, counts: tuple[int, ...]) -> Tensor:
    """How much of the identity branch each person supplies at each query.

    Args:
        query: (B, L, C), B = R n.
        identity: Keys (R, K, C).
        heads: H.
        bias: (R or 1, 1, n L, K) or None.
        counts: Tokens of each person.

    Returns:
        (R, N, n L): attention mass, mean over heads; sums to 1 over people.
    """
    q = rearrange(query.float(), "(r n) l (h d) -> r h (n l) d", r=identity.key.shape[0], h=heads)
    k = rearrange(identity.key.float(), "r k (h d) -> r h d k", h=heads)
    score = q @ k / q.shape[-1] ** 0.5
    if bias is not None:
        score = score + bias.float()
    mass = score.softmax(dim=-1).mean(dim=1)
    return torch.stack([part.sum(-1) for part in mass[..., : sum(counts)].split(list(counts), dim=-1)], dim=1)
