"""Trains the evaluation's classifiers on their own data, augmented so that painted pictures are classified, too;
exports the expression classifier as an emotion network for the nodes."""

import json
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from einops import rearrange
from onnx import helper
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from dynamicid.faces.detected import DetectedFace
from dynamicid.faces.emotions import likeliest_emotion, load_emotion_reader
from dynamicid.files.atomic import atomic_write
from dynamicid.synthetic import EXPRESSIONS, Split

from ..places import BASE, SEED
from ..precision import mixed_precision
from .classifier_accuracy import measure_accuracy
from .classifier_dataset import POOLS, ClassifierPictures, load_classifier_pictures
from .classifiers import (
    ACCURACIES,
    CELLS,
    CROP,
    CROP_FACTOR,
    CROP_SHIFT,
    EMBEDDING,
    POSE_SCALE,
    STRIDE,
    WEIGHTS,
    Classifiers,
    FaceClassifier,
    autoencoded,
    face_crop,
    load_classifiers,
)
from .face_crops import augment
from .face_dataset import IGNORED
from .small_networks import Plan, picture_tensor, train, write_onnx

logger = logging.getLogger(__name__)

PLAN = Plan("readers", steps=2600, rate=2e-3, decay=0.02)
BATCH = 48
AUTOENCODED_EVERY, AUTOENCODED_SHARE = 5, 0.7
"""Every fifth picture also exists autoencoded; in 70 % of the cases a batch takes that version of it."""
CROPS_WITHOUT_FACE = 14
"""In a batch."""
SCALE, MARGIN = 16.0, 0.25
"""Of the margin softmax (CosFace, arXiv 1801.09414)."""
_WEIGHTS = {"people": 0.5, "place": 0.3, "wall": 0.3, "objects": 2.0, "expression": 1.0, "shirt": 0.5, "is_face": 0.5}
EMOTION_METADATA = {
    "name": "drawn faces",
    "emotions": ",".join(EXPRESSIONS),
    "mean": "0.5",
    "std": "0.5",
    "margin": str(round((CROP_FACTOR - 1) / 2, 4)),
    "shift": str(CROP_SHIFT),
}
"""The classifiers crop by the height of a face's box, the emotion file by its longer side; they differ for a few turned
faces only."""


class ClassifierBatch(NamedTuple):
    """Inputs of both networks and their labels by name."""

    pictures: Tensor
    crops: Tensor
    of_picture: dict[str, Tensor]
    of_face: dict[str, Tensor]


class ClassifierTrainer(nn.Module):
    """The classifiers, and one direction of the embedding for each training person."""

    def __init__(self) -> None:
        super().__init__()
        self.classifiers = Classifiers()
        self.people = nn.Parameter(torch.randn(POOLS[Split.train], EMBEDDING))


def train_classifiers(work: Path, folder: Path) -> None:
    """Trains the classifiers; writes their weights (float16) and held-out accuracies. Does nothing where they exist.

    Args:
        work: Folder of pictures and checkpoints.
        folder: Folder of the classifiers.
    """
    if (folder / ACCURACIES).is_file():
        return
    pictures = load_classifier_pictures(work, Split.train)
    vae = AutoencoderKL.from_pretrained(BASE, subfolder="vae").eval()  # pyright: ignore
    decoded = _autoencoded_once(work / "round_trips.npy", pictures.pictures[::AUTOENCODED_EVERY], vae)
    people = {int(number): row for row, number in enumerate(np.unique(pictures.person))}
    torch.manual_seed(SEED)
    net = ClassifierTrainer().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    train(PLAN, work, net, lambda random: make_batch(pictures, decoded, people, random), _loss)
    classifiers = net.classifiers.half().float()
    held_out = load_classifier_pictures(work, Split.held_out)
    held_out_decoded = _autoencoded_once(work / "round_trips_held_out.npy", held_out.pictures, vae)
    accuracies = {"drawn": measure_accuracy(classifiers, held_out, held_out.pictures)}
    accuracies["through the autoencoder"] = measure_accuracy(classifiers, held_out, held_out_decoded)
    for name, value in accuracies["through the autoencoder"].items():
        logger.info("%s %.3f", name, value)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half() for name, value in classifiers.state_dict().items() if value.is_floating_point()}
    save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS)
    rounded = {kind: {name: round(value, 4) for name, value in values.items()} for kind, values in accuracies.items()}
    (folder / ACCURACIES).write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def _autoencoded_once(path: Path, pictures: np.ndarray, vae: AutoencoderKL) -> np.ndarray:
    """(N, size, size, 3) uint8, the autoencoded pictures, kept in a file."""
    if not path.is_file():
        np.save(path, autoencoded(pictures, vae))
    return np.load(path, mmap_mode="r")


def make_batch(
    data: ClassifierPictures, decoded: np.ndarray, people: dict[int, int], random: np.random.Generator
) -> ClassifierBatch:
    """Random pictures, augmented, with crops of all their faces and of places without a face.

    Args:
        data: The training pictures.
        decoded: Every fifth of them, autoencoded.
        people: A person's number -> row among the identities.
        random: Random generator.
    """
    rows, shown, crops, faces = random.integers(len(data.pictures), size=BATCH), [], [], []
    for row in rows:
        position, rest = divmod(int(row), AUTOENCODED_EVERY)
        is_decoded = rest == 0 and random.random() < AUTOENCODED_SHARE
        picture = augment(np.asarray(decoded[position] if is_decoded else data.pictures[row]), random, 0.5)
        shown.append(picture)
        for face in data.faces_of(int(row)):
            faces.append(int(face))
            crops.append(face_crop(picture, _jittered_box(data.box[face], random)))
    without_face = [face_crop(shown[i], box) for i, box in _boxes_without_faces(data, rows, random)]
    of_picture = {name: torch.from_numpy(getattr(data, name)[rows]) for name in ("people", "place", "wall", "objects")}
    of_picture["faces"] = _face_map(data, rows)
    ignored = torch.full((len(without_face),), IGNORED)
    of_face = {
        name: torch.cat([torch.from_numpy(getattr(data, name)[faces]), ignored]) for name in ("expression", "shirt")
    }
    of_face["pose"] = torch.from_numpy(data.pose[faces].astype(np.float32) / POSE_SCALE)
    of_face["person"] = torch.tensor([people[int(number)] for number in data.person[faces]])
    of_face["is_face"] = (torch.arange(len(crops) + len(without_face)) < len(crops)).float()
    return ClassifierBatch(
        picture_tensor(np.stack(shown)), picture_tensor(np.stack(crops + without_face)), of_picture, of_face
    )


def _jittered_box(box: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The box with errors like a detector's."""
    x0, y0, x1, y1 = box
    height = y1 - y0
    x, y = np.array([x0 + x1, y0 + y1]) / 2 + height * random.normal(0, 0.04, 2)
    half = height * np.exp(random.normal(0, 0.07)) / 2
    return np.array([x - half, y - half, x + half, y + half])


def _boxes_without_faces(
    data: ClassifierPictures, rows: np.ndarray, random: np.random.Generator
) -> list[tuple[int, np.ndarray]]:
    """Positions in the batch, each with a box whose middle lies in no face."""
    boxes = []
    side = data.pictures.shape[1]
    while len(boxes) < CROPS_WITHOUT_FACE:
        position = int(random.integers(len(rows)))
        x, y, half = *random.uniform(0, side, 2), random.uniform(8, 28)
        faces = data.box[data.faces_of(int(rows[position]))]
        inside = (faces[:, 0] - 4 < x) & (x < faces[:, 2] + 4) & (faces[:, 1] - 4 < y) & (y < faces[:, 3] + 4)
        if not inside.any():
            boxes.append((position, np.array([x - half, y - half, x + half, y + half])))
    return boxes


def _face_map(data: ClassifierPictures, rows: np.ndarray) -> Tensor:
    """(B, 5, 16, 16): 1 at the middle of a face, its x and y in the cell, the logarithm of its height, a weight."""
    maps = torch.zeros(len(rows), 5, CELLS, CELLS)
    maps[:, 4] = 1
    for position, row in enumerate(rows):
        for x0, y0, x1, y1 in data.box[data.faces_of(int(row))]:
            x, y = (
                float(value.clip(0, data.pictures.shape[1] - 1)) / STRIDE for value in ((x0 + x1) / 2, (y0 + y1) / 2)
            )
            column, line = int(x), int(y)
            # Next to a middle, both answers are nearly right.
            around = maps[position, 4, max(line - 1, 0) : line + 2, max(column - 1, 0) : column + 2]
            around.clamp_(max=0.2)
            maps[position, :, line, column] = torch.tensor([1, x - column, y - line, np.log(y1 - y0), 1])
    return maps


def _loss(net: ClassifierTrainer, batch: ClassifierBatch) -> Tensor:
    with mixed_precision():
        of_picture, of_face = net.classifiers.picture(batch.pictures), net.classifiers.face(batch.crops)
    total = _face_map_loss(of_picture["faces"].float(), batch.of_picture["faces"])
    for outputs, labels, names in (
        (of_picture, batch.of_picture, ("people", "place", "wall", "objects")),
        (of_face, batch.of_face, ("expression", "shirt")),
    ):
        for name in names:
            loss = functional.cross_entropy(outputs[name].float(), labels[name], ignore_index=IGNORED)
            total = total + _WEIGHTS[name] * torch.nan_to_num(loss)
    count = len(batch.of_face["person"])
    is_face = functional.binary_cross_entropy_with_logits(of_face["is_face"].float()[:, 0], batch.of_face["is_face"])
    pose = functional.smooth_l1_loss(of_face["pose"].float()[:count], batch.of_face["pose"], beta=0.3)
    cosine = of_face["embedding"].float()[:count] @ functional.normalize(net.people, dim=-1).T
    margin = functional.one_hot(batch.of_face["person"], len(net.people)) * MARGIN
    identity = functional.cross_entropy(SCALE * (cosine - margin), batch.of_face["person"])
    return total + _WEIGHTS["is_face"] * is_face + 2 * pose + identity


def _face_map_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """outputs (B, 4, h, w), labels (B, 5, h, w) of ``_face_map`` -> ()."""
    score = functional.binary_cross_entropy_with_logits(outputs[:, 0], labels[:, 0], labels[:, 4], reduction="sum")
    is_middle = labels[:, 0] > 0
    predicted, expected = (
        rearrange(values, "b c h w -> b h w c")[is_middle] for values in (outputs[:, 1:], labels[:, 1:4])
    )
    position = functional.smooth_l1_loss(predicted, expected, beta=0.2)
    return 0.2 * score / len(outputs) + 2 * torch.nan_to_num(position)


class _ExpressionClassifier(nn.Module):
    def __init__(self, face: FaceClassifier) -> None:
        super().__init__()
        self.trunk, self.mix, self.head = face.trunk, face.mix, face.heads["expression"]

    def forward(self, crops: Tensor) -> Tensor:
        """(1, 3, 64, 64) in [-1, 1] -> (1, 7) logits in the order of EXPRESSIONS."""
        return self.head(self.mix(self.trunk(crops)))


def write_emotion_file(work: Path, folder: Path, path: Path) -> None:
    """Exports the expression classifier and logs its accuracy on held-out people; does nothing where the file exists.

    Args:
        work: Folder of the classifiers' pictures.
        folder: Folder of the trained classifiers.
        path: The ONNX file, of about 0.8 MB.
    """
    if path.is_file():
        return
    net = _ExpressionClassifier(load_classifiers(folder).face)
    example = picture_tensor(np.zeros((1, CROP, CROP, 3), np.uint8))
    with atomic_write(path) as partial:
        write_onnx(net, partial, example, ("picture", ["logits"]), ())
        model = onnx.load(partial)
        helper.set_model_props(model, EMOTION_METADATA)
        onnx.save(model, partial)
        logger.info("accuracy of the emotion file: %.3f", emotion_accuracy(partial, work))


def emotion_accuracy(path: Path, work: Path) -> float:
    """Accuracy of an emotion file on faces of held-out people, cut at their true boxes.

    Args:
        path: The ONNX file.
        work: Folder of the classifiers' pictures.
    """
    reader, data = load_emotion_reader(path), load_classifier_pictures(work, Split.held_out)
    nothing = np.zeros(0, dtype=np.float32)
    right = []
    for picture, box, expression in zip(data.picture, data.box, data.expression, strict=True):
        left, top, right_edge, bottom = (float(value) for value in box)
        face = DetectedFace((left, top, right_edge, bottom), 1.0, nothing, nothing, nothing)
        word = likeliest_emotion(reader.read(np.asarray(data.pictures[picture]), face))
        right.append(word == tuple(EXPRESSIONS)[expression])
    return float(np.mean(right))
