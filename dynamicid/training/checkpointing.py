"""Checkpoints from which a run continues exactly: weights, optimizer, moving average, random states, step."""

import json
import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from ..errors import DynamicIDError
from ..files.atomic import atomic_write, discard, remove_partials, write_text
from .config import CONFIG_NAME, TrainingConfig, load_config, to_toml

STEP_NAME = "step.json"
FOLDER_NAME = re.compile(r"step-(\d+)")
MAY_CHANGE = {
    "base": {"model", "tokenizer", "clip_vision", "face_pack"},
    "data": {"folder", "cache", "workers"},
    "run": {"output", "steps", "checkpoint_every", "keep_checkpoints", "sample_every", "gradient_checkpointing"},
    "optimizer": {"micro_batch_size"},
}
"""Keys by section that may differ when a run is resumed: they do not change what is computed, or only move files."""


def checkpoints(output: Path) -> list[tuple[int, Path]]:
    """(step, folder) of the complete checkpoints, oldest first."""
    matches = ((FOLDER_NAME.fullmatch(folder.name), folder) for folder in (output / "checkpoints").glob("step-*"))
    return sorted((int(match[1]), folder) for match, folder in matches if match and (folder / STEP_NAME).is_file())


def start_output(output: Path, config: TrainingConfig, resume: bool, is_main: bool) -> tuple[int, Path | None]:
    """Prepares the output folder and saves the configuration in it.

    Returns:
        Steps done and the checkpoint to continue from; (0, None) for a new run.

    Raises:
        DynamicIDError: There are checkpoints but no ``--resume``, or ``--resume`` with another configuration.
    """
    earlier = checkpoints(output)
    if earlier and not resume:
        raise DynamicIDError(
            "run.output",
            f"'{output}' holds a run of {earlier[-1][0]} steps.",
            "Add --resume to continue it, or name another folder.",
        )
    if earlier and (output / CONFIG_NAME).is_file():
        _compare(load_config(output / CONFIG_NAME, type(config)), config)
    if is_main:
        remove_partials(output)
        save_config(config, output)
    return earlier[-1] if earlier else (0, None)


def save_config(config: TrainingConfig, folder: Path) -> None:
    """Writes ``config.toml``."""
    write_text(folder / CONFIG_NAME, to_toml(config))


def save_checkpoint(accelerator: Accelerator, output: Path, step: int, keep: int, needed_bytes: int) -> Path:
    """Writes ``checkpoints/step-<step>`` atomically and removes all but the newest ``keep``.

    All processes call it. Raises DynamicIDError: disk full or not writable; earlier checkpoints stay.
    """
    folder = output / "checkpoints" / f"step-{step:08d}"
    if accelerator.is_main_process:
        with atomic_write(folder, needed_bytes) as place:
            place.mkdir()
            broadcast_object_list([str(place)])
            accelerator.save_state(str(place))
            accelerator.wait_for_everyone()
            (place / STEP_NAME).write_text(json.dumps({"step": step}), encoding="utf-8")
        for _, old in checkpoints(output)[:-keep]:
            discard(old)
    else:
        shared: list[Any] = [None]
        broadcast_object_list(shared)
        accelerator.save_state(shared[0])
        accelerator.wait_for_everyone()
    accelerator.wait_for_everyone()
    return folder


def load_checkpoint(accelerator: Accelerator, folder: Path) -> None:
    """Restores what was prepared and registered.

    Raises:
        DynamicIDError: The checkpoint is damaged or belongs to a model of other sizes.
    """
    try:
        accelerator.load_state(str(folder))
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
        raise DynamicIDError(
            str(folder),
            f"This checkpoint does not load ({type(error).__name__}: {error}).",
            "Delete its folder; --resume then takes the one before.",
        ) from error


def _compare(saved: TrainingConfig, config: TrainingConfig) -> None:
    before = saved.model_dump()
    for section, values in config.model_dump().items():
        for key, new in values.items():
            old = before[section][key]
            if old != new and key not in MAY_CHANGE.get(section, ()):
                raise DynamicIDError(
                    f"{section}.{key}",
                    f"It is {new!r} now and was {old!r} when this run began.",
                    "Change it back, or start another run in another folder.",
                )
