"""The base model: text to pictures of the drawn world, several people in a scene, no identities known by name.

Stable Diffusion's classes made small; more noise, and velocities predicted as version 2.1 does. UNet and text encoder
learn together from nothing: first whole scenes, then faces above all, then what faces are told to do.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dynamicid.training.config import DataSection, OptimizerSection, RunSection, TrainingConfig
from dynamicid.training.loop import Batch, Losses, State, Trainer, TrainingTask
from dynamicid.training.losses import noise_target
from dynamicid.training.processes import make_accelerator
from dynamicid.training.shards import Sample, ShardSet, is_complete, open_shards, shard_path, write_common, write_shard
from dynamicid.training.stream import StreamDataset

from ..places import BASE, PICTURE_SIZE, SEED, WORK
from .scenes import Box, Pictures
from .tokenizer import END, LENGTH, START
from .told_motion import NONE, LatentReader, Told, labels_of, picture_loss, text_loss, train_latent_reader
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
NOISIEST = 300
MIDDLE = (200, 800)
"""Timesteps that decide what a face does."""
FACE_REACH = 1.3
"""How many times the box of a face its surroundings are."""
SHARD_SIZE, ENCODED_TOGETHER = 2000, 50


@dataclass(frozen=True)
class Phase:
    """One run of the base model.

    Attributes:
        name: Of its folder.
        pictures: What it learns from; names the cache.
        steps: How many.
        noisy_share: Share of the samples that are drawn from the NOISIEST steps alone.
        face_weight: How many times as much as elsewhere the loss counts around faces.
        middle_share: Share of the samples that are drawn from the MIDDLE steps alone.
        told_weight: Of the losses for what portraits are told to do; 0 = without them.
        decay_steps: Last steps over which the learning rate falls to 0.
    """

    name: str
    pictures: str
    steps: int
    noisy_share: float
    face_weight: float
    middle_share: float = 0.0
    told_weight: float = 0.0
    decay_steps: int = 0

    @property
    def folder(self) -> Path:
        """Checkpoints and weights."""
        return WORK / "base" / self.name

    @property
    def cache(self) -> Path:
        """Latents and captions."""
        return WORK / "base" / f"cache_{self.pictures}"

    @property
    def weights(self) -> Path:
        """What the run writes."""
        return self.folder / "run" / "weights"


SCENES = Phase("scenes", "scenes", 3750, noisy_share=0.25, face_weight=1.0)
"""First: what is where, in which colour. That is settled in the noisiest steps."""
FACES = Phase("faces", "faces", 3250, noisy_share=0.0, face_weight=4.0)
"""Then: faces, small in scenes and large in portraits."""
TOLD = Phase("told", "moving", 700, noisy_share=0.0, face_weight=4.0, middle_share=0.5, told_weight=0.03)
"""Then: words for what a face does are listened to."""
CLEAR = replace(TOLD, name="clear", steps=2000, told_weight=0.004, decay_steps=700)
"""Then: such faces are painted well."""
WIDE = replace(
    CLEAR, name="wide", pictures="wide", steps=5000, noisy_share=0.15, middle_share=0.25, decay_steps=2500
)  # fmt: skip
"""Last: all pictures again, for scenes of several people suffer from so many portraits."""
TEXT_WEIGHT = 0.1


class TextToPicture(nn.Module):
    """What is trained: ``unet`` and ``text_encoder``."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        # In bf16 on CPUs, attention written out trains 1.3 times as fast as PyTorch's fused one.
        unet.set_default_attn_processor()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """latents (B, 4, h, w), timesteps (B,), token numbers (B, 77) -> predicted velocity (B, 4, h, w), states of the
        text (B, 77, width)."""
        states = self.text_encoder(tokens).last_hidden_state
        return self.unet(latents, timesteps, states).sample, states


def train_base(
    phase: Phase,
    sets: Sequence[Pictures],
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    start: Path | None = None,
) -> None:
    """Trains the base model for one phase; goes on from the last checkpoint where there is one.

    Args:
        phase: Which.
        sets: What it learns from.
        vae: Makes the latents.
        tokenizer: Of BASE.
        start: Folder of the weights to start from; None = from nothing.
    """
    config = _settings(phase)
    accelerator = make_accelerator(config)
    with accelerator.main_process_first():
        _write_cache(config.data.cache, sets, vae, tokenizer)
    shards = open_shards(config.data.cache, "base")
    reader = None
    if phase.told_weight:
        with accelerator.main_process_first():
            reader = _trained_reader(shards).to(accelerator.device)
    set_seed(SEED)
    scheduler = DDPMScheduler(**NOISE)
    nothing = shards.common["no_text"].long()
    end = tokenizer.get_vocab()[END]

    def prepare(sample: Sample, generator: torch.Generator) -> Batch:
        latents = sample["latents"].float()
        dropped = float(torch.rand((), generator=generator)) < DROPPED_TEXT
        return {
            "latents": latents,
            "noise": torch.randn(latents.shape, generator=generator),
            "timesteps": _draw_timestep(phase, generator),
            "tokens": nothing if dropped else sample["tokens"].long(),
            "expression": sample["expression"].long(),
            "turn": sample["turn"].float(),
            "says_expression": sample["says_expression"] & (not dropped),
            "says_turn": sample["says_turn"] & (not dropped),
            "weights": 1 + (phase.face_weight - 1) * sample["faces"][None].float(),
        }

    def losses(trained: nn.Module, batch: Batch) -> Losses:
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = scheduler.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
        velocity, states = trained(noisy, timesteps, batch["tokens"])
        error = velocity.float() - noise_target(scheduler, latents, noise, timesteps)
        weights = batch["weights"].expand_as(error)
        found = {"loss": (weights * error.square()).sum() / weights.sum()}
        if reader is None:
            return found
        told = Told(batch["expression"], batch["turn"], batch["says_expression"], batch["says_turn"])
        # Latents and noise are rotated into noisy latents and velocity; the same rotation leads back.
        predicted = scheduler.get_velocity(velocity.float(), noisy, timesteps)  # pyright: ignore[reportArgumentType]
        found["picture"] = picture_loss(reader, predicted, timesteps, told)
        found["text"] = text_loss(states, torch.eq(batch["tokens"], end), told)
        found["loss"] = found["loss"] + phase.told_weight * found["picture"] + TEXT_WEIGHT * found["text"]
        return found

    def export(state: State, folder: Path) -> list[Path]:
        model.load_state_dict(state)
        model.unet.half().save_pretrained(folder / "unet")
        model.text_encoder.half().save_pretrained(folder / "text_encoder")
        return [folder / "unet", folder / "text_encoder"]

    model = _new_model(tokenizer) if start is None else _load_model(tokenizer, start)
    resume = any(config.run.output.glob("checkpoints/step-*"))
    Trainer(
        accelerator,
        config,
        TrainingTask(model, StreamDataset(shards, prepare, SEED), losses, export),
    ).run(resume)


def commit_base(weights: Path) -> None:
    """Puts a phase's weights and the scheduler into BASE."""
    for name in ("unet", "text_encoder"):
        shutil.copytree(weights / name, BASE / name, dirs_exist_ok=True)
    DDPMScheduler(**NOISE).save_pretrained(BASE / "scheduler")


def _settings(phase: Phase) -> TrainingConfig:
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


def _draw_timestep(phase: Phase, generator: torch.Generator) -> Tensor:
    last = NOISE["num_train_timesteps"]
    kind = float(torch.rand((), generator=generator))
    if kind < phase.noisy_share:
        return torch.randint(last - NOISIEST, last, (), generator=generator)
    if kind < phase.noisy_share + phase.middle_share:
        return torch.randint(*MIDDLE, (), generator=generator)
    return torch.randint(last, (), generator=generator)


def _trained_reader(shards: ShardSet) -> LatentReader:
    """Of the portraits in the cache."""
    samples = [sample for sample in map(shards.read, range(len(shards))) if sample["expression"] != NONE]
    columns = {name: torch.stack([sample[name] for sample in samples]) for name in ("latents", "expression", "turn")}
    return train_latent_reader(WORK / "base", columns["latents"], columns["expression"].long(), columns["turn"])


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


def _write_cache(folder: Path, sets: Sequence[Pictures], vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> None:
    """Latents, token numbers and faces of all pictures, in shards; only what is missing is made."""
    pictures = sum(len(one.captions) for one in sets)
    about = {"stage": "base", "settings": {"pictures": pictures, "scaling": vae.config["scaling_factor"]}}
    folder.mkdir(parents=True, exist_ok=True)
    write_common(folder, {"no_text": _tokens(tokenizer, [""])[0]})
    parts = [(one, first) for one in sets for first in range(0, len(one.captions), SHARD_SIZE)]
    for number, (one, first) in enumerate(tqdm(parts, unit="shard", desc="latents")):
        path = shard_path(folder, number)
        if not is_complete(path, about):
            write_shard(
                path, _encoded(one, range(len(one.captions))[first : first + SHARD_SIZE], vae, tokenizer), about
            )


@torch.no_grad()
def _encoded(pictures: Pictures, positions: range, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> Iterator[Sample]:
    for first in range(positions.start, positions.stop, ENCODED_TOGETHER):
        part = slice(first, min(first + ENCODED_TOGETHER, positions.stop))
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(as_pixels(pictures.pixels[part])).latent_dist.mean  # pyright: ignore
        scaled = (latents.float() * vae.config["scaling_factor"]).half()
        tokens = _tokens(tokenizer, pictures.captions[part])
        told = map(labels_of, pictures.captions[part], pictures.motions[part])
        for latent, numbers, boxes, labels in zip(scaled, tokens, pictures.faces[part], told, strict=True):
            yield {"latents": latent, "tokens": numbers, "faces": _around(boxes, latent.shape[-1]), **labels}


def _around(boxes: Sequence[Box], side: int) -> Tensor:
    """Boxes of faces in pixels -> (side, side) uint8, 1 where a latent lies on a face or near it."""
    near = torch.zeros(side, side, dtype=torch.uint8)
    for left, top, right, bottom in boxes:
        x, y = (left + right) / 2, (top + bottom) / 2
        half_width, half_height = FACE_REACH * (right - left) / 2, FACE_REACH * (bottom - top) / 2
        edges = torch.tensor([x - half_width, x + half_width, y - half_height, y + half_height]) * side / PICTURE_SIZE
        first_x, last_x, first_y, last_y = edges.round().int().clamp(0, side).tolist()
        near[first_y:last_y, first_x:last_x] = 1
    return near


def _tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """(N, 77) int16."""
    made = tokenizer(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    return made.input_ids.to(torch.int16)
