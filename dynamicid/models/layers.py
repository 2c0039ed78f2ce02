"""Attention and feed-forward layers that the face projector and the IMR share.

Legend: B batch, T tokens, S context length, C width, H heads.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, head_width: int) -> Tensor:
    """Softmax attention: query (B, T, C), key and value (B, S, C), heads of ``head_width`` -> (B, T, C)."""
    q, k, v = (rearrange(x, "b t (h d) -> b h t d", d=head_width) for x in (query, key, value))
    return rearrange(F.scaled_dot_product_attention(q, k, v), "b h t d -> b t (h d)")


class PerceiverAttention(nn.Module):
    """Tokens look at a context and at themselves: attention(q = x, k = v = [context, x]) after a LayerNorm of both.

    Source: docs/method.md, Face encoder. Keys ``norm1`` (context), ``norm2`` (tokens), ``to_q``, ``to_kv``, ``to_out``.
    """

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, context: Tensor, x: Tensor) -> Tensor:
        """context (B, S, C), x (B, T, C) -> (B, T, C)."""
        context, x = self.norm1(context), self.norm2(x)
        key, value = self.to_kv(torch.cat([context, x], dim=1)).chunk(2, dim=-1)
        return self.to_out(multi_head_attention(self.to_q(x), key, value, self.head_width))


class SelfAttention(nn.Module):
    """Pre-norm self-attention. Source: docs/method.md, IMR. Keys ``norm1``, ``to_q``, ``to_kv``, ``to_out``."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.norm1 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        x = self.norm1(x)
        key, value = self.to_kv(x).chunk(2, dim=-1)
        return self.to_out(multi_head_attention(self.to_q(x), key, value, self.head_width))


class FeedForward(nn.Sequential):
    """LayerNorm, Linear x ``expansion``, GELU, Linear; no bias. Keys ``0``, ``1``, ``3``.

    Source: docs/method.md, Face encoder.
    """

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, width * expansion, bias=False),
            nn.GELU(),
            nn.Linear(width * expansion, width, bias=False),
        )
