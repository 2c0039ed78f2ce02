"""Cached samples in WebDataset shards: tar files with one safetensors file per sample, and a JSON table beside each.

The table (``shard-000000.json``) lists offset and size of every sample, so that a sample is read with one seek: the
order of training then depends on the seed only, not on the number of processes. Any WebDataset reader can stream the
tar files as well.
"""

import json
import os
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor
from webdataset.writer import TarWriter

from ..errors import DynamicIDError
from ..files.atomic import atomic_write, write_text
from ..files.skipped import BadSample, Skipped
from ..files.tensors import write_tensors
from ..files.versions import check_stamp, stamp

COMMON_NAME = "common.safetensors"
FORMAT = 2
"""Of the tables: 1 = without number, and without what the samples were made from."""
MOST_OPEN = 64
Sample = dict[str, Tensor]


class Noticed(Skipped):
    """What was noticed about an input that was not skipped."""


def shard_path(folder: Path, number: int) -> Path:
    """The shard's tar file; its table has the suffix ``.json``."""
    return folder / f"shard-{number:06d}.tar"


def write_shard(
    path: Path,
    samples: Iterable[Sample | Skipped],
    description: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Writes one shard, then its table: a shard with a table is complete.

    Args:
        path: The tar file.
        samples: The samples, the inputs that were skipped, and what was noticed about others.
        description: Stage and settings; stored in the table.
        inputs: Name -> state of the files of every input; stored in the table, too.
    """
    lists: dict[type, list[Skipped]] = {Skipped: [], Noticed: []}
    with atomic_write(path) as partial:
        with TarWriter(str(partial), mtime=0) as writer:
            count = 0
            for sample in samples:
                if isinstance(sample, Skipped):
                    lists[type(sample)].append(sample)
                    continue
                contiguous = {name: tensor.contiguous().cpu() for name, tensor in sample.items()}
                writer.write({"__key__": f"{count:07d}", "safetensors": save(contiguous)})
                count += 1
        with tarfile.open(partial) as tar:
            entries = [(member.offset_data, member.size) for member in tar]
    table = {
        **stamp(FORMAT),
        "about": dict(description),
        "inputs": dict(inputs or {}),
        "bytes": path.stat().st_size,
        "samples": entries,
        "skipped": lists[Skipped],
        "noticed": lists[Noticed],
    }
    write_text(path.with_suffix(".json"), json.dumps(table))


def read_table(path: Path) -> dict[str, Any]:
    """The table of a shard's tar file; {} if there is none, or a damaged one."""
    try:
        table = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return table if isinstance(table, dict) else {}
    except (OSError, ValueError):
        return {}


def is_complete(path: Path, description: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> bool:
    """Whether the shard was written completely with this description, from inputs in this state (None = from any)."""
    table = read_table(path)
    if not path.is_file() or table.get("about") != json.loads(json.dumps(dict(description))):
        return False
    is_same = inputs is None or list(table.get("inputs", {}).items()) == list(inputs.items())
    return is_same and table.get("bytes") == path.stat().st_size


def skipped_in(path: Path) -> list[Skipped]:
    """The skipped inputs of a complete shard."""
    return [Skipped(*item) for item in read_table(path)["skipped"]]


def noticed_in(path: Path) -> list[Noticed]:
    """What was noticed about the other inputs of a complete shard."""
    return [Noticed(*item) for item in read_table(path)["noticed"]]


def write_common(folder: Path, tensors: Sample) -> None:
    """Writes the tensors that all samples share."""
    with atomic_write(folder / COMMON_NAME) as partial:
        write_tensors(partial, {name: tensor.contiguous().cpu() for name, tensor in tensors.items()})


class OpenFiles:
    """Reads parts of files; keeps the last ``MOST_OPEN`` open, as opening takes long on network disks."""

    def __init__(self) -> None:
        self._files: dict[Path, BinaryIO] = {}

    def __reduce__(self) -> tuple[type["OpenFiles"], tuple[()]]:
        return OpenFiles, ()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on. Raises OSError."""
        file = self._files.pop(path, None) or path.open("rb", buffering=0)
        self._files[path] = file
        if len(self._files) > MOST_OPEN:
            self._files.pop(next(iter(self._files))).close()
        if hasattr(os, "pread"):  # forked processes share the position in the file
            return os.pread(file.fileno(), size, offset)
        file.seek(offset)
        return file.read(size)


@dataclass(frozen=True, eq=False)
class ShardSet:
    """All shards of a cache folder.

    Attributes:
        paths: Tar files.
        entries: By shard, (samples, 2) int64: offset and size in bytes.
        starts: Index of the first sample of each shard, then the number of all samples.
        common: The tensors that all samples share.
        description: Stage and settings, of the first shard.
        files: Reads the tar files.
    """

    paths: tuple[Path, ...]
    entries: tuple[np.ndarray, ...]
    starts: tuple[int, ...]
    common: Sample
    description: Mapping[str, Any]
    files: OpenFiles = field(default_factory=OpenFiles)

    def __len__(self) -> int:
        return self.starts[-1]

    def read(self, index: int) -> Sample:
        """The sample with this index.

        Raises:
            BadSample: It cannot be read.
        """
        shard = bisect_right(self.starts, index) - 1
        offset, size = self.entries[shard][index - self.starts[shard]].tolist()
        try:
            return load(self.files.read(self.paths[shard], offset, size))
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise BadSample(f"{self.paths[shard].name} is damaged at byte {offset}") from error


def open_shards(folder: Path, stage: str) -> ShardSet:
    """Opens a cache and compares every shard with its table.

    Args:
        folder: Output of ``cache``.
        stage: "saa" or "imr", the stage it has to be made for.

    Raises:
        DynamicIDError: No finished cache, one of another stage, with mixed settings or of a later version, a shard of
            the wrong size, or no samples.
    """
    remedy = f"Run 'python -m dynamicid cache {stage}' again; it writes only what is missing."
    tables = sorted(folder.glob("shard-*.json"))
    if not tables or not (folder / COMMON_NAME).is_file():
        raise DynamicIDError(str(folder), "There is no finished cache.", remedy)
    paths, entries, descriptions = [], [], []
    for table in tables:
        path = table.with_suffix(".tar")
        try:
            content = json.loads(table.read_text(encoding="utf-8"))
            expected, rows = content["bytes"], np.array(content["samples"], dtype=np.int64).reshape(-1, 2)
            descriptions.append(content["about"])
        except (ValueError, KeyError, TypeError) as error:
            raise DynamicIDError(str(table), "This table is damaged.", f"Delete it. {remedy}") from error
        check_stamp(str(table), content, FORMAT)
        size = path.stat().st_size if path.is_file() else 0
        if size != expected:
            raise DynamicIDError(str(path), f"The shard is cut short: {size} of {expected} bytes.", remedy)
        paths.append(path)
        entries.append(rows)
    first = descriptions[0]
    if any(description["stage"] != stage for description in descriptions):
        raise DynamicIDError(str(folder), f"This cache was made for stage '{first['stage']}'.", remedy)
    if any(description["settings"] != first["settings"] for description in descriptions):
        raise DynamicIDError(str(folder), "Its shards were made with different settings.", remedy)
    starts = (0, *accumulate(len(rows) for rows in entries))
    if not starts[-1]:
        raise DynamicIDError(str(folder), "All samples of this cache were skipped.", "See its skipped.txt.")
    return ShardSet(tuple(paths), tuple(entries), starts, load_file(folder / COMMON_NAME), first)
