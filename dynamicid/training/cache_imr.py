"""``cache imr``: people's folders (VariFace layout) become samples of tokens, prompts, landmark maps and latents."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..checkpoints import load_weights
from ..faces.detected import DetectedFace
from ..faces.encoding import FaceDetector, identity_tokens
from ..faces.landmarks import MAP_SIZE
from ..files.folders import find_files
from ..files.pictures import PHOTO_SUFFIXES, read_picture
from ..files.skipped import BadSample, Skipped
from ..models import FaceProjector
from ..pipeline.preprocessing import training_pixels
from ..pipeline.stable_diffusion import encode_pictures, encode_text, vision_states
from . import caching
from .augmentation import mirror_words
from .caching import CacheTask, Encoders, Input, ReadInput
from .config import IMRConfig
from .inputs import read_text_beside
from .readers import PhotoReader
from .shards import Noticed, Sample
from .timing import Stopwatch

FEWEST_PHOTOS = 2


class PersonPhoto(NamedTuple):
    """A photo of a person before the networks: pixels (3, size, size), landmark map (96, 96) uint8, and what its tokens
    come from: tokens (4, 768) of a published file, or reference (3, 224, 224) and embedding (512,)."""

    prompt: str
    pixels: Tensor
    landmark_map: Tensor
    tokens: Tensor | None
    reference: Tensor | None
    embedding: Tensor | None
    noticed: Sequence[Noticed]


class PersonReader(PhotoReader):
    """Reads a photo, its face prompt, its landmark map, and its published tokens if there are any."""

    def read(self, path: Path) -> list[PersonPhoto]:
        """The photo; with ``data.flip`` also mirrored, unless its tokens are published ones.

        Raises:
            BadSample: Something is missing, unreadable or of another shape, or there is not one face.
        """
        prompt = read_text_beside(path, "face prompt")
        landmark_map = _read_landmark_map(path.with_name(f"{path.stem}_landmark.png"))
        image = read_picture(path)
        data = self.config.data
        published = data.folder / "cache" / path.parent.name / f"{path.stem}.pt"
        if published.is_file():
            tokens, noticed = _read_tokens(published), self.notice(path, image, None)
            pixels = training_pixels(image, data.size)
            return [PersonPhoto(prompt, pixels, landmark_map, tokens, None, None, noticed)]
        face = self.only_face(image)
        noticed = self.notice(path, image, face)
        photos = [self._photo(prompt, image, landmark_map, face, noticed)]
        for mirrored, other_face in self.mirrored(path, image, noticed):
            photos.append(self._photo(mirror_words(prompt), mirrored, landmark_map.flip(-1), other_face, []))
        return photos

    def _photo(
        self, prompt: str, image: np.ndarray, landmark_map: Tensor, face: DetectedFace, noticed: Sequence[Noticed]
    ) -> PersonPhoto:
        pixels, reference = training_pixels(image, self.config.data.size), self.reference_pixels(image, face)
        return PersonPhoto(prompt, pixels, landmark_map, None, reference, torch.from_numpy(face.embedding), noticed)


def cache_imr(config: IMRConfig, analyzer: FaceDetector | None = None) -> str:
    """Writes the cache of stage 2.

    A sample is a person of n photos: ``tokens`` (n, 4, 768), ``prompts`` (n, 768) pooled, ``maps`` (n, 96, 96) uint8,
    ``latents`` (n, 2, 4, h, w). Common to all: ``prompt_text`` (77, 768), under which noise is predicted.
    With ``data.flip`` the mirrored person is another sample. Tokens are read from
    ``<folder>/cache/<person>/<photo>.pt`` if that file exists (the published layout), otherwise they are computed with
    ``model.saa``.

    ``analyzer`` replaces the face networks of ``base.face_pack``. Result and errors are those of
    ``caching.write_cache``.
    """
    encoders = Encoders(config)

    @cache
    def projector() -> FaceProjector:  # published tokens need none
        return load_weights(config.model.saa).projector.to(encoders.device)

    def tokens_of(photos: Sequence[PersonPhoto]) -> list[Tensor]:
        found = {i: photo.tokens for i, photo in enumerate(photos) if photo.tokens is not None}
        missing = [i for i in range(len(photos)) if i not in found]
        if missing:
            references = [photos[i].reference for i in missing]
            embeddings = [photos[i].embedding for i in missing]
            hidden = vision_states(encoders.vision, torch.stack([x for x in references if x is not None]))
            embedding = torch.stack([x for x in embeddings if x is not None])
            found |= dict(zip(missing, identity_tokens(projector(), embedding, hidden), strict=True))
        return [found[i] for i in range(len(photos))]

    def encode(photos: Sequence[PersonPhoto]) -> Sample:
        tokens, latents, pooled = [], [], []
        for i in range(0, len(photos), caching.ENCODED_TOGETHER):
            part = photos[i : i + caching.ENCODED_TOGETHER]
            tokens += tokens_of(part)
            latents.append(encode_pictures(encoders.base, torch.stack([photo.pixels for photo in part])))
            pooled.append(encode_text(encoders.base, [photo.prompt for photo in part])[1])
        return {
            "tokens": torch.stack(tokens).float(),
            "prompts": torch.cat(pooled).float().cpu(),
            "maps": torch.stack([photo.landmark_map for photo in photos]),
            "latents": torch.cat(latents).to(encoders.dtype).cpu(),
        }

    def make_samples(people: Iterator[ReadInput], stopwatch: Stopwatch) -> Iterator[Sample | Skipped]:
        for name, read, passed_over in people:
            variants = [photos for photos in read if not isinstance(photos, Skipped)]
            yield from [*passed_over, *(photo for photo in read if isinstance(photo, Skipped))]
            yield from (item for photos in variants for item in photos[0].noticed)
            if len(variants) < FEWEST_PHOTOS:
                yield Skipped(name, f"fewer than {FEWEST_PHOTOS} usable photos of a person")
            for photos in ([x[0] for x in variants], [x[1] for x in variants if len(x) > 1]):
                if len(photos) >= FEWEST_PHOTOS:
                    with stopwatch.part("networks"):
                        sample = encode(photos)
                    yield sample

    def make_common() -> Sample:
        states, _ = encode_text(encoders.base, [config.model.prompt])
        return {"prompt_text": states[0].to(encoders.dtype)}

    settings = {
        **caching.data_settings(config.data),
        "prompt": config.model.prompt,
        "networks": caching.cache_fingerprint(config.base, config.model.saa),
    }
    description = {"stage": "imr", "settings": settings}
    task = CacheTask(description, _list_photos, PersonReader(config, analyzer), make_samples, make_common)
    return caching.write_cache(config.data, task, people=True)


def _list_photos(name: str, folder: Path) -> Input:
    found = list(find_files(folder, PHOTO_SUFFIXES, recursive=False))
    found = [(path, reason) for path, reason in found if not path.stem.endswith("_landmark")]
    skipped = [Skipped(f"{name}/{path.name}", reason) for path, reason in found if reason]
    return Input(name, [path for path, reason in found if not reason], skipped)


def _read_tokens(path: Path) -> Tensor:
    """Identity tokens (4, 768) from a published file of (1, 4, 768)."""
    try:
        tokens = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadSample("unreadable token file") from error
    if not isinstance(tokens, Tensor) or tokens.dim() != 3 or len(tokens) != 1 or not torch.isfinite(tokens).all():
        raise BadSample("token file of another shape")
    return tokens[0].float()


def _read_landmark_map(path: Path) -> Tensor:
    """(96, 96) uint8, 0 or 255."""
    if not os.path.isfile(path):
        raise BadSample("missing landmark map")
    try:
        pixels = read_picture(path)[..., 0]
    except BadSample as error:
        raise BadSample("unreadable landmark map") from error
    if pixels.shape != (MAP_SIZE, MAP_SIZE):
        raise BadSample(f"landmark map is not {MAP_SIZE} x {MAP_SIZE}")
    return torch.from_numpy(np.where(pixels > 127, 255, 0).astype(np.uint8))
