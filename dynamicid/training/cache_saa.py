"""``cache saa``: latents, text states, face embeddings and CLIP states of a plain folder, computed once."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from ..files.skipped import BadSample, Skipped
from ..pipeline.preprocessing import clip_pixels, read_picture, training_pixels
from ..pipeline.stable_diffusion import (
    StableDiffusion,
    encode_pictures,
    encode_text,
    load_base,
    load_clip_vision,
    vision_states,
)
from .cache_fingerprint import networks_of
from .caching import (
    ENCODED_TOGETHER,
    PRECISIONS,
    Analyzer,
    Inputs,
    batched,
    data_settings,
    list_inputs,
    only_face,
    open_analyzer,
    process_state,
    read_text,
    reference_part,
    write_cache,
)
from .config import DataSection, SAAConfig
from .shards import Sample


class Prepared(NamedTuple):
    """One picture before the networks: pixels (3, size, size), reference (3, 224, 224), embedding (512,)."""

    caption: str
    pixels: Tensor
    reference: Tensor
    embedding: Tensor


def cache_saa(config: SAAConfig, analyzer: Analyzer | None = None) -> str:
    """Writes the cache of stage 1; see ``write_cache``. Without an ``analyzer``, the one of ``base.face_pack``.

    A sample holds ``latents`` (2, 4, h, w: mean and deviation), ``text`` (77, 768), ``id_embedding`` (512) and
    ``clip_hidden`` (257, 1280). Common: ``empty_text`` and ``zero_hidden``, what a dropped text and face become.
    """
    device: Any = process_state().device
    faces = analyzer or open_analyzer(config.base)
    base, vision = (
        load_base(config.base.model, config.base.tokenizer),
        load_clip_vision(config.base.clip_vision).to(device),
    )
    base.vae.to(device)
    base.text_encoder.to(device)
    data, side = config.data, int(vision.config.image_size)  # pyright: ignore[reportArgumentType]

    def make_samples(part: Inputs) -> Iterator[Sample | Skipped]:
        for batch in batched(_prepare(part, data, faces, side), ENCODED_TOGETHER):
            yield from (item for item in batch if isinstance(item, Skipped))
            prepared = [item for item in batch if isinstance(item, Prepared)]
            if prepared:
                yield from _encode(prepared, base, vision, data)

    def make_common() -> Sample:
        dtype = PRECISIONS[data.precision]
        zero = vision_states(vision, torch.zeros(1, 3, side, side))
        return {"empty_text": encode_text(base, [""])[0][0].to(dtype), "zero_hidden": zero[0].to(dtype)}

    about = {"stage": "saa", "settings": {**data_settings(data), "networks": networks_of(config.base)}}
    return write_cache(data, list_inputs(data.folder, people=False), about, make_samples, make_common)


def _prepare(part: Inputs, data: DataSection, analyzer: Analyzer, side: int) -> Iterable[Prepared | Skipped]:
    for path in part:
        try:
            yield _prepare_one(path, data, analyzer, side)
        except BadSample as error:
            yield Skipped(path.name, str(error))


def _prepare_one(path: Path, data: DataSection, analyzer: Analyzer, side: int) -> Prepared:
    caption = read_text(path.with_suffix(".txt"), "caption")
    image = read_picture(path)
    face = only_face(analyzer, image)
    _check_visible(face.box_xyxy, image)
    reference = clip_pixels(reference_part(image, face, data.reference), side)
    return Prepared(caption, training_pixels(image, data.size), reference, torch.from_numpy(face.embedding).float())


def _check_visible(box_xyxy: tuple[float, ...], image: np.ndarray) -> None:
    """The middle of the face must lie in the middle square, which is all that training sees."""
    height, width = image.shape[:2]
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2 - width / 2, (box_xyxy[1] + box_xyxy[3]) / 2 - height / 2
    if max(abs(x), abs(y)) > min(height, width) / 2:
        raise BadSample("face outside the middle square")


def _encode(
    prepared: list[Prepared], base: StableDiffusion, vision: CLIPVisionModelWithProjection, data: DataSection
) -> Iterator[Sample]:
    dtype = PRECISIONS[data.precision]
    latents = encode_pictures(base, torch.stack([item.pixels for item in prepared])).to(dtype)
    text = encode_text(base, [item.caption for item in prepared])[0].to(dtype)
    hidden = vision_states(vision, torch.stack([item.reference for item in prepared])).to(dtype)
    for i, item in enumerate(prepared):
        yield {"latents": latents[i], "text": text[i], "clip_hidden": hidden[i], "id_embedding": item.embedding}
