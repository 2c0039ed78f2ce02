"""Classifiers of painted pictures, used by the evaluation; no part of the method.

The scene classifier predicts what a picture shows and where the faces are; the face classifier predicts the identity,
the motion and the shirt of one face. B pictures, F faces.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from dynamicid.boxes import BoxXyxyPx
from dynamicid.synthetic import EXPRESSIONS
from dynamicid.synthetic.colours import OBJECTS, SHIRTS, WALLS
from dynamicid.synthetic.scene import MOST_PEOPLE, OBJECT_KINDS, PLACES

from ..places import PICTURE_SIZE
from ..precision import mixed_precision
from .small_networks import conv_block, picture_tensor

STRIDE = 8
"""Pixels a cell of the map of faces."""
CELLS = PICTURE_SIZE // STRIDE
CROP = 64
CROP_FACTOR, CROP_SHIFT = 2.3, 0.25
"""Side of a crop, and shift of its middle below the box's, in heights of the face's box: hair, face and shirt."""
EMBEDDING = 64
POSE_SCALE = 20.0
"""Degrees a unit of the network's output."""
INITIAL_FACE_LOGIT = -4.0
"""Initial bias of the map of faces: most cells show none."""
MINIMUM_SCORE = 0.5
"""Threshold of the map of faces."""
WEIGHTS, ACCURACIES = "readers.safetensors", "readers.json"
_PREDICTION_BATCH, _ENCODING_BATCH = 64, 16


@dataclass(frozen=True, eq=False)
class FacePrediction:
    """Predictions for one face.

    Attributes:
        box: The face's box.
        is_face: 0..1.
        expression: One of EXPRESSIONS.
        shirt: One of SHIRTS.
        pose: (2,) pitch and yaw in degrees.
        embedding: (64,) of unit length.
    """

    box: BoxXyxyPx
    is_face: float
    expression: str
    shirt: str
    pose: np.ndarray
    embedding: np.ndarray


@dataclass(frozen=True, eq=False)
class ScenePrediction:
    """Predictions for one picture.

    Attributes:
        people: Number of people.
        place, wall: A key of PLACES and of WALLS; the wall counts in front of a wall only.
        objects: Kind -> colour of the objects in the picture.
        faces: From left to right.
    """

    people: int
    place: str
    wall: str
    objects: dict[str, str]
    faces: tuple[FacePrediction, ...] = ()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv_block(width, width), conv_block(width, width)[:2]

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


class SceneClassifier(nn.Module):
    """Number of people, place, wall, objects, and where the faces are."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(conv_block(3, 16, 2), conv_block(16, 32, 2), conv_block(32, 48, 2), _Residual(48))
        self.far = nn.Sequential(conv_block(48, 72, 2), _Residual(72), _Residual(72))
        self.back = nn.Conv2d(72, 48, 1)
        self.faces = nn.Sequential(conv_block(48, 32, 1), nn.Conv2d(32, 4, 1))
        nn.init.constant_(self.faces.get_parameter("1.bias"), INITIAL_FACE_LOGIT)
        sizes = {"people": MOST_PEOPLE + 1, "place": len(PLACES), "wall": len(WALLS)}
        self.heads = nn.ModuleDict({name: nn.Linear(144, size) for name, size in sizes.items()})
        self.objects = nn.Linear(96 + 144, len(OBJECT_KINDS) * (1 + len(OBJECTS)))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """(B, 3, 128, 128) in [-1, 1] -> "people" (B, 4), "place" (B, 8), "wall" (B, 6) logits; "objects" (B, 7, 8)
        logits of none and the colours, by kind; "faces" (B, 4, 16, 16): logit of a face's middle, its place in the cell
        across and down (0..1 each), logarithm of its height in pixels."""
        near = self.near(pictures)
        far = self.far(near)
        wide = functional.relu(near + functional.interpolate(self.back(far), scale_factor=2.0))
        whole = _pooled(far)
        out = {name: head(whole) for name, head in self.heads.items()}
        out["objects"] = self.objects(torch.cat([whole, _pooled(near)], 1)).unflatten(1, (1 + len(OBJECTS), -1))
        return {**out, "faces": self.faces(wide)}


class FaceClassifier(nn.Module):
    """Identity, motion and shirt of a face."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            conv_block(3, 24, 2), conv_block(24, 48, 2), _Residual(48), conv_block(48, 72, 2), _Residual(72),
            conv_block(72, 96), conv_block(96, 24), nn.Flatten(),
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
        return {**out, "embedding": functional.normalize(self.identity(flat).float(), dim=-1)}


class Classifiers(nn.Module):
    """Both networks."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.face = SceneClassifier(), FaceClassifier()

    @torch.inference_mode()
    def predict(self, pictures: np.ndarray) -> list[ScenePrediction]:
        """Predictions for every picture and its faces.

        Args:
            pictures: (B, 128, 128, 3) uint8 RGB.
        """
        predictions = []
        for first in range(0, len(pictures), _PREDICTION_BATCH):
            part = pictures[first : first + _PREDICTION_BATCH]
            outputs = self.picture(picture_tensor(part))
            boxes = [decode_faces(faces) for faces in outputs["faces"].numpy()]
            crops = [face_crop(picture, box) for picture, of_one in zip(part, boxes, strict=True) for box in of_one]
            faces = iter(self.predict_faces(crops, [box for of_one in boxes for box in of_one]))
            for row, of_one in enumerate(boxes):
                predictions.append(_scene_prediction(outputs, row, tuple(next(faces) for _ in of_one)))
        return predictions

    @torch.inference_mode()
    def predict_faces(self, crops: list[np.ndarray], boxes: list[BoxXyxyPx]) -> list[FacePrediction]:
        """F crops of (64, 64, 3) and their boxes -> F predictions."""
        if not crops:
            return []
        outputs = {name: value.numpy() for name, value in self.face(picture_tensor(np.stack(crops))).items()}
        return [
            FacePrediction(
                box=box,
                is_face=float(1 / (1 + np.exp(-outputs["is_face"][row, 0]))),
                expression=tuple(EXPRESSIONS)[int(outputs["expression"][row].argmax())],
                shirt=tuple(SHIRTS)[int(outputs["shirt"][row].argmax())],
                pose=outputs["pose"][row] * POSE_SCALE,
                embedding=outputs["embedding"][row],
            )
            for row, box in enumerate(boxes)
        ]


def load_classifiers(folder: Path) -> Classifiers:
    """The trained networks."""
    classifiers = Classifiers()
    classifiers.load_state_dict(
        {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}, strict=False
    )
    return classifiers.eval()


def load_accuracies(folder: Path) -> dict[str, dict[str, float]]:
    """Held-out accuracies by name, for drawn pictures and for pictures through the autoencoder."""
    return json.loads((folder / ACCURACIES).read_text(encoding="utf-8"))


@torch.inference_mode()
def autoencoded(pictures: np.ndarray, vae: Any) -> np.ndarray:
    """(B, h, w, 3) uint8, encoded and decoded by the base model's autoencoder."""
    decoded = []
    for first in range(0, len(pictures), _ENCODING_BATCH):
        with mixed_precision():
            latents = vae.encode(picture_tensor(pictures[first : first + _ENCODING_BATCH])).latent_dist.mean
            pixels = vae.decode(latents).sample
        pixels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        decoded.append(rearrange(pixels, "b c h w -> b h w c").numpy())
    return np.concatenate(decoded)


def face_crop(picture: np.ndarray, box: Sequence[float] | np.ndarray) -> np.ndarray:
    """(64, 64, 3): head and shoulders around the box of a face."""
    x0, y0, x1, y1 = (float(value) for value in box)
    height = max(y1 - y0, 1.0)
    side = CROP_FACTOR * height
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2 + CROP_SHIFT * height
    # Twice as large first, so that large faces are averaged and not sampled.
    scale = 2 * CROP / side
    matrix = np.array([[scale, 0, -scale * left - 0.5], [0, scale, -scale * top - 0.5]])
    fine = cv2.warpAffine(picture, matrix, (2 * CROP, 2 * CROP), borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(fine, (CROP, CROP), interpolation=cv2.INTER_AREA)


def decode_faces(face_map: np.ndarray) -> list[BoxXyxyPx]:
    """Boxes of the faces in a map, from left to right.

    Args:
        face_map: (4, 16, 16), one of ``SceneClassifier``'s "faces".
    """
    score = 1 / (1 + np.exp(-face_map[0].astype(np.float64)))
    faces: list[tuple[float, float, float]] = []
    for cell in np.argsort(-score, axis=None):
        row, column = divmod(int(cell), face_map.shape[2])
        if score[row, column] < MINIMUM_SCORE:
            break
        x, y = (np.array([column, row]) + face_map[1:3, row, column].clip(0, 1)) * STRIDE
        height = float(np.exp(np.clip(face_map[3, row, column], 2.0, 5.0)))
        # Two faces are at least half a head apart; a face on the border of cells counts once.
        if all(np.hypot(x - other[0], y - other[1]) > 0.5 * max(height, other[2]) for other in faces):
            faces.append((float(x), float(y), height))
    return [(x - 0.42 * h, y - h / 2, x + 0.42 * h, y + h / 2) for x, y, h in sorted(faces)]


def _pooled(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, 2 C) mean and maximum."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)


def _scene_prediction(outputs: dict[str, Tensor], row: int, faces: tuple[FacePrediction, ...]) -> ScenePrediction:
    colours = outputs["objects"][row].argmax(0).tolist()
    return ScenePrediction(
        people=int(outputs["people"][row].argmax()),
        place=tuple(PLACES)[int(outputs["place"][row].argmax())],
        wall=tuple(WALLS)[int(outputs["wall"][row].argmax())],
        objects={
            kind: tuple(OBJECTS)[colour - 1] for kind, colour in zip(OBJECT_KINDS, colours, strict=True) if colour
        },
        faces=faces,
    )
