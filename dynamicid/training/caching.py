"""The part of ``cache`` that both stages share: the frozen networks, which shards are missing, the fingerprint."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import broadcast_object_list
from tqdm import tqdm
from transformers import CLIPVisionModelWithProjection

from ..errors import DynamicIDError
from ..files.atomic import remove, remove_partials
from ..files.digests import digest_of_networks
from ..files.skipped import Skipped, by_reason, summary, write_list
from ..pipeline.stable_diffusion import StableDiffusion, load_base, load_clip_vision
from .config import BaseSection, DataSection, IMRConfig, SAAConfig
from .inputs import assign_shards, by_name, list_inputs, state_of
from .processes import place_frozen, process_state
from .readers import PhotoReader, read_photos
from .shards import Noticed, Sample, ShardSet, is_complete, noticed_in, skipped_in, write_common, write_shard
from .timing import Stopwatch

ENCODED_TOGETHER = 8
"""Pictures per call of a network."""
CACHED_NETWORKS = ("text_encoder", "vae")
"""Parts of a diffusers folder that ``cache`` uses; its UNet may change."""
UNSTATED = {"data.flip": False, "data.crops": 1}
"""Settings of caches that do not state them."""
PRECISIONS = {"float16": torch.float16, "float32": torch.float32}
SECONDS_BETWEEN_LOOKS = 1.0


class Encoders:
    """The frozen networks of a configuration, loaded at first use onto this process's device, in the run's precision.

    Attributes:
        dtype: Number format of the cached states.
    """

    def __init__(self, config: SAAConfig | IMRConfig) -> None:
        self.config = config
        self.device: Any = process_state().device
        self.dtype = PRECISIONS[config.data.precision]

    @cached_property
    def base(self) -> StableDiffusion:
        """Stable Diffusion; only its VAE and text encoder are moved to the device."""
        base = load_base(self.config.base.model, self.config.base.tokenizer)
        for network in (base.vae, base.text_encoder):
            place_frozen(network, self.device, self.config.run.mixed_precision)
        return base

    @cached_property
    def vision(self) -> CLIPVisionModelWithProjection:
        """The image encoder."""
        vision = load_clip_vision(self.config.base.clip_vision)
        place_frozen(vision, self.device, self.config.run.mixed_precision)
        return vision


class Input(NamedTuple):
    """A photo of stage 1 or a person of stage 2, by its name; skipped: what is no photo of it."""

    name: str
    photos: Sequence[Path]
    skipped: Sequence[Skipped]


class ReadInput(NamedTuple):
    """An input with what the reader made of each of its photos."""

    name: str
    photos: Sequence[Any]
    skipped: Sequence[Skipped]


class Shard(NamedTuple):
    """path: its tar file. inputs: paths by name. states: of the inputs' files, by name."""

    path: Path
    inputs: dict[str, Path]
    states: dict[str, str]


class Plan(NamedTuple):
    """shards: all. missing: those to be written. unused: what else is in the data folder."""

    shards: Sequence[Shard]
    missing: Sequence[Shard]
    unused: Sequence[Skipped]


class CacheTask(NamedTuple):
    """What a stage puts into its cache.

    Attributes:
        description: ``stage`` and ``settings``.
        list_photos: Makes an input of its name and path.
        reader: Reads its photos.
        make_samples: Makes the samples of the inputs of one shard.
        make_common: Makes the tensors that all samples share.
    """

    description: dict[str, Any]
    list_photos: Callable[[str, Path], Input]
    reader: PhotoReader
    make_samples: Callable[[Iterator[ReadInput], Stopwatch], Iterable[Sample | Skipped]]
    make_common: Callable[[], Sample]


def write_cache(data: DataSection, task: CacheTask, people: bool) -> str:
    """Writes the missing shards. With several processes, process k of n writes the missing shards k, k + n, ...

    A shard is present if its description is the same, and names and state of its inputs are (``inputs.py``).

    Args:
        data: Folders and shard size.
        task: What to write.
        people: Whether the inputs are people's folders.

    Returns:
        A summary for the user in the first process, "" in the others; all return once the cache is complete.
        ``skipped.txt`` lists what was skipped, ``noticed.txt`` what was noticed about other photos.

    Raises:
        DynamicIDError: There are no inputs, or a file cannot be written.
    """
    state = process_state()
    shared: list[Any] = [_make_plan(data, people, task.description) if state.is_main_process else None]
    plan: Plan = broadcast_object_list(shared)[0]
    tables = {shard.path: _stamp(shard.path) for shard in plan.missing}
    state.wait_for_everyone()
    stopwatch = Stopwatch("writing")
    with tqdm(total=_count(plan.missing), unit="sample", disable=not state.is_main_process) as progress:
        for shard, inputs in _read(plan.missing[state.process_index :: state.num_processes], task, stopwatch):
            remove(shard.path.with_suffix(".json"))
            write_shard(shard.path, task.make_samples(inputs, stopwatch), task.description, shard.states)
            if state.is_main_process:
                _show(progress, plan.missing, tables)
        times = stopwatch.report()
        while state.is_main_process and _show(progress, plan.missing, tables):
            time.sleep(SECONDS_BETWEEN_LOOKS)
    state.wait_for_everyone()
    report = _finish_cache(data, plan, task.make_common) if state.is_main_process else ""
    state.wait_for_everyone()
    return "; ".join(filter(None, (report, times))) if state.is_main_process else ""


def _make_plan(data: DataSection, people: bool, description: dict[str, Any]) -> Plan:
    inputs, unused = list_inputs(data, people)
    if not inputs:
        found = f"There is no training data in '{data.folder}' ({summary(unused)})."
        raise DynamicIDError("data.folder", found, "Name another one.")
    names = by_name(data, inputs)
    shards = [
        Shard(path, {name: names[name] for name in part}, {name: state_of(data, names[name]) for name in part})
        for path, part in assign_shards(data, list(names)).items()
    ]
    remove_partials(data.cache)
    return Plan(shards, [shard for shard in shards if not is_complete(shard.path, description, shard.states)], unused)


def _read(
    shards: Sequence[Shard], task: CacheTask, stopwatch: Stopwatch
) -> Iterator[tuple[Shard, Iterator[ReadInput]]]:
    """Shards with their inputs, whose photos are read ahead over the ends of the shards."""
    inputs = {shard.path: [task.list_photos(*item) for item in shard.inputs.items()] for shard in shards}
    paths = [path for part in inputs.values() for item in part for path in item.photos]
    photos = stopwatch.waiting("waiting for photos", read_photos(paths, task.reader))
    for shard in shards:
        part = inputs[shard.path]
        yield (
            shard,
            (ReadInput(item.name, list(islice(photos, len(item.photos))), item.skipped) for item in part),
        )


def _show(progress: tqdm, missing: Sequence[Shard], tables: dict[Path, Any]) -> bool:
    """Shows how much all processes have written; returns whether something is missing still."""
    pending = [shard for shard in missing if _stamp(shard.path) in (None, tables[shard.path])]
    progress.n = _count(missing) - _count(pending)
    progress.refresh()
    return bool(pending)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Inode and time of a shard's table; None if there is none."""
    try:
        status = path.with_suffix(".json").stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _count(shards: Sequence[Shard]) -> int:
    return sum(len(shard.inputs) for shard in shards)


def _finish_cache(data: DataSection, plan: Plan, make_common: Callable[[], Sample]) -> str:
    """Writes what belongs to all shards and removes those of earlier inputs; returns the summary."""
    write_common(data.cache, make_common())
    current = {name for shard in plan.shards for name in (shard.path, shard.path.with_suffix(".json"))}
    for stale in set(data.cache.glob("shard-*.*")) - current:
        remove(stale)
    skipped = [*plan.unused, *(item for shard in plan.shards for item in skipped_in(shard.path))]
    noticed: list[Noticed] = [item for shard in plan.shards for item in noticed_in(shard.path)]
    write_list(data.cache / "skipped.txt", skipped)
    write_list(data.cache / "noticed.txt", noticed)
    parts = [f"{_count(plan.shards)} inputs in {len(plan.shards)} shards", summary(skipped)]
    return "; ".join([*parts, *([f"noticed: {by_reason(noticed)}"] if noticed else [])])


def data_settings(data: DataSection) -> dict[str, Any]:
    """Settings of the section ``data`` that change the content of a cache."""
    return {name: getattr(data, name) for name in ("size", "reference", "precision", "flip", "crops")}


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
        before = cached.get(key.partition(".")[2], UNSTATED.get(key, value))
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
