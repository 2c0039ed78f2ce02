"""Trains the evaluation's readers on renderings of their own, worsened so that painted pictures can be read as well."""

import json
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor, nn

from dynamicid.synthetic import Split

from ..places import BASE, SEED
from .face_crops import worsened
from .measure_readers import measure_readers
from .reader_pictures import HIDDEN, POOLS, ReaderPictures, load_reader_pictures
from .readers import (
    CELLS,
    EMBEDDING,
    FIGURES,
    POSE_SCALE,
    STRIDE,
    WEIGHTS,
    Readers,
    as_input,
    crop_of,
    through_autoencoder,
)
from .training_loop import Plan, train

logger = logging.getLogger(__name__)

PLAN = Plan("readers", steps=2600, rate=2e-3, decay=0.02)
BATCH = 48
ROUND_TRIP_EVERY, ROUND_TRIP_SHARE = 5, 0.7
"""One picture in five also lies there as the autoencoder gives it back, and is then shown so in 70 % of the cases."""
NOWHERE = 14
"""Crops in a batch that show no face."""
SCALE, MARGIN = 16.0, 0.25
"""Of the margin softmax (CosFace, arXiv 1801.09414)."""
_WEIGHTS = {"people": 0.5, "place": 0.3, "wall": 0.3, "objects": 2.0, "expression": 1.0, "shirt": 0.5, "is_face": 0.5}


class ReadBatch(NamedTuple):
    """What one step learns from: inputs of both networks and the truth by name."""

    pictures: Tensor
    crops: Tensor
    of_picture: dict[str, Tensor]
    of_face: dict[str, Tensor]


class ReaderTrainer(nn.Module):
    """The readers, and one direction in the space of identities for each person they learn from."""

    def __init__(self) -> None:
        super().__init__()
        self.readers = Readers()
        self.people = nn.Parameter(torch.randn(POOLS[Split.train], EMBEDDING))


def train_readers(work: Path, folder: Path) -> None:
    """Trains the readers and writes weights (float16) and held-out accuracies; skipped where they are there.

    Args:
        work: Where pictures and checkpoints are kept.
        folder: Where the readers are kept.
    """
    if (folder / FIGURES).is_file():
        return
    pictures = load_reader_pictures(work, Split.train)
    vae = AutoencoderKL.from_pretrained(BASE, subfolder="vae").eval()  # pyright: ignore
    again = _round_trips(work / "round_trips.npy", pictures.pictures[::ROUND_TRIP_EVERY], vae)
    people = {int(number): row for row, number in enumerate(np.unique(pictures.person))}
    torch.manual_seed(SEED)
    net = ReaderTrainer().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def make_batch(random: np.random.Generator) -> ReadBatch:
        return batch_of(pictures, again, people, random)

    train(PLAN, work, net, make_batch, _loss)
    readers = net.readers.half().float()
    held_out = load_reader_pictures(work, Split.held_out)
    same = _round_trips(work / "round_trips_held_out.npy", held_out.pictures, vae)
    figures = {"drawn": measure_readers(readers, held_out, held_out.pictures)}
    figures["through the autoencoder"] = measure_readers(readers, held_out, same)
    for name, value in figures["through the autoencoder"].items():
        logger.info("%s %.3f", name, value)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half() for name, value in readers.state_dict().items() if value.is_floating_point()}
    save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS)
    rounded = {kind: {name: round(value, 4) for name, value in values.items()} for kind, values in figures.items()}
    (folder / FIGURES).write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def _round_trips(path: Path, pictures: np.ndarray, vae: AutoencoderKL) -> np.ndarray:
    """(N, size, size, 3) uint8: the pictures as the autoencoder gives them back; made once."""
    if not path.is_file():
        np.save(path, through_autoencoder(pictures, vae))
    return np.load(path, mmap_mode="r")


def batch_of(data: ReaderPictures, again: np.ndarray, people: dict[int, int], random: np.random.Generator) -> ReadBatch:
    """Random pictures, worsened, and crops of all faces in them.

    Args:
        data: The training pictures.
        again: Every fifth of them through the autoencoder.
        people: A person's number -> row among the identities.
        random: Decides everything.
    """
    rows, shown, crops, faces = random.integers(len(data.pictures), size=BATCH), [], [], []
    for row in rows:
        trip, rest = divmod(int(row), ROUND_TRIP_EVERY)
        is_trip = rest == 0 and random.random() < ROUND_TRIP_SHARE
        picture = worsened(np.asarray(again[trip] if is_trip else data.pictures[row]), random, 0.5)
        shown.append(picture)
        for face in data.faces_of(int(row)):
            faces.append(int(face))
            crops.append(crop_of(picture, _jittered_box(data.box[face], random)))
    nowhere = [crop_of(shown[i], box) for i, box in _boxes_without_faces(data, rows, random)]
    truth = {name: torch.from_numpy(getattr(data, name)[rows]) for name in ("people", "place", "wall", "objects")}
    hidden = torch.full((len(nowhere),), HIDDEN)
    of_face = {
        name: torch.cat([torch.from_numpy(getattr(data, name)[faces]), hidden]) for name in ("expression", "shirt")
    }
    of_face["pose"] = torch.from_numpy(data.pose[faces].astype(np.float32) / POSE_SCALE)
    of_face["person"] = torch.tensor([people[int(number)] for number in data.person[faces]])
    of_face["is_face"] = (torch.arange(len(crops) + len(nowhere)) < len(crops)).float()
    truth["faces"] = _map_of_faces(data, rows)
    return ReadBatch(as_input(np.stack(shown)), as_input(np.stack(crops + nowhere)), truth, of_face)


def _jittered_box(box: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As a little worse a finder of faces draws it."""
    x0, y0, x1, y1 = box
    height = y1 - y0
    x, y = np.array([x0 + x1, y0 + y1]) / 2 + height * random.normal(0, 0.04, 2)
    half = height * np.exp(random.normal(0, 0.07)) / 2
    return np.array([x - half, y - half, x + half, y + half])


def _boxes_without_faces(
    data: ReaderPictures, rows: np.ndarray, random: np.random.Generator
) -> list[tuple[int, np.ndarray]]:
    """Position in the batch, and a box whose middle lies in no face."""
    found = []
    side = data.pictures.shape[1]
    while len(found) < NOWHERE:
        place = int(random.integers(len(rows)))
        x, y, half = *random.uniform(0, side, 2), random.uniform(8, 28)
        boxes = data.box[data.faces_of(int(rows[place]))]
        inside = (boxes[:, 0] - 4 < x) & (x < boxes[:, 2] + 4) & (boxes[:, 1] - 4 < y) & (y < boxes[:, 3] + 4)
        if not inside.any():
            found.append((place, np.array([x - half, y - half, x + half, y + half])))
    return found


def _map_of_faces(data: ReaderPictures, rows: np.ndarray) -> Tensor:
    """(B, 5, 16, 16): 1 where a face's middle lies, its place in the cell, the logarithm of its height, a weight."""
    out = torch.zeros(len(rows), 5, CELLS, CELLS)
    out[:, 4] = 1
    for place, row in enumerate(rows):
        for x0, y0, x1, y1 in data.box[data.faces_of(int(row))]:
            x, y = (
                float(value.clip(0, data.pictures.shape[1] - 1)) / STRIDE for value in ((x0 + x1) / 2, (y0 + y1) / 2)
            )
            column, line = int(x), int(y)
            # Next to a middle, both answers are nearly right.
            around = out[place, 4, max(line - 1, 0) : line + 2, max(column - 1, 0) : column + 2]
            around.clamp_(max=0.2)
            out[place, :, line, column] = torch.tensor([1, x - column, y - line, np.log(y1 - y0), 1])
    return out


def _loss(net: ReaderTrainer, batch: ReadBatch) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        of_picture, of_face = net.readers.picture(batch.pictures), net.readers.face(batch.crops)
    total = _faces_loss(of_picture["faces"].float(), batch.of_picture["faces"])
    for said, wanted, names in (
        (of_picture, batch.of_picture, ("people", "place", "wall", "objects")),
        (of_face, batch.of_face, ("expression", "shirt")),
    ):
        for name in names:
            loss = F.cross_entropy(said[name].float(), wanted[name], ignore_index=HIDDEN)
            total = total + _WEIGHTS[name] * torch.nan_to_num(loss)
    count = len(batch.of_face["person"])
    is_face = F.binary_cross_entropy_with_logits(of_face["is_face"].float()[:, 0], batch.of_face["is_face"])
    pose = F.smooth_l1_loss(of_face["pose"].float()[:count], batch.of_face["pose"], beta=0.3)
    cosine = of_face["embedding"].float()[:count] @ F.normalize(net.people, dim=-1).T
    margin = F.one_hot(batch.of_face["person"], len(net.people)) * MARGIN
    identity = F.cross_entropy(SCALE * (cosine - margin), batch.of_face["person"])
    return total + _WEIGHTS["is_face"] * is_face + 2 * pose + identity


def _faces_loss(said: Tensor, wanted: Tensor) -> Tensor:
    """said (B, 4, h, w), wanted (B, 5, h, w) of ``_map_of_faces`` -> ()."""
    score = F.binary_cross_entropy_with_logits(said[:, 0], wanted[:, 0], wanted[:, 4], reduction="sum")
    is_middle = wanted[:, 0] > 0
    place = F.smooth_l1_loss(
        said[:, 1:].permute(0, 2, 3, 1)[is_middle], wanted[:, 1:4].permute(0, 2, 3, 1)[is_middle], beta=0.2
    )
    return 0.2 * score / len(said) + 2 * torch.nan_to_num(place)
