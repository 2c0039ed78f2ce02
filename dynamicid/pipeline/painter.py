"""Pictures of one or several people in their places, painted with diffusers: what the nodes do in ComfyUI, without it.

For the evaluation, for machines without a ComfyUI, and for pictures during training. Many different prompts and people
go through the UNet together.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor

from ..attention.options import DEFAULTS, ApplyOptions
from ..attention.saa import Gate
from ..errors import DynamicIDError
from ..faces.regions import Region
from .people_batch import PaintingProcessor, PeopleBatch, Projection, grids_of
from .saa_layers import attention_layers, projections
from .sampling import ddim_uniform, denoise
from .stable_diffusion import StableDiffusion, decode_pictures, encode_pictures, encode_text

_TEXTS_TOGETHER = 64


@dataclass(frozen=True)
class PictureRequest:
    """One picture to paint.

    Args:
        text: Prompt.
        people: Nobody, one, or several; see ``PeopleBatch`` for people without a place.
        seed: Of the noise; the same as ComfyUI's for a picture that is painted alone.
        negative: Negative prompt.
        start: (height, width, 3) float32 in 0..1, a picture of the settings' size to begin with; None = an empty one.
        mask: (height, width) float32 in 0..1, where ``start`` may change; None = everywhere.
    """

    text: str
    people: tuple[Region, ...] = ()
    seed: int = 0
    negative: str = ""
    start: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class PaintSettings:
    """How pictures are painted; the defaults are the Apply node's.

    Args:
        size: (height, width) of the latents in cells.
        steps: DDIM steps, as ComfyUI's ``ddim`` with ``ddim_uniform`` spreads them.
        guidance: Classifier-free guidance scale.
        denoise: 1 paints anew, less keeps more of each request's ``start``, as KSampler's input of this name.
        id_scale: Weight of the identity branch; 0 = none.
        gate_threshold: 0..1, None = gate off and nobody bound to a place.
        layout_strength: s; -1 = 0 with one person, 2 with more.
        layout_end: Share of the sampling range after which s is 0.
        base_only_steps: First steps, painted by the base model without LoRAs; ``start_at`` of the Apply node.
        batch: Pictures that go through the UNet together.
        record: Whether activation maps are kept.
    """

    size: tuple[int, int]
    steps: int = 25
    guidance: float = 5.0
    denoise: float = 1.0
    id_scale: float = DEFAULTS.weight
    gate_threshold: float | None = DEFAULTS.gate_threshold
    layout_strength: float = DEFAULTS.layout_strength
    layout_end: float = DEFAULTS.layout_end
    base_only_steps: int = 0
    batch: int = 16
    record: bool = False


@dataclass(frozen=True)
class Painted:
    """Pictures (B, height, width, 3) uint8 on the CPU, in the order of their requests. ``activations``: where
    recorded, (N, h, w) a picture at the latents' size, mean over steps and layers, in the order of its people; else
    empty."""

    pictures: Tensor
    activations: tuple[Tensor, ...] = ()

    @property
    def images(self) -> list[Image.Image]:
        """The pictures as PIL images."""
        return [Image.fromarray(picture.numpy()) for picture in self.pictures]


class Painter:
    """A base model with trained SAA layers merged into a copy of its UNet.

    Args:
        base: Left as it is. Its scheduler's noise levels are used; it predicts noise or velocities.
        layers: State dict of the SAA layers, ``<i>.<name>`` (``install_saa``'s, or ``weight_files.saa_state_dict``);
            None = the base model without DynamicID; requests then have no people.
        dtype: The UNet's.

    Attributes:
        projections: ``to_k_ip`` and ``to_v_ip`` (layer width, token width) of every cross-attention; none if no layers.

    Raises:
        DynamicIDError: A base that predicts something else, or layers of another UNet.
    """

    def __init__(
        self, base: StableDiffusion, layers: Mapping[str, Tensor] | None, dtype: torch.dtype = torch.float32
    ) -> None:
        prediction = base.scheduler.config["prediction_type"]
        if prediction not in ("epsilon", "v_prediction"):
            raise DynamicIDError(
                "base.model", f"It predicts '{prediction}'.", "Choose one that predicts noise or velocities."
            )
        self.base = base
        self.unet = copy.deepcopy(base.unet).train(False).requires_grad_(False)
        self.projections: list[Projection] = []
        for index, (_, attention, is_cross) in enumerate(attention_layers(self.unet)):
            position = len(self.projections) if is_cross and layers is not None else None
            attention.set_processor(PaintingProcessor(position))  # pyright: ignore[reportArgumentType]
            if layers is not None:
                _merge(attention, index, layers)
            if position is not None and layers is not None:
                self.projections.append((layers[f"{index}.to_k_ip.weight"], layers[f"{index}.to_v_ip.weight"]))
        if self.unet.dtype != dtype:
            self.unet.to(dtype)  # pyright: ignore[reportArgumentType]
        place = self.unet.device
        self.projections = [(key.to(place, dtype), value.to(place, dtype)) for key, value in self.projections]

    @cached_property
    def _base_unet(self) -> UNet2DConditionModel:
        """The UNet without LoRAs and identity branch."""
        return self.unet if not self.projections else Painter(self.base, None, self.unet.dtype).unet

    @torch.inference_mode()
    def paint(self, requests: Sequence[PictureRequest], settings: PaintSettings) -> Painted:
        """Paints every request; pictures that are painted together differ from pictures painted alone by rounding only.

        Args:
            requests: At least one.
            settings: For all of them.

        Raises:
            DynamicIDError: People without SAA layers, with tokens of another width, or with several motions.
        """
        self._check(requests)
        texts = self._encode(requests)
        pictures, activations = [], []
        for first in range(0, len(requests), settings.batch):
            part = requests[first : first + settings.batch]
            people = self._people(part, settings)
            if settings.record and people is not None:
                people.start_recording()
            pictures.append(decode_pictures(self.base, self._sample(part, texts, people, settings)))
            if settings.record:
                nothing = [torch.zeros(0, *settings.size) for _ in part]
                activations += nothing if people is None else people.activations()
        return Painted(torch.cat(pictures), tuple(activations))

    def _check(self, requests: Sequence[PictureRequest]) -> None:
        for request in requests:
            for number, region in enumerate(request.people, 1):
                if not self.projections:
                    raise DynamicIDError(
                        "people", "People need the SAA layers, and this painter has none.", "Pass `layers`."
                    )
                if region.face.later:
                    raise DynamicIDError(
                        "people",
                        f"Person {number} holds {region.face.frame_count} motions; a request is one picture.",
                        "Make a request for each of `face.frames`.",
                    )
                width, expected = region.face.id_tokens.shape[1], self.projections[0][0].shape[1]
                if width != expected:
                    raise DynamicIDError(
                        "people",
                        f"The tokens of person {number} are {width} wide, the layers expect {expected}.",
                        "Encode the face with the projector of these layers.",
                    )

    def _encode(self, requests: Sequence[PictureRequest]) -> dict[str, Tensor]:
        """Hidden states (77, text width) of every text, each encoded once."""
        texts = sorted({text for request in requests for text in (request.text, request.negative)})
        parts = [texts[i : i + _TEXTS_TOGETHER] for i in range(0, len(texts), _TEXTS_TOGETHER)]
        states = torch.cat([encode_text(self.base, part)[0] for part in parts])
        return dict(zip(texts, states.to(self.unet.device, self.unet.dtype), strict=True))

    def _people(self, requests: Sequence[PictureRequest], settings: PaintSettings) -> PeopleBatch | None:
        if not any(request.people for request in requests):
            return None
        options = ApplyOptions(layout_strength=settings.layout_strength)
        return PeopleBatch(
            [request.people for request in requests],
            self.projections,
            Gate(settings.id_scale, settings.gate_threshold),
            [options.layout_strength_for(len(request.people)) for request in requests],
            grids_of(settings.size, len(self.unet.config["block_out_channels"])),
        )

    def _sample(
        self,
        requests: Sequence[PictureRequest],
        texts: Mapping[str, Tensor],
        people: PeopleBatch | None,
        settings: PaintSettings,
    ) -> Tensor:
        """Latents (B, 4, h, w)."""
        context = torch.stack(
            [texts[request.text] for request in requests] + [texts[request.negative] for request in requests]
        )
        scheduler = ddim_uniform(self.base.scheduler, settings.steps, settings.denoise)
        base_only = scheduler.timesteps[: settings.base_only_steps].tolist()
        layout_end = (1 - settings.layout_end) * (scheduler.config["num_train_timesteps"] - 1)
        shape = (int(self.unet.config["in_channels"]), *settings.size)
        noise = _noise(shape, [request.seed for request in requests])

        def predict(latents: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
            is_base_only = timestep in base_only
            unet = self._base_unet if is_base_only else self.unet
            if people is not None:
                people.layout_acts = timestep > layout_end
            rows = repeat(latents, "b c h w -> (branch b) c h w", branch=2).to(unet.dtype)
            options = {"people": None if is_base_only else people}
            positive, negative = unet(rows, timestep, context, cross_attention_kwargs=options).sample.float().chunk(2)
            return positive, negative

        start = torch.stack([self._latents(request, latent) for request, latent in zip(requests, noise, strict=True)])
        device = self.unet.device
        kept = None
        if any(request.mask is not None for request in requests):
            masks = torch.stack([_cells(request.mask, settings.size) for request in requests])
            # The seed of the noise that ComfyUI's `ddim` adds to what is kept.
            kept = masks.to(device), _noise(shape, [request.seed + 1 for request in requests]).to(device)
        return denoise(scheduler, start.to(device), noise.to(device), predict, settings.guidance, kept)

    def _latents(self, request: PictureRequest, like: Tensor) -> Tensor:
        """(4, h, w) float32 on the CPU: what the noise of a request is added to."""
        if request.start is None:
            return torch.zeros_like(like)
        pixels = rearrange(request.start, "h w c -> 1 c h w") * 2 - 1
        latents = encode_pictures(self.base, pixels)[0, 0].float().cpu()
        if latents.shape != like.shape:
            raise DynamicIDError(
                "start",
                f"The picture is {request.start.shape[1]} x {request.start.shape[0]} pixels, another size than asked.",
                "Scale it to the size of `settings`.",
            )
        return latents


def _noise(shape: tuple[int, ...], seeds: Sequence[int]) -> Tensor:
    """(B, ...) on the CPU, as ComfyUI makes it from each seed."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _cells(mask: Tensor | None, size: tuple[int, int]) -> Tensor:
    """(1, h, w): a mask at the latents' size."""
    return torch.ones(1, *size) if mask is None else F.interpolate(mask[None, None], size, mode="bilinear")[0]


def _merge(attention: Any, index: int, layers: Mapping[str, Tensor]) -> None:
    """W' = W + up @ down in all four projections."""
    for name, linear in projections(attention).items():
        try:
            up, down = (layers[f"{index}.{name}_lora.{part}.weight"].float() for part in ("up", "down"))
        except KeyError as error:
            raise DynamicIDError(
                "layers", f"{error} is missing.", "Take the layers that were trained with this base model."
            ) from error
        if (up.shape[0], down.shape[1]) != tuple(linear.weight.shape):
            raise DynamicIDError(
                "layers",
                f"{name} of layer {index} is {up.shape[0]} x {down.shape[1]}, the UNet's {tuple(linear.weight.shape)}.",
                "Take the layers that were trained with this base model.",
            )
        linear.weight += (up @ down).to(linear.weight)
