"""The 106 landmarks and the head's pose, in the interfaces of InsightFace's `2d106det` and `1k3d68`.

Both are trained as one network: they see the same crop. The pose file turns InsightFace's mean face by the angles that
were read, so that InsightFace's own estimate gives them back.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from insightface.data import get_object
from torch import Tensor, nn
from torch.nn import functional

from dynamicid.faces.landmarks import LANDMARK_COUNT
from dynamicid.synthetic import Split

from .face_crops import LANDMARK_CROP, landmark_crop, picture_of
from .face_pictures import FacePictures, load_pictures
from .onnx_files import block, write_onnx
from .training_loop import Plan, train

LANDMARK_FILE, POSE_FILE = "2d106det.onnx", "1k3d68.onnx"
PLAN = Plan("landmarks", steps=700, rate=2e-3)
BATCH = 96
SHRINKING = 3
"""From the crop of 192 pixels to what the network computes with."""
DEGREES = 30.0
"""Unit of the pose while training."""
_ALL_POINTS, _USED_POINTS = 1103, 68


class LandmarksAndPose(nn.Module):
    """(B, 3, 64, 64) RGB as InsightFace normalises it -> (B, 212) in [-1, 1] of the crop, (B, 3) pose / DEGREES."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            block(3, 16),
            block(16, 24, stride=2),
            block(24, 24),
            block(24, 48, stride=2),
            block(48, 48),
            block(48, 64, stride=2),
            block(64, 64),
        )
        self.landmarks = nn.Sequential(
            block(64, 64, stride=2), nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 2 * LANDMARK_COUNT)
        )
        self.pose = nn.Sequential(
            block(64, 16, stride=2), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 3)
        )

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(crops)
        return self.landmarks(features), self.pose(features)


class LandmarkFile(nn.Module):
    """What goes into `2d106det`: (B, 3, 192, 192) -> (B, 212)."""

    def __init__(self, net: LandmarksAndPose) -> None:
        super().__init__()
        self.trunk, self.head = net.trunk, net.landmarks

    def forward(self, crops: Tensor) -> Tensor:
        return self.head(self.trunk(functional.avg_pool2d(crops, SHRINKING)))


class PoseFile(nn.Module):
    """What goes into `1k3d68`: (1, 3, 192, 192) -> (1, 3309), the mean face, turned, as the last 68 points."""

    def __init__(self, net: LandmarksAndPose) -> None:
        super().__init__()
        self.trunk, self.head = net.trunk, net.pose
        mean = np.asarray(get_object("meanshape_68.pkl"), dtype=np.float64)
        mean = (mean - mean.mean(0)) / np.ptp(mean[:, 1])
        self.mean = nn.Buffer(torch.from_numpy(mean.astype(np.float32)))
        self.unused = nn.Buffer(torch.zeros(1, 3 * (_ALL_POINTS - _USED_POINTS)))

    def forward(self, crops: Tensor) -> Tensor:
        angles = self.head(self.trunk(functional.avg_pool2d(crops, SHRINKING))) * float(np.radians(DEGREES))
        turned = self.mean @ rotation(angles[0]).T
        return torch.cat([self.unused, turned.reshape(1, -1)], dim=1)


def rotation(angles: Tensor) -> Tensor:
    """(3,) pitch, yaw, roll in radians -> (3, 3) Rz(roll) Ry(yaw) Rx(pitch), as ``synthetic.head.rotation``."""
    (a, b, c), (d, e, f) = torch.cos(angles).unbind(), torch.sin(angles).unbind()
    rows = [b * c, d * e * c - a * f, a * e * c + d * f, b * f, d * e * f + a * c, a * e * f - d * c, -e, d * b, a * b]
    return torch.stack(rows).reshape(3, 3)


def crops_of(
    faces: FacePictures, rows: np.ndarray, random: np.random.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Crops (B, 3, 64, 64), their landmarks (B, 212) and poses (B, 3), as the network gives them."""
    side = LANDMARK_CROP // SHRINKING
    crops, points = [], []
    for row in rows:
        crop, onto = landmark_crop(picture_of(faces, row, random), faces.box[row], random)
        crops.append(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA))
        points.append((faces.landmarks[row] @ onto[:, :2].T + onto[:, 2]).reshape(-1))
    pixels = torch.from_numpy((np.stack(crops).astype(np.float32) - 127.5) / 128).permute(0, 3, 1, 2)
    poses = torch.from_numpy(faces.motion[rows, :3].astype(np.float32) / DEGREES)
    return pixels.contiguous(memory_format=torch.channels_last), torch.from_numpy(np.stack(points)).float(), poses


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        points, poses = net(batch[0])
    off = functional.smooth_l1_loss(points.float(), batch[1], beta=0.02)
    return 10 * off + 2 * functional.smooth_l1_loss(poses.float(), batch[2], beta=0.1)


def train_landmarks(work: Path, pack: Path) -> None:
    """Trains the network and writes both files; skipped where they are there.

    Args:
        work: Where pictures and checkpoints are kept.
        pack: The folder of the ONNX files.
    """
    if (pack / LANDMARK_FILE).is_file() and (pack / POSE_FILE).is_file():
        return
    faces = load_pictures(work, Split.train)
    torch.manual_seed(PLAN.steps)
    net = LandmarksAndPose()

    def make_batch(random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        return crops_of(faces, random.integers(len(faces), size=BATCH), random)

    train(PLAN, work, net, make_batch, _loss)
    example = torch.zeros(1, 3, LANDMARK_CROP, LANDMARK_CROP)
    write_onnx(LandmarkFile(net), pack / LANDMARK_FILE, example, ("data", ["fc1"]), (0,))
    write_onnx(PoseFile(net), pack / POSE_FILE, example, ("data", ["fc1"]), ())
