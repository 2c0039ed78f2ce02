"""Train the tiny models in `tiny_models/weights/` from nothing: `python scripts/train_family.py [STEP ...]`.

Sets the machine up first. Every step leaves out what lies there finished and goes on where it stopped; delete
`tiny_models/weights/` and `.tiny_models/` to train all of it again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from _bootstrap import REPOSITORY, print_line, relaunch_in_environment, run_command

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from transformers import CLIPTokenizer

    from tiny_models.train.scenes import Pictures
    from tiny_models.train.train_base import Phase

PICTURES, PORTRAITS = 24_000, 9_000
MOVING_PORTRAITS, SCENES_BESIDE = 20_000, 8000
SINGLE_SCENES, SINGLE_PORTRAITS = 3500, 3500
SMALL_SCENES, SMALL_PORTRAITS, SMALL_OF_GROUPS = 1750, 1750, 3500
PEOPLE, PHOTOS = 1000, 12


def main(arguments: list[str]) -> None:
    """Runs the steps named on the command line, all without a name, in their order."""
    command = argparse.ArgumentParser(description="Train the tiny models from nothing, on two CPU cores.")
    command.add_argument("steps", nargs="*", metavar="STEP", help=f"one of: {', '.join(STEPS)} (default: all)")
    chosen = command.parse_args(arguments).steps or list(STEPS)
    unknown = [name for name in chosen if name not in STEPS]
    if unknown:
        command.error(f"there is no step '{unknown[0]}'; choose from {', '.join(STEPS)}")
    relaunch_in_environment()
    sys.path.insert(0, str(REPOSITORY))
    for name in (name for name in STEPS if name in chosen):
        print_line(f"{name} ...")
        started = time.monotonic()
        STEPS[name]()
        print_line(f"{name}: {time.monotonic() - started:.0f} s")


def _vae() -> None:
    from tiny_models.train.scenes import draw_pictures
    from tiny_models.train.train_vae import train_vae

    train_vae(draw_pictures(PICTURES).pixels)


def _base() -> None:
    from tiny_models.train.train_base import SCENES, train_base

    with _one_after_the_other():
        pictures, vae, tokenizer = _seen_by_base()
    train_base(SCENES, [pictures], vae, tokenizer)


def _base_faces() -> None:
    from tiny_models.train.scenes import draw_portraits
    from tiny_models.train.train_base import FACES, SCENES, train_base

    with _one_after_the_other():
        pictures, vae, tokenizer = _seen_by_base()
        portraits = draw_portraits(PORTRAITS)
    train_base(FACES, [pictures, portraits], vae, tokenizer, SCENES.weights)


def _base_told() -> None:
    from tiny_models.train.train_base import FACES, TOLD

    _train_moving(TOLD, FACES, SCENES_BESIDE)


def _base_clear() -> None:
    from tiny_models.train.train_base import CLEAR, TOLD

    _train_moving(CLEAR, TOLD, SCENES_BESIDE)


def _base_wide() -> None:
    from tiny_models.train.train_base import CLEAR, WIDE, commit_base

    if _train_moving(WIDE, CLEAR, PICTURES):
        commit_base(WIDE.weights)


def _train_moving(phase: Phase, before: Phase, scenes: int) -> bool:
    """One phase on moving portraits and ``scenes`` other pictures; whether this process is the first of several."""
    from tiny_models.train.scenes import draw_moving_portraits
    from tiny_models.train.train_base import train_base

    with _one_after_the_other() as is_first:
        pictures, vae, tokenizer = _seen_by_base()
        portraits = draw_moving_portraits(MOVING_PORTRAITS)
    train_base(phase, [pictures.first(scenes), portraits], vae, tokenizer, before.weights)
    return is_first


def _seen_by_base() -> tuple[Pictures, AutoencoderKL, CLIPTokenizer]:
    from tiny_models.train.scenes import draw_pictures
    from tiny_models.train.tokenizer import make_tokenizer
    from tiny_models.train.train_vae import train_vae

    pictures = draw_pictures(PICTURES)
    return pictures, train_vae(pictures.pixels), make_tokenizer(pictures.captions)


@contextmanager
def _one_after_the_other() -> Iterator[bool]:
    """The first of several processes makes files, then the others find them; yields whether this one is the first."""
    from dynamicid.training.processes import process_state

    state = process_state()
    with state.main_process_first():
        yield state.is_main_process


def _faces() -> None:
    from tiny_models.places import FACE_PACK, VISION, WORK
    from tiny_models.train.train_detector import train_detector
    from tiny_models.train.train_landmarks import train_landmarks
    from tiny_models.train.train_recognition import train_recognition
    from tiny_models.train.train_vision import train_vision

    train_vision(WORK / "faces", VISION)
    for train in (train_detector, train_recognition, train_landmarks):
        train(WORK / "faces", FACE_PACK)


def _readers() -> None:
    from tiny_models.places import EMOTION, READERS, WORK
    from tiny_models.train.emotion_file import write_emotion_file
    from tiny_models.train.train_readers import train_readers

    train_readers(WORK / "readers", READERS)
    write_emotion_file(WORK / "readers", READERS, EMOTION)


def _saa() -> None:
    _stage_one("saa.toml", SINGLE_SCENES, SINGLE_PORTRAITS)


def _saa_late() -> None:
    _stage_one("saa_late.toml", SINGLE_SCENES, SINGLE_PORTRAITS)


def _saa_small() -> None:
    _stage_one("saa_small.toml", SMALL_SCENES, SMALL_PORTRAITS, SMALL_OF_GROUPS, first=SINGLE_SCENES)


def _stage_one(name: str, *counts: int, first: int = 0) -> None:
    """Pictures, cache, training."""
    from dynamicid.training.cache_saa import cache_saa
    from dynamicid.training.config import SAAConfig, load_config
    from dynamicid.training.train_saa import train_saa
    from tiny_models.train.dynamicid_pictures import write_single_people

    config = load_config(REPOSITORY / "tiny_models" / "train" / name, SAAConfig)
    with _one_after_the_other():
        write_single_people(config.data.folder, *counts, first=first)
    if summary := cache_saa(config):
        print_line(summary)
    train_saa(config, resume=any(config.run.output.glob("checkpoints/step-*")))


def _saa_average() -> None:
    """The mean of the two ends of stage 1, weight by weight, for stage 2."""
    from dynamicid.checkpoints.combined import gather_tensors, save_combined
    from dynamicid.checkpoints.weights import find_parts
    from tiny_models.places import WORK

    with _one_after_the_other() as is_first:
        if is_first:
            ends = (WORK / name / "run" / "weights" / "SAA.safetensors" for name in ("saa_late", "saa_small"))
            late, small = (gather_tensors(find_parts(end)) for end in ends)
            average = {name: (tensor + small[name]) / 2 for name, tensor in late.items()}
            (WORK / "saa_average").mkdir(exist_ok=True)
            save_combined(WORK / "saa_average" / "SAA.safetensors", average, overwrite=True)


def _imr() -> None:
    from dynamicid.training.cache_imr import cache_imr
    from dynamicid.training.config import IMRConfig, load_config
    from dynamicid.training.train_imr import train_imr
    from tiny_models.train.dynamicid_pictures import write_many_photos

    config = load_config(REPOSITORY / "tiny_models" / "train" / "imr.toml", IMRConfig)
    with _one_after_the_other() as is_first:
        write_many_photos(config.data.folder, PEOPLE, PHOTOS)
    if summary := cache_imr(config):
        print_line(summary)
    train_imr(config, resume=any(config.run.output.glob("checkpoints/step-*")))
    if is_first:
        _commit_weights(config.run.output / "weights" / "DynamicID.safetensors")


def _commit_weights(trained: Path) -> None:
    """The four networks of DynamicID in half precision, where the demo looks for them."""
    from dynamicid.checkpoints.combined import DTYPES, gather_tensors, save_combined
    from dynamicid.checkpoints.weights import find_parts
    from tiny_models.places import DYNAMICID

    DYNAMICID.parent.mkdir(exist_ok=True)
    save_combined(DYNAMICID, gather_tensors(find_parts(trained, trained), DTYPES["fp16"]), overwrite=True)


STEPS: dict[str, Callable[[], None]] = {
    "vae": _vae,
    "base": _base,
    "base_faces": _base_faces,
    "base_told": _base_told,
    "base_clear": _base_clear,
    "base_wide": _base_wide,
    "faces": _faces,
    "saa": _saa,
    "saa_late": _saa_late,
    "saa_small": _saa_small,
    "saa_average": _saa_average,
    "imr": _imr,
    "readers": _readers,
}


if __name__ == "__main__":
    run_command(main)
