"""The detector of the small family: finds drawn faces, in the interface of InsightFace's `det_10g` (SCRFD)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dynamicid.faces.detected import LANDMARK_SIZE
from dynamicid.synthetic import Split

from .detector_targets import ANCHORS, STRIDES, Targets, targets_of, training_picture
from .face_crops import UPSCALING
from .face_pictures import FacePictures, load_pictures
from .onnx_files import block, write_onnx
from .training_loop import Plan, train

FILE = "det_10g.onnx"
PLAN = Plan("detector", steps=900, rate=2e-3)
BATCH = 32
_WIDTHS = (16, 32, 48)
_VALUES = 15
"""Of an anchor: score, four distances, five points."""
_KINDS = (("score", slice(0, 1)), ("bbox", slice(1, 5)), ("kps", slice(5, 15)))

Batch = tuple[Tensor, dict[int, tuple[Tensor, Tensor]]]


class Detector(nn.Module):
    """Pictures of a quarter of the size, (B, 3, h, w) -> by stride (B, 30, 4 h / stride, 4 w / stride).

    A pyramid down to strides 32 and 64 and up again to 8. Channels: the first anchor's 15 values, then the second's.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.to_8 = nn.Sequential(block(3, 16, stride=2), block(16, 16))
        self.to_16 = nn.Sequential(block(16, middle, stride=2), block(middle, middle))
        self.to_32 = nn.Sequential(block(middle, coarse, stride=2), block(coarse, coarse))
        self.to_64 = nn.Sequential(block(coarse, 64, stride=2), block(64, 64))
        self.side = nn.ModuleList([block(16, fine, kernel=1), block(32, middle, kernel=1), block(48, coarse, kernel=1)])
        self.down = nn.ModuleList(
            [block(middle, fine, kernel=1), block(coarse, middle, kernel=1), block(64, coarse, kernel=1)]
        )
        self.heads = nn.ModuleList(
            nn.Sequential(*(block(width, width) for _ in range(depth)), nn.Conv2d(width, 2 * _VALUES, 1))
            for width, depth in zip(_WIDTHS, (1, 2, 2), strict=True)
        )
        for head in self.heads.modules():
            if isinstance(head, nn.Conv2d) and head.bias is not None:
                # Faces are rare.
                head.bias.data[[0, _VALUES]] = -4.0

    def forward(self, pictures: Tensor) -> list[Tensor]:
        at_8 = self.to_8(pictures)
        at_16 = self.to_16(at_8)
        at_32 = self.to_32(at_16)
        state = self.to_64(at_32)
        found: list[Tensor] = []
        for place, lateral in ((2, at_32), (1, at_16), (0, at_8)):
            above = functional.interpolate(self.down[place](state), scale_factor=2.0, mode="nearest")
            state = self.side[place](lateral) + above
            found.insert(0, self.heads[place](state))
        return found


class DetectorFile(nn.Module):
    """What goes into the file: (1, 3, H, W), sides multiples of 64 -> scores, boxes and points by stride."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        maps = self.net(functional.avg_pool2d(pictures, round(UPSCALING)))
        outputs: dict[str, list[Tensor]] = {name: [] for name, _ in _KINDS}
        for stride, values in zip(STRIDES, maps, strict=True):
            units = torch.tensor([unit / stride for _, unit, _ in ANCHORS[stride]]).view(1, 2, 1)
            rows = values.permute(0, 2, 3, 1).reshape(-1, 2, _VALUES)
            for name, part in _KINDS:
                read = torch.sigmoid(rows[..., part]) if name == "score" else rows[..., part] * units
                outputs[name].append(read.reshape(-1, part.stop - part.start))
        return tuple(x for name, _ in _KINDS for x in outputs[name])


def batch_of(faces: FacePictures, random: np.random.Generator, count: int) -> Batch:
    """Pictures (B, 3, 128, 128) as InsightFace normalises them; by stride scores and places with a batch dimension."""
    pictures, targets = [], []
    for _ in range(count):
        picture, *truth = training_picture(faces, random)
        pictures.append(picture)
        targets.append(targets_of(*truth))
    pixels = torch.from_numpy((np.stack(pictures).astype(np.float32) - 127.5) / 128).permute(0, 3, 1, 2)
    wanted = {}
    for stride in STRIDES:
        both = Targets(*(np.stack(values) for values in zip(*(one[stride] for one in targets), strict=True)))
        wanted[stride] = (torch.from_numpy(both.score), torch.from_numpy(both.places))
    return pixels.contiguous(memory_format=torch.channels_last), wanted


def _loss(net: nn.Module, batch: Batch) -> Tensor:
    """Focal loss of the scores (https://arxiv.org/abs/1708.02002) and smooth L1 of boxes and points, per positive."""
    with torch.autocast("cpu", torch.bfloat16):
        maps = net(batch[0])
    scoring, placing, count = torch.zeros(()), torch.zeros(()), torch.ones(())
    for stride, values in zip(STRIDES, maps, strict=True):
        score, places = batch[1][stride]
        read = values.float().permute(0, 2, 3, 1).reshape(*score.shape, _VALUES)
        logits, is_face = read[..., 0], score == 1
        chance = torch.sigmoid(logits)
        miss = torch.where(is_face, 1 - chance, chance) ** 2
        focal = miss * functional.binary_cross_entropy_with_logits(logits, is_face.float(), reduction="none")
        scoring = scoring + focal[score >= 0].sum()
        placing = placing + functional.smooth_l1_loss(read[is_face][:, 1:], places[is_face], beta=0.05, reduction="sum")
        count = count + is_face.sum()
    return (4 * scoring + placing) / count


def train_detector(work: Path, pack: Path) -> None:
    """Trains the detector and writes it; skipped where the file is there.

    Args:
        work: Where pictures and checkpoints are kept.
        pack: The folder of the ONNX files.
    """
    if (pack / FILE).is_file():
        return
    faces = load_pictures(work, Split.train)
    torch.manual_seed(PLAN.steps)
    net = Detector()
    train(PLAN, work, net, lambda random: batch_of(faces, random, BATCH), _loss)
    names = [f"{name}_{stride}" for name, _ in _KINDS for stride in STRIDES]
    example = torch.zeros(1, 3, LANDMARK_SIZE, LANDMARK_SIZE)
    write_onnx(DetectorFile(net), pack / FILE, example, ("input.1", names), (2, 3))
