"""Stage 2, reconfiguration: trains IMR and key-point encoder to give a face another expression and head pose.

Everything of stage 1 is frozen. A sample is one person: 1 source photo and 32 target photos. The loss is feature
matching plus lambda times the latent diffusion consistency, plus an optional contrastive term (arXiv 2503.06505,
Sec. 3; docs/method.md, Training).
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate.utils import set_seed
from einops import rearrange, repeat
from torch import Tensor, nn

from ..checkpoints import DynamicIDWeights, load_weights
from ..errors import DynamicIDError
from ..files.skipped import BadSample
from ..models import IMR, KeypointEncoder
from ..pipeline.saa_layers import install_saa
from ..pipeline.stable_diffusion import StableDiffusion, load_base
from ..pipeline.weight_export import cpu_state_dict, saa_state_dict, submodule_state_dict, write_imr
from .caching import check_cache
from .checkpointing import find_start, start_misfit
from .config import IMRConfig, IMRModelSection
from .loop import Batch, Losses, State, Trainer, TrainingTask
from .losses import contrastive_loss, squared_error
from .processes import make_accelerator, place_frozen
from .samples import sample_pictures
from .shards import Sample, ShardSet, open_shards
from .stream import StreamDataset

NoisePredictor = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(noisy latents (B, 4, h, w), timesteps (B,), identity tokens (B, 4, 768) or None) -> prediction (B, 4, h, w)."""
SAMPLED_TARGETS = 4
BIAS_BEFORE_BATCH_NORM = "conv_block.0.bias"
"""End of the names of these biases in the key-point encoder."""


class Reconfigured(NamedTuple):
    """tokens (P, N, 4, 768): predicted for the targets. features, positives (P, 4, width): output of
    ``IMR.disentangle`` for the source and for another photo of the person."""

    tokens: Tensor
    features: Tensor
    positives: Tensor | None


class ReconfigurationModel(nn.Module):
    """What stage 2 trains: ``imr`` and ``keypoint_encoder``."""

    def __init__(self, imr: IMR, keypoint_encoder: KeypointEncoder) -> None:
        super().__init__()
        self.imr, self.keypoint_encoder = imr, keypoint_encoder

    def forward(self, tokens: Tensor, maps: Tensor, prompts: Tensor, target_count: int) -> Reconfigured:
        """Disentangles each source once and entangles it once per target.

        Args:
            tokens: (P, M, 4, 768) of P people: source, targets (unused), optionally a positive.
            maps: (P, M, 96, 96) landmark maps in [-1, 1].
            prompts: (P, M, 768) pooled face prompts.
            target_count: N; M = 1 + N, or 2 + N with a positive for the contrastive term.
        """
        people, photos = maps.shape[:2]
        # One person at a time, as published: BatchNorm must not depend on how many there are in a micro batch.
        keypoints = torch.stack([self.keypoint_encoder(rearrange(person, "m h w -> m 1 h w")) for person in maps])
        motion = torch.cat([keypoints, prompts], dim=-1)
        features = self.imr.disentangle(tokens[:, 0], motion[:, 0])
        target_motion = rearrange(motion[:, 1 : 1 + target_count], "p n width -> (p n) width")
        predicted = self.imr.entangle(repeat(features, "p t width -> (p n) t width", n=target_count), target_motion)
        positives = None
        if photos > 1 + target_count:
            positives = self.imr.disentangle(tokens[:, -1], motion[:, -1])
        return Reconfigured(rearrange(predicted, "(p n) t width -> p n t width", p=people), features, positives)


def train_imr(config: IMRConfig, resume: bool = False) -> list[Path]:
    """Runs stage 2; ``resume`` continues from the newest checkpoint. Returns the weight files.

    Raises:
        DynamicIDError: A cache, the base model or stage 1 does not fit; also the errors of ``Trainer.run``.
        Interrupted: See ``Trainer.run``.
    """
    find_start(config.run.output, config, resume)
    shards = open_shards(config.data.cache, "imr")
    extra = open_shards(config.model.extra_cache, "imr") if config.model.extra_cache else None
    for shard_set in filter(None, (shards, extra)):
        check_cache(shard_set, config)
    weights = load_weights(config.model.saa)
    accelerator = make_accelerator(config)
    set_seed(config.run.seed)
    model = make_model(config.model, shards)
    base = load_base(config.base.model, config.base.tokenizer)
    layers = load_layers(base, weights, config.model)
    for network in (base.unet, layers):
        place_frozen(network, accelerator.device, accelerator.mixed_precision)
    if config.run.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    text = shards.common["prompt_text"].to(accelerator.device)

    def predict_noise(noisy: Tensor, timesteps: Tensor, tokens: Tensor | None) -> Tensor:
        dtype = base.unet.dtype
        prompt = text.to(dtype).expand(len(noisy), -1, -1)
        kwargs = None if tokens is None else {"id_tokens": tokens.to(dtype)}
        return base.unet(noisy.to(dtype), timesteps, prompt, cross_attention_kwargs=kwargs).sample

    def prepare(sample: Sample, generator: torch.Generator) -> Batch:
        person = replace_person(sample, extra, config.model.extra_share, generator)
        return draw_photos(person, config.model, base.scheduler.config["num_train_timesteps"], generator)

    def compute_losses(trained: nn.Module, batch: Batch) -> Losses:
        return reconfiguration_losses(trained, batch, config.model, base, predict_noise)

    def sample(trained: nn.Module) -> Tensor:
        return sample_grid(base, trained, shards, predict_noise)

    def export(state: State, folder: Path) -> list[Path]:
        imr, keypoints = submodule_state_dict(state, "imr."), submodule_state_dict(state, "keypoint_encoder.")
        return write_imr(folder, imr, keypoints, cpu_state_dict(weights.projector), saa_state_dict(weights))

    dataset = StreamDataset(shards, prepare, config.run.seed)
    task = TrainingTask(model, dataset, compute_losses, export, sample, learning_rate_scale)
    return Trainer(accelerator, config, task).run(resume)


def learning_rate_scale(name: str) -> float:
    """0 for the biases before BatchNorm, which subtracts them again, otherwise 1.

    Their gradient is rounding noise, which AdamW would enlarge to whole steps.
    """
    return 0.0 if name.endswith(BIAS_BEFORE_BATCH_NORM) else 1.0


def make_model(settings: IMRModelSection, shards: ShardSet) -> ReconfigurationModel:
    """IMR and key-point encoder with fresh weights, or with those of ``model.start_from``.

    Args:
        settings: Sizes of the networks.
        shards: The cache determines the widths of tokens and prompts.

    Raises:
        DynamicIDError: ``start_from`` does not fit.
    """
    sample = shards.read(0)
    encoder = KeypointEncoder(settings.keypoint_stem_width, settings.keypoint_stages, settings.keypoint_width)
    imr = IMR(
        token_width=sample["tokens"].shape[-1],
        motion_width=settings.keypoint_width + sample["prompts"].shape[-1],
        width=settings.width,
        latent_count=settings.latent_count,
        depth=settings.depth,
    )
    model = ReconfigurationModel(imr, encoder)
    if settings.start_from is not None:
        _load_start(model, settings)
    return model


def _load_start(model: ReconfigurationModel, settings: IMRModelSection) -> None:
    assert settings.start_from is not None
    weights = load_weights(settings.saa, settings.start_from)
    try:
        for network, start in ((model.imr, weights.imr), (model.keypoint_encoder, weights.keypoint_encoder)):
            assert start is not None
            network.load_state_dict(cpu_state_dict(start))
    except RuntimeError as error:
        raise start_misfit(settings.start_from, error) from error


def load_layers(base: StableDiffusion, weights: DynamicIDWeights, settings: IMRModelSection) -> nn.ModuleList:
    """Installs the SAA layers of stage 1 in the UNet, frozen.

    Raises:
        DynamicIDError: They were trained for another base model.
    """
    rank = weights.saa_layers[0].lora["to_q"].down.shape[0]
    layers = install_saa(base.unet, rank, settings.gate)
    try:
        layers.load_state_dict(saa_state_dict(weights))
    except RuntimeError as error:
        raise DynamicIDError(
            "model.saa", f"'{settings.saa}' was trained for another base.", "Name the base of stage 1."
        ) from error
    return layers.requires_grad_(False)


def replace_person(sample: Sample, extra: ShardSet | None, share: float, generator: torch.Generator) -> Sample:
    """With probability ``share`` a person of ``extra`` instead of ``sample``, unless that person is unreadable."""
    if extra is None or float(torch.rand((), generator=generator)) >= share:
        return sample
    try:
        return extra.read(int(torch.randint(len(extra), (), generator=generator)))
    except BadSample:
        return sample


def draw_photos(sample: Sample, settings: IMRModelSection, timestep_count: int, generator: torch.Generator) -> Batch:
    """Draws M photos of a person with replacement, and noise for the targets that pass through the UNet.

    Args:
        sample: See ``cache_imr``.
        settings: ``targets``, ``consistency_targets`` K and ``contrastive``.
        timestep_count: Timesteps of the scheduler.
        generator: Source of every random number.

    Returns:
        float32 ``tokens`` (M, 4, 768), ``prompts`` (M, 768) and ``maps`` (M, 96, 96) in the order source, targets and,
        for the contrastive term, a photo other than the source; ``latents`` and ``noise`` (K, 4, h, w) and
        ``timesteps`` (K,) of the first K targets.
    """
    count = len(sample["tokens"])
    source = torch.randint(count, (1,), generator=generator)
    targets = torch.randint(count, (settings.targets,), generator=generator)
    drawn = [source, targets]
    if settings.contrastive:
        drawn.append((source + 1 + torch.randint(count - 1, (1,), generator=generator)) % count)
    photos = torch.cat(drawn)
    mean, deviation = sample["latents"][targets[: settings.consistency_targets]].float().unbind(dim=1)
    return {
        "tokens": sample["tokens"][photos].float(),
        "prompts": sample["prompts"][photos].float(),
        "maps": encoder_maps(sample["maps"][photos]),
        "latents": mean + deviation * torch.randn(mean.shape, generator=generator),
        "noise": torch.randn(mean.shape, generator=generator),
        "timesteps": torch.randint(timestep_count, (len(mean),), generator=generator),
    }


def encoder_maps(maps: Tensor) -> Tensor:
    """Landmark maps (M, 96, 96) uint8 -> float32 in [-1, 1], the input of the key-point encoder."""
    return maps.float() / 127.5 - 1


def reconfiguration_losses(
    trained: nn.Module, batch: Batch, settings: IMRModelSection, base: StableDiffusion, predict_noise: NoisePredictor
) -> Losses:
    """``feature_matching``, ``latent_diffusion_consistency`` and ``contrastive`` if they are on, weighted sum ``loss``.

    Feature matching compares the predicted tokens with those of the target photos. The latent diffusion consistency
    compares the UNet's predictions under both, for the same noisy latents.
    """
    output: Reconfigured = trained(batch["tokens"], batch["maps"], batch["prompts"], settings.targets)
    target_tokens = batch["tokens"][:, 1 : 1 + settings.targets]
    terms = {"feature_matching": squared_error(output.tokens, target_tokens)}
    total = terms["feature_matching"]
    if settings.consistency:
        count = settings.consistency_targets
        latents, noise, timesteps = (batch[name].flatten(0, 1) for name in ("latents", "noise", "timesteps"))
        noisy = base.scheduler.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
        with torch.no_grad():
            target = predict_noise(noisy, timesteps, target_tokens[:, :count].flatten(0, 1))
        predicted = predict_noise(noisy, timesteps, output.tokens[:, :count].flatten(0, 1))
        terms["latent_diffusion_consistency"] = squared_error(predicted, target)
        total = total + settings.consistency * terms["latent_diffusion_consistency"]
    if settings.contrastive and output.positives is not None:
        terms["contrastive"] = contrastive_loss(output.features, output.positives, settings.temperature)
        total = total + settings.contrastive * terms["contrastive"]
    return {**terms, "loss": total}


def sample_grid(base: StableDiffusion, trained: nn.Module, shards: ShardSet, predict_noise: NoisePredictor) -> Tensor:
    """Sample pictures of the first person: N photos from their own tokens, then from the first photo's rewritten ones.

    Returns:
        (2 N, height, width, 3) uint8.
    """
    person, device = shards.read(0), next(trained.parameters()).device
    photos = [0, *range(1, min(1 + SAMPLED_TARGETS, len(person["tokens"])))]
    tokens, prompts = (person[name][photos][None].float().to(device) for name in ("tokens", "prompts"))
    maps = encoder_maps(person["maps"][photos])[None].to(device)
    was_training = trained.training
    with torch.no_grad():
        rewritten: Reconfigured = trained.train(False)(tokens, maps, prompts, len(photos) - 1)
    trained.train(was_training)
    all_tokens = torch.cat([tokens[0, 1:], rewritten.tokens[0]])

    def predict(latents: Tensor, timesteps: Tensor, is_negative: bool) -> Tensor:
        return predict_noise(latents, timesteps, None if is_negative else all_tokens)

    return sample_pictures(base, predict, (len(all_tokens), *person["latents"].shape[2:]), device)
