"""The base models DynamicID weights can be trained for, and the order in which weight files count their layers."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from .saa import SAAShape

LDM_STAGES: tuple[str, str, str] = ("input_blocks", "output_blocks", "middle_block")
DIFFUSERS_STAGES: tuple[str, str, str] = ("down_blocks", "up_blocks", "mid_block")
"""Encoder, decoder and middle of a UNet in the original naming, which ComfyUI keeps, and in that of diffusers."""


@dataclass(frozen=True)
class SupportedBase:
    """A diffusion model. ``layer_widths``: C of every attention layer by index i of the weight file."""

    name: str
    layer_widths: tuple[int, ...]
    text_width: int


SD15_BLOCK_WIDTHS = (320, 320, 640, 640, 1280, 1280, *(1280,) * 3, *(640,) * 3, *(320,) * 3, 1280)
"""C of the transformer blocks of Stable Diffusion 1.5: encoder, decoder, middle."""

SUPPORTED_BASES = (SupportedBase("SD1.5", tuple(width for width in SD15_BLOCK_WIDTHS for _ in range(2)), 768),)


def fitting_base(shape: SAAShape) -> SupportedBase | None:
    """The supported base whose every layer ``shape`` fits; None for another one."""
    for base in SUPPORTED_BASES:
        if base.layer_widths == shape.layer_widths and base.text_width == shape.text_width:
            return base
    return None


def walk_transformer_blocks(unet: nn.Module, stages: tuple[str, str, str]) -> Iterator[tuple[str, nn.Module]]:
    """(path, block) of every transformer block: encoder, decoder, then the middle block (docs/method.md, Weight files).

    Block b holds the self-attention ``attn1``, layer i = 2 b of the weight file, and the cross-attention ``attn2``,
    layer i = 2 b + 1.

    Args:
        unet: A UNet whose transformer blocks stand in lists called ``transformer_blocks``.
        stages: ``LDM_STAGES`` or ``DIFFUSERS_STAGES``.
    """
    for stage in stages:
        root = getattr(unet, stage, None)
        for path, module in root.named_modules() if isinstance(root, nn.Module) else ():
            if path.split(".")[-2:-1] == ["transformer_blocks"]:
                yield f"{stage}.{path}", module
