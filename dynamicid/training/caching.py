"""The part of ``cache`` that both stages share: which shard holds which inputs, and what is missing yet."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from tqdm import tqdm

from ..errors import DynamicIDError
from ..faces.analysis import load_face_analysis
from ..faces.detected import DetectedFace
from ..faces.drawing import portrait_crop_box
from ..files.atomic import remove
from ..files.skipped import BadSample, Skipped, summary, write_list
from ..pipeline.preprocessing import PICTURE_SUFFIXES
from .config import BaseSection, DataSection
from .shards import Sample, is_complete, shard_path, skipped_in, write_common, write_shard

PRECISIONS = {"float16": torch.float16, "float32": torch.float32}
ENCODED_TOGETHER = 8


class Analyzer(Protocol):
    """What is needed of ``faces.analysis.FaceAnalyzer``."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """All faces of an RGB uint8 picture."""
        ...


def open_analyzer(section: BaseSection) -> Analyzer:
    """The face networks of ``base.face_pack``. Raises DynamicIDError: none named, or incomplete."""
    if section.face_pack is None:
        raise DynamicIDError("base.face_pack", "It is missing.", "Name the folder of buffalo_l's ONNX files.")
    return load_face_analysis(section.face_pack)


Inputs = Sequence[Path]
Job = tuple[Path, Inputs, dict[str, Any]]
"""One shard: its file, its inputs, and what it says about itself."""
SampleMaker = Callable[[Inputs], Iterable[Sample | Skipped]]


def process_state() -> PartialState:
    """This process's device and place among others, without the number format that only training chooses."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def write_cache(
    data: DataSection, inputs: Inputs, about: dict[str, Any], make_samples: SampleMaker, make_common: Callable
) -> str:
    """Writes the shards that are not there yet; started by accelerate, each process takes every n-th shard.

    Args:
        data: Folders and shard size.
        inputs: Pictures or people's folders, sorted.
        about: ``stage`` and ``settings``, compared with what lies there already.
        make_samples: Makes the samples of one shard.
        make_common: () -> tensors that all samples share.

    Returns:
        A summary for the user ("" in all processes but the first), in all processes once the cache is whole;
        ``skipped.txt`` lists what was skipped. Shards are told by their inputs' names: delete the folder after changing
        pictures.
    """
    if not inputs:
        raise DynamicIDError("data.folder", f"There is nothing to train with in '{data.folder}'.", "Name another one.")
    state = process_state()
    parts = [inputs[i : i + data.shard_size] for i in range(0, len(inputs), data.shard_size)]
    jobs = [(shard_path(data.cache, i), part, {**about, "inputs": _digest(part)}) for i, part in enumerate(parts)]
    mine = jobs[state.process_index :: state.num_processes]
    progress = tqdm(total=sum(len(part) for _, part, _ in mine), unit="sample", disable=not state.is_main_process)
    for path, part, about_shard in mine:
        if not is_complete(path, about_shard):
            remove(path.with_suffix(".json"))
            write_shard(path, make_samples(part), about_shard)
        progress.update(len(part))
    progress.close()
    state.wait_for_everyone()
    said = _finish_cache(data, inputs, jobs, make_common) if state.is_main_process else ""
    state.wait_for_everyone()
    return said


def _finish_cache(data: DataSection, inputs: Inputs, jobs: Sequence[Job], make_common: Callable) -> str:
    """What belongs to no shard alone, once all are written; returns the summary."""
    write_common(data.cache, make_common())
    wanted = {name for path, _, _ in jobs for name in (path, path.with_suffix(".json"))}
    for stale in set(data.cache.glob("shard-*.*")) - wanted:
        remove(stale)
    skipped = [item for path, _, _ in jobs for item in skipped_in(path)]
    write_list(data.cache / "skipped.txt", skipped)
    return f"{len(inputs)} inputs in {len(jobs)} shards; {summary(skipped)}"


def data_settings(data: DataSection) -> dict[str, Any]:
    """What of the section ``data`` a cache depends on, besides its inputs."""
    return {"size": data.size, "reference": data.reference, "precision": data.precision}


def list_inputs(folder: Path, people: bool) -> list[Path]:
    """Pictures of a plain folder, or people's folders of the VariFace layout (all but ``cache``); sorted."""
    if not folder.is_dir():
        raise DynamicIDError("data.folder", f"'{folder}' is no folder.", "Name the folder of your data.")
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if people:
        return [path for path in found if path.is_dir() and path.name != "cache"]
    return [path for path in found if path.suffix.lower() in PICTURE_SUFFIXES]


def read_text(path: Path, what: str) -> str:
    """The text of ``path``. Raises BadSample: "missing <what>", "unreadable <what>" or "empty <what>"."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise BadSample(f"missing {what}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadSample(f"unreadable {what}") from error
    if not text:
        raise BadSample(f"empty {what}")
    return text


def only_face(analyzer: Analyzer, image: np.ndarray) -> DetectedFace:
    """The picture's one face. Raises BadSample: none, or several."""
    faces = analyzer.detect(image)
    if len(faces) != 1:
        raise BadSample(f"{len(faces)} faces" if faces else "no face")
    return faces[0]


def reference_part(image: np.ndarray, face: DetectedFace, reference: str) -> np.ndarray:
    """What the image encoder sees of a picture (h, w, 3): all of it, or a portrait (``data.reference``) of the face."""
    if reference != "portrait":
        return image
    left, top, right, bottom = portrait_crop_box(face.box_xyxy, *image.shape[:2])
    return image[top:bottom, left:right]


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` items; the last may be shorter."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _digest(part: Inputs) -> str:
    return hashlib.sha256("\n".join(path.name for path in part).encode()).hexdigest()[:16]
