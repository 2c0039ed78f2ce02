"""``cache imr``: people's folders (VariFace layout) become one sample a person: tokens, prompts, landmarks, latents."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..checkpoints import load_weights
from ..faces.landmarks import MAP_SIZE
from ..files.skipped import BadSample, Skipped
from ..pipeline.preprocessing import PICTURE_SUFFIXES, clip_pixels, read_picture, training_pixels
from ..pipeline.stable_diffusion import encode_pictures, encode_text, load_base, load_clip_vision, vision_states
from .cache_fingerprint import networks_of
from .caching import (
    ENCODED_TOGETHER,
    PRECISIONS,
    Analyzer,
    Inputs,
    data_settings,
    list_inputs,
    only_face,
    open_analyzer,
    process_state,
    read_text,
    reference_part,
    write_cache,
)
from .config import IMRConfig
from .shards import Sample

FEWEST_PHOTOS = 2


def cache_imr(config: IMRConfig, analyzer: Analyzer | None = None) -> str:
    """Writes the cache of stage 2; see ``write_cache``. Without an ``analyzer``, the one of ``base.face_pack``.

    A sample is a person of n photos: ``tokens`` (n, 4, 768), ``prompts`` (n, 768) pooled, ``maps`` (n, 96, 96) uint8,
    ``latents`` (n, 2, 4, h, w). Common: ``prompt_text`` (77, 768), under which noise is predicted.
    Tokens are read from ``<folder>/cache/<person>/<photo>.pt`` where published ones lie, else made with ``model.saa``.
    """
    people = PeopleReader(config, analyzer)

    def make_samples(part: Inputs) -> Iterator[Sample | Skipped]:
        for folder in part:
            yield from people.read(folder)

    def make_common() -> Sample:
        return {"prompt_text": encode_text(people.base, [config.model.prompt])[0][0].to(people.dtype)}

    data = config.data
    settings = {
        **data_settings(data),
        "prompt": config.model.prompt,
        "networks": networks_of(config.base, config.model.saa),
    }
    about = {"stage": "imr", "settings": settings}
    return write_cache(data, list_inputs(data.folder, people=True), about, make_samples, make_common)


class PeopleReader:
    """Reads people's folders. The networks that only missing tokens need are opened when one is missing."""

    def __init__(self, config: IMRConfig, analyzer: Analyzer | None) -> None:
        self.config, self._analyzer = config, analyzer
        self.device: Any = process_state().device
        self.dtype = PRECISIONS[config.data.precision]
        self.base = load_base(config.base.model, config.base.tokenizer)
        self.base.vae.to(self.device)
        self.base.text_encoder.to(self.device)

    @cached_property
    def analyzer(self) -> Analyzer:
        """The face networks."""
        return self._analyzer or open_analyzer(self.config.base)

    @cached_property
    def vision(self) -> Any:
        """The image encoder."""
        return load_clip_vision(self.config.base.clip_vision).to(self.device)

    @cached_property
    def projector(self) -> Any:
        """The face projector of stage 1."""
        return load_weights(self.config.model.saa).projector.to(self.device)

    def read(self, folder: Path) -> Iterator[Sample | Skipped]:
        """What was skipped of one person, and the person unless too few photos are left."""
        photos = []
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in PICTURE_SUFFIXES or path.stem.endswith("_landmark"):
                continue
            try:
                photos.append(self._photo(path))
            except BadSample as error:
                yield Skipped(f"{folder.name}/{path.name}", str(error))
        if len(photos) < FEWEST_PHOTOS:
            yield Skipped(folder.name, f"fewer than {FEWEST_PHOTOS} usable photos of a person")
            return
        prompts, pixels, maps, tokens = zip(*photos, strict=True)
        latents, pooled = [], []
        for i in range(0, len(photos), ENCODED_TOGETHER):
            part = slice(i, i + ENCODED_TOGETHER)
            latents.append(encode_pictures(self.base, torch.stack(pixels[part])))
            pooled.append(encode_text(self.base, prompts[part])[1])
        yield {
            "tokens": torch.stack(tokens).float(),
            "prompts": torch.cat(pooled).float(),
            "maps": torch.stack(maps),
            "latents": torch.cat(latents).to(self.dtype),
        }

    def _photo(self, path: Path) -> tuple[str, Tensor, Tensor, Tensor]:
        """Prompt, pixels (3, size, size), landmark map (96, 96) uint8 and tokens (4, 768)."""
        prompt = read_text(path.with_suffix(".txt"), "face prompt")
        landmarks = _landmark_map(path.with_name(f"{path.stem}_landmark.png"))
        image = read_picture(path)
        known = self.config.data.folder / "cache" / path.parent.name / f"{path.stem}.pt"
        tokens = _published_tokens(known) if known.is_file() else self._tokens(image)
        return prompt, training_pixels(image, self.config.data.size), landmarks, tokens

    def _tokens(self, image: np.ndarray) -> Tensor:
        face = only_face(self.analyzer, image)
        reference = reference_part(image, face, self.config.data.reference)
        pixels = clip_pixels(reference, int(self.vision.config.image_size))
        with torch.no_grad():
            embedding = torch.from_numpy(face.embedding)[None].to(self.device)
            return self.projector(embedding, vision_states(self.vision, pixels[None]).float())[0].cpu()


def _landmark_map(path: Path) -> Tensor:
    if not path.is_file():
        raise BadSample("missing landmark map")
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise BadSample("unreadable landmark map") from error
    if pixels.shape != (MAP_SIZE, MAP_SIZE):
        raise BadSample(f"landmark map is not {MAP_SIZE} x {MAP_SIZE}")
    return torch.from_numpy(np.where(pixels > 127, 255, 0).astype(np.uint8))


def _published_tokens(path: Path) -> Tensor:
    """(4, 768) from a file of (1, 4, 768)."""
    try:
        tokens = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadSample("unreadable token file") from error
    if not isinstance(tokens, Tensor) or tokens.dim() != 3 or len(tokens) != 1 or not torch.isfinite(tokens).all():
        raise BadSample("token file of another shape")
    return tokens[0].float()
