"""Networks that read people, attributes and identities off pictures: the evaluation's eyes, no part of the method.

One looks at a whole picture and says what is in it and where the faces are, the other one looks at one face and says
who it is and what it does. Legend: B pictures, F faces.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from dynamicid.synthetic import EXPRESSIONS
from dynamicid.synthetic.colours import OBJECTS, SHIRTS, WALLS
from dynamicid.synthetic.scene import MOST_PEOPLE, OBJECT_KINDS, PLACES

from ..places import PICTURE_SIZE

STRIDE = 8
"""Pixels a cell of the map of faces."""
CELLS = PICTURE_SIZE // STRIDE
CROP = 64
CROP_FACTOR, CROP_SHIFT = 2.3, 0.25
"""Side of a crop in heights of the face's box, and how far its middle lies below the box's: hair, face and shirt."""
EMBEDDING = 64
POSE_SCALE = 20.0
"""Degrees a unit of what the network says."""
SELDOM = -4.0
"""Where the map of faces starts: nowhere."""
MINIMUM_SCORE = 0.5
"""From here on a cell is a face."""
WEIGHTS, FIGURES = "readers.safetensors", "readers.json"
_READ_TOGETHER, _ENCODED_TOGETHER = 64, 16

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class FaceReading:
    """What one face shows.

    Attributes:
        box: Left, top, right, bottom in pixels.
        is_face: 0..1.
        expression: One of EXPRESSIONS.
        shirt: One of SHIRTS.
        pose: (2,) pitch and yaw in degrees.
        embedding: (64,) of unit length.
    """

    box: Box
    is_face: float
    expression: str
    shirt: str
    pose: np.ndarray
    embedding: np.ndarray


@dataclass(frozen=True, eq=False)
class PictureReading:
    """What one picture shows.

    Attributes:
        people: How many.
        place, wall: A key of PLACES and of WALLS; the wall's means nothing elsewhere.
        objects: Kind -> colour of the objects that are there.
        faces: From left to right.
    """

    people: int
    place: str
    wall: str
    objects: dict[str, str]
    faces: tuple[FaceReading, ...] = ()


def _step(inside: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _step(width, width, 1), _step(width, width, 1)[:2]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class PictureReader(nn.Module):
    """Number of people, place, wall, objects, and where the faces are."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(_step(3, 16, 2), _step(16, 32, 2), _step(32, 48, 2), _Residual(48))
        self.far = nn.Sequential(_step(48, 72, 2), _Residual(72), _Residual(72))
        self.back = nn.Conv2d(72, 48, 1)
        self.faces = nn.Sequential(_step(48, 32, 1), nn.Conv2d(32, 4, 1))
        nn.init.constant_(self.faces.get_parameter("1.bias"), SELDOM)
        sizes = {"people": MOST_PEOPLE + 1, "place": len(PLACES), "wall": len(WALLS)}
        self.heads = nn.ModuleDict({name: nn.Linear(144, size) for name, size in sizes.items()})
        self.objects = nn.Linear(96 + 144, len(OBJECT_KINDS) * (1 + len(OBJECTS)))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """(B, 3, 128, 128) in [-1, 1] -> "people" (B, 4), "place" (B, 8), "wall" (B, 6) logits; "objects" (B, 7, 8)
        logits of none and the colours, by kind; "faces" (B, 4, 16, 16): logit of a face's middle, its place in the cell
        across and down (0..1 each), logarithm of its height in pixels."""
        near = self.near(pictures)
        far = self.far(near)
        wide = F.relu(near + F.interpolate(self.back(far), scale_factor=2.0))
        whole = _pooled(far)
        out = {name: head(whole) for name, head in self.heads.items()}
        out["objects"] = self.objects(torch.cat([whole, _pooled(near)], 1)).unflatten(1, (1 + len(OBJECTS), -1))
        return {**out, "faces": self.faces(wide)}


class FaceReader(nn.Module):
    """Who it is and what the face does."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _step(3, 24, 2), _step(24, 48, 2), _Residual(48), _step(48, 72, 2), _Residual(72), _step(72, 96, 1),
            _step(96, 24, 1), nn.Flatten(),
        )  # fmt: skip
        flat = 24 * (CROP // 8) ** 2
        self.identity = nn.Sequential(nn.Linear(flat, EMBEDDING), nn.BatchNorm1d(EMBEDDING))
        self.mix = nn.Sequential(nn.Linear(flat, 96), nn.ReLU())
        sizes = {"is_face": 1, "expression": len(EXPRESSIONS), "shirt": len(SHIRTS), "pose": 2}
        self.heads = nn.ModuleDict({name: nn.Linear(96, size) for name, size in sizes.items()})

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        """(F, 3, 64, 64) in [-1, 1] -> "is_face" (F, 1), "expression" (F, 7), "shirt" (F, 10) logits, "pose" (F, 2)
        over POSE_SCALE, "embedding" (F, 64) of unit length."""
        flat = self.trunk(crops)
        mixed = self.mix(flat)
        out = {name: head(mixed) for name, head in self.heads.items()}
        return {**out, "embedding": F.normalize(self.identity(flat).float(), dim=-1)}


class Readers(nn.Module):
    """Both networks; ``read`` is what the evaluation uses."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.face = PictureReader(), FaceReader()

    @torch.inference_mode()
    def read(self, pictures: np.ndarray) -> list[PictureReading]:
        """Everything in every picture.

        Args:
            pictures: (B, 128, 128, 3) uint8 RGB.
        """
        readings = []
        for first in range(0, len(pictures), _READ_TOGETHER):
            part = pictures[first : first + _READ_TOGETHER]
            said = self.picture(as_input(part))
            boxes = [found_faces(faces) for faces in said["faces"].numpy()]
            crops = [crop_of(picture, box) for picture, found in zip(part, boxes, strict=True) for box in found]
            faces = iter(self.read_faces(crops, [box for found in boxes for box in found]))
            for row, found in enumerate(boxes):
                readings.append(_picture_reading(said, row, tuple(next(faces) for _ in found)))
        return readings

    @torch.inference_mode()
    def read_faces(self, crops: list[np.ndarray], boxes: list[Box]) -> list[FaceReading]:
        """F crops of (64, 64, 3) and where they come from -> F readings."""
        if not crops:
            return []
        said = {name: value.numpy() for name, value in self.face(as_input(np.stack(crops))).items()}
        return [
            FaceReading(
                box=box,
                is_face=float(1 / (1 + np.exp(-said["is_face"][row, 0]))),
                expression=tuple(EXPRESSIONS)[int(said["expression"][row].argmax())],
                shirt=tuple(SHIRTS)[int(said["shirt"][row].argmax())],
                pose=said["pose"][row] * POSE_SCALE,
                embedding=said["embedding"][row],
            )
            for row, box in enumerate(boxes)
        ]


def load_readers(folder: Path) -> Readers:
    """The trained networks; ``figures_of`` says how good they are."""
    readers = Readers()
    readers.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS).items()}, strict=False)
    return readers.eval()


def figures_of(folder: Path) -> dict[str, dict[str, float]]:
    """Held-out accuracies by name, for drawn pictures and for pictures through the autoencoder."""
    return json.loads((folder / FIGURES).read_text(encoding="utf-8"))


def as_input(pictures: np.ndarray) -> Tensor:
    """(B, h, w, 3) uint8 -> (B, 3, h, w) float32 in [-1, 1]."""
    pixels = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2)
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def through_autoencoder(pictures: np.ndarray, vae: Any) -> np.ndarray:
    """(B, h, w, 3) uint8 as the base model's autoencoder gives them back."""
    made = []
    for first in range(0, len(pictures), _ENCODED_TOGETHER):
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(as_input(pictures[first : first + _ENCODED_TOGETHER])).latent_dist.mean
            pixels = vae.decode(latents).sample
        made.append(((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(made)


def crop_of(picture: np.ndarray, box: Any) -> np.ndarray:
    """(64, 64, 3): head and shoulders around the box (left, top, right, bottom in pixels) of a face."""
    x0, y0, x1, y1 = (float(value) for value in box)
    height = max(y1 - y0, 1.0)
    side = CROP_FACTOR * height
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2 + CROP_SHIFT * height
    # Twice as fine first, so that large faces are averaged and not sampled.
    scale = 2 * CROP / side
    matrix = np.array([[scale, 0, -scale * left - 0.5], [0, scale, -scale * top - 0.5]])
    fine = cv2.warpAffine(picture, matrix, (2 * CROP, 2 * CROP), borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(fine, (CROP, CROP), interpolation=cv2.INTER_AREA)


def found_faces(said: np.ndarray) -> list[Box]:
    """Boxes of the faces in a map, from left to right.

    Args:
        said: (4, 16, 16), one of ``PictureReader``'s "faces".
    """
    score = 1 / (1 + np.exp(-said[0].astype(np.float64)))
    found: list[tuple[float, float, float]] = []
    for cell in np.argsort(-score, axis=None):
        row, column = divmod(int(cell), said.shape[2])
        if score[row, column] < MINIMUM_SCORE:
            break
        x, y = (np.array([column, row]) + said[1:3, row, column].clip(0, 1)) * STRIDE
        height = float(np.exp(np.clip(said[3, row, column], 2.0, 5.0)))
        # Two faces are never nearer than half a head; a face on the border of cells is found once.
        if all(np.hypot(x - other[0], y - other[1]) > 0.5 * max(height, other[2]) for other in found):
            found.append((float(x), float(y), height))
    return [(x - 0.42 * h, y - h / 2, x + 0.42 * h, y + h / 2) for x, y, h in sorted(found)]


def _pooled(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, 2 C) mean and maximum."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)


def _picture_reading(said: dict[str, Tensor], row: int, faces: tuple[FaceReading, ...]) -> PictureReading:
    colours = said["objects"][row].argmax(0).tolist()
    return PictureReading(
        people=int(said["people"][row].argmax()),
        place=tuple(PLACES)[int(said["place"][row].argmax())],
        wall=tuple(WALLS)[int(said["wall"][row].argmax())],
        objects={
            kind: tuple(OBJECTS)[colour - 1] for kind, colour in zip(OBJECT_KINDS, colours, strict=True) if colour
        },
        faces=faces,
    )
