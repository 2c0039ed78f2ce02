"""The cache of the base model's training: latents, tokens, faces and motion labels of all pictures, in shards."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTokenizer

from dynamicid.boxes import BoxXyxyPx
from dynamicid.training.shards import Sample, is_complete, shard_path, write_common, write_shard

from ..places import PICTURE_SIZE
from ..precision import mixed_precision
from .base_dataset import CaptionedPictures
from .captioned_motion import motion_labels
from .small_networks import picture_tensor
from .tokenizer import LENGTH

FACE_REACH = 1.3
"""Size of a face's surroundings in sizes of its box."""
SHARD_SIZE, ENCODING_BATCH = 2000, 50


def write_cache(folder: Path, sets: Sequence[CaptionedPictures], vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> None:
    """Writes the shards that do not exist yet."""
    count = sum(len(pictures.captions) for pictures in sets)
    about = {"stage": "base", "settings": {"pictures": count, "scaling": vae.config["scaling_factor"]}}
    folder.mkdir(parents=True, exist_ok=True)
    write_common(folder, {"no_text": _tokens(tokenizer, [""])[0]})
    parts = [(pictures, first) for pictures in sets for first in range(0, len(pictures.captions), SHARD_SIZE)]
    for number, (pictures, first) in enumerate(tqdm(parts, unit="shard", desc="latents")):
        path = shard_path(folder, number)
        if not is_complete(path, about):
            positions = range(len(pictures.captions))[first : first + SHARD_SIZE]
            write_shard(path, _encode(pictures, positions, vae, tokenizer), about)


@torch.no_grad()
def _encode(
    pictures: CaptionedPictures, positions: range, vae: AutoencoderKL, tokenizer: CLIPTokenizer
) -> Iterator[Sample]:
    for first in range(positions.start, positions.stop, ENCODING_BATCH):
        part = slice(first, min(first + ENCODING_BATCH, positions.stop))
        with mixed_precision():
            latents = vae.encode(picture_tensor(pictures.pixels[part])).latent_dist.mean  # pyright: ignore
        scaled = (latents.float() * vae.config["scaling_factor"]).half()
        tokens = _tokens(tokenizer, pictures.captions[part])
        motions = map(motion_labels, pictures.captions[part], pictures.motions[part])
        for latent, numbers, boxes, labels in zip(scaled, tokens, pictures.faces[part], motions, strict=True):
            yield {"latents": latent, "tokens": numbers, "faces": _face_mask(boxes, latent.shape[-1]), **labels}


def _face_mask(boxes: Sequence[BoxXyxyPx], side: int) -> Tensor:
    """(side, side) uint8, 1 where a latent lies on a face or near it."""
    mask = torch.zeros(side, side, dtype=torch.uint8)
    for left, top, right, bottom in boxes:
        x, y = (left + right) / 2, (top + bottom) / 2
        half_width, half_height = FACE_REACH * (right - left) / 2, FACE_REACH * (bottom - top) / 2
        edges = torch.tensor([x - half_width, x + half_width, y - half_height, y + half_height]) * side / PICTURE_SIZE
        first_x, last_x, first_y, last_y = edges.round().int().clamp(0, side).tolist()
        mask[first_y:last_y, first_x:last_x] = 1
    return mask


def _tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """(N, 77) int16."""
    encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    return encoded.input_ids.to(torch.int16)
