"""Checkpoints from which a run continues exactly: weights, optimizer, moving average, random states, step."""

import json
import logging
import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from accelerate import Accelerator
from accelerate.utils import SCALER_NAME, broadcast_object_list
from safetensors import SafetensorError

from ..errors import DynamicIDError
from ..files.atomic import atomic_write, discard, remove_partials, write_text
from ..files.versions import check_stamp, stamp
from .config import CONFIG_NAME, IMRConfig, TrainingConfig, load_config, to_toml

logger = logging.getLogger(__name__)
STEP_NAME = "step.json"
FORMAT = 2
"""Of checkpoints: 1 = without number; in stage 2 also without the averages of BatchNorm's statistics."""
FOLDER_NAME = re.compile(r"step-(\d+)")
MAY_CHANGE = {
    "base": {"model", "tokenizer", "clip_vision", "face_pack"},
    "data": {"folder", "cache", "workers"},
    "model": {"saa", "start_from", "extra_cache"},
    "run": {
        "output", "steps", "checkpoint_every", "keep_checkpoints", "sample_every", "gradient_checkpointing",
        "mixed_precision",
    },
    "optimizer": {"learning_rate", "micro_batch_size"},
}  # fmt: skip
"""Keys by section that may differ when a run is resumed: they only move files, do not change what is computed, or are
the remedy after a loss that is not finite (learning rate and precision)."""


def checkpoints(output: Path) -> list[tuple[int, Path]]:
    """(step, folder) of the complete checkpoints, oldest first."""
    matches = ((FOLDER_NAME.fullmatch(folder.name), folder) for folder in (output / "checkpoints").glob("step-*"))
    return sorted((int(match[1]), folder) for match, folder in matches if match and (folder / STEP_NAME).is_file())


def find_start(output: Path, config: TrainingConfig, resume: bool) -> tuple[int, Path | None]:
    """Where a run in the output folder begins; changes nothing.

    Returns:
        Steps done and the checkpoint to continue from; (0, None) for a new run.

    Raises:
        DynamicIDError: There are checkpoints but no ``--resume``, or ``--resume`` with another configuration or a
            checkpoint of another version.
    """
    earlier = checkpoints(output)
    if earlier and not resume:
        raise DynamicIDError(
            "run.output",
            f"'{output}' holds a run of {earlier[-1][0]} steps.",
            "Add --resume to continue it, or name another folder.",
        )
    if earlier and (output / CONFIG_NAME).is_file():
        _changes(load_config(output / CONFIG_NAME, type(config)), config)
    if not earlier:
        return 0, None
    step, checkpoint = earlier[-1]
    about = json.loads((checkpoint / STEP_NAME).read_text(encoding="utf-8"))
    check_stamp(str(checkpoint), about, FORMAT)
    if isinstance(config, IMRConfig) and about.get("format", 1) < FORMAT:
        raise DynamicIDError(
            str(checkpoint),
            "An earlier version of this pack wrote it, which trained BatchNorm otherwise.",
            "Start another run from its weights (model.start_from), or finish it with that version.",
        )
    return step, checkpoint


def start_output(output: Path, config: TrainingConfig, resume: bool, is_main: bool) -> tuple[int, Path | None]:
    """Prepares the output folder and saves the configuration in it, with what has changed since as comments.

    Result and errors are those of ``find_start``.
    """
    step, checkpoint = find_start(output, config, resume)
    if is_main:
        remove_partials(output)
        comments = _log_changes(output / CONFIG_NAME, config, step) if checkpoint else []
        write_config(config, output, comments)
    return step, checkpoint


def write_config(config: TrainingConfig, folder: Path, comments: list[str]) -> None:
    """Writes ``config.toml``, with lines of comments first."""
    write_text(folder / CONFIG_NAME, "".join(f"{line}\n" for line in comments) + to_toml(config, folder))


def comments_of(path: Path) -> list[str]:
    """The lines of comments in ``config.toml``."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]


def _log_changes(path: Path, config: TrainingConfig, step: int) -> list[str]:
    """The changes of all resumed runs so far, as lines of comments."""
    if not path.is_file():
        return []
    lines = comments_of(path)
    for change in _changes(load_config(path, type(config)), config):
        logger.warning("From step %d on: %s", step + 1, change)
        lines.append(f"# from step {step + 1} on: {change}")
    return lines


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
            (place / STEP_NAME).write_text(json.dumps({"step": step, **stamp(FORMAT)}), encoding="utf-8")
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
        DynamicIDError: The checkpoint is damaged, or belongs to a model of other sizes.
    """
    scaler = accelerator.scaler
    if not (folder / SCALER_NAME).is_file():  # saved in another precision
        accelerator.scaler = None
    try:
        accelerator.load_state(str(folder))
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
        raise DynamicIDError(
            str(folder),
            f"This checkpoint does not load ({type(error).__name__}: {error}).",
            "Delete its folder; --resume then takes the one before.",
        ) from error
    finally:
        accelerator.scaler = scaler


def start_misfit(path: Path, error: RuntimeError) -> DynamicIDError:
    """The error of weights in ``model.start_from`` that ``load_state_dict`` refused."""
    mismatch = str(error).splitlines()[-1].strip()
    return DynamicIDError(
        "model.start_from", f"'{path}' does not fit: {mismatch}", "Set the sizes it was trained with."
    )


def _changes(saved: TrainingConfig, config: TrainingConfig) -> list[str]:
    """What differs, as "run.steps = 20, before 10". Raises DynamicIDError: A key that may not change."""
    before, changes = saved.model_dump(), []
    for section, values in config.model_dump().items():
        for key, new in values.items():
            old = before[section][key]
            if old != new and key not in MAY_CHANGE.get(section, ()):
                raise DynamicIDError(
                    f"{section}.{key}",
                    f"It is {new!r} now and was {old!r} when this run began.",
                    "Change it back, or start another run in another folder.",
                )
            if old != new:
                changes.append(f"{section}.{key} = {_shown(new)}, before {_shown(old)}")
    return changes


def _shown(value: object) -> str:
    return ascii(str(value) if isinstance(value, Path) else value)
