"""Boxes and soft masks become per-layer maps, biases and layout coefficients (docs/method.md, SAA).

One formula serves boxes and soft masks m_i in [0, 1], with m = max_i m_i:
M_i = log(m_i + 1 - m) and a' = (1 - m) a / (s + 1) + m (a + s).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..boxes import BoxXywhNorm

EDGE_SLACK = 1e-6


class Window(NamedTuple):
    """The part of the whole latent that a model call sees, as shares of the whole (area conditioning crops it)."""

    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    height: float = 1.0


WHOLE = Window()


def _cells(start: float, size: float, count: int) -> tuple[int, int]:
    """First and one-past-last cell that [start, start + size] covers of ``count`` cells: truncation, at least one."""
    first = int(start * count + EDGE_SLACK)
    last = int((start + size) * count + EDGE_SLACK)
    if last <= first:
        first = min(first, count - 1)
        last = first + 1
    return first, min(last, count)


def box_map(box_xywh_norm: BoxXywhNorm, grid: tuple[int, int], window: Window = WHOLE) -> Tensor:
    """1 inside the box, 0 outside.

    Args:
        box_xywh_norm: x, y, width, height as shares of the whole picture, top left origin.
        grid: (height, width) of the layer in cells.
        window: The part of the picture the grid stands for.

    Returns:
        (height, width) float32. A box that covers no cell gets the nearest one, unless it lies outside the window.
    """
    x, y, width, height = box_xywh_norm
    result = torch.zeros(grid)
    left, top = (x - window.x) / window.width, (y - window.y) / window.height
    width, height = width / window.width, height / window.height
    if window != WHOLE and (left >= 1 or top >= 1 or left + width <= 0 or top + height <= 0):
        return result
    right, bottom = min(left + width, 1.0), min(top + height, 1.0)
    left, top = max(left, 0.0), max(top, 0.0)
    x0, x1 = _cells(left, right - left, grid[1])
    y0, y1 = _cells(top, bottom - top, grid[0])
    result[y0:y1, x0:x1] = 1.0
    return result


def mask_map(mask: Tensor, grid: tuple[int, int], window: Window = WHOLE) -> Tensor:
    """A soft mask (height, width, values 0..1) averaged over the cells of ``grid``, cropped to ``window`` first."""
    height, width = mask.shape
    y0, y1 = _cells(window.y, window.height, height)
    x0, x1 = _cells(window.x, window.width, width)
    cropped = mask[y0:y1, x0:x1].float().clamp(0, 1)
    return F.interpolate(cropped[None, None], size=grid, mode="area")[0, 0]


def assignment_bias(maps: Tensor, counts: Sequence[int], keys: int) -> Tensor:
    """M: added to the identity scores before the softmax.

    Args:
        maps: (N, L) in 0..1, one a person.
        counts: Tokens of each person.
        keys: K, padding included.

    Returns:
        (L, K): log(m_i + 1 - m) in the columns of person i, -inf in the padding. One person is visible everywhere.
    """
    visible = torch.log(maps + (1 - maps.amax(dim=0))) if len(maps) > 1 else torch.zeros_like(maps)
    columns = rearrange(torch.repeat_interleave(visible, torch.tensor(counts), dim=0), "k l -> l k")
    return F.pad(columns, (0, keys - sum(counts)), value=-torch.inf).contiguous()


class Layout(NamedTuple):
    """a' = a * gain + offset. gain, offset: (L,)."""

    gain: Tensor
    offset: Tensor


def layout(maps: Tensor, strength: float) -> Layout:
    """Coefficients of the layout rule a' = (1 - m) a / (s + 1) + m (a + s) for maps (N, L) and strength s >= 0."""
    m = maps.amax(dim=0)
    return Layout(gain=(1 - m) / (strength + 1) + m, offset=m * strength)
