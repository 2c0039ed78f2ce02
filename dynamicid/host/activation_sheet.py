"""Where the gate opened, a row for each person and a column for each step: one picture to look at in the node."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..faces.colours import PERSON_COLOURS
from .heat_map import paint
from .images import checked_images, to_image, to_uint8
from .recorder import ActivationRecord

_MOST_STEPS = 8
_TILE = 128
_LABEL = 22
_GAP = 2
_BACKGROUND = (24, 24, 28)
_TEXT = (235, 235, 235)


def activation_sheet(record: ActivationRecord, images: Tensor) -> Tensor:
    """Every person's map at up to eight steps, spread evenly from the first to the last.

    Args:
        record: Filled by sampling, with at least one step.
        images: (B, height, width, 3) IMAGE that was sampled; the first picture is shown.

    Returns:
        (1, height, width, 3) IMAGE; all tiles share one scale of colours.
    """
    picture = checked_images(images, "image")[:1]
    scale = _TILE / max(picture.shape[1:3])
    size = tuple(max(round(side * scale), 1) for side in picture.shape[1:3])
    small = F.interpolate(rearrange(picture, "b h w c -> b c h w"), size=size, mode="area")
    small = rearrange(small, "b c h w -> b h w c")
    steps = sorted({round(step) for step in np.linspace(0, len(record.steps) - 1, _MOST_STEPS)})
    maps = torch.stack([record.maps(step)[0] for step in steps])
    maps = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    peak = float(maps.max())
    height, width = (side + _GAP for side in size)
    sheet = Image.new("RGB", (_LABEL + len(steps) * width, _LABEL + maps.shape[1] * height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for column, step in enumerate(steps):
        draw.text((_LABEL + column * width + 4, 3), f"step {step}", font=font, fill=_TEXT)
        for person in range(maps.shape[1]):
            tile = paint(small, maps[column, person][None, None], peak)[0]
            corner = (_LABEL + column * width, _LABEL + person * height)
            sheet.paste(Image.fromarray(to_uint8(tile.clamp(0, 1))), corner)
    for person, colour in enumerate(PERSON_COLOURS[: maps.shape[1]]):
        top = _LABEL + person * height
        draw.rectangle((0, top, _LABEL - _GAP - 1, top + size[0] - 1), fill=colour)
        draw.text((6, top + 4), str(person + 1), font=font, fill=(0, 0, 0))
    return to_image(np.asarray(sheet))
