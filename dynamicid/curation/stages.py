"""The stages: how each part is computed and what it depends on, the same on the driver and on the workers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..files.digests import digest
from ..files.pictures import OPTIONAL_SUFFIXES, readable_formats
from ..files.tables import Row, read_rows, read_rows_where, read_table, write_rows
from . import choosing, decoding, measuring, people, portraits
from .parts import is_done, part_numbers, part_path, write_record
from .settings import Settings


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        schema: Settings -> the schema of its tables.
        make: (settings, number) -> the rows of a part.
        made_from: (settings, number) -> everything that the rows depend on.
        is_single_part: One part for all photos, computed by the driver.
        follows: The stage that has the same part numbers.
    """

    schema: Callable[[Settings], pa.Schema]
    make: Callable[[Settings, int], list[Row]]
    made_from: Callable[[Settings, int], Any]
    is_single_part: bool = False
    follows: str = "listing"


def make_part(settings: Settings, stage: str, number: int) -> Row:
    """Computes and writes one part unless it is done; returns its record."""
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
    """Digest of everything that a part depends on."""
    return digest(stage, STAGES[stage].made_from(settings, number))


def numbers_of(settings: Settings, stage: str) -> list[int]:
    """The part numbers that a stage must have, given the stage before it."""
    if STAGES[stage].is_single_part:
        return [0]
    if stage == "portraits":
        parts = read_table(part_path(settings.work, "chosen"), ["part"])["part"].unique().to_pylist()
        return sorted(set(parts) - {-1})
    return part_numbers(settings.work, STAGES[stage].follows)


def is_part_done(settings: Settings, stage: str, number: int) -> bool:
    """Whether a part is complete and computed from the present inputs."""
    path = part_path(settings.work, stage, number)
    return path.is_file() and is_done(path, fingerprint(settings, stage, number))


def _files(settings: Settings, stage: str) -> list[str]:
    return [digest(part_path(settings.work, stage, number)) for number in part_numbers(settings.work, stage)]


def _readable_photos(settings: Settings, number: int) -> list[str]:
    """Ids of the photos of a part that were decoded."""
    rows = read_rows(part_path(settings.work, "decoded", number), ("photo_id", "reason"))
    return [row["photo_id"] for row in rows if not row["reason"]]


def _decoded_from(settings: Settings, number: int) -> Any:
    listing = part_path(settings.work, "listing", number)
    sources = read_table(listing, ["source"])["source"].to_pylist()
    # Photos that could not be read are tried again once their reader is installed.
    formats = readable_formats() if any(source.lower().endswith(OPTIONAL_SUFFIXES) for source in sources) else ()
    limits = settings.subset("require_consent", "most_pixels")
    return [digest(listing), limits, settings.labels != "none", *formats]


def _measured_from(settings: Settings, number: int) -> Any:
    limits = settings.subset("face_pack", "several_faces", "smallest_face", "confidence", "sharpness", "occlusion")
    model = settings.emotion_model
    return [_readable_photos(settings, number), limits, settings.most_pixels, *([model.digest] if model else [])]


def _people_from(settings: Settings, number: int) -> Any:
    files = [*_files(settings, "measured"), *_files(settings, "duplicates")]
    return [files, settings.subset("labels", "threshold", "fewest")]


def _chosen_from(settings: Settings, number: int) -> Any:
    sizes = settings.subset("photos", "people_part_size")
    return [digest(part_path(settings.work, "people")), _files(settings, "measured"), sizes]


def _portraits_from(settings: Settings, number: int) -> Any:
    return [read_rows_where(part_path(settings.work, "chosen"), "part", [number]), settings.size]


STAGES: dict[str, Stage] = {
    "decoded": Stage(lambda _: decoding.SCHEMA, decoding.decode_part, _decoded_from),
    "measured": Stage(
        measuring.schema,
        lambda settings, number: measuring.measure_part(settings, number, {*_readable_photos(settings, number)}),
        _measured_from,
        follows="decoded",
    ),
    "duplicates": Stage(
        lambda _: decoding.DUPLICATES_SCHEMA,
        lambda settings, _: decoding.find_duplicates(settings),
        lambda settings, _: [_files(settings, "decoded"), _files(settings, "measured"), settings.duplicate_bits],
        is_single_part=True,
    ),
    "people": Stage(
        lambda _: people.SCHEMA,
        lambda settings, _: people.find_people(settings),
        _people_from,
        is_single_part=True,
    ),
    "chosen": Stage(
        lambda _: choosing.SCHEMA,
        lambda settings, _: choosing.choose_photos(settings),
        _chosen_from,
        is_single_part=True,
    ),
    "portraits": Stage(lambda _: portraits.SCHEMA, portraits.write_part, _portraits_from),
}
"""By the name of the folder in ``work``, in order."""
