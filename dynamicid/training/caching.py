"""The part of ``cache`` that both stages share: the frozen networks, which shards are missing, the fingerprint."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

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
from ..files.digests import digest_of_networks
from ..files.skipped import BadSample, Skipped, by_reason, summary, write_list
from ..pipeline.preprocessing import clip_pixels
from ..pipeline.stable_diffusion import StableDiffusion, load_base, load_clip_vision
from .config import BaseSection, DataSection, IMRConfig, SAAConfig
from .inputs import Inputs, assign_shards, by_name, state_of
from .processes import process_state
from .shards import Noticed, Sample, ShardSet, is_complete, noticed_in, skipped_in, write_common, write_shard

ENCODED_TOGETHER = 8
"""Pictures per call of a network."""
CACHED_NETWORKS = ("text_encoder", "vae")
"""Parts of a diffusers folder that ``cache`` uses; its UNet may change."""
SMALLEST_FACE = 60 / 512
"""Height of a face as a share of the picture's shortest side, below which ``cache`` counts it."""
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

    def notice(self, name: str, image: np.ndarray, face: DetectedFace | None) -> Iterator[Noticed]:
        """Whether a picture (height, width, 3) is enlarged, and whether its face is small."""
        side = min(image.shape[:2])
        if side < self.config.data.size:
            yield Noticed(name, f"picture enlarged to {self.config.data.size} px")
        if face is not None and face.box_xyxy[3] - face.box_xyxy[1] < SMALLEST_FACE * side:
            yield Noticed(name, "face below 60 px of 512")

    def reference_pixels(self, image: np.ndarray, face: DetectedFace) -> Tensor:
        """The image encoder's input for a face in a picture (height, width, 3): see ``data.reference``.

        Returns:
            (3, vision_size, vision_size), CLIP-normalised.
        """
        if self.config.data.reference == "portrait":
            image = cut_out(image, portrait_crop_box(face.box_xyxy, *image.shape[:2]))
        return clip_pixels(image, self.vision_size)


class Shard(NamedTuple):
    """path: its tar file. inputs: by name. states: of the inputs' files, by name."""

    path: Path
    inputs: Mapping[str, Path]
    states: Mapping[str, str]


def write_cache(
    data: DataSection,
    inputs: Inputs,
    unused: Sequence[Skipped],
    description: dict[str, Any],
    make_samples: Callable[[Inputs], Iterable[Sample | Skipped]],
    make_common: Callable[[], Sample],
) -> str:
    """Writes the missing shards. With several processes, process k of n writes shards k, k + n, ...

    A shard counts as present if its description is the same, and names and state of its inputs are (``inputs.py``).

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
    names = by_name(data, inputs)
    shards = [
        Shard(path, {name: names[name] for name in part}, {name: state_of(data, names[name]) for name in part})
        for path, part in assign_shards(data, list(names)).items()
    ]
    state.wait_for_everyone()
    if state.is_main_process:
        remove_partials(data.cache)
    state.wait_for_everyone()
    own = shards[state.process_index :: state.num_processes]
    progress = tqdm(total=sum(len(shard.inputs) for shard in own), unit="sample", disable=not state.is_main_process)
    for shard in own:
        if not is_complete(shard.path, description, shard.states):
            remove(shard.path.with_suffix(".json"))
            write_shard(shard.path, make_samples(list(shard.inputs.values())), description, shard.states)
        progress.update(len(shard.inputs))
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
    current = {name for shard in shards for name in (shard.path, shard.path.with_suffix(".json"))}
    for stale in set(data.cache.glob("shard-*.*")) - current:
        remove(stale)
    skipped = [*unused, *(item for shard in shards for item in skipped_in(shard.path))]
    noticed = [item for shard in shards for item in noticed_in(shard.path)]
    write_list(data.cache / "skipped.txt", skipped)
    write_list(data.cache / "noticed.txt", noticed)
    parts = [f"{sum(len(shard.inputs) for shard in shards)} inputs in {len(shards)} shards", summary(skipped)]
    return "; ".join([*parts, *([f"noticed: {by_reason(noticed)}"] if noticed else [])])


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


def check_cache(shards: ShardSet, config: SAAConfig | IMRConfig) -> None:
    """Compares settings and networks of a training run with those that the cache was made with.

    Raises:
        DynamicIDError: A setting is another, or text encoder, VAE or the weight file of stage 1 are.
    """
    folder, cached = shards.paths[0].parent, shards.description["settings"]
    settings = {f"data.{key}": value for key, value in data_settings(config.data).items()}
    if isinstance(config, IMRConfig):
        settings["model.prompt"] = config.model.prompt
    for key, value in settings.items():
        before = cached.get(key.partition(".")[2], value)
        if before != value:
            raise DynamicIDError(
                key,
                f"It is {value!r}; the cache in '{folder}' was made with {before!r}.",
                "Change it back, or run 'python -m dynamicid cache' again with this configuration.",
            )
    check_fingerprint(shards, config.base, config.model.saa if isinstance(config, IMRConfig) else None)


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
