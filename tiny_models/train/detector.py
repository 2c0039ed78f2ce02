"""The detector of the tiny models: finds drawn faces, in the interface of InsightFace's `det_10g` (SCRFD)."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from dynamicid.faces.detected import LANDMARK_SIZE
from dynamicid.synthetic import Split

from ..places import PICTURE_SIZE
from ..precision import mixed_precision
from .face_crops import UPSCALING, augment
from .face_dataset import FacePictures, load_face_pictures
from .small_networks import Plan, conv_block, insightface_tensor, train, write_onnx

FILE = "det_10g.onnx"
PLAN = Plan("detector", steps=900, rate=2e-3)
BATCH = 32
STRIDES = (8, 16, 32)
ANCHORS: dict[int, tuple[tuple[float, float, float], ...]] = {
    8: ((24, 34, 46), (40, 56, 76)),
    16: ((66, 85, 112), (96, 128, 165)),
    32: ((140, 190, 250), (220, 300, 430)),
}
"""By stride: for each of the two anchors the smallest face, the unit of its distances, and the largest face, in pixels
of the longer side at 512 x 512."""
_POSITIVE_RADIUS, _IGNORED_RADIUS = 0.16, 0.32
"""In sizes of a face: anchors up to the first distance from its middle are positive, up to the second ignored."""
_IGNORED_BELOW = 0.6
"""Faces of which a smaller share is inside the picture are ignored."""
_SIGNS = np.array([-1.0, -1.0] + [1.0] * 12)
_CELLS = {stride: LANDMARK_SIZE // stride for stride in STRIDES}
_WIDTHS = (16, 32, 48)
_VALUES = 15
"""Of an anchor: score, four distances, five points."""
_OUTPUTS = (("score", slice(0, 1)), ("bbox", slice(1, 5)), ("kps", slice(5, 15)))

Batch = tuple[Tensor, dict[int, tuple[Tensor, Tensor]]]


class Targets(NamedTuple):
    """Training targets of one stride, with two anchors a cell.

    Args:
        score: (cells, cells, 2) float32: 1 = a face, 0 = none, -1 = ignored.
        distances: (cells, cells, 2, 14) float32: left, top, right, bottom, then five x, y, from the cell's corner in
            units of the anchor; valid where score is 1.
    """

    score: np.ndarray
    distances: np.ndarray


def training_picture(
    faces: FacePictures, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A picture shifted and scaled, or a mosaic of four small ones, in RGB or BGR.

    Returns:
        (128, 128, 3) uint8; boxes (n, 4), key points (n, 5, 2) in pixels at 512 x 512; whether each is ignored (n,).
    """
    if random.random() < 0.3:
        half = PICTURE_SIZE // 2
        canvas = np.zeros((PICTURE_SIZE, PICTURE_SIZE, 3), dtype=np.uint8)
        parts = []
        for top, left in ((0, 0), (0, half), (half, 0), (half, half)):
            window = np.array([left, top, left + half, top + half], dtype=np.float64)
            canvas[top : top + half, left : left + half], *annotation = _paste(faces, random, window)
            parts.append(annotation)
        boxes, points, ignored = (np.concatenate(values) for values in zip(*parts, strict=True))
    else:
        window = np.array([0, 0, PICTURE_SIZE, PICTURE_SIZE], dtype=np.float64)
        canvas, boxes, points, ignored = _paste(faces, random, window)
    canvas = augment(canvas, random)
    if random.random() < 0.5:
        canvas = canvas[..., ::-1]
    return canvas, boxes, points, ignored


def _paste(
    faces: FacePictures, random: np.random.Generator, window: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A picture for a window (left, top, right, bottom) of the canvas; returns what ``training_picture`` does."""
    number = int(random.integers(len(faces.pictures)))
    side = int(window[2] - window[0])
    fit = side / PICTURE_SIZE
    # Faces of portraits are large already.
    largest = 1.35 if number >= faces.scene_count else 1.9
    scale = fit * (1.0 if random.random() < 0.35 else float(np.exp(random.uniform(np.log(0.5), np.log(largest)))))
    room = side - PICTURE_SIZE * scale
    shift = (np.array([random.random(), random.random()]) * room) if scale != fit else np.zeros(2)
    matrix = np.array([[scale, 0, shift[0] + scale / 2 - 0.5], [0, scale, shift[1] + scale / 2 - 0.5]])
    border = cv2.BORDER_CONSTANT if random.random() < 0.6 else cv2.BORDER_REPLICATE
    picture = np.asarray(faces.pictures[number])
    if scale < 0.75:
        # Shrink without aliasing.
        scaled_side = round(PICTURE_SIZE * scale)
        picture = cv2.resize(picture, (scaled_side, scaled_side), interpolation=cv2.INTER_AREA)
        matrix = np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]])
    picture = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    rows = faces.faces_of(number)
    scaled = faces.box[rows].astype(np.float64).reshape(-1, 2, 2) * scale + shift
    points = faces.key_points[rows].astype(np.float64) * scale + shift
    visible = np.clip(scaled, 0, side)
    area, visible_area = (np.prod(boxes[:, 1] - boxes[:, 0], axis=1) for boxes in (scaled, visible))
    share = visible_area / area
    kept = share > 0.05
    corner = window[:2]
    boxes = ((scaled + corner) * UPSCALING).reshape(-1, 4)
    return picture, boxes[kept], ((points + corner) * UPSCALING)[kept], (share < _IGNORED_BELOW)[kept]


def anchor_targets(boxes: np.ndarray, points: np.ndarray, ignored: np.ndarray) -> dict[int, Targets]:
    """Training targets by stride, from the annotations of ``training_picture``."""
    targets = {}
    for stride in STRIDES:
        cells = _CELLS[stride]
        score = np.zeros((cells, cells, 2), dtype=np.float32)
        distances = np.zeros((cells, cells, 2, 14), dtype=np.float32)
        y, x = np.mgrid[:cells, :cells] * float(stride)
        for box, five, skip in zip(boxes, points, ignored, strict=True):
            size = max(box[2] - box[0], box[3] - box[1])
            distance = np.maximum(np.abs(x - (box[0] + box[2]) / 2), np.abs(y - (box[1] + box[3]) / 2))
            for anchor, (low, unit, high) in enumerate(ANCHORS[stride]):
                if not 0.75 * low < size < 1.3 * high:
                    continue
                near = distance <= max(_IGNORED_RADIUS * size, stride)
                score[..., anchor][near & (score[..., anchor] == 0)] = -1
                if skip or not low <= size <= high:
                    continue
                positive = distance <= max(_POSITIVE_RADIUS * size, 0.55 * stride)
                score[..., anchor][positive] = 1
                # Distances to the left and to the top have the opposite sign.
                corner = np.stack([x[positive], y[positive]] * 7, axis=-1)
                distances[..., anchor, :][positive] = (np.concatenate([box, five.reshape(-1)]) - corner) * _SIGNS / unit
        targets[stride] = Targets(score, distances)
    return targets


class Detector(nn.Module):
    """Pictures of a quarter of the size, (B, 3, h, w) -> by stride (B, 30, 4 h / stride, 4 w / stride).

    A pyramid down to strides 32 and 64 and up again to 8. Channels: the first anchor's 15 values, then the second's.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.to_8 = nn.Sequential(conv_block(3, 16, stride=2), conv_block(16, 16))
        self.to_16 = nn.Sequential(conv_block(16, middle, stride=2), conv_block(middle, middle))
        self.to_32 = nn.Sequential(conv_block(middle, coarse, stride=2), conv_block(coarse, coarse))
        self.to_64 = nn.Sequential(conv_block(coarse, 64, stride=2), conv_block(64, 64))
        self.side = nn.ModuleList(
            [conv_block(16, fine, kernel=1), conv_block(32, middle, kernel=1), conv_block(48, coarse, kernel=1)]
        )
        self.down = nn.ModuleList(
            [conv_block(middle, fine, kernel=1), conv_block(coarse, middle, kernel=1), conv_block(64, coarse, kernel=1)]
        )
        self.heads = nn.ModuleList(
            nn.Sequential(*(conv_block(width, width) for _ in range(depth)), nn.Conv2d(width, 2 * _VALUES, 1))
            for width, depth in zip(_WIDTHS, (1, 2, 2), strict=True)
        )
        for head in self.heads.modules():
            if isinstance(head, nn.Conv2d) and head.bias is not None:
                # Most anchors show no face.
                head.bias.data[[0, _VALUES]] = -4.0

    def forward(self, pictures: Tensor) -> list[Tensor]:
        at_8 = self.to_8(pictures)
        at_16 = self.to_16(at_8)
        at_32 = self.to_32(at_16)
        state = self.to_64(at_32)
        outputs: list[Tensor] = []
        for place, lateral in ((2, at_32), (1, at_16), (0, at_8)):
            above = functional.interpolate(self.down[place](state), scale_factor=2.0, mode="nearest")
            state = self.side[place](lateral) + above
            outputs.insert(0, self.heads[place](state))
        return outputs


class DetectorFile(nn.Module):
    """The exported network: (1, 3, H, W), sides multiples of 64 -> scores, boxes and points by stride."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        maps = self.net(functional.avg_pool2d(pictures, round(UPSCALING)))
        outputs: dict[str, list[Tensor]] = {name: [] for name, _ in _OUTPUTS}
        for stride, values in zip(STRIDES, maps, strict=True):
            units = torch.tensor([unit / stride for _, unit, _ in ANCHORS[stride]]).view(1, 2, 1)
            rows = values.permute(0, 2, 3, 1).reshape(-1, 2, _VALUES)
            for name, part in _OUTPUTS:
                output = torch.sigmoid(rows[..., part]) if name == "score" else rows[..., part] * units
                outputs[name].append(output.reshape(-1, part.stop - part.start))
        return tuple(x for name, _ in _OUTPUTS for x in outputs[name])


def make_batch(faces: FacePictures, random: np.random.Generator, count: int) -> Batch:
    """Pictures (B, 3, 128, 128) as InsightFace normalises them; by stride batched scores and distances."""
    pictures, targets = [], []
    for _ in range(count):
        picture, *annotation = training_picture(faces, random)
        pictures.append(picture)
        targets.append(anchor_targets(*annotation))
    of_stride = {}
    for stride in STRIDES:
        both = Targets(*(np.stack(values) for values in zip(*(target[stride] for target in targets), strict=True)))
        of_stride[stride] = (torch.from_numpy(both.score), torch.from_numpy(both.distances))
    return insightface_tensor(np.stack(pictures)), of_stride


def _loss(net: nn.Module, batch: Batch) -> Tensor:
    """Focal loss of the scores (https://arxiv.org/abs/1708.02002) and smooth L1 of boxes and points, per positive."""
    with mixed_precision():
        maps = net(batch[0])
    score_loss, distance_loss, count = torch.zeros(()), torch.zeros(()), torch.ones(())
    for stride, values in zip(STRIDES, maps, strict=True):
        score, distances = batch[1][stride]
        outputs = rearrange(values.float(), "b (anchor value) h w -> b h w anchor value", value=_VALUES)
        logits, is_face = outputs[..., 0], score == 1
        probability = torch.sigmoid(logits)
        weight = torch.where(is_face, 1 - probability, probability) ** 2
        focal = weight * functional.binary_cross_entropy_with_logits(logits, is_face.float(), reduction="none")
        score_loss = score_loss + focal[score >= 0].sum()
        distance_loss = distance_loss + functional.smooth_l1_loss(
            outputs[is_face][:, 1:], distances[is_face], beta=0.05, reduction="sum"
        )
        count = count + is_face.sum()
    return (4 * score_loss + distance_loss) / count


def train_detector(work: Path, pack: Path) -> None:
    """Trains the detector and exports it; does nothing where the file exists.

    Args:
        work: Folder of pictures and checkpoints.
        pack: The folder of the ONNX files.
    """
    if (pack / FILE).is_file():
        return
    faces = load_face_pictures(work, Split.train)
    torch.manual_seed(PLAN.steps)
    net = Detector()
    train(PLAN, work, net, lambda random: make_batch(faces, random, BATCH), _loss)
    names = [f"{name}_{stride}" for name, _ in _OUTPUTS for stride in STRIDES]
    example = torch.zeros(1, 3, LANDMARK_SIZE, LANDMARK_SIZE)
    write_onnx(DetectorFile(net), pack / FILE, example, ("input.1", names), (2, 3))
