"""Configuration of a training run: one TOML file per stage, saved beside the weights.

Every key has the published value as its default where one was published (docs/method.md, Training). Relative paths are
relative to the folder of the file. Unknown keys, values of another type and numbers out of range are errors.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails
from typing_extensions import Self

from ..errors import DynamicIDError
from ..files.texts import NotUTF8, read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_NAME = "config.toml"
PORTRAIT_PROMPT = "portrait, cinematic photo, film, professional, 4k, highly detailed"


def _resolve(value: Any, info: ValidationInfo) -> Any:
    """A path as text becomes absolute; ``load_config`` provides the folder of the file."""
    if isinstance(value, str) and info.context is not None:
        return (info.context["folder"] / Path(value).expanduser()).resolve()
    return value


ConfigPath = Annotated[Path, BeforeValidator(_resolve)]
Share = Annotated[float, Field(ge=0, le=1)]
ConvolutionStage = Annotated[tuple[PositiveInt, NonNegativeInt], Field(strict=False)]


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BaseSection(Section):
    """The frozen networks.

    Attributes:
        model: Stable Diffusion 1.5: a diffusers folder, or a single checkpoint file.
        tokenizer: CLIP tokenizer folder; required if ``model`` is a single file.
        clip_vision: ViT-H/14 image encoder, a transformers folder or its weight file; required by ``cache``.
        face_pack: InsightFace pack, a folder of ONNX files; required by ``cache``.
    """

    model: ConfigPath
    tokenizer: ConfigPath | None = None
    clip_vision: ConfigPath | None = None
    face_pack: ConfigPath | None = None


class DataSection(Section):
    """The pictures, and what is computed from them before training.

    Attributes:
        folder: Stage 1: pictures beside their captions, ``<name>.png`` and ``<name>.txt``; suffixes as in
            ``files.pictures.PHOTO_SUFFIXES``. Stage 2: the VariFace layout.
        cache: Folder of the shards that ``cache`` writes and ``train`` reads.
        size: Side of a training picture in pixels: the shortest side is resized, the centre square cropped.
        reference: Input of the image encoder: a ``portrait`` crop around the face, or the whole ``picture``.
        flip: Also cache every photo mirrored, with "left" and "right" exchanged in its text.
        crops: Stage 1: squares of every photo; the first is the one in its middle, the others hold the face.
        shard_size: Photos per shard (stage 2: people per shard).
        precision: Number format of the cached states.
        shuffle_shards: Shards whose samples are shuffled together; reading stays nearly sequential.
        workers: Processes that read ahead for each process of ``train`` and ``cache``.
    """

    folder: ConfigPath
    cache: ConfigPath
    size: int = Field(default=512, gt=0, multiple_of=8)
    reference: Literal["portrait", "picture"] = "portrait"
    flip: bool = False
    crops: PositiveInt = 1
    shard_size: PositiveInt = 512
    precision: Literal["float16", "float32"] = "float16"
    shuffle_shards: PositiveInt = 16
    workers: NonNegativeInt = 4


class OptimizerSection(Section):
    """AdamW.

    Attributes:
        learning_rate: Rate after the warmup.
        weight_decay: Decoupled weight decay.
        batch_size: Samples per step of all processes together; the result does not depend on their number.
        micro_batch_size: Samples that a process handles at once; gradients are accumulated up to ``batch_size``.
        warmup_steps: Steps over which the learning rate rises linearly from 0.
        decay_steps: Last steps of the run, over which the learning rate falls linearly to 0.
        max_gradient_norm: Gradients with a larger norm are scaled to it; 0 = no clipping.
        ema_decay: Decay of the moving average of the weights, which is exported instead of them; 0 = off. It rises
            with the number n of the step as n / (9 + n) up to this value.
    """

    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 1e-2
    batch_size: PositiveInt = 8
    micro_batch_size: PositiveInt = 8
    warmup_steps: NonNegativeInt = 0
    decay_steps: NonNegativeInt = 0
    max_gradient_norm: NonNegativeFloat = 1.0
    ema_decay: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_batch_size}"
            )
        return self


class RunSection(Section):
    """Length, output and number format of a run.

    Attributes:
        output: Folder for weights, checkpoints, losses and this configuration.
        steps: Optimizer steps of the whole run.
        seed: Determines the order of the data, noise, drops and initial weights.
        mixed_precision: Accelerate's setting; frozen networks are kept in this format.
        gradient_checkpointing: Recompute the UNet's activations in the backward pass to save memory.
        checkpoint_every: Steps between checkpoints.
        keep_checkpoints: Number of the newest checkpoints that are kept.
        sample_every: Steps between sample pictures in TensorBoard; 0 = none.
    """

    output: ConfigPath
    steps: PositiveInt
    seed: NonNegativeInt = 0
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    gradient_checkpointing: bool = False
    checkpoint_every: PositiveInt = 1000
    keep_checkpoints: PositiveInt = 2
    sample_every: NonNegativeInt = 0


class _ModelSection(Section):
    """Settings of the SAA layers in both stages.

    Attributes:
        gate_threshold: Activations below it are set to 0 (docs/method.md, SAA); a negative value turns the gate off.
    """

    gate_threshold: float = Field(default=0.3, le=1)

    @property
    def gate(self) -> float | None:
        """The threshold, None without a gate."""
        return self.gate_threshold if self.gate_threshold >= 0 else None


class SAAModelSection(_ModelSection):
    """Networks and samples of stage 1.

    Attributes:
        lora_rank: Rank of every LoRA.
        projector_hidden_width: Width between the two linear layers that the face embedding passes.
        projector_depth: Layers of the face projector.
        token_count: Identity tokens per person.
        lora_rate: Learning rate of the LoRAs as a share of ``optimizer.learning_rate``; a lower rate keeps the base
            model's style better.
        max_timestep: Timesteps from here on are not trained. They decide the layout of a picture, and pictures of one
            person teach a wrong layout for several.
        drop_face: Share of the samples without a face.
        drop_text: Share of the samples without a text.
        drop_both: Share of the samples without either.
        start_from: Published or combined weight file to start from; none = the published initialisation.
    """

    lora_rank: PositiveInt = 128
    projector_hidden_width: PositiveInt = 1024
    projector_depth: PositiveInt = 4
    token_count: PositiveInt = 4
    lora_rate: PositiveFloat = 1.0
    max_timestep: PositiveInt = 1000
    drop_face: Share = 0.05
    drop_text: Share = 0.05
    drop_both: Share = 0.05
    start_from: ConfigPath | None = None

    @model_validator(mode="after")
    def _check_drops(self) -> Self:
        total = self.drop_face + self.drop_text + self.drop_both
        if total > 1:
            raise ValueError(f"drop_face, drop_text and drop_both add up to {total:g}; 1 is the most")
        return self


class IMRModelSection(_ModelSection):
    """Networks and loss of stage 2.

    Attributes:
        saa: Weight file of stage 1; frozen.
        width: Width of the IMR, a multiple of its head width 64.
        latent_count: Motion latents of the IMR.
        depth: Layers of each half of the IMR.
        keypoint_stem_width: Channels after the first convolution of the key-point encoder.
        keypoint_stages: (channels, residual convolutions) of its five stages.
        keypoint_width: Width of its output.
        targets: Photos that each source is turned into, drawn with replacement.
        consistency_targets: How many of them also pass through the UNet.
        consistency: Weight (lambda) of the loss ``latent_diffusion_consistency``; 0 = off.
        contrastive: Weight of the loss ``contrastive``; 0 = off.
        temperature: Softmax temperature of the loss ``contrastive``.
        prompt: Prompt of both noise predictions.
        extra_cache: Second cache of stage 2 (published: KDEF); its people replace people of the first one.
        extra_share: Share of the samples that come from ``extra_cache``.
        start_from: ``IMR.bin`` beside its key-point encoder, or a combined file, to start from; none = fresh weights.
    """

    saa: ConfigPath
    width: int = Field(default=1024, gt=0, multiple_of=64)
    latent_count: PositiveInt = 4
    depth: PositiveInt = 1
    keypoint_stem_width: PositiveInt = 16
    keypoint_stages: Annotated[tuple[ConvolutionStage, ...], Field(min_length=5, max_length=5, strict=False)] = (
        (32, 2),
        (64, 3),
        (128, 2),
        (256, 2),
        (512, 1),
    )
    keypoint_width: PositiveInt = 768
    targets: PositiveInt = 32
    consistency_targets: PositiveInt = 32
    consistency: NonNegativeFloat = 1.0
    contrastive: NonNegativeFloat = 0.0
    temperature: PositiveFloat = 0.1
    prompt: str = PORTRAIT_PROMPT
    extra_cache: ConfigPath | None = None
    extra_share: Share = 0.05
    start_from: ConfigPath | None = None

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        if self.consistency_targets > self.targets:
            raise ValueError(f"consistency_targets {self.consistency_targets} exceeds targets {self.targets}")
        return self


class TrainingConfig(Section):
    """What the training loop needs."""

    data: DataSection
    run: RunSection
    optimizer: OptimizerSection = OptimizerSection()

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        steps = self.optimizer.warmup_steps + self.optimizer.decay_steps
        if self.optimizer.decay_steps and steps > self.run.steps:
            raise ValueError(f"optimizer.warmup_steps + decay_steps = {steps} exceed run.steps = {self.run.steps}")
        return self


class SAAConfig(TrainingConfig):
    """Stage 1, anchoring: face projector and SAA layers."""

    base: BaseSection
    model: SAAModelSection = SAAModelSection()


class IMRConfig(TrainingConfig):
    """Stage 2, reconfiguration: IMR and key-point encoder. ``optimizer.batch_size`` counts people."""

    base: BaseSection
    model: IMRModelSection
    optimizer: OptimizerSection = OptimizerSection(batch_size=1, micro_batch_size=1)

    @model_validator(mode="after")
    def _check_contrastive(self) -> Self:
        if self.model.contrastive and self.optimizer.micro_batch_size < 2:
            raise ValueError("model.contrastive compares people; it needs optimizer.micro_batch_size of at least 2")
        return self


Config = TypeVar("Config", bound=TrainingConfig)


def load_config(path: Path, kind: type[Config]) -> Config:
    """Reads a configuration file.

    Raises:
        DynamicIDError: The file cannot be read, is not TOML, or does not describe a ``kind``; every wrong key is named
            with its value and with what is expected.
    """
    try:
        table = tomllib.loads(read_text(path))
    except OSError as error:
        raise DynamicIDError(str(path), f"It cannot be read ({type(error).__name__}).", "Name a TOML file.") from error
    except NotUTF8 as error:
        raise DynamicIDError(str(path), f"Its text is in {error}.", "Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise DynamicIDError(str(path), f"It is not TOML: {error}.", "Correct that line.") from error
    try:
        return kind.model_validate(table, context={"folder": path.parent})
    except ValidationError as error:
        raise DynamicIDError(
            str(path),
            " ".join(_describe(details, kind) for details in error.errors()),
            "Correct the file; dynamicid/training/config.py documents every key.",
        ) from error


def to_toml(config: TrainingConfig, folder: Path) -> str:
    """The whole configuration, defaults included, as a file in ``folder`` that ``load_config`` reads back equal.

    Paths beside the run's output are written relative to the folder, so that all of it can be moved together.
    """
    table = config.model_dump(exclude_none=True)
    for values in table.values():
        for key, value in values.items():
            if isinstance(value, Path):
                is_near = value.is_relative_to(config.run.output.parent)
                values[key] = Path(os.path.relpath(value, folder)).as_posix() if is_near else str(value)
    return tomli_w.dumps(table)


def _describe(details: ErrorDetails, kind: type[BaseModel]) -> str:
    """One mistake as a sentence: the key, its value, what is expected."""
    key = ".".join(map(str, details["loc"]))
    if details["type"] == "extra_forbidden":
        table: Any = kind
        for name in details["loc"][:-1]:
            table = table.model_fields[name].annotation
        return f"'{key}' is unknown; known keys: {', '.join(table.model_fields)}."
    if details["type"] == "missing":
        return f"'{key}' is missing."
    if details["type"] == "value_error":
        return f"{details['ctx']['error']}."  # pyright: ignore[reportTypedDictNotRequiredAccess]
    message = details["msg"]
    return f"'{key}' is {details['input']!r}; {message[0].lower()}{message[1:]}."
