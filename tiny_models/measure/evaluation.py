"""Paints the benchmark in every variant, scores the pictures, and summarises the scores."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dynamicid.attention.people import places_of
from dynamicid.errors import DynamicIDError
from dynamicid.faces.checking import best_picture, check_picture
from dynamicid.faces.face import Face
from dynamicid.faces.regions import Region, stacked_embeddings
from dynamicid.pipeline.painter import Painter, PaintSettings, PictureRequest
from dynamicid.pipeline.pipeline import DynamicIDPipeline
from dynamicid.pipeline.stable_diffusion import StableDiffusion
from dynamicid.synthetic import DrawnMotion, DrawnPortrait, Scene, caption

from ..precision import computes_bfloat16
from ..train.classifiers import Classifiers, autoencoded, face_crop
from .benchmark import Case, CaseSubject, Group, make_cases
from .metrics import Summary, differences, score_picture, summaries
from .subjects import EncodedSubject, SubjectEncoder
from .variants import BASE_ALONE, DIFFERENCES, PORTRAIT_GROW, Variant

logger = logging.getLogger(__name__)

_ATTEMPT_STRIDE = 1000
"""Difference of the seeds of two attempts at one picture: more than there are seeds."""
PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Extent:
    """How many pictures are painted, and how.

    Attributes:
        cases: Cases of each group.
        skipped: Cases of each group before these.
        seeds: Pictures of each case; the same noise in every variant.
        steps: Of DDIM.
        guidance: Classifier-free guidance scale.
        batch: Pictures that are painted together.
        precision: Number format of the UNet; bfloat16 where the processor computes fast in it.
    """

    cases: int = 68
    skipped: int = 0
    seeds: int = 3
    steps: int = 16
    guidance: float = 3.0
    batch: int = 16
    precision: Literal["bfloat16", "float32"] = field(
        default_factory=lambda: "bfloat16" if computes_bfloat16() else "float32"
    )


@dataclass(frozen=True, eq=False)
class Table:
    """The results of one group.

    Attributes:
        group: The group.
        rows: Variant -> score -> summary.
        differences: (variant, other variant) -> score -> summary of the difference of the same pictures.
        left_out: Cases left out because a face was not found.
    """

    group: Group
    rows: dict[str, dict[str, Summary]]
    differences: dict[tuple[str, str], dict[str, Summary]]
    left_out: int


class BenchmarkEvaluation:
    """Paints and scores the benchmark. Painted pictures are kept on disk, so an interrupted evaluation continues.

    Args:
        pipeline: The base model and all networks; without an IMR, variants that edit cannot be painted.
        classifiers: Classify the pictures.
        extent: How many pictures.
        work: Folder of painted pictures; their file names are digests of everything they depend on.
    """

    def __init__(
        self,
        pipeline: DynamicIDPipeline,
        classifiers: Classifiers,
        extent: Extent,
        work: Path,
    ) -> None:
        self.pipeline, self.encoder, self.classifiers = pipeline, SubjectEncoder(pipeline), classifiers
        self.extent, self.work = extent, work
        self._cases: dict[Group, tuple[list[Case], list[list[EncodedSubject]], int]] = {}

    def cases(self, group: Group) -> tuple[list[Case], list[list[EncodedSubject]], int]:
        """A group's cases, their encoded subjects, and the number of cases left out because a face was not found."""
        if group not in self._cases:
            cases, encoded, left_out = [], [], 0
            numbered = make_cases(group, self.extent.cases, self.extent.skipped)
            for case in tqdm(numbered, unit="case", desc=group.title):
                subjects = [self.encoder.encode(subject) for subject in case.subjects]
                if any(subject.missed for subject in subjects):
                    left_out += 1
                    continue
                cases.append(case)
                encoded.append(subjects)
            self._cases[group] = cases, encoded, left_out
        return self._cases[group]

    def paint(self, variant: Variant, group: Group, count: int | None = None) -> np.ndarray:
        """(seeds, cases, size, size, 3) uint8, of the first ``count`` cases."""
        if variant.tokens == "edited" and self.pipeline.weights.imr is None:
            raise DynamicIDError("weights", "They hold no IMR.", "Name the file that the second stage wrote.")
        cases, encoded, _ = self.cases(group)
        count = len(cases) if count is None else min(count, len(cases))
        return np.stack([self._paint_seed(variant, seed, cases[:count], encoded) for seed in range(self.extent.seeds)])

    def _paint_seed(
        self, variant: Variant, seed: int, cases: Sequence[Case], encoded: Sequence[Sequence[EncodedSubject]]
    ) -> np.ndarray:
        attempts = [
            [
                picture_request(
                    case, [variant.face_for(subject) for subject in subjects], variant, seed + _ATTEMPT_STRIDE * attempt
                )
                for case, subjects in zip(cases, encoded, strict=False)
            ]
            for attempt in range(variant.best_of)
        ]
        painted = [self._paint_requests(variant, requests) for requests in attempts]
        if variant.repaint:
            painted = [
                self._repaint(variant, cases, requests, pictures)
                for requests, pictures in zip(attempts, painted, strict=True)
            ]
        if variant.best_of == 1:
            return painted[0]
        best = [self._best_attempt(request, [p[case] for p in painted]) for case, request in enumerate(attempts[0])]
        return np.stack([painted[number][case] for case, number in enumerate(best)])

    def _paint_requests(self, variant: Variant, requests: Sequence[PictureRequest]) -> np.ndarray:
        settings = paint_settings(variant, self.extent, self.pipeline.base)
        painter = self.pipeline.base_painter if variant.tokens == BASE_ALONE else self.pipeline.painter
        digest = pictures_digest(painter, requests, replace(settings, batch=1))
        return self._kept(digest, lambda: painter.paint(requests, settings).pictures)

    def _repaint(
        self, variant: Variant, cases: Sequence[Case], requests: Sequence[PictureRequest], pictures: np.ndarray
    ) -> np.ndarray:
        """The pictures with every face repainted, each person by the caption of a portrait of them."""
        settings = replace(
            paint_settings(variant, self.extent, self.pipeline.base),
            steps=max(1, round(self.extent.steps * variant.repaint)),
            denoise=variant.repaint,
            base_only_steps=0,
        )
        digest = pictures_digest(self.pipeline.painter, requests, replace(settings, batch=1))
        prompts = [person_captions(case) for case in cases]
        contents = hashlib.sha256(f"{digest} {prompts} {PORTRAIT_GROW}".encode() + pictures.tobytes()).hexdigest()[:24]
        return self._kept(
            contents,
            lambda: self.pipeline.repaint_people(
                torch.from_numpy(pictures), requests, settings, prompts, grow=PORTRAIT_GROW
            ),
        )

    def _best_attempt(self, request: PictureRequest, pictures: Sequence[np.ndarray]) -> int:
        """Which of several pictures of one case Check People would keep."""
        regions = request.people
        places, people = places_of(regions), stacked_embeddings(regions)
        checks = [
            check_picture(places, people, self.pipeline.face_detector.detect(picture), picture.shape[:2], 0.0)
            for picture in pictures
        ]
        return best_picture(checks)

    def _kept(self, name: str, paint: Callable[[], Tensor]) -> np.ndarray:
        """Pictures from the work folder, painted where they are not there yet."""
        path = self.work / f"{name}.npy"
        if not path.is_file():
            pictures = paint()
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, pictures.numpy())
        return np.load(path)

    def activations(self, variant: Variant, group: Group, count: int) -> tuple[list[Scene], tuple[Tensor, ...]]:
        """A group's first ``count`` scenes and the activation maps (N, h, w) of each, with the first seed."""
        cases, encoded, _ = self.cases(group)
        pairs = list(zip(cases[:count], encoded, strict=False))
        requests = [
            picture_request(case, [variant.face_for(subject) for subject in subjects], variant, 0)
            for case, subjects in pairs
        ]
        settings = replace(paint_settings(variant, self.extent, self.pipeline.base), record=True)
        scenes = [case.drawing for case, _ in pairs if isinstance(case.drawing, Scene)]
        return scenes, self.pipeline.paint(requests, settings).activations

    def scores(self, pictures: np.ndarray, group: Group) -> list[list[dict[str, float]]]:
        """Seed after seed, the scores of all cases painted: (seeds, cases, size, size, 3) uint8 -> rows."""
        cases, _, _ = self.cases(group)
        photos = [np.stack([photo_embedding(self.classifiers, subject) for subject in case.subjects]) for case in cases]
        rows = []
        for painted in pictures:
            predictions = self.classifiers.predict(painted)
            rows.append(
                [
                    score_picture(case, prediction, photos[place], photos[place - 1][0])
                    for place, (case, prediction) in enumerate(zip(cases, predictions, strict=False))
                ]
            )
        return rows

    def table(self, group: Group, variants: Sequence[Variant]) -> Table:
        """The table of one group; its first row is the drawn pictures through the autoencoder."""
        cases, _, left_out = self.cases(group)
        drawn = autoencoded(np.stack([case.render()[0] for case in cases]), self.pipeline.base.vae)[None]
        scores = {"drawn": self.scores(drawn, group)}
        for variant in tqdm(variants, unit="variant", desc=group.title):
            scores[variant.name] = self.scores(self.paint(variant, group), group)
            logger.info("%s: %s %s", group.title, variant.name, short(summaries(scores[variant.name])))
        pairs = [(a.name, b.name) for a, b in DIFFERENCES if a in variants and b in variants]
        return Table(
            group,
            {name: summaries(rows) for name, rows in scores.items()},
            {(a, b): differences(scores[a], scores[b]) for a, b in pairs},
            left_out,
        )

    def sweep(
        self, groups: Sequence[Group], variants: Sequence[Variant], count: int
    ) -> dict[Group, dict[str, dict[str, Summary]]]:
        """Scores of variants on the first ``count`` cases of each group: group -> variant -> score -> summary."""
        out: dict[Group, dict[str, dict[str, Summary]]] = {}
        for group in groups:
            out[group] = {}
            for variant in tqdm(variants, unit="variant", desc=f"layout, {group.title}"):
                rows = summaries(self.scores(self.paint(variant, group, count), group))
                out[group][variant.name] = rows
                logger.info("%s: %s %s", group.title, variant.name, short(rows))
        return out


def photo_embedding(classifiers: Classifiers, subject: CaseSubject) -> np.ndarray:
    """(64,) of unit length, of the face in the subject's photo."""
    crop = face_crop(subject.photo, subject.photo_box)
    return classifiers.predict_faces([crop], [subject.photo_box])[0].embedding


def picture_request(case: Case, faces: Sequence[Face | None], variant: Variant, seed: int) -> PictureRequest:
    """One picture of a case; the noise depends on case and seed alone."""
    text = case.expressive_caption if variant.says_expression else case.caption
    people = []
    for subject, face in zip(case.subjects, faces, strict=True):
        if face is not None:
            people.append(Region(face, variant.box_for(subject, len(case.subjects))))
    return PictureRequest(text, tuple(people), seed=100_000 * seed + case.number)


def person_captions(case: Case) -> str:
    """One line for each person: the caption of a picture of them alone in the case's place."""
    drawing = case.drawing
    if isinstance(drawing, DrawnPortrait):
        return case.caption
    alone = [replace(drawing, people=(replace(person, motion=DrawnMotion()),), objects=()) for person in drawing.people]
    return "\n".join(caption(scene).replace("a photo of", "a portrait of", 1) for scene in alone)


def pictures_digest(painter: Painter, requests: Sequence[PictureRequest], settings: PaintSettings) -> str:
    """A file name for the pictures of these networks, requests and settings."""
    digest = hashlib.sha256(f"{settings} {painter.unet.dtype}".encode())
    networks = (painter.unet, painter.base.text_encoder, painter.base.vae)
    tensors = [tensor for network in networks for _, tensor in sorted(network.state_dict().items())]
    tensors += [tensor for pair in painter.projections for tensor in pair]
    for request in requests:
        digest.update(f"{request.text} {request.negative} {request.seed}".encode())
        for region in request.people:
            digest.update(str(region.box_xywh_norm).encode())
            tensors += [region.face.id_tokens, region.face.negative_tokens]
    for tensor in tensors:
        digest.update(tensor.half().numpy().tobytes())
    return digest.hexdigest()[:24]


def paint_settings(variant: Variant, extent: Extent, base: StableDiffusion) -> PaintSettings:
    """Settings of the painter for a variant."""
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
