"""Stage 1, anchoring: face projector, identity projections and LoRAs learn to put a person into a picture.

Frozen: UNet, VAE, text encoder, image encoder, face networks. One person a picture; the loss is the noise-prediction
error (spec section 6).
"""

from pathlib import Path

import torch
from accelerate.utils import set_seed
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from ..checkpoints import load_weights
from ..errors import DynamicIDError
from ..models import FaceProjector
from ..pipeline.saa_layers import install_saa
from ..pipeline.stable_diffusion import StableDiffusion, load_base
from ..pipeline.weight_export import cpu_state_dict, saa_state_dict, submodule_state_dict, write_saa
from .cache_fingerprint import check_made_with
from .config import SAAConfig
from .loop import Batch, Losses, Stage, State, Trainer, make_accelerator, place_frozen
from .losses import noise_loss, noise_target
from .samples import sample_pictures
from .shards import Sample, ShardSet, open_shards
from .stream import StreamDataset

HEAD_WIDTH = 64
LORA = "_lora."
"""In the names of the LoRAs' weights, as in the published file."""
SAMPLED_PEOPLE = 4


class AnchoringModel(nn.Module):
    """What stage 1 trains: ``projector`` and SAA ``layers``. The UNet they act in is frozen and not part of it."""

    def __init__(self, unet: UNet2DConditionModel, projector: FaceProjector, layers: nn.ModuleList) -> None:
        super().__init__()
        self.projector, self.layers = projector, layers
        self._frozen = (unet,)

    @property
    def unet(self) -> UNet2DConditionModel:
        """The UNet that holds the layers' processors."""
        return self._frozen[0]

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, identity: tuple[Tensor, Tensor]) -> Tensor:
        """Predicted noise, or velocity where the base predicts that.

        Args:
            latents: (B, 4, h, w), noisy.
            timesteps: (B,).
            text: (B, 77, text width) hidden states.
            identity: Face embeddings (B, 512) and CLIP states (B, 257, 1280).

        Returns:
            (B, 4, h, w).
        """
        tokens = self.projector(*identity)
        dtype = self.unet.dtype
        return self.unet(
            latents.to(dtype), timesteps, text.to(dtype), cross_attention_kwargs={"id_tokens": tokens.to(dtype)}
        ).sample


def train_saa(config: SAAConfig, resume: bool = False) -> list[Path]:
    """Runs stage 1. Returns the weight files; errors as ``Trainer.run``."""
    shards = open_shards(config.data.cache, "saa")
    check_made_with(shards, config.base)
    accelerator = make_accelerator(config)
    set_seed(config.run.seed)
    base = load_base(config.base.model, config.base.tokenizer)
    model = make_model(base.unet, config, shards)
    place_frozen(base.unet, accelerator)
    if config.run.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    scheduler = base.scheduler

    def prepare(sample: Sample, generator: torch.Generator) -> Batch:
        return add_noise_and_drops(sample, generator, shards, config, scheduler.config["num_train_timesteps"])

    def losses(trained: nn.Module, batch: Batch) -> Losses:
        noisy = scheduler.add_noise(batch["latents"], batch["noise"], batch["timesteps"])  # pyright: ignore
        identity = (batch["id_embedding"], batch["clip_hidden"])
        predicted = trained(noisy, batch["timesteps"], batch["text"], identity)
        target = noise_target(scheduler, batch["latents"], batch["noise"], batch["timesteps"])
        return {"loss": noise_loss(predicted, target)}

    def samples(trained: nn.Module) -> Tensor:
        return sample_grid(base, trained, shards, accelerator.device)

    def rate(name: str) -> float:
        return config.model.lora_rate if LORA in name else 1.0

    dataset = StreamDataset(shards, prepare, config.run.seed)
    return Trainer(accelerator, config, Stage(model, dataset, losses, export, samples, rate)).run(resume)


def make_model(unet: UNet2DConditionModel, config: SAAConfig, shards: ShardSet) -> AnchoringModel:
    """Projector and SAA layers at the published initialisation, or as in ``model.start_from``.

    Raises:
        DynamicIDError: The UNet's text width is no multiple of a head's, or ``start_from`` does not fit.
    """
    settings, width = config.model, int(unet.config["cross_attention_dim"])
    if width % HEAD_WIDTH:
        raise DynamicIDError("base.model", f"Its text width {width} is no multiple of {HEAD_WIDTH}.", "Use another.")
    sample = shards.read(0)
    projector = FaceProjector(
        id_width=sample["id_embedding"].shape[-1],
        hidden_width=settings.projector_hidden_width,
        token_count=settings.token_count,
        width=width,
        media_width=sample["clip_hidden"].shape[-1],
        depth=settings.projector_depth,
        head_width=HEAD_WIDTH,
    )
    layers = install_saa(unet, settings.lora_rank, settings.gate_threshold if settings.gate_threshold >= 0 else None)
    model = AnchoringModel(unet, projector, layers)
    if settings.start_from is not None:
        _start_from(model, settings.start_from)
    return model


def add_noise_and_drops(
    sample: Sample, generator: torch.Generator, shards: ShardSet, config: SAAConfig, timestep_count: int
) -> Batch:
    """A cached sample as the loss wants it: float32 latents drawn from their distribution, noise, timestep, drops."""
    mean, deviation = sample["latents"].float()
    latents = mean + deviation * torch.randn(mean.shape, generator=generator)
    noise = torch.randn(mean.shape, generator=generator)
    timesteps = torch.randint(min(timestep_count, config.model.max_timestep), (), generator=generator)
    drop, settings = float(torch.rand((), generator=generator)), config.model
    both = drop < settings.drop_both
    face = both or drop < settings.drop_both + settings.drop_face
    text = both or (not face and drop < settings.drop_both + settings.drop_face + settings.drop_text)
    return {
        "latents": latents,
        "noise": noise,
        "timesteps": timesteps,
        "text": (shards.common["empty_text"] if text else sample["text"]).float(),
        "id_embedding": torch.zeros_like(sample["id_embedding"]) if face else sample["id_embedding"],
        "clip_hidden": (shards.common["zero_hidden"] if face else sample["clip_hidden"]).float(),
    }


def sample_grid(base: StableDiffusion, trained: nn.Module, shards: ShardSet, device: torch.device) -> Tensor:
    """The first few people of the cache under their own captions. Returns (N, height, width, 3) uint8."""
    people = [shards.read(i) for i in range(min(SAMPLED_PEOPLE, len(shards)))]
    text, embedding, hidden = (
        torch.stack([person[name] for person in people]).float().to(device)
        for name in ("text", "id_embedding", "clip_hidden")
    )
    no_text, no_face = (shards.common[name].float().to(device) for name in ("empty_text", "zero_hidden"))

    def predict(latents: Tensor, timesteps: Tensor, negative: bool) -> Tensor:
        if negative:
            identity = (torch.zeros_like(embedding), no_face.expand_as(hidden))
            return trained(latents, timesteps, no_text.expand_as(text), identity)
        return trained(latents, timesteps, text, (embedding, hidden))

    return sample_pictures(base, predict, (len(people), *people[0]["latents"].shape[1:]), device)


def export(state: State, folder: Path) -> list[Path]:
    """Writes the published ``SAA.bin`` and the pack's safetensors file."""
    return write_saa(folder, submodule_state_dict(state, "projector."), submodule_state_dict(state, "layers."))


def _start_from(model: AnchoringModel, path: Path) -> None:
    weights = load_weights(path)
    try:
        model.projector.load_state_dict(cpu_state_dict(weights.projector))
        model.layers.load_state_dict(saa_state_dict(weights))
    except RuntimeError as error:
        found = str(error).splitlines()[-1].strip()
        raise DynamicIDError("model.start_from", f"'{path}' does not fit: {found}", "Set the same sizes.") from error
