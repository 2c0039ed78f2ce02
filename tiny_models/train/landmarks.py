"""The 106 landmarks and the head's pose, in the interfaces of InsightFace's `2d106det` and `1k3d68`.

One network is trained for both, since they take the same crop. The pose file rotates InsightFace's mean face by the
predicted angles, so that InsightFace's pose estimation returns these angles.
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

from ..precision import mixed_precision
from .face_crops import LANDMARK_CROP, augmented_picture, landmark_crop
from .face_dataset import FacePictures, load_face_pictures
from .small_networks import Plan, conv_block, insightface_tensor, train, write_onnx

LANDMARK_FILE, POSE_FILE = "2d106det.onnx", "1k3d68.onnx"
PLAN = Plan("landmarks", steps=700, rate=2e-3)
BATCH = 96
SHRINKING = 3
"""The crop of 192 pixels is averaged down by this factor."""
DEGREES = 30.0
"""Unit of the pose while training."""
_ALL_POINTS, _USED_POINTS = 1103, 68


class LandmarksAndPose(nn.Module):
    """(B, 3, 64, 64) RGB as InsightFace normalises it -> (B, 212) in [-1, 1] of the crop, (B, 3) pose / DEGREES."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            conv_block(3, 16),
            conv_block(16, 24, stride=2),
            conv_block(24, 24),
            conv_block(24, 48, stride=2),
            conv_block(48, 48),
            conv_block(48, 64, stride=2),
            conv_block(64, 64),
        )
        self.landmarks = nn.Sequential(
            conv_block(64, 64, stride=2),
            nn.Flatten(),
            nn.Linear(1024, 128),
            nn.ReLU(),
            nn.Linear(128, 2 * LANDMARK_COUNT),
        )
        self.pose = nn.Sequential(
            conv_block(64, 16, stride=2), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 3)
        )

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(crops)
        return self.landmarks(features), self.pose(features)


class LandmarkFile(nn.Module):
    """Exported as `2d106det`: (B, 3, 192, 192) -> (B, 212)."""

    def __init__(self, net: LandmarksAndPose) -> None:
        super().__init__()
        self.trunk, self.head = net.trunk, net.landmarks

    def forward(self, crops: Tensor) -> Tensor:
        return self.head(self.trunk(functional.avg_pool2d(crops, SHRINKING)))


class PoseFile(nn.Module):
    """Exported as `1k3d68`: (1, 3, 192, 192) -> (1, 3309), the rotated mean face as the last 68 points."""

    def __init__(self, net: LandmarksAndPose) -> None:
        super().__init__()
        self.trunk, self.head = net.trunk, net.pose
        mean = np.asarray(get_object("meanshape_68.pkl"), dtype=np.float64)
        mean = (mean - mean.mean(0)) / np.ptp(mean[:, 1])
        self.mean = nn.Buffer(torch.from_numpy(mean.astype(np.float32)))
        self.unused = nn.Buffer(torch.zeros(1, 3 * (_ALL_POINTS - _USED_POINTS)))

    def forward(self, crops: Tensor) -> Tensor:
        angles = self.head(self.trunk(functional.avg_pool2d(crops, SHRINKING))) * float(np.radians(DEGREES))
        rotated = self.mean @ rotation(angles[0]).T
        return torch.cat([self.unused, rotated.reshape(1, -1)], dim=1)


def rotation(angles: Tensor) -> Tensor:
    """(3,) pitch, yaw, roll in radians -> (3, 3) Rz(roll) Ry(yaw) Rx(pitch), as ``synthetic.head.rotation``."""
    (a, b, c), (d, e, f) = torch.cos(angles).unbind(), torch.sin(angles).unbind()
    rows = [b * c, d * e * c - a * f, a * e * c + d * f, b * f, d * e * f + a * c, a * e * f - d * c, -e, d * b, a * b]
    return torch.stack(rows).reshape(3, 3)


def make_batch(
    faces: FacePictures, rows: np.ndarray, random: np.random.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Crops (B, 3, 64, 64), their landmarks (B, 212) and poses (B, 3) in the units of the network's outputs."""
    side = LANDMARK_CROP // SHRINKING
    crops, points = [], []
    for row in rows:
        crop, onto = landmark_crop(augmented_picture(faces, row, random), faces.box[row], random)
        crops.append(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA))
        points.append((faces.landmarks[row] @ onto[:, :2].T + onto[:, 2]).reshape(-1))
    poses = torch.from_numpy(faces.motion[rows, :3].astype(np.float32) / DEGREES)
    return insightface_tensor(np.stack(crops)), torch.from_numpy(np.stack(points)).float(), poses


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    with mixed_precision():
        points, poses = net(batch[0])
    landmark_loss = functional.smooth_l1_loss(points.float(), batch[1], beta=0.02)
    return 10 * landmark_loss + 2 * functional.smooth_l1_loss(poses.float(), batch[2], beta=0.1)


def train_landmarks(work: Path, pack: Path) -> None:
    """Trains the network and exports both files; does nothing where they exist.

    Args:
        work: Folder of pictures and checkpoints.
        pack: The folder of the ONNX files.
    """
    if (pack / LANDMARK_FILE).is_file() and (pack / POSE_FILE).is_file():
        return
    faces = load_face_pictures(work, Split.train)
    torch.manual_seed(PLAN.steps)
    net = LandmarksAndPose()

    train(PLAN, work, net, lambda random: make_batch(faces, random.integers(len(faces), size=BATCH), random), _loss)
    example = torch.zeros(1, 3, LANDMARK_CROP, LANDMARK_CROP)
    write_onnx(LandmarkFile(net), pack / LANDMARK_FILE, example, ("data", ["fc1"]), (0,))
    write_onnx(PoseFile(net), pack / POSE_FILE, example, ("data", ["fc1"]), ())
