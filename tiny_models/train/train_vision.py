"""The image encoder of the small family: a CLIP vision transformer that tells who it is and what the face does.

It was never trained with text. Its last hidden states but one carry identity, motion, shirt and background; the heads
that read them while training are thrown away.
"""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dynamicid.pipeline.preprocessing import clip_pixels
from dynamicid.synthetic import Split

from ..places import SEED
from .face_crops import picture_of, portrait_crop
from .face_pictures import MOTION_FIELDS, FacePictures, load_pictures
from .face_truth import FaceTruth, truth_of
from .training_loop import Plan, train
from .vision_readers import SIZES, Readers, Seeker, reading_loss, seeking_loss

logger = logging.getLogger(__name__)

IMAGE_SIZE = 64
PLAN = Plan("vision", steps=3000, rate=1.5e-3, decay=0.03)
BATCH = 64
CORNER = 0.12
"""Side of the upper corners whose colours stand for the background, as a share of the crop."""


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
def _show_places(encoder: CLIPVisionModelWithProjection) -> None:
    """Position embeddings start as waves over rows and columns, as large as what patches show.

    CLIP's own start is so small that the network finds out late where things are.
    """
    positions = encoder.get_parameter("vision_model.embeddings.position_embedding.weight")
    side, width = round((len(positions) - 1) ** 0.5), positions.shape[1]
    place = torch.arange(side)[:, None] * torch.exp(torch.linspace(0, -3, width // 4))
    waves = torch.cat([torch.sin(place), torch.cos(place)], dim=1)
    grid = torch.cat([waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)], dim=2)
    positions[1:] = 0.3 * grid.reshape(side * side, width)


class VisionTrainer(nn.Module):
    """The encoder with the heads that train it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = CLIPVisionModelWithProjection(vision_config())
        width = self.encoder.config.hidden_size
        _show_places(self.encoder)
        self.seeker = Seeker(width)
        self.of_states = Readers(width, 8)
        self.of_embedding = Readers(self.encoder.config.projection_dim, 0)

    def forward(self, pixels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """(B, 3, 64, 64) -> what is read off the last hidden states but one, and off the image embedding; the patches
        of the landmarks (B, 64, 106)."""
        out = self.encoder(pixel_values=pixels, output_hidden_states=True)
        states = out.hidden_states[-2]
        return self.of_states(states), self.of_embedding(out.image_embeds), self.seeker(states)


def batch_of(
    faces: FacePictures, truth: FaceTruth, rows: np.ndarray, random: np.random.Generator | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Crops as the pack shows them to the encoder (B, 3, 64, 64), and the truth about them by name."""
    cut = [portrait_crop(picture_of(faces, row, random, 0.6), faces.box[row], random) for row in rows]
    crops, (left, top, side) = [crop for crop, _ in cut], np.stack([place for _, place in cut], axis=1)
    points = (faces.landmarks[rows] - np.stack([left, top], axis=1)[:, None]) * (2 / side[:, None, None]) - 1
    pixels = torch.stack([clip_pixels(crop, IMAGE_SIZE) for crop in crops])
    wanted = {"numbers": truth.numbers[rows], "motion": truth.motion[rows]}
    wanted["ground"] = torch.from_numpy(np.stack([_ground(crop) for crop in crops]))
    wanted["landmarks"] = torch.from_numpy(points.reshape(len(rows), -1)).float()
    wanted |= {name: values[rows] for name, values in truth.kinds.items()}
    wanted |= {"expression": truth.expression[rows], "shirt": truth.shirt[rows]}
    return pixels, wanted


def _ground(crop: np.ndarray) -> np.ndarray:
    """(6,) mean colours of the two upper corners in [-1, 1]."""
    side = max(1, round(CORNER * len(crop)))
    both = crop[:side, :side], crop[:side, -side:]
    return (np.concatenate([cv2.mean(corner)[:3] for corner in both]) / 127.5 - 1).astype(np.float32)


def _loss(net: nn.Module, batch: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        of_states, of_embedding, patches = net(batch[0])
    reading = reading_loss(of_states, batch[1]) + 0.3 * reading_loss(of_embedding, batch[1])
    return reading + seeking_loss(patches, batch[1]["landmarks"])


def train_vision(work: Path, folder: Path) -> None:
    """Trains the image encoder and writes it as a transformers folder in float16; skipped where it is there.

    Args:
        work: Where pictures and checkpoints are kept.
        folder: The transformers folder.
    """
    if (folder / "model.safetensors").is_file():
        return
    faces = load_pictures(work, Split.train)
    truth = truth_of(faces)
    torch.manual_seed(SEED)
    net = VisionTrainer()

    def make_batch(random: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return batch_of(faces, truth, random.integers(len(faces), size=BATCH), random)

    train(PLAN, work, net, make_batch, _loss)
    for name, figure in measure_vision(work, net).items():
        logger.info("%s %.3f", name, figure)
    net.encoder.half().save_pretrained(folder)


@torch.no_grad()
def measure_vision(work: Path, net: VisionTrainer) -> dict[str, float]:
    """On held-out people and motions: explained variance of the numbers, share of right classes."""
    faces = load_pictures(work, Split.held_out)
    truth = truth_of(faces)
    parts = [batch_of(faces, truth, rows, None) for rows in np.array_split(np.arange(len(faces)), 12)]
    read = [net.float().eval()(pixels)[0] for pixels, _ in parts]
    figures = {}
    for name in read[0]:
        value, wanted = torch.cat([r[name] for r in read]), torch.cat([w[name] for _, w in parts])
        if name in SIZES:
            rest = ((value - wanted) ** 2).mean(0) / wanted.var(0)
            figures[f"{name}: explained"] = float(1 - rest.mean())
            for place, field in enumerate(MOTION_FIELDS if name == "motion" else ()):
                figures[f"{field}: explained"] = float(1 - rest[place])
        else:
            seen = wanted >= 0
            figures[f"{name}: right"] = float((value.argmax(1) == wanted)[seen].float().mean())
    return figures
