"""Stage 1, anchoring: trains the face projector, the identity projections and the LoRAs to put a person into a picture.

UNet, VAE, text encoder, image encoder and face networks are frozen. Every picture shows one person; the loss is the
noise-prediction error (arXiv 2503.06505, Sec. 3; docs/method.md, Training).
"""

from collections.abc import Callable
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
from .caching import check_cache
from .checkpointing import find_start, start_misfit
from .config import SAAConfig, SAAModelSection
from .loop import Batch, Losses, State, Trainer, TrainingTask
from .losses import noise_target, squared_error
from .processes import make_accelerator, place_frozen
from .samples import sample_pictures
from .shards import Sample, ShardSet, open_shards
from .stream import StreamDataset

HEAD_WIDTH = 64
LORA = "_lora."
"""Part of the names of the LoRAs' weights, as in the published file."""
SAMPLED_PEOPLE = 4


class AnchoringModel(nn.Module):
    """What stage 1 trains: ``projector`` and SAA ``layers``. The frozen UNet they act in is not a submodule."""

    def __init__(self, unet: UNet2DConditionModel, projector: nn.Module, layers: nn.ModuleList) -> None:
        super().__init__()
        self.projector, self.layers = projector, layers
        self._frozen = (unet,)

    @property
    def unet(self) -> UNet2DConditionModel:
        """The UNet whose attention processors use the layers."""
        return self._frozen[0]

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, identity: tuple[Tensor, Tensor]) -> Tensor:
        """Predicts the noise, or the velocity if the base model predicts that.

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


ModelMaker = Callable[[UNet2DConditionModel, SAAConfig, ShardSet], AnchoringModel]


def train_saa(config: SAAConfig, resume: bool = False, make: ModelMaker | None = None) -> list[Path]:
    """Runs stage 1; ``resume`` continues from the newest checkpoint. Returns the weight files.

    Args:
        config: The whole run.
        resume: Whether to go on.
        make: Makes what is trained, with the arguments of ``make_model``, which it replaces.

    Raises:
        DynamicIDError: The cache or the base model does not fit; also the errors of ``Trainer.run``.
        Interrupted: See ``Trainer.run``.
    """
    find_start(config.run.output, config, resume)
    shards = open_shards(config.data.cache, "saa")
    check_cache(shards, config)
    accelerator = make_accelerator(config)
    set_seed(config.run.seed)
    base = load_base(config.base.model, config.base.tokenizer)
    model = (make or make_model)(base.unet, config, shards)
    place_frozen(base.unet, accelerator.device, accelerator.mixed_precision)
    if config.run.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    scheduler = base.scheduler

    def prepare(sample: Sample, generator: torch.Generator) -> Batch:
        return draw_inputs(sample, shards.common, config.model, scheduler.config["num_train_timesteps"], generator)

    def compute_losses(trained: nn.Module, batch: Batch) -> Losses:
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = scheduler.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
        predicted = trained(noisy, timesteps, batch["text"], (batch["id_embedding"], batch["clip_hidden"]))
        return {"loss": squared_error(predicted, noise_target(scheduler, latents, noise, timesteps))}

    def sample(trained: nn.Module) -> Tensor:
        return sample_grid(base, trained, shards, accelerator.device)

    def learning_rate_scale(name: str) -> float:
        return config.model.lora_rate if LORA in name else 1.0

    dataset = StreamDataset(shards, prepare, config.run.seed)
    task = TrainingTask(model, dataset, compute_losses, export, sample, learning_rate_scale)
    return Trainer(accelerator, config, task).run(resume)


def make_model(unet: UNet2DConditionModel, config: SAAConfig, shards: ShardSet) -> AnchoringModel:
    """Projector and SAA layers with the published initialisation, or with the weights of ``model.start_from``.

    Args:
        unet: Gets the SAA attention processors.
        config: Sizes of the networks.
        shards: Cached embeddings and states determine the widths of the projector.

    Raises:
        DynamicIDError: The UNet's text width is not a multiple of the head width, or ``start_from`` does not fit.
    """
    settings, width = config.model, int(unet.config["cross_attention_dim"])
    if width % HEAD_WIDTH:
        raise DynamicIDError(
            "base.model", f"Its text width {width} is not a multiple of {HEAD_WIDTH}.", "Use another model."
        )
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
    model = AnchoringModel(unet, projector, install_saa(unet, settings.lora_rank, settings.gate))
    if settings.start_from is not None:
        _load_start(model, settings.start_from)
    return model


def draw_inputs(
    sample: Sample, common: Sample, settings: SAAModelSection, timestep_count: int, generator: torch.Generator
) -> Batch:
    """Draws latents, noise and timestep of a cached sample, and drops its face, its text, or both.

    Args:
        sample: See ``cache_saa``.
        common: ``empty_text`` and ``zero_hidden``, which replace what is dropped.
        settings: ``max_timestep`` and ``drop_*``.
        timestep_count: Timesteps of the scheduler.
        generator: Source of every random number.

    Returns:
        float32 ``latents`` and ``noise`` (4, h, w), ``timesteps`` (), ``text``, ``id_embedding``, ``clip_hidden``.
    """
    mean, deviation = sample["latents"].float()
    latents = mean + deviation * torch.randn(mean.shape, generator=generator)
    noise = torch.randn(mean.shape, generator=generator)
    timesteps = torch.randint(min(timestep_count, settings.max_timestep), (), generator=generator)
    drop = float(torch.rand((), generator=generator))
    both = drop < settings.drop_both
    face = both or drop < settings.drop_both + settings.drop_face
    text = both or (not face and drop < settings.drop_both + settings.drop_face + settings.drop_text)
    return {
        "latents": latents,
        "noise": noise,
        "timesteps": timesteps,
        "text": (common["empty_text"] if text else sample["text"]).float(),
        "id_embedding": torch.zeros_like(sample["id_embedding"]) if face else sample["id_embedding"],
        "clip_hidden": (common["zero_hidden"] if face else sample["clip_hidden"]).float(),
    }


def sample_grid(base: StableDiffusion, trained: nn.Module, shards: ShardSet, device: torch.device) -> Tensor:
    """Sample pictures of the first people of the cache under their own captions. (N, height, width, 3) uint8."""
    people = [shards.read(i) for i in range(min(SAMPLED_PEOPLE, len(shards)))]
    text, embedding, hidden = (
        torch.stack([person[name] for person in people]).float().to(device)
        for name in ("text", "id_embedding", "clip_hidden")
    )
    no_text, no_face = (shards.common[name].float().to(device) for name in ("empty_text", "zero_hidden"))

    def predict(latents: Tensor, timesteps: Tensor, is_negative: bool) -> Tensor:
        if is_negative:
            identity = (torch.zeros_like(embedding), no_face.expand_as(hidden))
            return trained(latents, timesteps, no_text.expand_as(text), identity)
        return trained(latents, timesteps, text, (embedding, hidden))

    return sample_pictures(base, predict, (len(people), *people[0]["latents"].shape[1:]), device)


def export(state: State, folder: Path) -> list[Path]:
    """Writes ``SAA.bin`` (published layout) and ``SAA.safetensors`` (the pack's)."""
    return write_saa(folder, submodule_state_dict(state, "projector."), submodule_state_dict(state, "layers."))


def _load_start(model: AnchoringModel, path: Path) -> None:
    weights = load_weights(path)
    try:
        model.projector.load_state_dict(cpu_state_dict(weights.projector))
        model.layers.load_state_dict(saa_state_dict(weights))
    except RuntimeError as error:
        raise start_misfit(path, error) from error
