"""Stage 2, reconfiguration: IMR and key-point encoder learn to give a face another expression and pose.

Frozen: everything of stage 1. One person is 1 source and 32 targets of the same person; the loss is feature matching
plus lambda times the latent diffusion consistency, plus an optional contrastive term (spec sections 4 and 6).
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn

from ..checkpoints import DynamicIDWeights, load_weights
from ..errors import DynamicIDError
from ..files.skipped import BadSample
from ..models import IMR, KeypointEncoder
from ..pipeline.saa_layers import install_saa
from ..pipeline.stable_diffusion import StableDiffusion, load_base
from ..pipeline.weight_export import cpu_state_dict, saa_state_dict, submodule_state_dict, write_imr
from .cache_fingerprint import check_made_with
from .config import IMRConfig, IMRModelSection
from .loop import Batch, Losses, Stage, State, Trainer, make_accelerator, place_frozen
from .losses import contrastive, feature_matching, latent_diffusion_consistency
from .samples import sample_pictures
from .shards import Sample, ShardSet, open_shards
from .stream import StreamDataset

NoisePredictor = Callable[[Tensor, Tensor, Tensor | None], Tensor]
SAMPLED_TARGETS = 4


class Reconfigured(NamedTuple):
    """tokens (P, N, 4, 768): the targets as predicted. features, others (P, 4, width): phi1 of source and positive."""

    tokens: Tensor
    features: Tensor
    others: Tensor | None


class ReconfigurationModel(nn.Module):
    """What stage 2 trains: ``imr`` and ``keypoint_encoder``."""

    def __init__(self, imr: IMR, keypoint_encoder: KeypointEncoder) -> None:
        super().__init__()
        self.imr, self.keypoint_encoder = imr, keypoint_encoder

    def forward(self, tokens: Tensor, maps: Tensor, prompts: Tensor, target_count: int) -> Reconfigured:
        """phi1 once a person, phi2 once a target.

        Args:
            tokens: (P, M, 4, 768) of P people: the source, the targets (not looked at), perhaps a positive.
            maps: (P, M, 96, 96) landmark maps in [-1, 1].
            prompts: (P, M, 768) pooled face prompts.
            target_count: N; M = 1 + N, or 2 + N with a positive for the contrastive term.
        """
        people, photos = maps.shape[:2]
        points = self.keypoint_encoder(maps.flatten(0, 1).unsqueeze(1)).unflatten(0, (people, photos))
        motion = torch.cat([points, prompts], dim=-1)
        features = self.imr.disentangle(tokens[:, 0], motion[:, 0])
        targets = motion[:, 1 : 1 + target_count].flatten(0, 1)
        predicted = self.imr.entangle(features.repeat_interleave(target_count, dim=0), targets)
        others = None
        if photos > 1 + target_count:
            others = self.imr.disentangle(tokens[:, -1], motion[:, -1])
        return Reconfigured(predicted.unflatten(0, (people, target_count)), features, others)


def train_imr(config: IMRConfig, resume: bool = False) -> list[Path]:
    """Runs stage 2. Returns the weight files; errors as ``Trainer.run``."""
    shards = open_shards(config.data.cache, "imr")
    extra = open_shards(config.model.extra_cache, "imr") if config.model.extra_cache else None
    for one in filter(None, (shards, extra)):
        check_made_with(one, config.base, config.model.saa)
    weights = load_weights(config.model.saa)
    accelerator = make_accelerator(config)
    set_seed(config.run.seed)
    model = make_model(config.model, shards)
    base = load_base(config.base.model, config.base.tokenizer)
    layers = load_layers(base, weights, config.model)
    for network in (base.unet, layers):
        place_frozen(network, accelerator)
    if config.run.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    text = shards.common["prompt_text"].to(accelerator.device)

    def predict_noise(noisy: Tensor, timesteps: Tensor, tokens: Tensor | None) -> Tensor:
        dtype = base.unet.dtype
        prompt = text.to(dtype).expand(len(noisy), -1, -1)
        kwargs = None if tokens is None else {"id_tokens": tokens.to(dtype)}
        return base.unet(noisy.to(dtype), timesteps, prompt, cross_attention_kwargs=kwargs).sample

    def prepare(sample: Sample, generator: torch.Generator) -> Batch:
        timestep_count = base.scheduler.config["num_train_timesteps"]
        person = _extra_person(sample, extra, config.model.extra_share, generator)
        return draw_photos(person, config.model, timestep_count, generator)

    def losses(trained: nn.Module, batch: Batch) -> Losses:
        return reconfiguration_losses(trained, batch, config.model, base, predict_noise)

    def samples(trained: nn.Module) -> Tensor:
        return sample_grid(base, trained, shards, predict_noise)

    def export(state: State, folder: Path) -> list[Path]:
        imr, keypoints = submodule_state_dict(state, "imr."), submodule_state_dict(state, "keypoint_encoder.")
        return write_imr(folder, imr, keypoints, cpu_state_dict(weights.projector), saa_state_dict(weights))

    dataset = StreamDataset(shards, prepare, config.run.seed)
    return Trainer(accelerator, config, Stage(model, dataset, losses, export, samples)).run(resume)


def make_model(settings: IMRModelSection, shards: ShardSet) -> ReconfigurationModel:
    """IMR and key-point encoder for the tokens and prompts of a cache, with fresh weights."""
    sample = shards.read(0)
    encoder = KeypointEncoder(settings.keypoint_stem_width, settings.keypoint_stages, settings.keypoint_width)
    imr = IMR(
        token_width=sample["tokens"].shape[-1],
        motion_width=settings.keypoint_width + sample["prompts"].shape[-1],
        width=settings.width,
        latent_count=settings.latent_count,
        depth=settings.depth,
    )
    return ReconfigurationModel(imr, encoder)


def load_layers(base: StableDiffusion, weights: DynamicIDWeights, settings: IMRModelSection) -> nn.ModuleList:
    """Puts the trained stage 1 into the UNet, frozen.

    Raises:
        DynamicIDError: It was trained for another base.
    """
    rank = weights.saa_layers[0].lora["to_q"].down.shape[0]
    layers = install_saa(base.unet, rank, settings.gate_threshold if settings.gate_threshold >= 0 else None)
    try:
        layers.load_state_dict(saa_state_dict(weights))
    except RuntimeError as error:
        raise DynamicIDError(
            "model.saa", f"'{settings.saa}' was trained for another base.", "Name the base of stage 1."
        ) from error
    return layers.requires_grad_(False)


def draw_photos(sample: Sample, settings: IMRModelSection, timestep_count: int, generator: torch.Generator) -> Batch:
    """One person as the loss wants it: M photos drawn with replacement, noise for the targets that meet the UNet.

    The order of the M photos is source, targets and, for the contrastive term, another photo than the source.
    """
    count = len(sample["tokens"])
    source = torch.randint(count, (1,), generator=generator)
    targets = torch.randint(count, (settings.targets,), generator=generator)
    chosen = [source, targets]
    if settings.contrastive:
        chosen.append((source + 1 + torch.randint(count - 1, (1,), generator=generator)) % count)
    photos = torch.cat(chosen)
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
    """(M, 96, 96) uint8 landmark maps in [-1, 1], as the key-point encoder takes them."""
    return maps.float() / 127.5 - 1


def reconfiguration_losses(
    trained: nn.Module, batch: Batch, settings: IMRModelSection, base: StableDiffusion, predict_noise: NoisePredictor
) -> Losses:
    """The terms by name, and their weighted sum ``loss``."""
    out: Reconfigured = trained(batch["tokens"], batch["maps"], batch["prompts"], settings.targets)
    wanted = batch["tokens"][:, 1 : 1 + settings.targets]
    terms = {"feature_matching": feature_matching(out.tokens, wanted)}
    total = terms["feature_matching"]
    if settings.consistency:
        count = settings.consistency_targets
        latents, noise, timesteps = (batch[name].flatten(0, 1) for name in ("latents", "noise", "timesteps"))
        noisy = base.scheduler.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
        with torch.no_grad():
            own = predict_noise(noisy, timesteps, wanted[:, :count].flatten(0, 1))
        rewritten = predict_noise(noisy, timesteps, out.tokens[:, :count].flatten(0, 1))
        terms["latent_diffusion_consistency"] = latent_diffusion_consistency(rewritten, own)
        total = total + settings.consistency * terms["latent_diffusion_consistency"]
    if settings.contrastive and out.others is not None:
        terms["contrastive"] = contrastive(out.features, out.others, settings.temperature)
        total = total + settings.contrastive * terms["contrastive"]
    return {**terms, "loss": total}


def sample_grid(base: StableDiffusion, trained: nn.Module, shards: ShardSet, predict_noise: NoisePredictor) -> Tensor:
    """The first person: targets from their own tokens, then the same from the first photo's rewritten ones.

    Returns:
        (2 N, height, width, 3) uint8.
    """
    person, device = shards.read(0), next(trained.parameters()).device
    photos = [0, *range(1, min(1 + SAMPLED_TARGETS, len(person["tokens"])))]
    tokens, prompts = (person[name][photos][None].float().to(device) for name in ("tokens", "prompts"))
    maps = encoder_maps(person["maps"][photos])[None].to(device)
    was_training = trained.training
    with torch.no_grad():
        rewritten: Reconfigured = trained.eval()(tokens, maps, prompts, len(photos) - 1)
    trained.train(was_training)
    shown = torch.cat([tokens[0, 1:], rewritten.tokens[0]])

    def predict(latents: Tensor, timesteps: Tensor, negative: bool) -> Tensor:
        return predict_noise(latents, timesteps, None if negative else shown)

    return sample_pictures(base, predict, (len(shown), *person["latents"].shape[2:]), device)


def _extra_person(sample: Sample, extra: ShardSet | None, share: float, generator: torch.Generator) -> Sample:
    """Now and then a person of the second cache instead."""
    if extra is None or float(torch.rand((), generator=generator)) >= share:
        return sample
    try:
        return extra.read(int(torch.randint(len(extra), (), generator=generator)))
    except BadSample:
        return sample
