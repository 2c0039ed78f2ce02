"""Stage 0: the photos of the inputs. The list only grows, so a photo keeps its part when others are added or vanish.

A photo's id is 16 hex digits of the SHA-256 of its source: ``<input's name>/<path in it>`` or ``<shard>#<member>``.
"""

import csv
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import DynamicIDError
from ..files.atomic import atomic_write
from ..files.digests import sha256_hex
from ..files.pictures import PHOTO_SUFFIXES, read_file
from ..files.skipped import BadSample
from ..files.tables import Row, read_rows, read_table, write_rows
from .parts import part_numbers, part_path
from .settings import Settings

TABLE_SUFFIXES = (".csv", ".parquet")
LARGEST_SIDECAR = 1 << 16
SCHEMA = pa.schema(
    {name: pa.string() for name in ("photo_id", "source", "path")}
    | {"offset": pa.int64(), "length": pa.int64()}
    | {name: pa.string() for name in ("label", "consent", "licence", "fault")}
)
"""offset, length: place in a tar file; -1 = the whole file. fault: why the photo cannot be located, or ""."""


def photo_id(source: str) -> str:
    """The id of a source."""
    return sha256_hex(source)[:16]


def write_listing(settings: Settings) -> int:
    """Adds photos that are not listed yet; returns the number of all listed photos.

    Raises:
        DynamicIDError: An input is missing or of no known kind, or there is no photo at all.
    """
    numbers = part_numbers(settings.work, "listing")
    known: set[str] = set()
    for number in numbers:
        known.update(read_table(part_path(settings.work, "listing", number), ["photo_id"])["photo_id"].to_pylist())
    count, number, rows = len(known), len(numbers), []
    removed = RemovalList(settings.work)
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
            photos = _in_folder(path, settings.labels == "folders")
        elif path.suffix.lower() == ".tar" and path.is_file():
            photos = _in_shard(path)
        elif path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
            photos = _in_table(path)
        else:
            raise DynamicIDError(
                "INPUT", f"'{path}' is no folder, shard (.tar) or table (.csv, .parquet).", "Name one of these."
            )
        for row in photos:
            source = row["source"].encode("utf-8", "backslashreplace").decode()
            yield {
                "path": "", "offset": -1, "length": -1, "fault": "", **row, "photo_id": photo_id(source),
                "source": source, "label": "" if settings.labels == "none" else str(row.get("label") or ""),
                "consent": str(row.get("consent") or settings.consent),
                "licence": str(row.get("licence") or settings.licence),
            }  # fmt: skip


def _in_folder(root: Path, label_by_folder: bool) -> Iterator[Row]:
    """Photos below ``root`` and in shards there, without hidden files and the landmark maps of the VariFace layout."""
    for path in _walk(root):
        relative = path.relative_to(root)
        source = f"{root.name}/{relative.as_posix()}"
        if path.suffix.lower() == ".tar":
            yield from _in_shard(path, source)
        elif path.suffix.lower() in PHOTO_SUFFIXES and not _is_landmark_map(path):
            label = relative.parts[0] if label_by_folder and len(relative.parts) > 1 else ""
            yield {"source": source, "path": str(path.absolute()), "label": label}


def _walk(folder: Path) -> Iterator[Path]:
    """Files sorted by name, folder by folder; links to folders are not followed, as they may form a cycle."""
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
    """Photos of a WebDataset shard, which is not unpacked. ``<key>.json`` may hold person, consent and licence."""
    name = source or path.name
    try:
        with tarfile.open(path, "r:") as tar:
            yield from _members(tar, path, name)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        yield {"source": f"{name}#(rest)", "fault": f"unreadable shard ({type(error).__name__})"}


def _members(tar: tarfile.TarFile, path: Path, name: str) -> Iterator[Row]:
    """WebDataset stores the members of one key one after another."""
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
        # tarfile keeps every member in memory; a shard may have very many.
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
    """Photos of a table with the column ``path``, relative to it, and optional ``person``, ``consent``, ``licence``."""
    for row in _table_rows(path):
        if "path" not in row:
            raise DynamicIDError(str(path), "It has no column 'path'.", "Call the column of file paths 'path'.")
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
            str(path), f"This table cannot be read ({error}).", "Repair it, or leave it out."
        ) from error


def _about(content: dict[str, Any]) -> Row:
    given = {"label": content.get("person"), "consent": content.get("consent")}
    given["licence"] = content.get("licence") or content.get("license")
    return {name: str(value) for name, value in given.items() if value is not None}


class RemovalList:
    """What was removed and must not be listed again: the file ``work/removed.txt``.

    Each line is the SHA-256 of "photo:<id>" or "person:<label>", so the ids and labels themselves are not kept.
    """

    def __init__(self, work: Path) -> None:
        self.path = work / "removed.txt"
        self._hashes = set(self.path.read_text(encoding="ascii").split()) if self.path.is_file() else set()

    def has_photo(self, photo_id: str) -> bool:
        """Whether this photo was removed."""
        return bool(self._hashes) and sha256_hex(f"photo:{photo_id}") in self._hashes

    def has_person(self, label: str) -> bool:
        """Whether the person with this given label was removed."""
        return bool(label) and bool(self._hashes) and sha256_hex(f"person:{label}") in self._hashes

    def add(self, photo_ids: Iterable[str], labels: Iterable[str] = ()) -> None:
        """Adds photos and people, and writes the file."""
        self._hashes |= {sha256_hex(f"photo:{photo_id}") for photo_id in photo_ids}
        self._hashes |= {sha256_hex(f"person:{label}") for label in labels if label}
        with atomic_write(self.path) as partial:
            partial.write_text("".join(f"{line}\n" for line in sorted(self._hashes)), encoding="ascii")


def read_bytes(row: Row) -> bytes:
    """The encoded photo of a row of the listing.

    Raises:
        BadSample: The row has a fault, or as ``read_file``.
    """
    if row["fault"]:
        raise BadSample(row["fault"])
    return read_file(Path(row["path"]), row["offset"], row["length"])
