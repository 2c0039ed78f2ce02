"""Cached samples in WebDataset shards: plain tar files of one safetensors file a sample, each with a table beside it.

The table (``shard-000000.json``) holds the place of every sample, so that any sample is one seek and one read: the
order of training then depends on the seed alone, not on the number of processes. Any WebDataset reader can stream the
tar files as well.
"""

import json
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor
from webdataset.writer import TarWriter

from ..errors import DynamicIDError
from ..files.atomic import atomic_write
from ..files.skipped import BadSample, Skipped

COMMON_NAME = "common.safetensors"
Sample = dict[str, Tensor]


def shard_path(folder: Path, number: int) -> Path:
    """The shard's tar file; its table has the suffix ``.json``."""
    return folder / f"shard-{number:06d}.tar"


def write_shard(path: Path, samples: Iterable[Sample | Skipped], about: Mapping[str, Any]) -> list[Skipped]:
    """Writes one shard and its table; the table comes last, so a shard with a table is complete.

    Args:
        path: The tar file.
        samples: What goes in, and what was skipped on the way.
        about: Goes into the table as it is: settings and inputs that the shard was made with.

    Returns:
        What was skipped.
    """
    skipped: list[Skipped] = []
    with atomic_write(path) as partial:
        with TarWriter(str(partial), mtime=0) as writer:
            count = 0
            for sample in samples:
                if isinstance(sample, Skipped):
                    skipped.append(sample)
                    continue
                contiguous = {name: tensor.contiguous().cpu() for name, tensor in sample.items()}
                writer.write({"__key__": f"{count:07d}", "safetensors": save(contiguous)})
                count += 1
        with tarfile.open(partial) as tar:
            places = [(member.offset_data, member.size) for member in tar]
    table = {"about": dict(about), "bytes": path.stat().st_size, "samples": places, "skipped": skipped}
    with atomic_write(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(table), encoding="utf-8")
    return skipped


def is_complete(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether that shard was written whole with the same settings and inputs."""
    table = path.with_suffix(".json")
    if not (path.is_file() and table.is_file()):
        return False
    try:
        known = json.loads(table.read_text(encoding="utf-8"))
        return known["about"] == json.loads(json.dumps(dict(about))) and known["bytes"] == path.stat().st_size
    except (ValueError, KeyError, TypeError):
        return False


def skipped_in(path: Path) -> list[Skipped]:
    """What the table of a complete shard lists as skipped."""
    return [Skipped(*item) for item in json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["skipped"]]


def write_common(folder: Path, tensors: Sample) -> None:
    """Writes what all samples share."""
    with atomic_write(folder / COMMON_NAME) as partial:
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, partial)


@dataclass(frozen=True, eq=False)
class ShardSet:
    """All shards of a cache folder.

    Attributes:
        paths: Tar files.
        places: By shard, (samples, 2) int64: offset and size in bytes.
        starts: Number of the first sample of each shard, and last the number of all samples.
        common: What all samples share.
        about: What the first shard was made with.
    """

    paths: tuple[Path, ...]
    places: tuple[np.ndarray, ...]
    starts: tuple[int, ...]
    common: Sample
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return self.starts[-1]

    def read(self, index: int) -> Sample:
        """Sample ``index`` of all.

        Raises:
            BadSample: It cannot be read any more.
        """
        shard = bisect_right(self.starts, index) - 1
        offset, size = self.places[shard][index - self.starts[shard]].tolist()
        try:
            with self.paths[shard].open("rb") as file:
                file.seek(offset)
                return load(file.read(size))
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise BadSample(f"{self.paths[shard].name} is damaged at byte {offset}") from error


def open_shards(folder: Path, kind: str) -> ShardSet:
    """Opens a cache and compares every shard with its table.

    Args:
        folder: What ``cache`` wrote.
        kind: "saa" or "imr", the stage it was made for.

    Raises:
        DynamicIDError: No cache, one of the other stage, a shard cut short, or no sample at all.
    """
    again = f"Run 'python -m dynamicid cache {kind}' again; it writes only what is missing."
    tables = sorted(folder.glob("shard-*.json"))
    if not tables or not (folder / COMMON_NAME).is_file():
        raise DynamicIDError(str(folder), "There is no finished cache.", again)
    paths, places, about = [], [], []
    for table in tables:
        path = table.with_suffix(".tar")
        try:
            content = json.loads(table.read_text(encoding="utf-8"))
            size, rows = content["bytes"], np.array(content["samples"], dtype=np.int64).reshape(-1, 2)
            about.append(content["about"])
        except (ValueError, KeyError, TypeError) as error:
            raise DynamicIDError(str(table), "This table is damaged.", f"Delete it. {again}") from error
        found = path.stat().st_size if path.is_file() else 0
        if found != size:
            raise DynamicIDError(str(path), f"The shard is cut short: {found} of {size} bytes.", again)
        paths.append(path)
        places.append(rows)
    if any(one["stage"] != kind for one in about):
        raise DynamicIDError(str(folder), f"This cache was made for stage '{about[0]['stage']}'.", again)
    if any(one["settings"] != about[0]["settings"] for one in about):
        raise DynamicIDError(str(folder), "Its shards were made with different settings.", again)
    starts = (0, *accumulate(len(rows) for rows in places))
    if not starts[-1]:
        raise DynamicIDError(str(folder), "All samples of this cache were skipped.", "See its skipped.txt.")
    return ShardSet(tuple(paths), tuple(places), starts, load_file(folder / COMMON_NAME), about[0])
