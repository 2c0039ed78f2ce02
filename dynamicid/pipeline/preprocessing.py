"""Pictures as the frozen networks want them."""

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def training_pixels(image: np.ndarray, size: int) -> Tensor:
    """Shortest side to ``size`` (Lanczos), middle square: (h, w, 3) uint8 -> (3, size, size) in [-1, 1]."""
    return _middle_square(image, size, Image.Resampling.LANCZOS) / 127.5 - 1


def clip_pixels(image: np.ndarray, size: int) -> Tensor:
    """As CLIP was trained: shortest side to ``size`` (bicubic), middle square, CLIP's mean and deviation."""
    mean, std = (rearrange(torch.tensor(x), "c -> c 1 1") for x in (CLIP_MEAN, CLIP_STD))
    return (_middle_square(image, size, Image.Resampling.BICUBIC) / 255 - mean) / std


def _middle_square(image: np.ndarray, size: int, resampling: Image.Resampling) -> Tensor:
    """(h, w, 3) uint8 -> (3, size, size) float32 in 0..255."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    wide, high = max(size, round(width * scale)), max(size, round(height * scale))
    left, top = (wide - size) // 2, (high - size) // 2
    resized = Image.fromarray(image).resize((wide, high), resampling)
    square = np.asarray(resized.crop((left, top, left + size, top + size)), dtype=np.float32)
    return rearrange(torch.from_numpy(square), "h w c -> c h w")
