"""Semantic-Activated Attention of one cross-attention layer, before the output projection (docs/method.md, SAA).

out = softmax(QK'/sqrt d) V  +  weight * a (x) softmax(S + M) V_id,   S = Q K_id' / sqrt d
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .activation import activation
from .identity import LayerIdentity
from .options import DEFAULTS


@dataclass(frozen=True)
class Gate:
    """What opens the identity branch at one layer grid, for one model call.

    Args:
        weight: id_scale, the strength of the identity branch.
        threshold: Gate threshold 0..1; None = gate off (a = 1 everywhere).
        bias: M, (R or 1, 1, n L, K) in the query's dtype, or None.
        gain: Factor on the activation, (R or 1, n L or 1), or None for 1. With the gate off it is the activation.
        offset: Summand of the activation, (R or 1, n L), or None for 0.
    """

    weight: float = DEFAULTS.weight
    threshold: float | None = DEFAULTS.gate_threshold
    bias: Tensor | None = None
    gain: Tensor | None = None
    offset: Tensor | None = None


def gated_activation(query: Tensor, identity: LayerIdentity, gate: Gate) -> Tensor | None:
    """a' of every query.

    Args:
        query: (B, L, C) with B = R n, chunk after chunk.
        identity: The layer's identity, one row a chunk.
        gate: The gate of this layer's grid.

    Returns:
        (R, n L) without ``gate.weight``, or None where it is 1 everywhere.
    """
    if gate.threshold is None:
        return gate.gain
    chunks = identity.key.shape[0]
    a = activation(query, identity.key_mean, gate.threshold).view(chunks, -1)
    if gate.gain is None:
        return a
    return a * gate.gain if gate.offset is None else torch.addcmul(gate.offset, a, gate.gain)


def identity_attention(query: Tensor, identity: LayerIdentity, heads: int, bias: Tensor | None = None) -> Tensor:
    """softmax(S + M) V_id.

    All n pictures of a chunk share their keys, so they are one long row of queries: nothing is repeated n times.

    Args:
        query: (B, L, C) with B = R n.
        identity: Keys and values (R, K, C).
        heads: H.
        bias: (R or 1, 1, n L, K) or None.

    Returns:
        (R, n L, C).
    """
    q = rearrange(query, "(r n) l (h d) -> r h (n l) d", r=identity.key.shape[0], h=heads)
    k, v = (rearrange(x, "r k (h d) -> r h k d", h=heads) for x in (identity.key, identity.value))
    return rearrange(F.scaled_dot_product_attention(q, k, v, attn_mask=bias), "r h q d -> r q (h d)")


def add_identity(text: Tensor, query: Tensor, identity: LayerIdentity, heads: int, gate: Gate) -> Tensor:
    """text + weight * a' (x) softmax(S + M) V_id.

    Args:
        text: (B, L, C), the layer's own attention output; not written to.
        query: (B, L, C).
        identity: The layer's identity, one row a chunk.
        heads: H.
        gate: The gate of this layer's grid.

    Returns:
        (B, L, C) in text's dtype.
    """
    branch = identity_attention(query, identity, heads, gate.bias)
    rows = text.reshape(branch.shape)
    reuse = None if torch.is_grad_enabled() else branch
    a = gated_activation(query, identity, gate)
    if a is None:
        out = torch.add(rows, branch, alpha=gate.weight, out=reuse)
    else:
        out = torch.addcmul(rows, branch, a.unsqueeze(-1), value=gate.weight, out=reuse)
    return out.reshape(text.shape)
