"""The image encoder of the tiny models: a CLIP vision transformer that encodes identity and motion of a face.

It is not trained with text. Auxiliary heads predict identity, motion, shirt and background from its last hidden states
but one, and are dropped after the training.
"""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dynamicid.faces.landmarks import LANDMARK_COUNT
from dynamicid.pipeline.preprocessing import clip_pixels
from dynamicid.synthetic import EXPRESSIONS, Split
from dynamicid.synthetic.colours import SHIRTS

from ..places import SEED
from ..precision import mixed_precision
from .face_crops import augmented_picture, portrait_crop
from .face_dataset import (
    CATEGORIES,
    IGNORED,
    MOTION_FIELDS,
    TRAIT_COUNT,
    FaceLabels,
    FacePictures,
    face_labels,
    load_face_pictures,
)
from .small_networks import Plan, train

logger = logging.getLogger(__name__)

IMAGE_SIZE = 64
PLAN = Plan("vision", steps=3000, rate=1.5e-3, decay=0.03)
BATCH = 64
CORNER = 0.12
"""Side of the upper corners whose colours stand for the background, as a share of the crop."""
REGRESSIONS = {
    "traits": TRAIT_COUNT, "motion": len(MOTION_FIELDS), "background": 6, "landmarks": 2 * LANDMARK_COUNT,
}  # fmt: skip
"""Regressed values: name -> how many numbers."""
CLASSES = {
    **{name: len(values) for name, values in CATEGORIES.items()},
    "expression": len(EXPRESSIONS),
    "shirt": len(SHIRTS),
}
"""Predicted classes: name -> how many."""
_WEIGHTS = {"traits": 4.0, "motion": 4.0, "landmarks": 4.0, "expression": 0.5}
_OTHER_WEIGHT = 0.25
_PATCH_WEIGHT = 0.5


def vision_config() -> CLIPVisionConfig:
    """Four layers of 128 channels on 8 x 8 patches of 64 x 64 pixels."""
    return CLIPVisionConfig(
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=384,
        image_size=IMAGE_SIZE,
        patch_size=8,
        projection_dim=64,
    )


@torch.no_grad()
def _init_position_embeddings(encoder: CLIPVisionModelWithProjection) -> None:
    """Initialises position embeddings with sines over rows and columns, as large as the patch embeddings.

    With CLIP's own small initialisation the network learns positions late.
    """
    positions = encoder.get_parameter("vision_model.embeddings.position_embedding.weight")
    side, width = round((len(positions) - 1) ** 0.5), positions.shape[1]
    phase = torch.arange(side)[:, None] * torch.exp(torch.linspace(0, -3, width // 4))
    waves = torch.cat([torch.sin(phase), torch.cos(phase)], dim=1)
    grid = torch.cat([waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)], dim=2)
    positions[1:] = 0.3 * grid.reshape(side * side, width)


class PredictionHeads(nn.Module):
    """Predicts REGRESSIONS and CLASSES from hidden states, by attention of learned queries, or from one vector.

    Args:
        width: Channels of the input.
        queries: Number of queries; 0 = the input is one vector.
    """

    def __init__(self, width: int, queries: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02) if queries else None
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True) if queries else None
        self.mix = nn.Sequential(nn.Linear(width * max(1, queries), 384), nn.GELU())
        self.heads = nn.ModuleDict({name: nn.Linear(384, size) for name, size in {**REGRESSIONS, **CLASSES}.items()})

    def forward(self, states: Tensor) -> dict[str, Tensor]:
        """(B, tokens, width) or (B, width) -> name -> (B, size)"""
        states = self.norm(states)
        if self.attend is not None and self.queries is not None:
            queries = self.queries.expand(len(states), -1, -1)
            states = self.attend(queries, states, states, need_weights=False)[0].flatten(1)
        features = self.mix(states)
        return {name: head(features) for name, head in self.heads.items()}


class LandmarkPatches(nn.Module):
    """Predicts the patch of each landmark, so that every patch encodes what it shows, and where.

    Args:
        width: Channels of the hidden states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, LANDMARK_COUNT))

    def forward(self, states: Tensor) -> Tensor:
        """(B, 1 + patches, width), the class token first -> (B, patches, 106) logits over the patches"""
        return self.layers(states[:, 1:])


class ImageEncoderTrainer(nn.Module):
    """The encoder with the heads of its training."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = CLIPVisionModelWithProjection(vision_config())
        width = self.encoder.config.hidden_size
        _init_position_embeddings(self.encoder)
        self.patches = LandmarkPatches(width)
        self.of_states = PredictionHeads(width, 8)
        self.of_embedding = PredictionHeads(self.encoder.config.projection_dim, 0)

    def forward(self, pixels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """(B, 3, 64, 64) -> predictions from the last hidden states but one and from the image embedding; logits of the
        landmarks' patches (B, 64, 106)."""
        out = self.encoder(pixel_values=pixels, output_hidden_states=True)
        states = out.hidden_states[-2]
        return self.of_states(states), self.of_embedding(out.image_embeds), self.patches(states)


def prediction_loss(predicted: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """Weighted sum of the losses of all predictions."""
    total = torch.zeros(())
    for name, value in predicted.items():
        if name in REGRESSIONS:
            loss = functional.smooth_l1_loss(value.float(), labels[name], beta=0.3)
        else:
            loss = functional.cross_entropy(value.float(), labels[name], ignore_index=IGNORED)
            loss = torch.nan_to_num(loss)
        total = total + _WEIGHTS.get(name, _OTHER_WEIGHT) * loss
    return total


def patch_loss(logits: Tensor, landmarks: Tensor) -> Tensor:
    """Cross entropy of the patches in which the landmarks lie.

    Args:
        logits: (B, patches, 106)
        landmarks: (B, 212) x and y in [-1, 1] over the crop; those outside are ignored.
    """
    side = round(logits.shape[1] ** 0.5)
    points = landmarks.view(-1, LANDMARK_COUNT, 2)
    column, row = ((points + 1) * side / 2).floor().long().unbind(-1)
    outside = (column < 0) | (column >= side) | (row < 0) | (row >= side)
    patches = (row * side + column).masked_fill(outside, IGNORED)
    return _PATCH_WEIGHT * functional.cross_entropy(logits.float(), patches, ignore_index=IGNORED)


def make_batch(
    faces: FacePictures, labels: FaceLabels, rows: np.ndarray, random: np.random.Generator | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Crops as the pack shows them to the encoder (B, 3, 64, 64), and their labels by name."""
    cut = [portrait_crop(augmented_picture(faces, row, random, 0.6), faces.box[row], random) for row in rows]
    crops, (left, top, side) = [crop for crop, _ in cut], np.stack([square for _, square in cut], axis=1)
    points = (faces.landmarks[rows] - np.stack([left, top], axis=1)[:, None]) * (2 / side[:, None, None]) - 1
    batch = {"traits": labels.traits[rows], "motion": labels.motion[rows]}
    batch["background"] = torch.from_numpy(np.stack([_background_colours(crop) for crop in crops]))
    batch["landmarks"] = torch.from_numpy(points.reshape(len(rows), -1)).float()
    batch |= {name: values[rows] for name, values in labels.categories.items()}
    batch |= {"expression": labels.expression[rows], "shirt": labels.shirt[rows]}
    return torch.stack([clip_pixels(crop, IMAGE_SIZE) for crop in crops]), batch


def _background_colours(crop: np.ndarray) -> np.ndarray:
    """(6,) mean colours of the two upper corners in [-1, 1]."""
    side = max(1, round(CORNER * len(crop)))
    both = crop[:side, :side], crop[:side, -side:]
    return (np.concatenate([cv2.mean(corner)[:3] for corner in both]) / 127.5 - 1).astype(np.float32)


def _loss(net: nn.Module, batch: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
    with mixed_precision():
        of_states, of_embedding, patches = net(batch[0])
    predictions = prediction_loss(of_states, batch[1]) + 0.3 * prediction_loss(of_embedding, batch[1])
    return predictions + patch_loss(patches, batch[1]["landmarks"])


def train_image_encoder(work: Path, folder: Path) -> None:
    """Trains the image encoder and writes it as a transformers folder in float16; does nothing where it exists.

    Args:
        work: Folder of pictures and checkpoints.
        folder: The transformers folder.
    """
    if (folder / "model.safetensors").is_file():
        return
    faces = load_face_pictures(work, Split.train)
    labels = face_labels(faces)
    torch.manual_seed(SEED)
    net = ImageEncoderTrainer()

    def random_batch(random: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return make_batch(faces, labels, random.integers(len(faces), size=BATCH), random)

    train(PLAN, work, net, random_batch, _loss)
    for name, figure in measure_image_encoder(work, net).items():
        logger.info("%s %.3f", name, figure)
    net.encoder.half().save_pretrained(folder)


@torch.no_grad()
def measure_image_encoder(work: Path, net: ImageEncoderTrainer) -> dict[str, float]:
    """On held-out people and motions: explained variance of the regressions, accuracy of the classes."""
    faces = load_face_pictures(work, Split.held_out)
    labels = face_labels(faces)
    parts = [make_batch(faces, labels, rows, None) for rows in np.array_split(np.arange(len(faces)), 12)]
    predictions = [net.float().eval()(pixels)[0] for pixels, _ in parts]
    figures = {}
    for name in predictions[0]:
        value = torch.cat([prediction[name] for prediction in predictions])
        label = torch.cat([batch[name] for _, batch in parts])
        if name in REGRESSIONS:
            residual = ((value - label) ** 2).mean(0) / label.var(0)
            figures[f"{name}: explained"] = float(1 - residual.mean())
            for place, field in enumerate(MOTION_FIELDS if name == "motion" else ()):
                figures[f"{field}: explained"] = float(1 - residual[place])
        else:
            known = label >= 0
            figures[f"{name}: right"] = float((value.argmax(1) == label)[known].float().mean())
    return figures
