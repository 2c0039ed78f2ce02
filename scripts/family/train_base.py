"""The base model: text to pictures of the drawn world, several people in a scene, no identities known by name.

Stable Diffusion's classes made small; more noise, and velocities predicted as version 2.1 does. UNet and text encoder
learn together from nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dynamicid.training.config import DataSection, OptimizerSection, RunSection
from dynamicid.training.loop import Batch, Losses, Stage, State, Trainer, make_accelerator
from dynamicid.training.losses import noise_loss, noise_target
from dynamicid.training.shards import Sample, is_complete, open_shards, shard_path, write_common, write_shard
from dynamicid.training.stream import StreamDataset

from .places import BASE, SEED, WORK
from .tokenizer import END, LENGTH, START
from .train_vae import as_pixels

TEXT_WIDTH = 128
UNET_SIZES: dict[str, Any] = {
    "sample_size": 32,
    "block_out_channels": (64, 96, 128),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
}
# Stable Diffusion's beta_end of 0.012 lets flat areas through: a shirt covers so many latents that its colour shows to
# the last step, and is learnt from the noisy picture instead of the caption. With this much noise the noise cannot be
# what is predicted: the first step would divide by almost nothing.
NOISE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
}
DROPPED_TEXT = 0.1
NOISY_SHARE, NOISIEST = 0.25, 300
"""Share of the samples drawn from the noisiest steps alone, and how many those are."""
SHARD_SIZE, ENCODED_TOGETHER = 2000, 50


@dataclass(frozen=True)
class BaseTraining:
    """The base model's run, in the sections that the two stages of DynamicID use."""

    data: DataSection
    run: RunSection
    optimizer: OptimizerSection


class TextToPicture(nn.Module):
    """What is trained: ``unet`` and ``text_encoder``."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """latents (B, 4, h, w), timesteps (B,), token numbers (B, 77) -> predicted velocity (B, 4, h, w)."""
        return self.unet(latents, timesteps, self.text_encoder(tokens).last_hidden_state).sample


def base_training(steps: int) -> BaseTraining:
    """The settings of the committed model."""
    folder = WORK / "base"
    return BaseTraining(
        data=DataSection(folder=folder, cache=folder / "cache", shuffle_shards=100, workers=1),
        run=RunSection(
            output=folder / "run", steps=steps, seed=SEED, mixed_precision="bf16", checkpoint_every=250,
        ),
        optimizer=OptimizerSection(
            learning_rate=6e-4, batch_size=32, micro_batch_size=16, warmup_steps=100, ema_decay=0.998
        ),
    )  # fmt: skip


def train_base(
    config: BaseTraining, pictures: np.ndarray, captions: list[str], vae: AutoencoderKL, tokenizer: CLIPTokenizer
) -> None:
    """Trains the base model and saves it in BASE; goes on from the last checkpoint where there is one.

    Args:
        config: Of the run.
        pictures: (N, size, size, 3) uint8.
        captions: N.
        vae: Makes the latents.
        tokenizer: Of BASE.
    """
    _write_cache(config.data.cache, pictures, captions, vae, tokenizer)
    shards = open_shards(config.data.cache, "base")
    accelerator = make_accelerator(config)  # pyright: ignore[reportArgumentType]
    set_seed(SEED)
    scheduler = DDPMScheduler(**NOISE)
    nothing = shards.common["no_text"].long()

    def prepare(sample: Sample, generator: torch.Generator) -> Batch:
        latents = sample["latents"].float()
        dropped = float(torch.rand((), generator=generator)) < DROPPED_TEXT
        return {
            "latents": latents,
            "noise": torch.randn(latents.shape, generator=generator),
            "timesteps": _draw_timestep(generator),
            "tokens": nothing if dropped else sample["tokens"].long(),
        }

    def losses(trained: nn.Module, batch: Batch) -> Losses:
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = scheduler.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
        target = noise_target(scheduler, latents, noise, timesteps)
        return {"loss": noise_loss(trained(noisy, timesteps, batch["tokens"]), target)}

    def export(state: State, _: Path) -> list[Path]:
        model.load_state_dict(state)
        return save_base(model, scheduler)

    model = TextToPicture(UNet2DConditionModel(**UNET_SIZES), CLIPTextModel(_text_config(tokenizer)))
    resume = any(config.run.output.glob("checkpoints/step-*"))
    Trainer(
        accelerator,
        config,  # pyright: ignore[reportArgumentType]
        Stage(model, StreamDataset(shards, prepare, SEED), losses, export),
    ).run(resume)


def _draw_timestep(generator: torch.Generator) -> Tensor:
    last = NOISE["num_train_timesteps"]
    is_noisy = float(torch.rand((), generator=generator)) < NOISY_SHARE
    return torch.randint(last - NOISIEST if is_noisy else 0, last, (), generator=generator)


def save_base(model: TextToPicture, scheduler: DDPMScheduler) -> list[Path]:
    """Writes UNet, text encoder and scheduler into BASE, in half precision."""
    model.unet.half().save_pretrained(BASE / "unet")
    model.text_encoder.half().save_pretrained(BASE / "text_encoder")
    scheduler.save_pretrained(BASE / "scheduler")
    return [BASE / "unet", BASE / "text_encoder"]


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    vocabulary = tokenizer.get_vocab()
    start, end = vocabulary[START], vocabulary[END]
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=2 * TEXT_WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=LENGTH, projection_dim=TEXT_WIDTH, bos_token_id=start,
        eos_token_id=end, pad_token_id=end,
    )  # fmt: skip


def _write_cache(
    folder: Path, pictures: np.ndarray, captions: list[str], vae: AutoencoderKL, tokenizer: CLIPTokenizer
) -> None:
    """Latents and token numbers of all pictures, in shards; only what is missing is made."""
    about = {"stage": "base", "settings": {"pictures": len(pictures), "scaling": vae.config["scaling_factor"]}}
    folder.mkdir(parents=True, exist_ok=True)
    write_common(folder, {"no_text": _tokens(tokenizer, [""])[0]})
    for number in tqdm(range(math.ceil(len(pictures) / SHARD_SIZE)), unit="shard", desc="latents"):
        path = shard_path(folder, number)
        if not is_complete(path, about):
            part = slice(number * SHARD_SIZE, (number + 1) * SHARD_SIZE)
            write_shard(path, _encoded(pictures[part], captions[part], vae, tokenizer), about)


@torch.no_grad()
def _encoded(
    pictures: np.ndarray, captions: list[str], vae: AutoencoderKL, tokenizer: CLIPTokenizer
) -> Iterator[Sample]:
    for first in range(0, len(pictures), ENCODED_TOGETHER):
        part = slice(first, first + ENCODED_TOGETHER)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(as_pixels(pictures[part])).latent_dist.mean  # pyright: ignore
        scaled = (latents.float() * vae.config["scaling_factor"]).half()
        for latent, tokens in zip(scaled, _tokens(tokenizer, captions[part]), strict=True):
            yield {"latents": latent, "tokens": tokens}


def _tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """(N, 77) int16."""
    made = tokenizer(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    return made.input_ids.to(torch.int16)
