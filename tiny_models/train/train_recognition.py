"""The recognition network of the small family: who a drawn face is, in InsightFace's `w600k_r50` interface.

The pack hands RGB arrays where InsightFace expects BGR, so the network sees blue, green, red; it is trained so.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dynamicid.synthetic import Split

from .face_crops import RECOGNITION_CROP, picture_of, recognition_crop
from .face_pictures import POOLS, FacePictures, load_pictures
from .face_truth import KINDS, NUMBERS, FaceTruth, truth_of
from .onnx_files import block, write_onnx
from .training_loop import Plan, train

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
            block(3, 48, stride=2, kernel=5),
            block(48, 48),
            block(48, 96, stride=2),
            block(96, 96),
            block(96, 112, stride=2),
            block(112, 24, kernel=1),
            nn.Flatten(),
        )
        self.features = nn.Linear(24 * 7 * 7, 192, bias=False)
        self.norm = nn.BatchNorm1d(192)
        self.embedding = nn.Linear(192, EMBEDDING, bias=False)

    def forward(self, crops: Tensor) -> Tensor:
        return self.embedding(self.norm(self.features(self.layers(crops))))


class RecognitionFile(nn.Module):
    """What goes into the file: (B, 3, 112, 112) -> (B, 512)."""

    def __init__(self, net: Recognition) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor) -> Tensor:
        return self.net(functional.avg_pool2d(crops, 2))


class RecognitionTrainer(nn.Module):
    """The network, a direction for each person of the training, and heads that read the parameters off embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Recognition()
        self.people = nn.Parameter(torch.randn(POOLS[Split.train], EMBEDDING) * 0.05)
        self.heads = nn.ModuleDict({name: nn.Linear(EMBEDDING, len(values)) for name, values in KINDS.items()})
        self.numbers = nn.Linear(EMBEDDING, NUMBERS)

    def forward(self, crops: Tensor) -> Tensor:
        """(B, 3, 56, 56) -> unit vectors (B, 512)"""
        return functional.normalize(self.net(crops).float())


def crops_of(faces: FacePictures, rows: np.ndarray, random: np.random.Generator | None) -> Tensor:
    """(B, 3, 56, 56) BGR in [-1, 1]"""
    half = RECOGNITION_CROP // 2
    crops = [recognition_crop(picture_of(faces, row, random, 0.8), faces.key_points[row], random) for row in rows]
    small = np.stack([cv2.resize(crop, (half, half), interpolation=cv2.INTER_AREA)[..., ::-1] for crop in crops])
    pixels = torch.from_numpy(small.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    return pixels.contiguous(memory_format=torch.channels_last)


def _loss(net: RecognitionTrainer, batch: tuple[Tensor, np.ndarray, FaceTruth, Tensor]) -> Tensor:
    """Margin loss over people, and how far the parameters are that can be read off the embedding."""
    crops, rows, truth, people = batch
    with torch.autocast("cpu", torch.bfloat16):
        embedding = net(crops)
        cosines = embedding @ functional.normalize(net.people).T
    margin = MARGIN * functional.one_hot(people, cosines.shape[1])
    loss = functional.cross_entropy(SCALE * (cosines.float() - margin), people)
    # Unit vectors are small; readers see them at the size that layers are made for.
    features = embedding * EMBEDDING**0.5 / 4
    loss = loss + 4 * functional.smooth_l1_loss(net.numbers(features), truth.numbers[rows], beta=0.3)
    for name, head in net.heads.items():
        wanted = truth.kinds[name][rows]
        loss = loss + 0.25 * torch.nan_to_num(functional.cross_entropy(head(features), wanted, ignore_index=-100))
    return loss


def train_recognition(work: Path, pack: Path) -> None:
    """Trains the recognition network and writes it; skipped where the file is there.

    Args:
        work: Where pictures and checkpoints are kept.
        pack: The folder of the ONNX files.
    """
    if (pack / FILE).is_file():
        return
    faces = load_pictures(work, Split.train)
    truth = truth_of(faces)
    people = torch.from_numpy(faces.person - faces.person.min()).long()
    torch.manual_seed(PLAN.steps)
    net = RecognitionTrainer()

    def make_batch(random: np.random.Generator) -> tuple[Tensor, np.ndarray, FaceTruth, Tensor]:
        rows = random.integers(len(faces), size=BATCH)
        return crops_of(faces, rows, random), rows, truth, people[rows]

    train(PLAN, work, net, make_batch, _loss)
    example = torch.zeros(1, 3, RECOGNITION_CROP, RECOGNITION_CROP)
    write_onnx(RecognitionFile(net.net), pack / FILE, example, ("input.1", ["embedding"]), (0,))
