"""IMR, the Identity-Motion Reconfigurator: same person, other expression and pose (docs/method.md, IMR)."""

from einops import rearrange
from torch import Tensor, nn

from .layers import FeedForward, PerceiverAttention, SelfAttention


def _reconfigurator_layers(width: int, depth: int, head_width: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.ModuleList([PerceiverAttention(width, head_width), SelfAttention(width, head_width), FeedForward(width)])
        for _ in range(depth)
    )


class IMR(nn.Module):
    """tokens_pred = entangle(disentangle(tokens_src, motion_src), motion_tgt).

    Motion is [key-point feature (768), pooled face-prompt embedding (768)], in that order. DisentangleNet (phi1) takes
    the source's motion out of the tokens, EntangleNet (phi2) puts the target's motion in; both see the motion as
    ``latent_count`` latents.

    Args:
        token_width: Width of an identity token (768).
        motion_width: Width of a motion vector (1536).
        width: Inner width (1024).
        latent_count: Motion latents (4).
        depth: Layers in each of the two nets (1 in the published weights).
        head_width: Width of one attention head (64).
    """

    def __init__(
        self,
        token_width: int = 768,
        motion_width: int = 1536,
        width: int = 1024,
        latent_count: int = 4,
        depth: int = 1,
        head_width: int = 64,
    ) -> None:
        super().__init__()
        self.latent_count = latent_count
        self.motion_width = motion_width
        self.token_width = token_width
        self.feature_fusion = nn.Sequential(
            nn.LayerNorm(motion_width),
            nn.Linear(motion_width, width),
            nn.GELU(),
            nn.LayerNorm(width),
            nn.Linear(width, latent_count * width),
            nn.GELU(),
        )
        self.norm_in = nn.LayerNorm(token_width)
        self.proj_in = nn.Linear(token_width, width)
        self.disentangleNet = _reconfigurator_layers(width, depth, head_width)
        self.entangleNet = _reconfigurator_layers(width, depth, head_width)
        self.norm_out = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, token_width)

    def fuse_motion(self, motion: Tensor) -> Tensor:
        """motion (B, 1536) -> motion latents (B, 4, width)."""
        return rearrange(self.feature_fusion(motion), "b (t c) -> b t c", t=self.latent_count)

    def disentangle(self, tokens: Tensor, motion: Tensor) -> Tensor:
        """phi1: tokens (B, T, 768) and their own motion (B, 1536) -> motion-free features (B, T, width)."""
        return self._run(self.disentangleNet, self.proj_in(self.norm_in(tokens)), self.fuse_motion(motion))

    def entangle(self, features: Tensor, motion: Tensor) -> Tensor:
        """phi2: motion-free features (B, T, width) and the wanted motion (B, 1536) -> tokens (B, T, 768)."""
        return self.proj_out(self.norm_out(self._run(self.entangleNet, features, self.fuse_motion(motion))))

    def forward(self, tokens: Tensor, source_motion: Tensor, target_motion: Tensor) -> Tensor:
        """tokens (1 or B, T, 768), source_motion (1 or B, 1536), target_motion (B, 1536) -> tokens (B, T, 768).

        One source may drive many targets: phi1 then runs once.
        """
        features = self.disentangle(tokens, source_motion)
        return self.entangle(features.expand(target_motion.shape[0], -1, -1), target_motion)

    @staticmethod
    def _run(layers: nn.ModuleList, x: Tensor, latents: Tensor) -> Tensor:
        for attention, self_attention, feed_forward in layers:  # pyright: ignore[reportGeneralTypeIssues]
            x = x + attention(latents, x)
            x = x + self_attention(x)
            x = x + feed_forward(x)
        return x
