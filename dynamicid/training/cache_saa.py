"""``cache saa``: latents, text states, face embeddings and CLIP states of a plain folder, computed once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..faces.encoding import FaceDetector
from ..files.pictures import read_picture
from ..files.skipped import BadSample, Skipped
from ..pipeline.preprocessing import training_pixels
from ..pipeline.stable_diffusion import encode_pictures, encode_text, vision_states
from . import caching
from .caching import Encoders
from .config import SAAConfig
from .inputs import Inputs, list_inputs, read_text_beside
from .shards import Noticed, Sample


class PortraitPhoto(NamedTuple):
    """A photo before the networks: pixels (3, size, size), reference (3, 224, 224), embedding (512,)."""

    caption: str
    pixels: Tensor
    reference: Tensor
    embedding: Tensor
    noticed: Sequence[Noticed]


def cache_saa(config: SAAConfig, analyzer: FaceDetector | None = None) -> str:
    """Writes the cache of stage 1.

    A sample holds ``latents`` (2, 4, h, w: mean and standard deviation), ``text`` (77, 768), ``id_embedding`` (512)
    and ``clip_hidden`` (257, 1280). Common to all: ``empty_text`` and ``zero_hidden``, which replace a dropped text
    and a dropped face.

    ``analyzer`` replaces the face networks of ``base.face_pack``. Result and errors are those of
    ``caching.write_cache``.
    """
    encoders = Encoders(config, analyzer)

    def make_samples(paths: Inputs) -> Iterator[Sample | Skipped]:
        for i in range(0, len(paths), caching.ENCODED_TOGETHER):
            photos = []
            for path in paths[i : i + caching.ENCODED_TOGETHER]:
                name = path.relative_to(config.data.folder).as_posix()
                try:
                    photos.append(_read_photo(path, name, encoders))
                except BadSample as error:
                    yield Skipped(name, str(error))
                else:
                    yield from photos[-1].noticed
            if photos:
                yield from _encode(photos, encoders)

    def make_common() -> Sample:
        size = encoders.vision_size
        zero = vision_states(encoders.vision, torch.zeros(1, 3, size, size))
        empty, _ = encode_text(encoders.base, [""])
        return {"empty_text": empty[0].to(encoders.dtype), "zero_hidden": zero[0].to(encoders.dtype)}

    settings = {**caching.data_settings(config.data), "networks": caching.cache_fingerprint(config.base)}
    inputs, unused = list_inputs(config.data, people=False)
    description = {"stage": "saa", "settings": settings}
    return caching.write_cache(config.data, inputs, unused, description, make_samples, make_common)


def _read_photo(path: Path, name: str, encoders: Encoders) -> PortraitPhoto:
    caption = read_text_beside(path, "caption")
    image = read_picture(path)
    face = encoders.only_face(image)
    _check_visible(face.box_xyxy, image)
    return PortraitPhoto(
        caption,
        training_pixels(image, encoders.config.data.size),
        encoders.reference_pixels(image, face),
        torch.from_numpy(face.embedding).float(),
        list(encoders.notice(name, image, face)),
    )


def _check_visible(box_xyxy: tuple[float, ...], image: np.ndarray) -> None:
    """Training sees the centre square only: the centre of the face has to lie in it."""
    height, width = image.shape[:2]
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2 - width / 2, (box_xyxy[1] + box_xyxy[3]) / 2 - height / 2
    if max(abs(x), abs(y)) > min(height, width) / 2:
        raise BadSample("face outside the middle square")


def _encode(photos: Sequence[PortraitPhoto], encoders: Encoders) -> Iterator[Sample]:
    latents = encode_pictures(encoders.base, torch.stack([photo.pixels for photo in photos]))
    text, _ = encode_text(encoders.base, [photo.caption for photo in photos])
    hidden = vision_states(encoders.vision, torch.stack([photo.reference for photo in photos]))
    states = (tensor.to(encoders.dtype) for tensor in (latents, text, hidden))
    for photo, latent, states_of_text, states_of_face in zip(photos, *states, strict=True):
        yield {
            "latents": latent,
            "text": states_of_text,
            "clip_hidden": states_of_face,
            "id_embedding": photo.embedding,
        }
