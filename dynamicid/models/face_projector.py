"""Face projector: identity vector and CLIP states to the identity tokens of one face (docs/method.md, Face encoder)."""

from einops import rearrange
from torch import Tensor, nn

from .layers import FeedForward, PerceiverAttention


class PerceiverResampler(nn.Module):
    """Refines tokens with CLIP hidden states: ``depth`` times x += attention(media, x); x += feed-forward(x)."""

    def __init__(self, width: int, media_width: int, depth: int, head_width: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(media_width, width)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(width, head_width), FeedForward(width)]) for _ in range(depth)
        )
        self.proj_out = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x: Tensor, media: Tensor) -> Tensor:
        """x (B, T, width), media (B, S, media_width) -> (B, T, width)."""
        media = self.proj_in(media)
        for attention, feed_forward in self.layers:  # pyright: ignore[reportGeneralTypeIssues]
            x = x + attention(media, x)
            x = x + feed_forward(x)
        return self.norm_out(self.proj_out(x))


class FaceProjector(nn.Module):
    """tokens = Resampler(LayerNorm(MLP(id_embedding) as token_count x width), clip_hidden).

    Args:
        id_width: Width of the ArcFace embedding (512).
        hidden_width: Hidden width of the MLP (1024).
        token_count: Identity tokens per face (4).
        width: Width of a token; the UNet's text width (768).
        media_width: Width of the CLIP ViT-H hidden states (1280).
        depth: Number of resampler layers (4).
        head_width: Width of one attention head (64).
    """

    def __init__(
        self,
        id_width: int = 512,
        hidden_width: int = 1024,
        token_count: int = 4,
        width: int = 768,
        media_width: int = 1280,
        depth: int = 4,
        head_width: int = 64,
    ) -> None:
        super().__init__()
        self.id_width = id_width
        self.media_width = media_width
        self.token_count = token_count
        self.width = width
        self.proj = nn.Sequential(
            nn.Linear(id_width, hidden_width), nn.GELU(), nn.Linear(hidden_width, token_count * width)
        )
        self.norm = nn.LayerNorm(width)
        self.perceiver_resampler = PerceiverResampler(width, media_width, depth, head_width)

    def forward(self, id_embedding: Tensor, clip_hidden: Tensor) -> Tensor:
        """id_embedding (B, 512, unit length or zero), clip_hidden (B, 257, 1280) -> identity tokens (B, 4, 768)."""
        x = self.norm(rearrange(self.proj(id_embedding), "b (t c) -> b t c", c=self.width))
        return self.perceiver_resampler(x, clip_hidden)
