"""The part of ``cache`` that both stages share: the frozen networks, which shards are missing, the fingerprint."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPVisionModelWithProjection

from ..errors import DynamicIDError
from ..faces.analysis import load_face_analysis
from ..faces.detected import DetectedFace
from ..faces.drawing import portrait_crop_box
from ..faces.encoding import FaceDetector, cut_out
from ..files.atomic import remove, remove_partials
from ..files.digests import digest_of_networks, sha256_hex
from ..files.folders import find_files, passed_over, visible
from ..files.pictures import PHOTO_SUFFIXES
from ..files.skipped import BadSample, Skipped, summary, write_list
from ..files.texts import NotUTF8, read_text
from ..pipeline.preprocessing import clip_pixels
from ..pipeline.stable_diffusion import StableDiffusion, load_base, load_clip_vision
from .config import BaseSection, DataSection, IMRConfig, SAAConfig
from .processes import process_state
from .shards import Sample, ShardSet, is_complete, shard_path, skipped_in, write_common, write_shard

ENCODED_TOGETHER = 8
"""Pictures per call of a network."""
CACHED_NETWORKS = ("text_encoder", "vae")
"""Parts of a diffusers folder that ``cache`` uses; its UNet may change."""
PRECISIONS = {"float16": torch.float16, "float32": torch.float32}


def open_analyzer(section: BaseSection) -> FaceDetector:
    """The face networks of ``base.face_pack``. Raises DynamicIDError: not configured, or incomplete."""
    if section.face_pack is None:
        raise DynamicIDError("base.face_pack", "It is missing.", "Name the folder of buffalo_l's ONNX files.")
    return load_face_analysis(section.face_pack)


class Encoders:
    """The frozen networks of a configuration, loaded at first use onto this process's device.

    Args:
        config: Of either stage.
        analyzer: Replaces the face networks of ``base.face_pack``.
    """

    def __init__(self, config: SAAConfig | IMRConfig, analyzer: FaceDetector | None = None) -> None:
        self.config, self._analyzer = config, analyzer
        self.device: Any = process_state().device
        self.dtype = PRECISIONS[config.data.precision]

    @cached_property
    def base(self) -> StableDiffusion:
        """Stable Diffusion; only its VAE and text encoder are moved to the device."""
        base = load_base(self.config.base.model, self.config.base.tokenizer)
        base.vae.to(self.device)
        base.text_encoder.to(self.device)
        return base

    @cached_property
    def analyzer(self) -> FaceDetector:
        """The face networks."""
        return self._analyzer or open_analyzer(self.config.base)

    @cached_property
    def vision(self) -> CLIPVisionModelWithProjection:
        """The image encoder."""
        return load_clip_vision(self.config.base.clip_vision).to(self.device)

    @property
    def vision_size(self) -> int:
        """Side of the image encoder's input in pixels."""
        return int(self.vision.config.image_size)  # pyright: ignore[reportArgumentType]

    def only_face(self, image: np.ndarray) -> DetectedFace:
        """The only face of a picture. Raises BadSample: no face, or several."""
        faces = self.analyzer.detect(image)
        if len(faces) != 1:
            raise BadSample(f"{len(faces)} faces" if faces else "no face")
        return faces[0]

    def reference_pixels(self, image: np.ndarray, face: DetectedFace) -> Tensor:
        """The image encoder's input for a face in a picture (height, width, 3): see ``data.reference``.

        Returns:
            (3, vision_size, vision_size), CLIP-normalised.
        """
        if self.config.data.reference == "portrait":
            image = cut_out(image, portrait_crop_box(face.box_xyxy, *image.shape[:2]))
        return clip_pixels(image, self.vision_size)


Inputs = Sequence[Path]
Shard = tuple[Path, Inputs, dict[str, Any]]
"""The tar file of a shard, its inputs, and the description stored in its table."""


def write_cache(
    data: DataSection,
    inputs: Inputs,
    unused: Sequence[Skipped],
    description: dict[str, Any],
    make_samples: Callable[[Inputs], Iterable[Sample | Skipped]],
    make_common: Callable[[], Sample],
) -> str:
    """Writes the missing shards. With several processes, process k of n writes shards k, k + n, ...

    A shard counts as present if its description and the names of its inputs are the same; after changing pictures
    under the same name, delete the folder.

    Args:
        data: Folders and shard size.
        inputs: Pictures or people's folders, sorted.
        unused: What else is in the data folder.
        description: ``stage`` and ``settings``.
        make_samples: Makes the samples of one shard.
        make_common: Makes the tensors that all samples share.

    Returns:
        A summary for the user in the first process, "" in the others; all return once the cache is complete.
        ``skipped.txt`` lists what was skipped.

    Raises:
        DynamicIDError: There are no inputs, or a file cannot be written.
    """
    if not inputs:
        found = f"There is no training data in '{data.folder}' ({summary(unused)})."
        raise DynamicIDError("data.folder", found, "Name another one.")
    state = process_state()
    parts = [inputs[i : i + data.shard_size] for i in range(0, len(inputs), data.shard_size)]
    shards = [
        (shard_path(data.cache, i), part, {**description, "inputs": _digest(part)}) for i, part in enumerate(parts)
    ]
    if state.is_main_process:
        remove_partials(data.cache)
    state.wait_for_everyone()
    own = shards[state.process_index :: state.num_processes]
    progress = tqdm(total=sum(len(part) for _, part, _ in own), unit="sample", disable=not state.is_main_process)
    for path, part, shard_description in own:
        if not is_complete(path, shard_description):
            remove(path.with_suffix(".json"))
            write_shard(path, make_samples(part), shard_description)
        progress.update(len(part))
    progress.close()
    state.wait_for_everyone()
    report = _finish_cache(data, shards, unused, make_common) if state.is_main_process else ""
    state.wait_for_everyone()
    return report


def _finish_cache(
    data: DataSection, shards: Sequence[Shard], unused: Sequence[Skipped], make_common: Callable[[], Sample]
) -> str:
    """Writes what belongs to all shards and removes those of earlier inputs; returns the summary."""
    write_common(data.cache, make_common())
    current = {name for path, _, _ in shards for name in (path, path.with_suffix(".json"))}
    for stale in set(data.cache.glob("shard-*.*")) - current:
        remove(stale)
    skipped = [*unused, *(item for path, _, _ in shards for item in skipped_in(path))]
    write_list(data.cache / "skipped.txt", skipped)
    return f"{sum(len(part) for _, part, _ in shards)} inputs in {len(shards)} shards; {summary(skipped)}"


def _digest(part: Inputs) -> str:
    return sha256_hex("\n".join(path.name for path in part))[:16]


def data_settings(data: DataSection) -> dict[str, Any]:
    """Settings of the section ``data`` that change the content of a cache."""
    return {"size": data.size, "reference": data.reference, "precision": data.precision}


def cache_fingerprint(base: BaseSection, saa: Path | None = None) -> dict[str, str]:
    """Which networks a cache is computed with: digest of their weights by configuration key.

    Args:
        base: Section of the configuration.
        saa: Weight file of stage 1, for stage 2.

    Returns:
        A digest is "" where no network is configured or there is no such file.
    """
    is_folder = base.model.is_dir()
    encoders = [base.model / part for part in CACHED_NETWORKS] if is_folder else [base.model]
    networks = {"base.model": encoders, "base.clip_vision": [base.clip_vision], "base.face_pack": [base.face_pack]}
    if saa is not None:
        networks["model.saa"] = [saa]
    return {key: digest_of_networks([path for path in paths if path]) for key, paths in networks.items()}


def check_fingerprint(shards: ShardSet, base: BaseSection, saa: Path | None = None) -> None:
    """Compares the networks that training uses with those that the cache was computed with.

    Raises:
        DynamicIDError: Text encoder or VAE, or the weight file of stage 1, are others.
    """
    cached = shards.description["settings"].get("networks", {})
    for key, digest in cache_fingerprint(BaseSection(model=base.model), saa).items():
        if digest and cached.get(key) and cached[key] != digest:
            raise DynamicIDError(
                key,
                f"The cache in '{shards.paths[0].parent}' was computed with other weights.",
                "Run 'python -m dynamicid cache' again with this configuration.",
            )


def list_inputs(data: DataSection, people: bool) -> tuple[list[Path], list[Skipped]]:
    """Photos of a plain folder, or people's folders of the VariFace layout, sorted; and what else is there.

    Hidden files, the published tokens (``cache``) and the cache itself are neither.
    """
    if not data.folder.is_dir():
        raise DynamicIDError("data.folder", f"'{data.folder}' is no folder.", "Name the folder of your data.")
    if not people:
        found = find_files(data.folder, PHOTO_SUFFIXES, recursive=False)
        found = [(path, reason) for path, reason in found if path.resolve() != data.cache.resolve()]
        return [path for path, reason in found if not reason], passed_over(data.folder, found)
    paths = [path for path in visible(data.folder) if path.name != "cache" and path.resolve() != data.cache.resolve()]
    folders = [path for path in paths if path.is_dir()]
    return folders, [Skipped(path.name, "not a person's folder") for path in paths if path not in folders]


def read_text_beside(photo: Path, kind: str) -> str:
    """The text in the file ``.txt`` (or ``.TXT``) of the same name as a photo.

    Raises:
        BadSample: "missing <kind>", "unreadable <kind>", "empty <kind>", or its encoding if it is not UTF-8.
    """
    path = photo.with_suffix(".txt")
    try:
        text = read_text(path if path.exists() else photo.with_suffix(".TXT")).strip()
    except FileNotFoundError as error:
        raise BadSample(f"missing {kind}") from error
    except OSError as error:
        raise BadSample(f"unreadable {kind}") from error
    except NotUTF8 as error:
        raise BadSample(f"{kind} in {error}") from error
    if not text:
        raise BadSample(f"empty {kind}")
    return text
