"""The base models DynamicID weights can be trained for, told apart by the widths of their attention layers."""

from dataclasses import dataclass

from .saa import SAAShape


@dataclass(frozen=True)
class SupportedBase:
    """A diffusion model. ``layer_widths``: C of every attention layer, input, output, then middle blocks."""

    name: str
    layer_widths: tuple[int, ...]
    text_width: int


SD15_BLOCKS = (320, 320, 640, 640, 1280, 1280, *(1280,) * 3, *(640,) * 3, *(320,) * 3, 1280)

SUPPORTED_BASES = (SupportedBase("SD1.5", tuple(width for width in SD15_BLOCKS for _ in range(2)), 768),)


def fitting_base(shape: SAAShape) -> SupportedBase | None:
    """The supported base whose every layer ``shape`` fits; None for another one."""
    for base in SUPPORTED_BASES:
        if base.layer_widths == shape.layer_widths and base.text_width == shape.text_width:
            return base
    return None
