"""Key-point encoder: a 96 x 96 map of facial landmarks becomes one feature vector (docs/method.md, IMR)."""

from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

DEFAULT_STAGES = ((32, 2), (64, 3), (128, 2), (256, 2), (512, 1))


class ConvBlock(nn.Module):
    """ReLU(BatchNorm(conv(x)) [+ x]); the input is added where shape is kept. Key ``conv_block.{0,1}``."""

    def __init__(
        self, in_width: int, width: int, kernel: int, stride: int = 1, padding: int = 0, residual: bool = False
    ):
        super().__init__()
        self.residual = residual
        self.conv_block = nn.Sequential(
            nn.Conv2d(in_width, width, kernel, stride, padding),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in_width, h, w) -> (B, width, h / stride, w / stride)."""
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y)


class KeypointEncoder(nn.Module):
    """Stem, strided stages with residual blocks, and a head that ends at 1 x 1.

    Args:
        stem_width: Width after the 7 x 7 convolution (16).
        stages: (width, number of residual blocks) per stage; each opens with a stride of 2.
        out_width: Width of the feature (768).
    """

    def __init__(
        self, stem_width: int = 16, stages: Sequence[tuple[int, int]] = DEFAULT_STAGES, out_width: int = 768
    ) -> None:
        super().__init__()
        self.out_width = out_width
        blocks = [nn.Sequential(ConvBlock(1, stem_width, 7, padding=3))]
        width = stem_width
        for stage_width, residual_count in stages:
            opening = ConvBlock(width, stage_width, 3, stride=2, padding=1)
            residuals = (
                ConvBlock(stage_width, stage_width, 3, padding=1, residual=True) for _ in range(residual_count)
            )
            blocks.append(nn.Sequential(opening, *residuals))
            width = stage_width
        blocks.append(nn.Sequential(ConvBlock(width, width, 3), ConvBlock(width, out_width, 1)))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: Tensor) -> Tensor:
        """maps (B, 1, 96, 96) in [-1, 1] -> features (B, 768)."""
        x = maps
        for block in self.blocks:
            x = block(x)
        return rearrange(x, "b c 1 1 -> b c")
