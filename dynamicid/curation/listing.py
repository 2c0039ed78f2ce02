"""Stage 0: the photos of the inputs. The list only grows, so a photo keeps its part when others are added or vanish.

A photo's id is 16 hex digits of the SHA-256 of its source: ``<input's name>/<path in it>`` or ``<shard>#<member>``.
"""

import csv
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import DynamicIDError
from ..files.atomic import write_text
from ..files.digests import sha256_hex
from ..files.folders import find_files
from ..files.pictures import PHOTO_SUFFIXES, read_file
from ..files.skipped import BadSample, Skipped, summary
from ..files.tables import Row, read_table, write_rows
from ..files.texts import NotUTF8, decode_text, parse_table, read_text
from .parts import part_numbers, part_path, stage_rows
from .settings import Settings

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
LARGEST_SIDECAR = 1 << 16
SCHEMA = pa.schema(
    {name: pa.string() for name in ("photo_id", "source", "path")}
    | {"offset": pa.int64(), "length": pa.int64()}
    | {name: pa.string() for name in ("label", "consent", "licence", "fault")}
)
"""offset, length: place in a tar file; -1 = the whole file. fault: why the photo cannot be located, or ""."""
PASSED_OVER = "passed_over.json"
"""Names and reasons of what the present inputs hold beside photos."""


def photo_id(source: str) -> str:
    """The id of a source."""
    return sha256_hex(source)[:16]


def write_listing(settings: Settings) -> int:
    """Adds photos that are not listed yet, and writes PASSED_OVER; returns the number of all listed photos.

    Raises:
        DynamicIDError: An input is missing or of no known kind, or there is no photo at all.
    """
    known = {row["photo_id"] for row in stage_rows(settings.work, "listing", ["photo_id"])}
    number, rows, passed = len(part_numbers(settings.work, "listing")), [], []
    removed = RemovalList(settings.work)
    for row in _rows(settings):
        if isinstance(row, Skipped):
            passed.append(row)
        elif row["photo_id"] in known or removed.has_photo(row["photo_id"]) or removed.has_person(row["label"]):
            continue
        else:
            known.add(row["photo_id"])
            rows.append(row)
        if len(rows) == settings.part_size:
            write_rows(part_path(settings.work, "listing", number), rows, SCHEMA)
            number, rows = number + 1, []
    if rows:
        write_rows(part_path(settings.work, "listing", number), rows, SCHEMA)
    write_passed_over(settings.work, [item for item in passed if not removed.has_person(_first_folder(item.name))])
    if not known:
        found = f"There is no photo in it ({summary(passed)})."
        raise DynamicIDError("INPUT", found, f"Photos end in {', '.join(PHOTO_SUFFIXES)}.")
    return len(known)


def write_passed_over(work: Path, passed: Sequence[Skipped]) -> None:
    """Writes PASSED_OVER."""
    write_text(work / PASSED_OVER, json.dumps(passed, indent=0))


def read_passed_over(work: Path) -> list[Skipped]:
    """What ``write_passed_over`` wrote; empty where an earlier version made the folder."""
    path = work / PASSED_OVER
    return [Skipped(*item) for item in json.loads(path.read_text(encoding="ascii"))] if path.is_file() else []


def _first_folder(source: str) -> str:
    """The label of a source with ``--labels folders``."""
    return source.split("/")[1] if source.count("/") > 1 else ""


def _rows(settings: Settings) -> Iterator[Row | Skipped]:
    for path in settings.inputs:
        if path.is_dir():
            photos = _in_folder(path, settings.labels == "folders")
        elif path.suffix.lower() == ".tar" and path.is_file():
            photos = _in_shard(path)
        elif path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
            photos = _in_table(path)
        else:
            raise DynamicIDError(
                "INPUT", f"'{path}' is no folder, shard (.tar) or table (.csv, .tsv, .parquet).", "Name one of these."
            )
        for row in photos:
            if isinstance(row, Skipped):
                yield row
                continue
            source = row["source"].encode("utf-8", "backslashreplace").decode()
            if not _is_text(row.get("path", "")):
                row |= {"path": row["path"].encode("utf-8", "backslashreplace").decode(), "fault": "name is not UTF-8"}
            yield {
                "path": "", "offset": -1, "length": -1, "fault": "", **row, "photo_id": photo_id(source),
                "source": source, "label": "" if settings.labels == "none" else str(row.get("label") or ""),
                "consent": str(row.get("consent") or settings.consent),
                "licence": str(row.get("licence") or settings.licence),
            }  # fmt: skip


def _in_folder(root: Path, label_by_folder: bool) -> Iterator[Row | Skipped]:
    """Photos below ``root`` and in shards there, without hidden files and the landmark maps of the VariFace layout."""
    for path, reason in find_files(root, (*PHOTO_SUFFIXES, ".tar")):
        relative = path.relative_to(root)
        source = f"{root.name}/{relative.as_posix()}"
        if reason:
            yield Skipped(source, reason)
        elif path.suffix.lower() == ".tar":
            yield from _in_shard(path, source)
        elif not _is_landmark_map(path):
            label = relative.parts[0] if label_by_folder and len(relative.parts) > 1 else ""
            yield {"source": source, "path": str(path.absolute()), "label": label}


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8; tables hold no other."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _is_landmark_map(path: Path) -> bool:
    return path.stem.endswith("_landmark") and path.with_stem(path.stem.removesuffix("_landmark")).exists()


def _in_shard(path: Path, source: str | None = None) -> Iterator[Row | Skipped]:
    """Photos of a WebDataset shard, which is not unpacked. ``<key>.json`` may hold person, consent and licence."""
    name = source or path.name
    try:
        with tarfile.open(path, "r:") as tar:
            yield from _members(tar, path, name)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        yield {"source": f"{name}#(rest)", "fault": f"unreadable shard ({type(error).__name__})"}


def _members(tar: tarfile.TarFile, path: Path, name: str) -> Iterator[Row | Skipped]:
    """WebDataset stores the members of one key one after another."""
    key, photos, about, others = "", [], {}, []
    for member in tar:
        if not member.isfile():
            continue
        stem = member.name.rsplit("/", 1)[-1].split(".", 1)[0]
        this_key = member.name.rsplit("/", 1)[0] + "/" + stem
        if this_key != key:
            yield from ({**row, **about} for row in photos) if photos else others
            key, photos, about, others = this_key, [], {}, []
        suffix = Path(member.name).suffix.lower()
        if suffix in PHOTO_SUFFIXES and ".landmark." not in member.name:
            place = {"path": str(path.absolute()), "offset": member.offset_data, "length": member.size}
            photos.append({"source": f"{name}#{member.name}", **place})
        elif suffix == ".json" and member.size <= LARGEST_SIDECAR:
            about = _sidecar(tar, member)
        else:
            others.append(Skipped(f"{name}#{member.name}", f"not read: {suffix or 'a file without ending'}"))
        # tarfile keeps every member in memory; a shard may have very many.
        tar.members = []  # type: ignore[attr-defined]
    yield from ({**row, **about} for row in photos) if photos else others


def _sidecar(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Row:
    file = tar.extractfile(member)
    try:
        content = json.loads(decode_text(file.read())) if file else {}
    except NotUTF8 as error:
        return {"fault": f"sidecar in {error}"}
    except (ValueError, RecursionError):
        return {"fault": "unreadable sidecar"}
    return _about(content) if isinstance(content, dict) else {}


def _in_table(path: Path) -> Iterator[Row | Skipped]:
    """Photos of a table with the column ``path``, relative to it, and optional ``person``, ``consent``, ``licence``."""
    for number, row in enumerate(_table_rows(path), start=1):
        written = str(row["path"] or "")
        if not written:
            yield Skipped(f"{path.name}/row {number}", "no path in this row")
            continue
        photo = path.parent / written
        if "\\" in written and not os.path.exists(photo):
            photo = path.parent / written.replace("\\", "/")
        yield {"source": f"{path.name}/{written}", "path": str(photo.absolute()), **_about(row)}


def _table_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table by column, in lower case.

    Raises:
        DynamicIDError: It cannot be read, or has no column ``path``.
    """
    separator = ""
    try:
        if path.suffix.lower() == ".parquet":
            table = read_table(path)
            columns = [column.strip().lower() for column in table.column_names]
            rows = table.rename_columns(columns).to_pylist()
        else:
            columns, separator, rows = parse_table(read_text(path), "path")
    except (OSError, NotUTF8, csv.Error, pa.ArrowException) as error:
        raise DynamicIDError(
            str(path), f"This table cannot be read ({error}).", "Save it as a CSV in UTF-8, or leave it out."
        ) from error
    if "path" not in columns:
        between = f", separated by {separator!r}" if separator else ""
        found = f"It has no column 'path'; its columns are {', '.join(map(repr, columns)) or 'missing'}{between}."
        raise DynamicIDError(str(path), found, "Call the column of file paths 'path'.")
    return rows


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
        write_text(self.path, "".join(f"{line}\n" for line in sorted(self._hashes)))


def read_bytes(row: Row) -> bytes:
    """The encoded photo of a row of the listing.

    Raises:
        BadSample: The row has a fault, or as ``read_file``.
    """
    if row["fault"]:
        raise BadSample(row["fault"])
    return read_file(Path(row["path"]), row["offset"], row["length"])
