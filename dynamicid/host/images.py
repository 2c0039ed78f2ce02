"""The boundary between ComfyUI's IMAGE (float, BHWC, 0..1) and pictures for faces (uint8 RGB, HWC)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import DynamicIDError
from ..faces.contact_sheet import contact_sheet

SMALLEST_SIDE = 16


def checked_images(images: Tensor, where: str) -> Tensor:
    """RGB pictures for everything that follows.

    Args:
        images: (B, height, width, channels) float in 0..1. RGBA loses its alpha, grey becomes RGB.
        where: Id of the input.

    Returns:
        (B, height, width, 3) float32 on the CPU, clamped to 0..1.

    Raises:
        DynamicIDError: No picture, another layout, NaN values, a picture too small to show a face.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[0] == 0 or images.shape[-1] not in (1, 3, 4):
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise DynamicIDError(
            where, f"Expected pictures of shape (batch, height, width, 3), found {shape}.", "Connect an IMAGE output."
        )
    if min(images.shape[1:3]) < SMALLEST_SIDE:
        raise DynamicIDError(
            where,
            f"The picture is {images.shape[2]} x {images.shape[1]} pixels, too small to show a face.",
            "Use a photo of at least 256 pixels a side.",
        )
    images = images.detach().float().cpu()
    if not bool(images.isfinite().all()):
        raise DynamicIDError(
            where,
            "The picture holds NaN or infinite values.",
            "Check the node that made it; a black picture from VAE decoding often needs --fp32-vae.",
        )
    images = images[..., :3] if images.shape[-1] == 4 else images.expand(*images.shape[:3], 3)
    return images.clamp(0, 1)


def single_image(image: Tensor, where: str) -> Tensor:
    """``checked_images`` for an input that takes one picture: (1, height, width, 3).

    Raises:
        DynamicIDError: As ``checked_images``, or several pictures.
    """
    pictures = checked_images(image, where)
    if pictures.shape[0] > 1:
        raise DynamicIDError(where, f"There are {pictures.shape[0]} pictures.", "Connect a single picture.")
    return pictures


def to_uint8(image: Tensor) -> np.ndarray:
    """(height, width, 3) float 0..1 -> uint8 RGB."""
    return (image * 255).round().to(torch.uint8).numpy()


def to_image(picture: np.ndarray) -> Tensor:
    """uint8 RGB (height, width, 3) -> IMAGE (1, height, width, 3) float 0..1."""
    return torch.from_numpy(picture.astype(np.float32))[None] / 255


def to_batch(pictures: list[np.ndarray]) -> Tensor:
    """uint8 RGB pictures of any sizes -> one IMAGE batch; smaller ones are centred on black."""
    height = max(picture.shape[0] for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    batch = torch.zeros(len(pictures), height, width, 3)
    for row, picture in zip(batch, pictures, strict=True):
        y, x = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
        row[y : y + picture.shape[0], x : x + picture.shape[1]] = to_image(picture)[0]
    return batch


def labelled_sheet(images: Tensor, labels: str, columns: int) -> Tensor:
    """``faces.contact_sheet.contact_sheet`` of an IMAGE batch, one line of ``labels`` a picture.

    Returns:
        (1, height, width, 3).

    Raises:
        DynamicIDError: Unusable pictures, or as there.
    """
    pictures = np.stack([to_uint8(image) for image in checked_images(images, "image")])
    return to_image(contact_sheet(pictures, labels.strip().splitlines(), columns))
