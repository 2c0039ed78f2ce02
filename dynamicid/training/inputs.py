"""What a cache is made from: photos or people's folders, the state of their files, and which shard holds which."""

import os
from collections.abc import Mapping, Sequence
from itertools import count, islice
from pathlib import Path

from ..errors import DynamicIDError
from ..files.digests import sha256_hex
from ..files.folders import find_files, passed_over, visible
from ..files.pictures import PHOTO_SUFFIXES
from ..files.skipped import BadSample, Skipped
from ..files.texts import NotUTF8, read_text
from .config import DataSection
from .shards import read_table, shard_path

Inputs = Sequence[Path]


def list_inputs(data: DataSection, people: bool) -> tuple[list[Path], list[Skipped]]:
    """Photos of a folder and its subfolders, or people's folders of the VariFace layout; and what else is there.

    Hidden files, the published tokens (``cache``) and the cache itself are neither.
    """
    if not data.folder.is_dir():
        raise DynamicIDError("data.folder", f"'{data.folder}' is no folder.", "Name the folder of your data.")
    cache = data.cache.resolve()
    if not people:
        found = find_files(data.folder, PHOTO_SUFFIXES)
        found = [(path, reason) for path, reason in found if not path.resolve().is_relative_to(cache)]
        return [path for path, reason in found if not reason], passed_over(data.folder, found)
    paths = [path for path in visible(data.folder) if path.name != "cache" and path.resolve() != cache]
    folders = [path for path in paths if path.is_dir()]
    return folders, [Skipped(path.name, "not a person's folder") for path in paths if path not in folders]


def state_of(data: DataSection, path: Path) -> str:
    """Changes with names, sizes and times (in seconds) of the files of an input.

    These are a photo and its text, or all files in a person's folder and in that of the published tokens.
    """
    if path.is_dir():
        folders = [path, data.folder / "cache" / path.name]
        files = [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]
    else:
        files = [path, text_beside(path)]
    lines = []
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            continue
        lines.append(f"{file.name}\t{status.st_size}\t{int(status.st_mtime)}")
    return sha256_hex("\n".join(lines))[:16]


def assign_shards(data: DataSection, names: Sequence[str]) -> dict[Path, list[str]]:
    """Inputs by shard. An input stays in the shard that holds it already.

    New ones make new shards, under the lowest free numbers; those that do not fill one join the last shard if they fit
    and it is less than half full.

    Raises:
        DynamicIDError: The cache was written by a version of the pack that did not note what it was made from.
    """
    current, held = dict.fromkeys(names), set[str]()
    shards: dict[Path, list[str]] = {}
    for table in sorted(data.cache.glob("shard-*.json")):
        path = table.with_suffix(".tar")
        content = read_table(path)
        if content and "inputs" not in content:
            raise DynamicIDError(
                "data.cache",
                f"'{data.cache}' was written by an earlier version of this pack, which did not note what it was made "
                "from.",
                "'train' can use it as it is. To compute it again, delete the folder, or name another one.",
            )
        kept = [name for name in content.get("inputs", {}) if name in current and name not in held]
        held.update(kept)
        if kept:
            shards[path] = kept
    new = [name for name in current if name not in held]
    rest = new[len(new) - len(new) % data.shard_size :]
    last = max(shards, default=None)
    if last is not None and len(shards[last]) < data.shard_size / 2 and len(shards[last] + rest) <= data.shard_size:
        shards[last] += rest
        new = new[: len(new) - len(rest)]
    numbered = (shard_path(data.cache, number) for number in count())
    free = (path for path in numbered if path not in shards)
    parts = [new[first : first + data.shard_size] for first in range(0, len(new), data.shard_size)]
    return {**shards, **dict(zip(list(islice(free, len(parts))), parts, strict=True))}


def by_name(data: DataSection, inputs: Inputs) -> Mapping[str, Path]:
    """Inputs by their path in the data folder, with / on every system."""
    return {path.relative_to(data.folder).as_posix(): path for path in inputs}


def text_beside(photo: Path) -> Path:
    """The file ``.txt`` (or ``.TXT``) of the same name as a photo, whether or not it exists."""
    path = photo.with_suffix(".txt")
    return path if path.exists() else photo.with_suffix(".TXT")


def read_text_beside(photo: Path, kind: str) -> str:
    """The text in the file ``.txt`` (or ``.TXT``) of the same name as a photo.

    Raises:
        BadSample: "missing <kind>", "unreadable <kind>", "empty <kind>", or its encoding if it is not UTF-8.
    """
    try:
        text = read_text(text_beside(photo)).strip()
    except FileNotFoundError as error:
        raise BadSample(f"missing {kind}") from error
    except OSError as error:
        raise BadSample(f"unreadable {kind}") from error
    except NotUTF8 as error:
        raise BadSample(f"{kind} in {error}") from error
    if not text:
        raise BadSample(f"empty {kind}")
    return text
