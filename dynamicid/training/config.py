"""What a training run is told: one TOML file a stage, typed, saved beside the weights.

Every key has the published value (spec section 6) where there is one. Paths are relative to the file they stand in.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomllib

from ..errors import DynamicIDError

CONFIG_NAME = "config.toml"
PORTRAIT_PROMPT = "portrait, cinematic photo, film, professional, 4k, highly detailed"


@dataclass(frozen=True)
class BaseSection:
    """The frozen networks.

    Attributes:
        model: Stable Diffusion 1.5: a diffusers folder, or a single checkpoint file.
        tokenizer: CLIP tokenizer folder; needed where ``model`` is a single file.
        clip_vision: ViT-H/14 image encoder, a transformers folder or its weight file; needed by ``cache``.
        face_pack: InsightFace pack, a folder of ONNX files; needed by ``cache``.
    """

    model: Path
    tokenizer: Path | None = None
    clip_vision: Path | None = None
    face_pack: Path | None = None


@dataclass(frozen=True)
class DataSection:
    """Where the pictures are, and what is computed ahead of the training.

    Attributes:
        folder: Stage 1: pictures ``<name>.png`` (or jpg, webp) beside their captions ``<name>.txt``.
            Stage 2: the VariFace layout.
        cache: Folder of the shards that ``cache`` writes and ``train`` reads.
        size: Pixels a side of a training picture: shortest side resized, middle square cut out.
        reference: What CLIP sees of the person: the ``portrait`` cut out around the face, or the whole ``picture``.
        shard_size: Samples a shard (stage 2: people a shard).
        precision: Number format of cached states.
        shuffle_shards: Shards whose samples are mixed with one another; reading stays nearly sequential.
        workers: Reading processes of each training process.
    """

    folder: Path
    cache: Path
    size: int = 512
    reference: Literal["portrait", "picture"] = "portrait"
    shard_size: int = 512
    precision: Literal["float16", "float32"] = "float16"
    shuffle_shards: int = 16
    workers: int = 4


@dataclass(frozen=True)
class OptimizerSection:
    """AdamW.

    Attributes:
        batch_size: Samples a step, over all processes together: the result does not depend on their number.
        micro_batch_size: Samples one process handles at a time; the rest is gradient accumulation.
        warmup_steps: Steps over which the learning rate rises from 0.
        decay_steps: Last steps of the run, over which the learning rate falls to 0; in between it stays as it is.
        max_gradient_norm: Longer gradients are cut to this norm; 0 = never.
        ema_decay: Moving average of the weights, which is then what gets exported; 0 = off.
    """

    learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    batch_size: int = 8
    micro_batch_size: int = 8
    warmup_steps: int = 0
    decay_steps: int = 0
    max_gradient_norm: float = 1.0
    ema_decay: float = 0.0


@dataclass(frozen=True)
class RunSection:
    """How long, where to, how exact.

    Attributes:
        output: Folder for weights, checkpoints, losses and this configuration.
        steps: Optimizer steps in all.
        seed: Fixes data order, noise, drops and initial weights.
        mixed_precision: Accelerate's word; frozen networks are kept in that format.
        gradient_checkpointing: Recompute the UNet's activations in the backward pass to save memory.
        checkpoint_every: Steps between checkpoints; keep_checkpoints: how many of the newest stay.
        sample_every: Steps between sample grids in TensorBoard; 0 = none.
    """

    output: Path
    steps: int
    seed: int = 0
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    gradient_checkpointing: bool = False
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    sample_every: int = 0


@dataclass(frozen=True)
class SAAModelSection:
    """Stage 1. lora_rank: r of every LoRA. drop_*: shares of samples without face, text, or both.

    gate_threshold: Activations below it are closed (spec section 5); a negative one switches the gate off (a = 1).
    lora_rate: The LoRAs' learning rate as a share of ``optimizer.learning_rate``: less keeps more of the base model.
    max_timestep: Timesteps at and above it are not trained. What is where is settled there, and pictures of one person
        each teach that wrongly where several are wanted.
    start_from: A published or combined file to go on from; None = the published initialisation.
    """

    lora_rank: int = 128
    projector_hidden_width: int = 1024
    projector_depth: int = 4
    token_count: int = 4
    gate_threshold: float = 0.3
    lora_rate: float = 1.0
    max_timestep: int = 1000
    drop_face: float = 0.05
    drop_text: float = 0.05
    drop_both: float = 0.05
    start_from: Path | None = None


@dataclass(frozen=True)
class IMRModelSection:
    """Stage 2. saa: the trained stage 1 file, frozen here.

    Attributes:
        targets: Photos that one source is turned into, drawn with replacement.
        consistency_targets: How many of them also go through the UNet.
        consistency: Lambda, the weight of the latent diffusion consistency; 0 = off.
        contrastive: Weight of the contrastive term; 0 = off.
        temperature: Of the contrastive term.
        prompt: Under which both noise predictions are made.
        gate_threshold: As in stage 1.
        extra_cache, extra_share: A second cache, and the share of its people (published: KDEF, 5 %).
    """

    saa: Path
    width: int = 1024
    latent_count: int = 4
    depth: int = 1
    keypoint_stem_width: int = 16
    keypoint_stages: tuple[tuple[int, int], ...] = ((32, 2), (64, 3), (128, 2), (256, 2), (512, 1))
    keypoint_width: int = 768
    targets: int = 32
    consistency_targets: int = 32
    consistency: float = 1.0
    contrastive: float = 0.0
    temperature: float = 0.1
    prompt: str = PORTRAIT_PROMPT
    gate_threshold: float = 0.3
    extra_cache: Path | None = None
    extra_share: float = 0.05


@dataclass(frozen=True)
class SAAConfig:
    """Stage 1, anchoring: projector, identity projections and LoRAs."""

    base: BaseSection
    data: DataSection
    run: RunSection
    model: SAAModelSection = field(default_factory=SAAModelSection)
    optimizer: OptimizerSection = field(default_factory=OptimizerSection)


@dataclass(frozen=True)
class IMRConfig:
    """Stage 2, reconfiguration: IMR and key-point encoder. ``optimizer.batch_size`` counts people."""

    base: BaseSection
    data: DataSection
    run: RunSection
    model: IMRModelSection
    optimizer: OptimizerSection = field(default_factory=lambda: OptimizerSection(batch_size=1, micro_batch_size=1))


Section = TypeVar("Section")


def load_config(path: Path, kind: type[Section]) -> Section:
    """Reads a configuration file.

    Raises:
        DynamicIDError: No such file, no TOML, an unknown or missing key, a value of another type, or numbers that do
            not fit one another.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DynamicIDError(str(path), f"It cannot be read ({type(error).__name__}).", "Name a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DynamicIDError(str(path), f"It is no TOML: {error}.", "Mend that line.") from error
    config = _build(kind, table, path, "")
    _check(config, path)
    return config


def as_toml(config: Any) -> str:
    """The whole configuration, defaults included, as a file that ``load_config`` reads back equal."""
    lines = []
    for name, section in asdict(config).items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml_value(value)}" for key, value in section.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    if isinstance(value, (str, Path)):
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return repr(value)


def _build(kind: type, table: Mapping[str, Any], path: Path, prefix: str) -> Any:
    """The dataclass ``kind`` from a TOML table; ``prefix`` is the table's name in errors."""
    hints = typing.get_type_hints(kind)
    known = {item.name: item for item in fields(kind)}
    unknown = [key for key in table if key not in known]
    if unknown:
        raise _fault(path, f"'{prefix}{unknown[0]}' is unknown.", f"Known here: {', '.join(known)}.")
    values = {}
    for name, item in known.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], path, prefix + name)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise _fault(path, f"'{prefix}{name}' is missing.", "Add it; the others have defaults.")
    return kind(**values)


def _convert(hint: Any, value: Any, path: Path, name: str) -> Any:
    if hasattr(hint, "__dataclass_fields__"):
        if not isinstance(value, Mapping):
            raise _fault(path, f"'{name}' is no table.", f"Write [{name}] and its keys below.")
        return _build(hint, value, path, f"{name}.")
    if isinstance(hint, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise _fault(path, f"'{name}' is {value!r}.", f"Use one of: {', '.join(typing.get_args(hint))}.")
        return value
    if hint is Path and isinstance(value, str):
        return (path.parent / Path(value).expanduser()).resolve()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        if all(isinstance(pair, list) and [type(x) for x in pair] == [int, int] for pair in value):
            return tuple(tuple(pair) for pair in value)
        raise _fault(path, f"'{name}' is {value!r}.", "Write pairs of whole numbers: [[32, 2], [64, 3]].")
    if hint in (str, int, float, bool) and type(value) is hint:
        return value
    wanted = {Path: "a path in quotes", str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    raise _fault(path, f"'{name}' is {value!r}.", f"Give {wanted.get(hint, 'a list')}.")


def _check(config: Any, path: Path) -> None:
    """Numbers that would only fail hours later, or never and train nonsense."""
    batch, micro = config.optimizer.batch_size, config.optimizer.micro_batch_size
    warmup, decay = config.optimizer.warmup_steps, config.optimizer.decay_steps
    rules = [
        (micro > 0 and batch % micro == 0, f"batch_size {batch} is no multiple of micro_batch_size {micro}."),
        (min(warmup, decay) >= 0, "optimizer.warmup_steps or decay_steps is below 0."),
        (not decay or warmup + decay <= config.run.steps, "optimizer.warmup_steps + decay_steps exceed run.steps."),
        (config.run.steps > 0 and config.run.checkpoint_every > 0, "'run' needs steps and checkpoint_every above 0."),
        (config.run.keep_checkpoints > 0, "run.keep_checkpoints is below 1."),
        (config.data.size > 0 and config.data.size % 8 == 0, f"data.size {config.data.size} is no multiple of 8."),
        (config.data.shard_size > 0 and config.data.shuffle_shards > 0, "data.*shard* must be at least 1."),
        (0 <= config.optimizer.ema_decay < 1, "optimizer.ema_decay must lie in [0, 1)."),
    ]
    if isinstance(config, SAAConfig):
        drops = (config.model.drop_face, config.model.drop_text, config.model.drop_both)
        rules.append((min(drops) >= 0 and sum(drops) <= 1, "the three model.drop_* must add up to 1 at most."))
        rules.append((config.model.lora_rank > 0, "model.lora_rank must be at least 1."))
        rules.append((config.model.lora_rate > 0, "model.lora_rate must be above 0."))
        rules.append((config.model.max_timestep >= 1, "model.max_timestep must be at least 1."))
    elif isinstance(config, IMRConfig):
        model = config.model
        rules.append((0 < model.consistency_targets <= model.targets, "model.consistency_targets exceeds targets."))
        rules.append((not model.contrastive or micro > 1, "model.contrastive needs a micro_batch_size of 2 at least."))
        rules.append((model.width % 64 == 0, f"model.width {model.width} is no multiple of 64."))
        rules.append((len(model.keypoint_stages) == 5, "model.keypoint_stages must be five."))
    for fine, found in rules:
        if not fine:
            raise _fault(path, found[0].upper() + found[1:], "Change these numbers.")


def _fault(path: Path, found: str, remedy: str) -> DynamicIDError:
    return DynamicIDError(str(path), found, remedy)
