"""Which photos there are. The list only grows: photos keep their part when others are added or vanish later.

A photo's id is 16 hex digits of the SHA-256 of its source, ``<input's name>/<path in it>`` or ``<shard>#<member>``.
"""

import csv
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import DynamicIDError
from ..files.digests import sha256_hex
from ..files.pictures import PHOTO_SUFFIXES, read_file
from ..files.skipped import BadSample
from ..files.tables import Row, read_rows, read_table, write_rows
from .parts import part_numbers, part_path
from .removal_list import Tombstones
from .settings import Settings

TABLE_SUFFIXES = (".csv", ".parquet")
LARGEST_SIDECAR = 1 << 16
SCHEMA = pa.schema(
    {name: pa.string() for name in ("photo_id", "source", "path")}
    | {"offset": pa.int64(), "length": pa.int64()}
    | {name: pa.string() for name in ("label", "consent", "licence", "fault")}
)
"""offset, length: place in a tar file; -1 = the whole file. fault: why it cannot even be listed, or ""."""


def photo_id(source: str) -> str:
    """The id that goes with a source."""
    return sha256_hex(source)[:16]


def write_listing(settings: Settings) -> int:
    """Adds photos that are not listed yet; returns the number of all.

    Raises:
        DynamicIDError: An input is missing, or is nothing that can be listed; no photo at all.
    """
    numbers = part_numbers(settings.work, "listing")
    known: set[str] = set()
    for number in numbers:
        known.update(read_table(part_path(settings.work, "listing", number), ["photo_id"])["photo_id"].to_pylist())
    count, number, rows = len(known), len(numbers), []
    removed = Tombstones(settings.work)
    for row in _rows(settings):
        if row["photo_id"] in known or removed.has_photo(row["photo_id"]) or removed.has_person(row["label"]):
            continue
        known.add(row["photo_id"])
        rows.append(row)
        if len(rows) == settings.part_size:
            write_rows(part_path(settings.work, "listing", number), rows, SCHEMA)
            count, number, rows = count + len(rows), number + 1, []
    if rows:
        write_rows(part_path(settings.work, "listing", number), rows, SCHEMA)
    if not count + len(rows):
        raise DynamicIDError("INPUT", "There is no photo in it.", f"Photos end in {', '.join(PHOTO_SUFFIXES)}.")
    return count + len(rows)


def _rows(settings: Settings) -> Iterator[Row]:
    for path in settings.inputs:
        if path.is_dir():
            found = _in_folder(path, settings.labels == "folders")
        elif path.suffix.lower() == ".tar" and path.is_file():
            found = _in_shard(path)
        elif path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
            found = _in_table(path)
        else:
            raise DynamicIDError(
                "INPUT", f"'{path}' is no folder, shard (.tar) or table (.csv, .parquet).", "Name one of these."
            )
        for row in found:
            source = row["source"].encode("utf-8", "backslashreplace").decode()
            yield {
                "path": "", "offset": -1, "length": -1, "fault": "", **row, "photo_id": photo_id(source),
                "source": source, "label": "" if settings.labels == "none" else str(row.get("label") or ""),
                "consent": str(row.get("consent") or settings.consent),
                "licence": str(row.get("licence") or settings.licence),
            }  # fmt: skip


def _in_folder(root: Path, label_by_folder: bool) -> Iterator[Row]:
    """Photos below ``root``, hidden ones and landmark maps of the VariFace layout left out; shards in it are opened."""
    for path in _walk(root):
        relative = path.relative_to(root)
        source = f"{root.name}/{relative.as_posix()}"
        if path.suffix.lower() == ".tar":
            yield from _in_shard(path, source)
        elif path.suffix.lower() in PHOTO_SUFFIXES and not _is_landmark_map(path):
            label = relative.parts[0] if label_by_folder and len(relative.parts) > 1 else ""
            yield {"source": source, "path": str(path.absolute()), "label": label}


def _walk(folder: Path) -> Iterator[Path]:
    """Files by name, folder by folder; links to folders are not followed, so that no circle arises."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if not path.is_symlink():
                yield from _walk(path)
        else:
            yield path


def _is_landmark_map(path: Path) -> bool:
    return path.stem.endswith("_landmark") and path.with_stem(path.stem.removesuffix("_landmark")).exists()


def _in_shard(path: Path, source: str | None = None) -> Iterator[Row]:
    """Photos of a WebDataset shard where they lie; nothing is unpacked. ``<key>.json`` may hold person and consent."""
    name = source or path.name
    try:
        with tarfile.open(path, "r:") as tar:
            yield from _members(tar, path, name)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        yield {"source": f"{name}#(rest)", "fault": f"unreadable shard ({type(error).__name__})"}


def _members(tar: tarfile.TarFile, path: Path, name: str) -> Iterator[Row]:
    """Members of one key follow one another, as WebDataset has it."""
    key, photos, about = "", [], {}
    for member in tar:
        if not member.isfile():
            continue
        stem = member.name.rsplit("/", 1)[-1].split(".", 1)[0]
        this_key = member.name.rsplit("/", 1)[0] + "/" + stem
        if this_key != key:
            yield from ({**row, **about} for row in photos)
            key, photos, about = this_key, [], {}
        suffix = Path(member.name).suffix.lower()
        if suffix in PHOTO_SUFFIXES and ".landmark." not in member.name:
            place = {"path": str(path.absolute()), "offset": member.offset_data, "length": member.size}
            photos.append({"source": f"{name}#{member.name}", **place})
        elif suffix == ".json" and member.size <= LARGEST_SIDECAR:
            about = _sidecar(tar, member)
        # tarfile remembers every member; a shard may have very many.
        tar.members = []  # type: ignore[attr-defined]
    yield from ({**row, **about} for row in photos)


def _sidecar(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Row:
    file = tar.extractfile(member)
    try:
        content = json.loads(file.read()) if file else {}
    except (ValueError, RecursionError):
        return {"fault": "unreadable sidecar"}
    return _about(content) if isinstance(content, dict) else {}


def _in_table(path: Path) -> Iterator[Row]:
    """Column ``path`` (relative to the table), and ``person``, ``consent``, ``licence`` where there are such."""
    for row in _table_rows(path):
        if "path" not in row:
            raise DynamicIDError(str(path), "It has no column 'path'.", "Name the column of the photos' paths 'path'.")
        written = str(row["path"] or "")
        yield {"source": f"{path.name}/{written}", "path": str((path.parent / written).absolute()), **_about(row)}


def _table_rows(path: Path) -> Iterable[dict[str, Any]]:
    try:
        if path.suffix.lower() == ".parquet":
            return read_rows(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise DynamicIDError(
            str(path), f"It is no table that can be read ({error}).", "Mend or leave it out."
        ) from error


def _about(content: dict[str, Any]) -> Row:
    given = {"label": content.get("person"), "consent": content.get("consent")}
    given["licence"] = content.get("licence") or content.get("license")
    return {name: str(value) for name, value in given.items() if value is not None}


def read_bytes(row: Row) -> bytes:
    """The encoded photo of a row of the listing.

    Raises:
        BadSample: It could not be listed, or as ``read_file``.
    """
    if row["fault"]:
        raise BadSample(row["fault"])
    return read_file(Path(row["path"]), row["offset"], row["length"])
