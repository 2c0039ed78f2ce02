"""What each part of each stage is made from and how: the same on the driver and on any worker."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..files.digests import digest
from ..files.tables import Row, read_rows, read_rows_where, read_table, write_rows
from . import decoding, duplicates, measuring, people, portraits, selection
from .parts import is_done, part_numbers, part_path, write_record
from .settings import Settings


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        schema: Settings -> the schema of its tables.
        make: (settings, number) -> the rows of a part.
        made_from: (settings, number) -> what they follow from.
        is_whole: One part for all photos, made by the driver.
        follows: The stage whose parts give the numbers of this one's.
    """

    schema: Callable[[Settings], pa.Schema]
    make: Callable[[Settings, int], list[Row]]
    made_from: Callable[[Settings, int], Any]
    is_whole: bool = False
    follows: str = "listing"


def make_part(settings: Settings, stage: str, number: int) -> Row:
    """Makes one part, unless it is there; returns its record."""
    made_from = fingerprint(settings, stage, number)
    path = part_path(settings.work, stage, number)
    if is_done(path, made_from):
        return {"photos": 0, "seconds": 0.0}
    path.with_suffix(".json").unlink(missing_ok=True)
    start = time.perf_counter()
    rows = STAGES[stage].make(settings, number)
    write_rows(path, rows, STAGES[stage].schema(settings))
    return write_record(path, made_from, len(rows), time.perf_counter() - start)


def fingerprint(settings: Settings, stage: str, number: int) -> str:
    """Of everything that a part follows from."""
    return digest(stage, STAGES[stage].made_from(settings, number))


def numbers_of(settings: Settings, stage: str) -> list[int]:
    """Which parts a stage has to have, by what the stage before it left."""
    if STAGES[stage].is_whole:
        return [0]
    if stage == "portraits":
        parts = read_table(part_path(settings.work, "chosen"), ["part"])["part"].unique().to_pylist()
        return sorted(set(parts) - {-1})
    return part_numbers(settings.work, STAGES[stage].follows)


def is_part_done(settings: Settings, stage: str, number: int) -> bool:
    """Whether a part is there and follows from what lies there now."""
    path = part_path(settings.work, stage, number)
    return path.is_file() and is_done(path, fingerprint(settings, stage, number))


def _files(settings: Settings, stage: str) -> list[str]:
    return [digest(part_path(settings.work, stage, number)) for number in part_numbers(settings.work, stage)]


def _unique_photos(settings: Settings, number: int) -> list[str]:
    """Ids of a part's photos that can be read and are no duplicates."""
    rows = read_rows(part_path(settings.work, "decoded", number), ("photo_id", "reason"))
    readable = [row["photo_id"] for row in rows if not row["reason"]]
    doubles = read_rows_where(part_path(settings.work, "duplicates"), "photo_id", readable)
    doubled = {row["photo_id"] for row in doubles}
    return [one for one in readable if one not in doubled]


def _decoded_from(settings: Settings, number: int) -> Any:
    listing = digest(part_path(settings.work, "listing", number))
    return [listing, settings.some("require_consent", "most_pixels"), settings.labels != "none"]


def _measured_from(settings: Settings, number: int) -> Any:
    told = settings.some("face_pack", "several_faces", "smallest_face", "confidence", "sharpness", "occlusion")
    model = settings.emotion_model
    return [_unique_photos(settings, number), told, settings.most_pixels, *([model.digest] if model else [])]


def _chosen_from(settings: Settings, number: int) -> Any:
    told = settings.some("photos", "people_part_size")
    return [digest(part_path(settings.work, "people")), _files(settings, "measured"), told]


def _portraits_from(settings: Settings, number: int) -> Any:
    return [read_rows_where(part_path(settings.work, "chosen"), "part", [number]), settings.size]


STAGES: dict[str, Stage] = {
    "decoded": Stage(lambda _: decoding.SCHEMA, decoding.decode_part, _decoded_from),
    "duplicates": Stage(
        lambda _: duplicates.SCHEMA,
        lambda settings, _: duplicates.find_duplicates(settings),
        lambda settings, _: [_files(settings, "decoded"), settings.duplicate_bits],
        is_whole=True,
    ),
    "measured": Stage(
        measuring.schema,
        lambda settings, number: measuring.measure_part(settings, number, frozenset(_unique_photos(settings, number))),
        _measured_from,
        follows="decoded",
    ),
    "people": Stage(
        lambda _: people.SCHEMA,
        lambda settings, _: people.find_people(settings),
        lambda settings, _: [_files(settings, "measured"), settings.some("labels", "threshold", "fewest")],
        is_whole=True,
    ),
    "chosen": Stage(
        lambda _: selection.SCHEMA,
        lambda settings, _: selection.select_photos(settings),
        _chosen_from,
        is_whole=True,
    ),
    "portraits": Stage(lambda _: portraits.SCHEMA, portraits.write_part, _portraits_from),
}
"""By the name of their folder in ``work``, in their order."""
