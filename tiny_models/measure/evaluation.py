"""Paints the benchmark in every variant, reads the pictures, and adds the readings up."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dynamicid.checkpoints import DynamicIDWeights
from dynamicid.errors import DynamicIDError
from dynamicid.faces.face import Face
from dynamicid.faces.regions import Region
from dynamicid.pipeline.painter import Painter, PaintSettings, PictureRequest
from dynamicid.pipeline.stable_diffusion import StableDiffusion
from dynamicid.pipeline.weight_export import State, saa_state_dict
from dynamicid.synthetic import Scene

from ..train.readers import Readers, crop_of, through_autoencoder
from .benchmark import Case, Group, Sitter, make_cases
from .scores import Summary, score_picture, summaries
from .sitters import EncodedSitter, SitterEncoder
from .variants import BASE_ALONE, Variant

logger = logging.getLogger(__name__)

PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Extent:
    """How much is painted.

    Attributes:
        cases: Cases of each group.
        skipped: Cases of each group before these.
        seeds: Pictures of each case; the same noise in every variant.
        steps: Of DDIM.
        guidance: Classifier-free guidance scale.
        batch: Pictures that are painted together.
        precision: Number format of the UNet; bfloat16 is twice as fast where the processor knows it.
    """

    cases: int = 68
    skipped: int = 0
    seeds: int = 3
    steps: int = 16
    guidance: float = 3.0
    batch: int = 16
    precision: Literal["bfloat16", "float32"] = "bfloat16"


@dataclass(frozen=True, eq=False)
class Table:
    """What came out for one group: variant -> score -> summary; ``left_out``: cases without a face."""

    group: Group
    rows: dict[str, dict[str, Summary]]
    left_out: int


class Evaluation:
    """The benchmark, painted and read. Pictures are kept, so that an interrupted evaluation goes on.

    Args:
        base: The base model.
        weights: Of all networks; without an IMR, variants that edit cannot be painted.
        encoder: Makes the sitters' tokens.
        readers: Read the pictures.
        extent: How much.
        work: Where painted pictures are kept, told by everything that they follow from.
    """

    def __init__(
        self,
        base: StableDiffusion,
        weights: DynamicIDWeights,
        encoder: SitterEncoder,
        readers: Readers,
        extent: Extent,
        work: Path,
    ) -> None:
        self.base, self.weights, self.encoder, self.readers = base, weights, encoder, readers
        self.extent, self.work = extent, work
        self._cases: dict[Group, tuple[list[Case], list[list[EncodedSitter]], int]] = {}

    @cached_property
    def _painter(self) -> Painter:
        return Painter(self.base, saa_state_dict(self.weights), PRECISIONS[self.extent.precision])

    @cached_property
    def _base_alone(self) -> Painter:
        return Painter(self.base, None, PRECISIONS[self.extent.precision])

    def cases(self, group: Group) -> tuple[list[Case], list[list[EncodedSitter]], int]:
        """A group's cases, their sitters encoded, and how many were left out: a face was not found."""
        if group not in self._cases:
            cases, encoded, left_out = [], [], 0
            numbered = make_cases(group, self.extent.cases, self.extent.skipped)
            for case in tqdm(numbered, unit="case", desc=group.title):
                sitters = [self.encoder.encode(sitter) for sitter in case.sitters]
                if any(sitter.missed for sitter in sitters):
                    left_out += 1
                    continue
                cases.append(case)
                encoded.append(sitters)
            self._cases[group] = cases, encoded, left_out
        return self._cases[group]

    def paint(self, variant: Variant, group: Group, count: int | None = None) -> np.ndarray:
        """(seeds, cases, size, size, 3) uint8, of the first ``count`` cases."""
        if variant.tokens == "edited" and self.weights.imr is None:
            raise DynamicIDError("weights", "They hold no IMR.", "Name the file that the second stage wrote.")
        cases, encoded, _ = self.cases(group)
        count = len(cases) if count is None else min(count, len(cases))
        return np.stack([self._paint_seed(variant, seed, cases[:count], encoded) for seed in range(self.extent.seeds)])

    def _paint_seed(
        self, variant: Variant, seed: int, cases: Sequence[Case], encoded: Sequence[Sequence[EncodedSitter]]
    ) -> np.ndarray:
        orders = [
            order_of(case, [variant.face_of(one) for one in sitters], variant, seed)
            for case, sitters in zip(cases, encoded, strict=False)
        ]
        settings = settings_of(variant, self.extent, self.base)
        alone = variant.tokens == BASE_ALONE
        painter, layers = (self._base_alone, {}) if alone else (self._painter, saa_state_dict(self.weights))
        path = self.work / f"{digest_of(painter, layers, orders, replace(settings, batch=1))}.npy"
        if not path.is_file():
            made = painter.paint(orders, settings).pictures
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, made.numpy())
        return np.load(path)

    def activations(self, variant: Variant, group: Group, count: int) -> tuple[list[Scene], tuple[Tensor, ...]]:
        """A group's first ``count`` scenes and the activation maps (N, h, w) of each, with the first seed."""
        cases, encoded, _ = self.cases(group)
        pairs = list(zip(cases[:count], encoded, strict=False))
        orders = [order_of(case, [variant.face_of(one) for one in sitters], variant, 0) for case, sitters in pairs]
        settings = replace(settings_of(variant, self.extent, self.base), record=True)
        scenes = [case.subject for case, _ in pairs if isinstance(case.subject, Scene)]
        return scenes, self._painter.paint(orders, settings).activations

    def scores(self, pictures: np.ndarray, group: Group) -> list[list[dict[str, float]]]:
        """Seed after seed, the scores of all cases painted: (seeds, cases, size, size, 3) uint8 -> rows."""
        cases, _, _ = self.cases(group)
        photos = [np.stack([self._embedding(sitter) for sitter in case.sitters]) for case in cases]
        rows = []
        for painted in pictures:
            readings = self.readers.read(painted)
            rows.append(
                [
                    score_picture(case, reading, photos[place], photos[place - 1][0])
                    for place, (case, reading) in enumerate(zip(cases, readings, strict=False))
                ]
            )
        return rows

    def _embedding(self, sitter: Sitter) -> np.ndarray:
        """(64,) of the sitter's photo."""
        return self.readers.read_faces([crop_of(sitter.photo, sitter.photo_box)], [sitter.photo_box])[0].embedding

    def table(self, group: Group, variants: Sequence[Variant]) -> Table:
        """The table of one group; its first row is the drawn pictures through the autoencoder."""
        cases, _, left_out = self.cases(group)
        drawn = through_autoencoder(np.stack([case.drawn()[0] for case in cases]), self.base.vae)[None]
        rows = {"drawn": summaries(self.scores(drawn, group))}
        for variant in tqdm(variants, unit="variant", desc=group.title):
            rows[variant.name] = summaries(self.scores(self.paint(variant, group), group))
            logger.info("%s: %s %s", group.title, variant.name, short(rows[variant.name]))
        return Table(group, rows, left_out)

    def sweep(
        self, groups: Sequence[Group], variants: Sequence[Variant], count: int
    ) -> dict[Group, dict[str, dict[str, Summary]]]:
        """Variants on the first ``count`` cases of each group: group -> variant -> score."""
        out: dict[Group, dict[str, dict[str, Summary]]] = {}
        for group in groups:
            out[group] = {}
            for variant in tqdm(variants, unit="variant", desc=f"layout, {group.title}"):
                found = summaries(self.scores(self.paint(variant, group, count), group))
                out[group][variant.name] = found
                logger.info("%s: %s %s", group.title, variant.name, short(found))
        return out


def order_of(case: Case, faces: Sequence[Face | None], variant: Variant, seed: int) -> PictureRequest:
    """One picture of a case; the noise depends on case and seed alone."""
    text = case.expressive_caption if variant.says_expression else case.caption
    people = []
    for sitter, face in zip(case.sitters, faces, strict=True):
        if face is not None:
            people.append(Region(face, variant.box_of(sitter, len(case.sitters))))
    return PictureRequest(text, tuple(people), seed=100_000 * seed + case.number)


def digest_of(painter: Painter, layers: State, orders: Sequence[PictureRequest], settings: PaintSettings) -> str:
    """A name for the pictures that follow from these networks, orders and settings."""
    found = hashlib.sha256(f"{settings} {painter.unet.dtype}".encode())
    networks = (painter.unet, painter.base.text_encoder, painter.base.vae)
    tensors = [tensor for network in networks for _, tensor in sorted(network.state_dict().items())]
    tensors += [tensor for _, tensor in sorted(layers.items())]
    for order in orders:
        found.update(f"{order.text} {order.negative} {order.seed}".encode())
        for region in order.people:
            found.update(str(region.box_xywh_norm).encode())
            tensors += [region.face.id_tokens, region.face.negative_tokens]
    for tensor in tensors:
        found.update(tensor.half().numpy().tobytes())
    return found.hexdigest()[:24]


def settings_of(variant: Variant, extent: Extent, base: StableDiffusion) -> PaintSettings:
    """How the variant is painted."""
    side = int(base.unet.config["sample_size"])
    return PaintSettings(
        size=(side, side),
        steps=extent.steps,
        guidance=extent.guidance,
        gate_threshold=variant.gate,
        layout_strength=variant.layout_strength,
        layout_end=variant.layout_end,
        base_only_steps=variant.base_only_steps,
        batch=extent.batch,
    )


def short(row: Mapping[str, Summary]) -> str:
    """A row in one line, for the log."""
    return " ".join(f"{name} {summary.mean:.3f}" for name, summary in row.items())
