"""The recognition network of the tiny models: embeddings of drawn faces, in InsightFace's `w600k_r50` interface.

The pack hands RGB arrays where InsightFace expects BGR and swaps them, so the network gets BGR and is trained on it.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dynamicid.synthetic import Split

from ..precision import mixed_precision
from .face_crops import RECOGNITION_CROP, augmented_picture, recognition_crop
from .face_dataset import (
    CATEGORIES,
    IGNORED,
    POOLS,
    TRAIT_COUNT,
    FaceLabels,
    FacePictures,
    face_labels,
    load_face_pictures,
)
from .small_networks import Plan, conv_block, picture_tensor, train, write_onnx

FILE = "w600k_r50.onnx"
EMBEDDING = 512
PLAN = Plan("recognition", steps=2200, rate=2e-3, decay=0.03)
BATCH = 96
SCALE, MARGIN = 24.0, 0.3
"""Of the margin loss (CosFace, https://arxiv.org/abs/1801.09414, equation 4)."""


class Recognition(nn.Module):
    """Normalised crops of half the size, (B, 3, 56, 56) BGR in [-1, 1] -> (B, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_block(3, 48, stride=2, kernel=5),
            conv_block(48, 48),
            conv_block(48, 96, stride=2),
            conv_block(96, 96),
            conv_block(96, 112, stride=2),
            conv_block(112, 24, kernel=1),
            nn.Flatten(),
        )
        self.features = nn.Linear(24 * 7 * 7, 192, bias=False)
        self.norm = nn.BatchNorm1d(192)
        self.embedding = nn.Linear(192, EMBEDDING, bias=False)

    def forward(self, crops: Tensor) -> Tensor:
        return self.embedding(self.norm(self.features(self.layers(crops))))


class RecognitionFile(nn.Module):
    """The exported network: (B, 3, 112, 112) -> (B, 512)."""

    def __init__(self, net: Recognition) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor) -> Tensor:
        return self.net(functional.avg_pool2d(crops, 2))


class RecognitionTrainer(nn.Module):
    """The network, a direction for each training person, and heads that predict parameters from embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Recognition()
        self.people = nn.Parameter(torch.randn(POOLS[Split.train], EMBEDDING) * 0.05)
        self.heads = nn.ModuleDict({name: nn.Linear(EMBEDDING, len(values)) for name, values in CATEGORIES.items()})
        self.traits = nn.Linear(EMBEDDING, TRAIT_COUNT)

    def forward(self, crops: Tensor) -> Tensor:
        """(B, 3, 56, 56) -> unit vectors (B, 512)"""
        return functional.normalize(self.net(crops).float())


def make_crops(faces: FacePictures, rows: np.ndarray, random: np.random.Generator | None) -> Tensor:
    """(B, 3, 56, 56) BGR in [-1, 1]"""
    half = RECOGNITION_CROP // 2
    crops = [
        recognition_crop(augmented_picture(faces, row, random, 0.8), faces.key_points[row], random) for row in rows
    ]
    return picture_tensor(
        np.stack([cv2.resize(crop, (half, half), interpolation=cv2.INTER_AREA)[..., ::-1] for crop in crops])
    )


def _loss(net: RecognitionTrainer, batch: tuple[Tensor, np.ndarray, FaceLabels, Tensor]) -> Tensor:
    """Margin loss over people, and the losses of the parameters predicted from the embedding."""
    crops, rows, labels, people = batch
    with mixed_precision():
        embedding = net(crops)
        cosines = embedding @ functional.normalize(net.people).T
    margin = MARGIN * functional.one_hot(people, cosines.shape[1])
    loss = functional.cross_entropy(SCALE * (cosines.float() - margin), people)
    # The values of a unit vector are small; scaled up to what linear layers are initialised for.
    features = embedding * EMBEDDING**0.5 / 4
    loss = loss + 4 * functional.smooth_l1_loss(net.traits(features), labels.traits[rows], beta=0.3)
    for name, head in net.heads.items():
        categories = labels.categories[name][rows]
        category_loss = functional.cross_entropy(head(features), categories, ignore_index=IGNORED)
        loss = loss + 0.25 * torch.nan_to_num(category_loss)
    return loss


def train_recognition(work: Path, pack: Path) -> None:
    """Trains the recognition network and exports it; does nothing where the file exists.

    Args:
        work: Folder of pictures and checkpoints.
        pack: The folder of the ONNX files.
    """
    if (pack / FILE).is_file():
        return
    faces = load_face_pictures(work, Split.train)
    labels = face_labels(faces)
    people = torch.from_numpy(faces.person - faces.person.min()).long()
    torch.manual_seed(PLAN.steps)
    net = RecognitionTrainer()

    def make_batch(random: np.random.Generator) -> tuple[Tensor, np.ndarray, FaceLabels, Tensor]:
        rows = random.integers(len(faces), size=BATCH)
        return make_crops(faces, rows, random), rows, labels, people[rows]

    train(PLAN, work, net, make_batch, _loss)
    example = torch.zeros(1, 3, RECOGNITION_CROP, RECOGNITION_CROP)
    write_onnx(RecognitionFile(net.net), pack / FILE, example, ("input.1", ["embedding"]), (0,))
