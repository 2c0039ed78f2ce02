"""How far the people disturb the rest of the picture: structural similarity of the background."""

from collections.abc import Sequence

import numpy as np

from ..files.skipped import BadSample
from .metrics import Box

_GROWN = 0.5
_SMALLEST_SHARE = 0.01
"""Of the picture; less background than this says nothing."""
_SMALLEST_SIDE = 16


def disturbance(picture: np.ndarray, unpatched: np.ndarray, mask: np.ndarray) -> float | None:
    """1 - SSIM over the background; None where there is next to none.

    Args:
        picture, unpatched: (height, width, 3) uint8 RGB.
        mask: (height, width) bool, true = background.

    Raises:
        BadSample: The two differ in size, or are too small for the window.
    """
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    if picture.shape != unpatched.shape:
        raise BadSample("unpatched picture of another size")
    if min(picture.shape[:2]) < _SMALLEST_SIDE:
        raise BadSample("picture too small for SSIM")
    if mask.mean() < _SMALLEST_SHARE:
        return None
    first, second = (torch.from_numpy(one.copy()).permute(2, 0, 1)[None].float() / 255 for one in (picture, unpatched))
    _, image = structural_similarity_index_measure(first, second, data_range=1.0, return_full_image=True)
    return 1 - float(image[0].mean(dim=0).numpy()[mask].mean())


def background_mask(size: tuple[int, int], boxes: Sequence[Box], faces: Sequence[Box]) -> np.ndarray:
    """(height, width) bool: outside the people's boxes and outside the faces' boxes, these grown by half to each side.

    Args:
        size: Height and width in pixels.
        boxes: Left, top, width, height as shares of the picture.
        faces: Left, top, right, bottom in pixels.
    """
    height, width = size
    mask = np.ones(size, dtype=bool)
    edges = [(x * width, y * height, (x + w) * width, (y + h) * height) for x, y, w, h in boxes]
    for left, top, right, bottom in faces:
        grow_x, grow_y = _GROWN * (right - left), _GROWN * (bottom - top)
        edges.append((left - grow_x, top - grow_y, right + grow_x, bottom + grow_y))
    for left, top, right, bottom in edges:
        rows = slice(max(int(np.floor(top)), 0), max(int(np.ceil(bottom)), 0))
        mask[rows, max(int(np.floor(left)), 0) : max(int(np.ceil(right)), 0)] = False
    return mask
