"""Metrics of whole pictures: CLIP-T, how well one fits its prompt, and how far the people disturb the background."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from ..boxes import BoxXywhNorm, BoxXyxyPx
from ..errors import DynamicIDError
from ..files.skipped import BadSample

FACE_MARGIN = 0.5
"""A face's box is grown by this share of its width and height to each side."""
SMALLEST_BACKGROUND = 0.01
"""Share of the picture; disturbance of less background is not measured."""
_SMALLEST_SIDE = 16


class PromptFit:
    """CLIP-T: torchmetrics' CLIPScore with a CLIP from a folder; nothing is downloaded.

    Args:
        folder: In the layout of openai/clip-vit-base-patch16.

    Raises:
        DynamicIDError: No such folder, or no CLIP model in it.
    """

    def __init__(self, folder: Path) -> None:
        from torchmetrics.multimodal import CLIPScore

        if not (folder / "config.json").is_file():
            remedy = "Name a folder with config.json, model.safetensors, tokenizer and preprocessor_config.json."
            raise DynamicIDError("--clip", f"There is no config.json in {folder}.", remedy)
        self._metric = CLIPScore(lambda: _load_clip(folder))

    @torch.inference_mode()
    def score(self, picture: np.ndarray, prompt: str) -> float:
        """Cosine 0..1 of a picture (height, width, 3) uint8 RGB and its prompt."""
        self._metric.reset()
        self._metric.update(rearrange(torch.from_numpy(picture.copy()), "h w c -> c h w"), prompt)
        return float(self._metric.compute()) / 100


def disturbance(picture: np.ndarray, unpatched: np.ndarray, mask: np.ndarray) -> float | None:
    """1 - SSIM over the background; None if it is smaller than SMALLEST_BACKGROUND.

    Args:
        picture, unpatched: (height, width, 3) uint8 RGB.
        mask: (height, width) bool, true = background.

    Raises:
        BadSample: The two differ in size, or are too small for the window.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    if picture.shape != unpatched.shape:
        raise BadSample("unpatched picture of another size")
    if min(picture.shape[:2]) < _SMALLEST_SIDE:
        raise BadSample("picture too small for SSIM")
    if mask.mean() < SMALLEST_BACKGROUND:
        return None
    first, second = (
        rearrange(torch.from_numpy(image.copy()), "h w c -> 1 c h w").float() / 255 for image in (picture, unpatched)
    )
    _, similarity = structural_similarity_index_measure(first, second, data_range=1.0, return_full_image=True)
    return 1 - float(similarity[0].mean(dim=0).numpy()[mask].mean())


def background_mask(size: tuple[int, int], boxes: Sequence[BoxXywhNorm], faces: Sequence[BoxXyxyPx]) -> np.ndarray:
    """(height, width) bool: outside the people's boxes and outside the faces' boxes grown by FACE_MARGIN.

    Args:
        size: Height and width in pixels.
        boxes: Of the people.
        faces: Of the faces that were found.
    """
    height, width = size
    mask = np.ones(size, dtype=bool)
    edges = [(x * width, y * height, (x + w) * width, (y + h) * height) for x, y, w, h in boxes]
    for left, top, right, bottom in faces:
        grow_x, grow_y = FACE_MARGIN * (right - left), FACE_MARGIN * (bottom - top)
        edges.append((left - grow_x, top - grow_y, right + grow_x, bottom + grow_y))
    for left, top, right, bottom in edges:
        rows = slice(max(int(np.floor(top)), 0), max(int(np.ceil(bottom)), 0))
        mask[rows, max(int(np.floor(left)), 0) : max(int(np.ceil(right)), 0)] = False
    return mask


class _ClipFeatures(nn.Module):
    """A CLIPModel whose features are tensors, as torchmetrics expects; newer transformers wrap them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.train(False)
        self.config = model.config

    def get_image_features(self, pixels: Tensor) -> Tensor:
        return _as_tensor(self.model.get_image_features(pixel_values=pixels))

    def get_text_features(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return _as_tensor(self.model.get_text_features(input_ids=tokens, attention_mask=mask))


def _load_clip(folder: Path) -> tuple[Any, Any]:
    from transformers import CLIPModel, CLIPProcessor

    try:
        model = CLIPModel.from_pretrained(folder, local_files_only=True)
        processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        remedy = "Name a folder as openai/clip-vit-base-patch16 has it on Hugging Face."
        raise DynamicIDError("--clip", f"{folder} holds no CLIP that can be loaded ({error}).", remedy) from error
    return _ClipFeatures(model), processor


def _as_tensor(features: Any) -> Tensor:
    return features if isinstance(features, Tensor) else features.pooler_output
