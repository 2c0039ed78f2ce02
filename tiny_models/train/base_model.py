"""The base model: text to pictures of the drawn world, several people in a scene, without identities.

Stable Diffusion's classes made small, with a stronger noise schedule and velocity prediction as version 2.1 has. UNet
and text encoder are trained together from nothing in five phases.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dynamicid.training.config import DataSection, OptimizerSection, RunSection, TrainingConfig
from dynamicid.training.loop import Batch, Losses, State, Trainer, TrainingTask
from dynamicid.training.losses import noise_target
from dynamicid.training.processes import make_accelerator
from dynamicid.training.shards import Sample, ShardSet, open_shards
from dynamicid.training.stream import StreamDataset

from ..places import BASE, SEED, WORK
from .base_cache import write_cache
from .base_dataset import CaptionedPictures
from .captioned_motion import (
    NO_EXPRESSION,
    CaptionedMotion,
    LatentClassifier,
    latent_motion_loss,
    text_summary_loss,
    train_latent_classifier,
)
from .tokenizer import END, LENGTH, START

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
# With Stable Diffusion's beta_end of 0.012 the mean colour of a large flat area, such as a shirt, is still visible at
# the last timestep, and the model learns it from the noisy picture instead of the caption. With this schedule it is
# not, and the velocity is predicted, since predicted noise would be divided by almost zero in the first sampling step.
NOISE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
}
DROPPED_TEXT = 0.1
NOISIEST = 300
MIDDLE = (200, 800)
"""Timesteps that decide expression and pose."""
TEXT_WEIGHT = 0.1


@dataclass(frozen=True)
class Phase:
    """One training run of the base model.

    Attributes:
        name: Name of its folder.
        cache_name: Name of the cache of its pictures.
        steps: Optimiser steps.
        scenes: Number of scenes, with portraits among them.
        portraits: Number of portraits alone.
        moving_portraits: Number of portraits whose captions describe the motion.
        start: The phase that it continues; None = from nothing.
        noisy_share: Share of the samples drawn from the NOISIEST timesteps alone.
        middle_share: Share of the samples drawn from the MIDDLE timesteps alone.
        face_weight: Weight of the loss around faces; 1 elsewhere.
        motion_weight: Weight of the losses of captioned motions; 0 = without them.
        decay_steps: Last steps, over which the learning rate falls to 0.
    """

    name: str
    cache_name: str
    steps: int
    scenes: int
    portraits: int = 0
    moving_portraits: int = 0
    start: "Phase | None" = None
    noisy_share: float = 0.0
    middle_share: float = 0.0
    face_weight: float = 4.0
    motion_weight: float = 0.0
    decay_steps: int = 0

    @property
    def folder(self) -> Path:
        """Checkpoints and weights."""
        return WORK / "base" / self.name

    @property
    def cache(self) -> Path:
        """Latents and captions."""
        return WORK / "base" / f"cache_{self.cache_name}"

    @property
    def weights(self) -> Path:
        """What the run writes."""
        return self.folder / "run" / "weights"


SCENES = Phase("scenes", "scenes", 3750, scenes=24_000, noisy_share=0.25, face_weight=1.0)
"""Layout and colours, which the noisiest timesteps decide."""
FACES = Phase("faces", "faces", 3250, scenes=24_000, portraits=9_000, start=SCENES)
"""Faces, small in scenes and large in portraits."""
MOTION = Phase(
    "told", "moving", 700, scenes=8_000, moving_portraits=20_000, start=FACES, middle_share=0.5, motion_weight=0.03
)
"""Words for expressions and poses."""
SHARPEN = Phase(
    "clear", "moving", 2000, scenes=8_000, moving_portraits=20_000, start=MOTION, middle_share=0.5,
    motion_weight=0.004, decay_steps=700,
)  # fmt: skip
"""Clean faces in these motions, with little weight on the auxiliary losses."""
ALL_PICTURES = Phase(
    "wide", "wide", 5000, scenes=24_000, moving_portraits=20_000, start=SHARPEN, noisy_share=0.15, middle_share=0.25,
    motion_weight=0.004, decay_steps=2500,
)  # fmt: skip
"""All pictures again, since scenes of several people suffer from so many portraits."""


class TextToPicture(nn.Module):
    """The trained networks: ``unet`` and ``text_encoder``."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        # In bf16 on CPUs this attention trains 1.3 times as fast as PyTorch's fused one.
        unet.set_default_attn_processor()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """latents (B, 4, h, w), timesteps (B,), token numbers (B, 77) -> predicted velocity (B, 4, h, w), states of the
        text (B, 77, width)."""
        states = self.text_encoder(tokens).last_hidden_state
        return self.unet(latents, timesteps, states).sample, states


def train_base(phase: Phase, sets: Sequence[CaptionedPictures], vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> None:
    """Trains the base model for one phase; continues from the last checkpoint where there is one.

    Args:
        phase: The phase.
        sets: Its pictures.
        vae: Encodes them.
        tokenizer: Of BASE.
    """
    config = _config(phase)
    accelerator = make_accelerator(config)
    with accelerator.main_process_first():
        write_cache(config.data.cache, sets, vae, tokenizer)
    shards = open_shards(config.data.cache, "base")
    classifier = None
    if phase.motion_weight:
        with accelerator.main_process_first():
            classifier = _latent_classifier(shards).to(accelerator.device)
    set_seed(SEED)
    scheduler = DDPMScheduler(**NOISE)
    end = tokenizer.get_vocab()[END]

    def losses(trained: nn.Module, batch: Batch) -> Losses:
        return _losses(phase, scheduler, classifier, end, trained, batch)

    def export(state: State, folder: Path) -> list[Path]:
        model.load_state_dict(state)
        model.unet.half().save_pretrained(folder / "unet")
        model.text_encoder.half().save_pretrained(folder / "text_encoder")
        return [folder / "unet", folder / "text_encoder"]

    model = _new_model(tokenizer) if phase.start is None else _load_model(tokenizer, phase.start.weights)
    resume = any(config.run.output.glob("checkpoints/step-*"))
    dataset = StreamDataset(shards, _sample_preparation(phase, shards.common["no_text"].long()), SEED)
    Trainer(accelerator, config, TrainingTask(model, dataset, losses, export)).run(resume)


def commit_base(weights: Path) -> None:
    """Copies a phase's weights into BASE, with the scheduler."""
    for name in ("unet", "text_encoder"):
        shutil.copytree(weights / name, BASE / name, dirs_exist_ok=True)
    DDPMScheduler(**NOISE).save_pretrained(BASE / "scheduler")


def _config(phase: Phase) -> TrainingConfig:
    folder = phase.folder
    return TrainingConfig(
        data=DataSection(folder=folder, cache=phase.cache, shuffle_shards=100, workers=1),
        run=RunSection(
            output=folder / "run", steps=phase.steps, seed=SEED, mixed_precision="bf16", checkpoint_every=250
        ),
        optimizer=OptimizerSection(
            learning_rate=6e-4, batch_size=32, micro_batch_size=16, warmup_steps=100, ema_decay=0.998,
            decay_steps=phase.decay_steps,
        ),
    )  # fmt: skip


def _sample_preparation(phase: Phase, no_text: Tensor) -> Callable[[Sample, torch.Generator], Batch]:
    """The function that makes a training sample of a cached one."""

    def prepare(sample: Sample, generator: torch.Generator) -> Batch:
        latents = sample["latents"].float()
        dropped = float(torch.rand((), generator=generator)) < DROPPED_TEXT
        return {
            "latents": latents,
            "noise": torch.randn(latents.shape, generator=generator),
            "timesteps": _draw_timestep(phase, generator),
            "tokens": no_text if dropped else sample["tokens"].long(),
            "expression": sample["expression"].long(),
            "turn": sample["turn"].float(),
            "says_expression": sample["says_expression"] & (not dropped),
            "says_turn": sample["says_turn"] & (not dropped),
            "weights": 1 + (phase.face_weight - 1) * sample["faces"][None].float(),
        }

    return prepare


def _draw_timestep(phase: Phase, generator: torch.Generator) -> Tensor:
    last = NOISE["num_train_timesteps"]
    kind = float(torch.rand((), generator=generator))
    if kind < phase.noisy_share:
        return torch.randint(last - NOISIEST, last, (), generator=generator)
    if kind < phase.noisy_share + phase.middle_share:
        return torch.randint(*MIDDLE, (), generator=generator)
    return torch.randint(last, (), generator=generator)


def _losses(
    phase: Phase,
    scheduler: DDPMScheduler,
    classifier: LatentClassifier | None,
    end: int,
    trained: nn.Module,
    batch: Batch,
) -> Losses:
    """Weighted MSE of the velocity; with a classifier, the losses of captioned motions, too."""
    latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
    noisy = scheduler.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
    velocity, states = trained(noisy, timesteps, batch["tokens"])
    error = velocity.float() - noise_target(scheduler, latents, noise, timesteps)
    weights = batch["weights"].expand_as(error)
    losses = {"loss": (weights * error.square()).sum() / weights.sum()}
    if classifier is None:
        return losses
    motion = CaptionedMotion(batch["expression"], batch["turn"], batch["says_expression"], batch["says_turn"])
    # (latents, noise) -> (noisy, velocity) is a rotation; applied to the result, it returns the latents.
    predicted = scheduler.get_velocity(velocity.float(), noisy, timesteps)  # pyright: ignore[reportArgumentType]
    losses["picture"] = latent_motion_loss(classifier, predicted, timesteps, motion)
    losses["text"] = text_summary_loss(states, torch.eq(batch["tokens"], end), motion)
    losses["loss"] = losses["loss"] + phase.motion_weight * losses["picture"] + TEXT_WEIGHT * losses["text"]
    return losses


def _latent_classifier(shards: ShardSet) -> LatentClassifier:
    """Trained on the portraits of the cache."""
    samples = [sample for sample in map(shards.read, range(len(shards))) if sample["expression"] != NO_EXPRESSION]
    columns = {name: torch.stack([sample[name] for sample in samples]) for name in ("latents", "expression", "turn")}
    return train_latent_classifier(WORK / "base", columns["latents"], columns["expression"].long(), columns["turn"])


def _new_model(tokenizer: CLIPTokenizer) -> TextToPicture:
    return TextToPicture(UNet2DConditionModel(**UNET_SIZES), CLIPTextModel(_text_config(tokenizer)))


def _load_model(tokenizer: CLIPTokenizer, folder: Path) -> TextToPicture:
    model = _new_model(tokenizer)
    for name in ("unet", "text_encoder"):
        (file,) = (folder / name).glob("*.safetensors")
        getattr(model, name).load_state_dict(load_file(file))
    return model


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    vocabulary = tokenizer.get_vocab()
    start, end = vocabulary[START], vocabulary[END]
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=2 * TEXT_WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=LENGTH, projection_dim=TEXT_WIDTH, bos_token_id=start,
        eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
