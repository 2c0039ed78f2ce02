"""``cache saa``: latents, text states, face embeddings and CLIP states of a folder of photos, computed once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..faces.detected import DetectedFace
from ..faces.encoding import FaceDetector
from ..files.pictures import read_picture
from ..files.skipped import BadSample, Skipped
from ..pipeline.preprocessing import training_pixels
from ..pipeline.stable_diffusion import clip_vision_size, encode_pictures, encode_text, vision_states
from . import caching
from .augmentation import crop_boxes, mirror_words
from .caching import CacheTask, Encoders, Input, ReadInput
from .config import SAAConfig
from .inputs import read_text_beside
from .readers import PhotoReader
from .shards import Noticed, Sample
from .timing import Stopwatch


class PortraitPhoto(NamedTuple):
    """A photo before the networks: pixels (3, size, size), reference (3, 224, 224), embedding (512,)."""

    caption: str
    pixels: Tensor
    reference: Tensor
    embedding: Tensor
    noticed: Sequence[Noticed]


class PortraitReader(PhotoReader):
    """Reads a photo and its caption."""

    def read(self, path: Path) -> list[PortraitPhoto]:
        """The photo's crops (``data.crops``), then those of the mirrored photo (``data.flip``).

        Raises:
            BadSample: No caption, no picture, or not one face in the middle square.
        """
        caption = read_text_beside(path, "caption")
        image = read_picture(path)
        face = self.only_face(image)
        _check_visible(face.box_xyxy, image)
        noticed = self.notice(path, image, face)
        photos = self._crops(path, caption, image, face, noticed)
        for mirrored, other_face in self.mirrored(path, image, noticed):
            photos += self._crops(path, mirror_words(caption), mirrored, other_face, [])
        return photos

    def _crops(
        self, path: Path, caption: str, image: np.ndarray, face: DetectedFace, noticed: Sequence[Noticed]
    ) -> list[PortraitPhoto]:
        """The first one carries what was noticed."""
        data, (height, width) = self.config.data, image.shape[:2]
        reference, embedding = self.reference_pixels(image, face), torch.from_numpy(face.embedding).float()
        crops = [
            image[top:bottom, left:right]
            for left, top, right, bottom in crop_boxes(face.box_xyxy, height, width, data.crops, self.name_of(path))[1:]
        ]
        return [
            PortraitPhoto(caption, training_pixels(crop, data.size), reference, embedding, [] if i else noticed)
            for i, crop in enumerate([image, *crops])
        ]


def cache_saa(config: SAAConfig, analyzer: FaceDetector | None = None) -> str:
    """Writes the cache of stage 1.

    A sample holds ``latents`` (2, 4, h, w: mean and standard deviation), ``text`` (77, 768), ``id_embedding`` (512)
    and ``clip_hidden`` (257, 1280). Common to all: ``empty_text`` and ``zero_hidden``, which replace a dropped text
    and a dropped face.

    ``analyzer`` replaces the face networks of ``base.face_pack``. Result and errors are those of
    ``caching.write_cache``.
    """
    encoders = Encoders(config)

    def make_samples(inputs: Iterator[ReadInput], stopwatch: Stopwatch) -> Iterator[Sample | Skipped]:
        photos: list[PortraitPhoto] = []
        for _, (read,), _ in inputs:
            if isinstance(read, Skipped):
                yield read
                continue
            yield from (item for photo in read for item in photo.noticed)
            photos += read
            while len(photos) >= caching.ENCODED_TOGETHER:
                yield from _encode(photos[: caching.ENCODED_TOGETHER], encoders, stopwatch)
                photos = photos[caching.ENCODED_TOGETHER :]
        if photos:
            yield from _encode(photos, encoders, stopwatch)

    def make_common() -> Sample:
        size = clip_vision_size(config.base.clip_vision)
        zero = vision_states(encoders.vision, torch.zeros(1, 3, size, size))
        empty, _ = encode_text(encoders.base, [""])
        return {"empty_text": empty[0].to(encoders.dtype), "zero_hidden": zero[0].to(encoders.dtype)}

    settings = {**caching.data_settings(config.data), "networks": caching.cache_fingerprint(config.base)}
    task = CacheTask(
        {"stage": "saa", "settings": settings},
        lambda name, path: Input(name, [path], []),
        PortraitReader(config, analyzer),
        make_samples,
        make_common,
    )
    return caching.write_cache(config.data, task, people=False)


def _check_visible(box_xyxy: tuple[float, ...], image: np.ndarray) -> None:
    """Training sees the centre square only: the centre of the face has to lie in it."""
    height, width = image.shape[:2]
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2 - width / 2, (box_xyxy[1] + box_xyxy[3]) / 2 - height / 2
    if max(abs(x), abs(y)) > min(height, width) / 2:
        raise BadSample("face outside the middle square")


def _encode(photos: Sequence[PortraitPhoto], encoders: Encoders, stopwatch: Stopwatch) -> list[Sample]:
    with stopwatch.part("networks"):
        latents = encode_pictures(encoders.base, torch.stack([photo.pixels for photo in photos]))
        text, _ = encode_text(encoders.base, [photo.caption for photo in photos])
        hidden = vision_states(encoders.vision, torch.stack([photo.reference for photo in photos]))
        states = [tensor.to(encoders.dtype).cpu() for tensor in (latents, text, hidden)]
    return [
        {"latents": latent, "text": text, "clip_hidden": hidden, "id_embedding": photo.embedding}
        for photo, latent, text, hidden in zip(photos, *states, strict=True)
    ]
