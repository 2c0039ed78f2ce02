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
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dynamicid.training.pictures import clip_pixels
from dynamicid.training.synthetic import EXPRESSIONS, Split
from dynamicid.training.synthetic.colours import SHIRTS

from .face_crops import picture_of, portrait_crop
from .face_pictures import MOTION_FIELDS, FacePictures, load_pictures
from .face_truth import KINDS, NUMBERS, FaceTruth, truth_of
from .training_loop import Plan, train

logger = logging.getLogger(__name__)

IMAGE_SIZE = 64
PLAN = Plan("vision", steps=2000, rate=1.5e-3, decay=0.03)
BATCH = 64
CORNER = 0.12
"""Side of the upper corners whose colours stand for the background, as a share of the crop."""
_SIZES = {"numbers": NUMBERS, "motion": len(MOTION_FIELDS), "ground": 6}
_CLASSES = {
    **{name: len(values) for name, values in KINDS.items()},
    "expression": len(EXPRESSIONS),
    "shirt": len(SHIRTS),
}
_WEIGHTS = {"numbers": 4.0, "motion": 4.0, "ground": 1.0, "expression": 0.5}
_CLASS_WEIGHT = 0.25


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


class Readers(nn.Module):
    """Reads everything off hidden states by eight learned queries, or off one vector.

    Args:
        width: Channels of what is read.
        queries: How many queries; 0 = the input is one vector.
    """

    def __init__(self, width: int, queries: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02) if queries else None
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True) if queries else None
        self.mix = nn.Sequential(nn.Linear(width * max(1, queries), 384), nn.GELU())
        self.heads = nn.ModuleDict({name: nn.Linear(384, size) for name, size in {**_SIZES, **_CLASSES}.items()})

    def forward(self, states: Tensor) -> dict[str, Tensor]:
        """(B, tokens, width) or (B, width) -> name -> (B, size)"""
        states = self.norm(states)
        if self.attend is not None and self.queries is not None:
            queries = self.queries.expand(len(states), -1, -1)
            states = self.attend(queries, states, states, need_weights=False)[0].flatten(1)
        features = self.mix(states)
        return {name: head(features) for name, head in self.heads.items()}


class VisionTrainer(nn.Module):
    """The encoder with the heads that train it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = CLIPVisionModelWithProjection(vision_config())
        width = self.encoder.config.hidden_size
        self.of_states = Readers(width, 8)
        self.of_embedding = Readers(self.encoder.config.projection_dim, 0)

    def forward(self, pixels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(B, 3, 64, 64) -> what is read off the last hidden states but one, and off the image embedding"""
        out = self.encoder(pixel_values=pixels, output_hidden_states=True)
        return self.of_states(out.hidden_states[-2]), self.of_embedding(out.image_embeds)


def batch_of(
    faces: FacePictures, truth: FaceTruth, rows: np.ndarray, random: np.random.Generator | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Crops as the pack shows them to the encoder (B, 3, 64, 64), and the truth about them by name."""
    crops = [portrait_crop(picture_of(faces, row, random, 0.6), faces.box[row], random) for row in rows]
    pixels = torch.stack([clip_pixels(crop, IMAGE_SIZE) for crop in crops])
    wanted = {"numbers": truth.numbers[rows], "motion": truth.motion[rows]}
    wanted["ground"] = torch.from_numpy(np.stack([_ground(crop) for crop in crops]))
    wanted |= {name: values[rows] for name, values in truth.kinds.items()}
    wanted |= {"expression": truth.expression[rows], "shirt": truth.shirt[rows]}
    return pixels, wanted


def _ground(crop: np.ndarray) -> np.ndarray:
    """(6,) mean colours of the two upper corners in [-1, 1]."""
    side = max(1, round(CORNER * len(crop)))
    both = crop[:side, :side], crop[:side, -side:]
    return (np.concatenate([cv2.mean(corner)[:3] for corner in both]) / 127.5 - 1).astype(np.float32)


def reading_loss(read: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """Weighted sum over everything that is read."""
    total = torch.zeros(())
    for name, value in read.items():
        if name in _SIZES:
            loss = functional.smooth_l1_loss(value.float(), wanted[name], beta=0.3)
        else:
            loss = functional.cross_entropy(value.float(), wanted[name], ignore_index=-100)
            loss = torch.nan_to_num(loss)
        total = total + _WEIGHTS.get(name, _CLASS_WEIGHT) * loss
    return total


def _loss(net: nn.Module, batch: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        of_states, of_embedding = net(batch[0])
    return reading_loss(of_states, batch[1]) + 0.3 * reading_loss(of_embedding, batch[1])


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
    torch.manual_seed(PLAN.steps)
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
        if name in _SIZES:
            rest = ((value - wanted) ** 2).mean(0) / wanted.var(0)
            figures[f"{name}: explained"] = float(1 - rest.mean())
            for place, field in enumerate(MOTION_FIELDS if name == "motion" else ()):
                figures[f"{field}: explained"] = float(1 - rest[place])
        else:
            seen = wanted >= 0
            figures[f"{name}: right"] = float((value.argmax(1) == wanted)[seen].float().mean())
    return figures
