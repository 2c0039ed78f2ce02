"""``cache imr``: people's folders (VariFace layout) become samples of tokens, prompts, landmark maps and latents."""

import os
from collections.abc import Callable, Iterator, Sequence
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
from .caching import Encoders
from .config import IMRConfig
from .inputs import Inputs, list_inputs, read_text_beside
from .shards import Noticed, Sample

FEWEST_PHOTOS = 2


class PersonPhoto(NamedTuple):
    """A photo of a person: pixels (3, size, size), landmark map (96, 96) uint8, tokens (4, 768)."""

    prompt: str
    pixels: Tensor
    landmark_map: Tensor
    tokens: Tensor
    noticed: Sequence[Noticed]


def cache_imr(config: IMRConfig, analyzer: FaceDetector | None = None) -> str:
    """Writes the cache of stage 2.

    A sample is a person of n photos: ``tokens`` (n, 4, 768), ``prompts`` (n, 768) pooled, ``maps`` (n, 96, 96) uint8,
    ``latents`` (n, 2, 4, h, w). Common to all: ``prompt_text`` (77, 768), under which noise is predicted.
    Tokens are read from ``<folder>/cache/<person>/<photo>.pt`` if that file exists (the published layout), otherwise
    they are computed with ``model.saa``.

    ``analyzer`` replaces the face networks of ``base.face_pack``. Result and errors are those of
    ``caching.write_cache``.
    """
    encoders = Encoders(config, analyzer)

    @cache
    def projector() -> FaceProjector:  # published tokens need none
        return load_weights(config.model.saa).projector.to(encoders.device)

    def make_samples(folders: Inputs) -> Iterator[Sample | Skipped]:
        for folder in folders:
            yield from _read_person(folder, encoders, projector)

    def make_common() -> Sample:
        states, _ = encode_text(encoders.base, [config.model.prompt])
        return {"prompt_text": states[0].to(encoders.dtype)}

    settings = {
        **caching.data_settings(config.data),
        "prompt": config.model.prompt,
        "networks": caching.cache_fingerprint(config.base, config.model.saa),
    }
    inputs, unused = list_inputs(config.data, people=True)
    description = {"stage": "imr", "settings": settings}
    return caching.write_cache(config.data, inputs, unused, description, make_samples, make_common)


def _read_person(
    folder: Path, encoders: Encoders, projector: Callable[[], FaceProjector]
) -> Iterator[Sample | Skipped]:
    """The skipped photos of a person, then the sample, or the skipped person if too few photos are left."""
    photos: list[PersonPhoto] = []
    for path, reason in find_files(folder, PHOTO_SUFFIXES, recursive=False):
        if path.stem.endswith("_landmark"):
            continue
        try:
            if reason:
                raise BadSample(reason)
            photos.append(_read_photo(path, encoders, projector))
        except BadSample as error:
            yield Skipped(f"{folder.name}/{path.name}", str(error))
        else:
            yield from photos[-1].noticed
    if len(photos) < FEWEST_PHOTOS:
        yield Skipped(folder.name, f"fewer than {FEWEST_PHOTOS} usable photos of a person")
        return
    latents, pooled = [], []
    for i in range(0, len(photos), caching.ENCODED_TOGETHER):
        part = photos[i : i + caching.ENCODED_TOGETHER]
        latents.append(encode_pictures(encoders.base, torch.stack([photo.pixels for photo in part])))
        pooled.append(encode_text(encoders.base, [photo.prompt for photo in part])[1])
    yield {
        "tokens": torch.stack([photo.tokens for photo in photos]).float(),
        "prompts": torch.cat(pooled).float(),
        "maps": torch.stack([photo.landmark_map for photo in photos]),
        "latents": torch.cat(latents).to(encoders.dtype),
    }


def _read_photo(path: Path, encoders: Encoders, projector: Callable[[], FaceProjector]) -> PersonPhoto:
    prompt = read_text_beside(path, "face prompt")
    landmark_map = _read_landmark_map(path.with_name(f"{path.stem}_landmark.png"))
    image = read_picture(path)
    data = encoders.config.data
    published = data.folder / "cache" / path.parent.name / f"{path.stem}.pt"
    face = None if published.is_file() else encoders.only_face(image)
    tokens = _compute_tokens(image, face, encoders, projector()) if face else _read_tokens(published)
    noticed = list(encoders.notice(f"{path.parent.name}/{path.name}", image, face))
    return PersonPhoto(prompt, training_pixels(image, data.size), landmark_map, tokens, noticed)


def _compute_tokens(image: np.ndarray, face: DetectedFace, encoders: Encoders, projector: FaceProjector) -> Tensor:
    """Identity tokens (4, 768) of a face in a picture (height, width, 3), on the CPU."""
    hidden = vision_states(encoders.vision, encoders.reference_pixels(image, face)[None])
    return identity_tokens(projector, torch.from_numpy(face.embedding)[None], hidden)[0]


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
