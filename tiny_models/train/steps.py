"""The training steps of the tiny models, in their order. Each leaves out what exists and continues where it stopped.

Training libraries are imported inside the steps: the command line needs their names before the set-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scripts._bootstrap import print_line

from ..places import CLASSIFIERS, DYNAMICID, EMOTION, FACE_PACK, PHOTOS, VISION, WORK

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from transformers import CLIPTokenizer

    from dynamicid.training.config import SAAConfig

    from .base_dataset import CaptionedPictures

FOLDER = Path(__file__).resolve().parent
PICTURES = 24_000
SINGLE_SCENES, SINGLE_PORTRAITS = 3500, 3500
SMALL_SCENES, SMALL_PORTRAITS, SMALL_OF_GROUPS = 1750, 1750, 3500
_SINGLE_PEOPLE = {
    "saa": ((SINGLE_SCENES, SINGLE_PORTRAITS), 0),
    "saa_late": ((SINGLE_SCENES, SINGLE_PORTRAITS), 0),
    "saa_small": ((SMALL_SCENES, SMALL_PORTRAITS, SMALL_OF_GROUPS), SINGLE_SCENES),
}
"""Of each configuration of stage 1 the counts and the first position for ``write_single_people``."""
PEOPLE, PHOTOS_A_PERSON = 1000, 12


def _autoencoder() -> None:
    from .autoencoder import train_autoencoder
    from .base_dataset import load_pictures

    train_autoencoder(load_pictures(PICTURES).pixels)


def _base(phase_name: str) -> None:
    """One phase of the base model, a constant of base_model.py; the last one is copied into the weights."""
    from . import base_model
    from .base_dataset import load_moving_portraits, load_portraits

    phase: base_model.Phase = getattr(base_model, phase_name)
    with _first_process_first() as is_first:
        pictures, vae, tokenizer = _pictures_and_encoders()
        sets = [pictures.first(phase.scenes)]
        if phase.portraits:
            sets.append(load_portraits(phase.portraits))
        if phase.moving_portraits:
            sets.append(load_moving_portraits(phase.moving_portraits))
    base_model.train_base(phase, sets, vae, tokenizer)
    if is_first and phase is base_model.ALL_PICTURES:
        base_model.commit_base(phase.weights)


def _pictures_and_encoders() -> tuple[CaptionedPictures, AutoencoderKL, CLIPTokenizer]:
    from .autoencoder import train_autoencoder
    from .base_dataset import load_pictures
    from .tokenizer import make_tokenizer

    pictures = load_pictures(PICTURES)
    return pictures, train_autoencoder(pictures.pixels), make_tokenizer(pictures.captions)


@contextmanager
def _first_process_first() -> Iterator[bool]:
    """Lets the first of several processes create files that the others then load; yields whether this is the first."""
    from dynamicid.training.processes import process_state

    state = process_state()
    with state.main_process_first():
        yield state.is_main_process


def _faces() -> None:
    from .detector import train_detector
    from .image_encoder import train_image_encoder
    from .landmarks import train_landmarks
    from .recognition import train_recognition

    train_image_encoder(WORK / "faces", VISION)
    for train in (train_detector, train_recognition, train_landmarks):
        train(WORK / "faces", FACE_PACK)


def _stage_one(name: str) -> None:
    """Pictures, cache and training with the configuration of this name."""
    from dynamicid.training.config import SAAConfig, load_config
    from dynamicid.training.train_saa import train_saa

    config = load_config(FOLDER / f"{name}.toml", SAAConfig)
    prepare_stage_one(name, config)
    train_saa(config, resume=any(config.run.output.glob("checkpoints/step-*")))


def prepare_stage_one(name: str, config: SAAConfig) -> None:
    """Pictures and cache of the configuration ``<name>.toml``, where they are not there yet."""
    from dynamicid.training.cache_saa import cache_saa

    from .dynamicid_dataset import write_single_people

    counts, first = _SINGLE_PEOPLE[name]
    with _first_process_first():
        write_single_people(config.data.folder, *counts, first=first)
    if summary := cache_saa(config):
        print_line(summary)


def _average() -> None:
    """The mean of the weights of the two last runs of stage 1, for stage 2."""
    from dynamicid.checkpoints.combined import gather_tensors, save_combined
    from dynamicid.checkpoints.weights import find_parts

    with _first_process_first() as is_first:
        if is_first:
            runs = (WORK / name / "run" / "weights" / "SAA.safetensors" for name in ("saa_late", "saa_small"))
            late, small = (gather_tensors(find_parts(run)) for run in runs)
            average = {name: (tensor + small[name]) / 2 for name, tensor in late.items()}
            (WORK / "saa_average").mkdir(exist_ok=True)
            save_combined(WORK / "saa_average" / "SAA.safetensors", average, overwrite=True)


def _stage_two() -> None:
    from dynamicid.training.cache_imr import cache_imr
    from dynamicid.training.config import IMRConfig, load_config
    from dynamicid.training.train_imr import train_imr

    from .dynamicid_dataset import write_many_photos

    config = load_config(FOLDER / "imr.toml", IMRConfig)
    with _first_process_first() as is_first:
        write_many_photos(config.data.folder, PEOPLE, PHOTOS_A_PERSON)
    if summary := cache_imr(config):
        print_line(summary)
    train_imr(config, resume=any(config.run.output.glob("checkpoints/step-*")))
    if is_first:
        _commit_dynamicid(config.run.output / "weights" / "DynamicID.safetensors")


def _commit_dynamicid(trained: Path) -> None:
    """Writes the four networks of DynamicID in half precision."""
    from dynamicid.checkpoints.combined import DTYPES, gather_tensors, save_combined
    from dynamicid.checkpoints.weights import find_parts

    DYNAMICID.parent.mkdir(exist_ok=True)
    save_combined(DYNAMICID, gather_tensors(find_parts(trained, trained), DTYPES["fp16"]), overwrite=True)


def _classifiers() -> None:
    from .train_classifiers import train_classifiers, write_emotion_file

    train_classifiers(WORK / "readers", CLASSIFIERS)
    write_emotion_file(WORK / "readers", CLASSIFIERS, EMOTION)


def _photos() -> None:
    from .dynamicid_dataset import write_reference_photos

    if not any(PHOTOS.glob("*.png")):
        write_reference_photos(PHOTOS)


STEPS: dict[str, Callable[[], None]] = {
    "vae": _autoencoder,
    "base": partial(_base, "SCENES"),
    "base_faces": partial(_base, "FACES"),
    "base_told": partial(_base, "MOTION"),
    "base_clear": partial(_base, "SHARPEN"),
    "base_wide": partial(_base, "ALL_PICTURES"),
    "faces": _faces,
    **{name: partial(_stage_one, name) for name in _SINGLE_PEOPLE},
    "saa_average": _average,
    "imr": _stage_two,
    "readers": _classifiers,
    "photos": _photos,
}
"""Name on the command line -> step."""
