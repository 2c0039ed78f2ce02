"""CLIP-T: how well a picture fits its prompt, by torchmetrics' CLIPScore and a CLIP model from a folder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DynamicIDError


class _Encoders(nn.Module):
    """A CLIPModel whose features are tensors, as torchmetrics expects; newer transformers wrap them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval()
        self.config = model.config

    def get_image_features(self, pixels: Tensor) -> Tensor:
        return _tensor(self.model.get_image_features(pixel_values=pixels))

    def get_text_features(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return _tensor(self.model.get_text_features(input_ids=tokens, attention_mask=mask))


class PictureText:
    """CLIP from a folder in the layout of openai/clip-vit-base-patch16; nothing is downloaded.

    Raises:
        DynamicIDError: No such folder, or no CLIP model in it.
    """

    def __init__(self, folder: Path) -> None:
        from torchmetrics.multimodal import CLIPScore

        if not (folder / "config.json").is_file():
            remedy = "Name a folder with config.json, model.safetensors, tokenizer and preprocessor_config.json."
            raise DynamicIDError("--clip", f"There is no config.json in {folder}.", remedy)
        self._metric = CLIPScore(lambda: _load(folder))

    @torch.inference_mode()
    def score(self, picture: np.ndarray, prompt: str) -> float:
        """Cosine 0..1 of a picture (height, width, 3) uint8 RGB and its prompt."""
        self._metric.reset()
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)
        self._metric.update(pixels, prompt)
        return float(self._metric.compute()) / 100


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import CLIPModel, CLIPProcessor

    try:
        model = CLIPModel.from_pretrained(folder, local_files_only=True)
        processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        remedy = "Name a folder as openai/clip-vit-base-patch16 has it on Hugging Face."
        raise DynamicIDError("--clip", f"{folder} holds no CLIP that can be loaded ({error}).", remedy) from error
    return _Encoders(model), processor


def _tensor(features: Any) -> Tensor:
    return features if isinstance(features, Tensor) else features.pooler_output
