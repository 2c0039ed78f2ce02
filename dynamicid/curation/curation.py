"""Runs all stages in order. A rerun continues where the last run ended, even if that was killed."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DynamicIDError
from ..files.atomic import remove_partials, translate_io_errors, write_text
from ..files.skipped import Skipped, write_list
from ..files.tables import Row, read_rows, write_rows
from ..files.versions import check_stamp, stamp
from . import cluster, portraits
from .listing import read_passed_over, write_listing
from .parts import part_numbers, part_path, stage_rows
from .report import write_report
from .settings import FORMAT, Settings, check, from_json
from .stages import STAGES, is_part_done, make_part, numbers_of

NOT_CHOSEN = "not chosen: others spread wider"
SAME_PICTURE = "the same picture again"
SETTINGS_NAME = "settings.json"
REMOVING_NAME = "removing.json"
"""Ids of a removal that has begun and not ended."""
LOCK_NAME = "lock"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """Result of a curation.

    Attributes:
        listed: Number of listed photos.
        kept: Number of photos in the data set.
        people: Number of people in the data set.
        reasons: Why photos were rejected -> how many.
    """

    listed: int
    kept: int
    people: int
    reasons: dict[str, int]


def curate(
    settings: Settings,
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0.0,
    progress: Progress = lambda stage, done, total: None,
) -> Outcome:
    """Makes a data set in the VariFace layout from photos.

    Args:
        settings: Inputs, output and limits.
        workers: Number of processors to use; None = all of this machine.
        address: Of a Ray cluster; None = this machine only.
        gpus: Share of a GPU per process.
        progress: Called with stage, number of finished parts and number of all parts.

    Raises:
        DynamicIDError: Bad settings or inputs, an output folder that holds other files or is in use, or a full disk.
    """
    check(settings)
    _check_folder(settings)
    with exclusive_lock(settings.work):
        prepare_folder(settings)
        listed = write_listing(settings)
        with cluster.processes(workers, address):
            for stage in STAGES:
                run_stage(settings, stage, gpus, progress)
        return finish(settings, listed)


@contextmanager
def exclusive_lock(work: Path) -> Iterator[None]:
    """Holds the lock of a work folder; it is released with the process, however that ends.

    Raises:
        DynamicIDError: Another process holds it, or it cannot be written.
    """
    lock = FileLock(work / LOCK_NAME)
    with translate_io_errors(work, "--out"):
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            found = f"Another run is at work in '{work.parent}'."
            raise DynamicIDError("--out", found, "Wait until it ends.") from error
    try:
        yield
    finally:
        lock.release()


def _check_folder(settings: Settings) -> None:
    is_ours = any((settings.work / name).is_file() for name in (SETTINGS_NAME, LOCK_NAME))
    if settings.out.exists() and not is_ours and (not settings.out.is_dir() or any(settings.out.iterdir())):
        raise DynamicIDError("--out", f"'{settings.out}' holds other files.", "Name a new folder.")


def prepare_folder(settings: Settings) -> None:
    """Removes temporary files of killed runs and writes the settings into the output folder.

    Raises:
        DynamicIDError: It was begun with other labels, a removal there did not end, or a later version wrote it.
    """
    path = settings.work / SETTINGS_NAME
    if (settings.work / REMOVING_NAME).is_file():
        raise DynamicIDError("--out", "A removal was interrupted here.", "Finish it first: curate remove OUT --finish.")
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        check_stamp("--out", before, FORMAT)
        labels = before["labels"]
        if labels != settings.labels:
            found = f"'{settings.out}' was begun with '{labels}', and its photos are listed with these labels."
            raise DynamicIDError("--labels", found, "Use the same, or name a new --out.")
    remove_partials(settings.out)
    write_text(path, json.dumps({**stamp(FORMAT), **settings.as_json()}, indent=1) + "\n")


def run_stage(settings: Settings, stage: str, gpus: float, progress: Progress) -> None:
    """Computes the parts of a stage that are not done, and removes parts that are no longer needed."""
    numbers = numbers_of(settings, stage)
    for number in set(part_numbers(settings.work, stage)) - set(numbers):
        path = part_path(settings.work, stage, number)
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink()
    pending = [number for number in numbers if not is_part_done(settings, stage, number)]
    progress(stage, len(numbers) - len(pending), len(numbers))
    if STAGES[stage].is_single_part:
        results: Iterator[Row] = (make_part(settings, stage, number) for number in pending)
    else:

        def work(job: Row) -> Row:
            return make_part(settings, stage, int(job["number"]))

        results = cluster.run_parts(work, [{"number": number} for number in pending], gpus)
    for done, _ in enumerate(results, start=1):
        progress(stage, len(numbers) - len(pending) + done, len(numbers))


def open_output(out: Path) -> Settings:
    """The settings of an output folder.

    Raises:
        DynamicIDError: ``curate`` did not write it, or a later version did.
    """
    path = out / "work" / SETTINGS_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check_stamp("OUT", content, FORMAT)
        return from_json(content, out)
    except DynamicIDError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DynamicIDError("OUT", f"'{out}' was not written by 'curate'.", "Name its --out folder.") from error


def report_again(out: Path, people: Sequence[str] = ()) -> Path:
    """Writes ``report.html`` anew, with the sheets of these people, or of all if none is named; returns its path.

    Raises:
        DynamicIDError: ``out`` was not written by ``curate``, is in use or not finished, or there is no such person.
    """
    settings = open_output(out)
    with exclusive_lock(settings.work):
        if not (out / "photos.parquet").is_file():
            raise DynamicIDError("OUT", f"The curation in '{out}' has not ended.", "Run it again; it continues.")
        kept = read_rows(out / "photos.parquet")
        names = {row["person"] for row in kept}
        for name in people:
            if name not in names:
                raise DynamicIDError("--person", f"There is no person '{name}'.", "See the folders of variface.")
        reasons = dict(Counter(item.reason for item in rejected_photos(settings)))
        return write_report(settings, kept, reasons, sorted(people or names))


def finish(settings: Settings, listed: int) -> Outcome:
    """Writes the result tables and the report, and removes portraits and shards that are no longer part of the data."""
    kept = [row for row in stage_rows(settings.work, "portraits") if not row["reason"]]
    _remove_stale(settings, kept)
    write_rows(settings.out / "photos.parquet", kept, portraits.SCHEMA)
    skipped = list(rejected_photos(settings))
    write_list(settings.out / "skipped.txt", skipped, twins(settings))
    reasons = dict(Counter(item.reason for item in skipped))
    write_report(settings, kept, reasons)
    return Outcome(listed, len(kept), len({row["person"] for row in kept}), reasons)


def rejected_photos(settings: Settings) -> Iterator[Skipped]:
    """Source and reason of every listed photo that is not in the data set, and of all that is no photo."""
    yield from read_passed_over(settings.work)
    late = {row["photo_id"]: row["reason"] for row in read_rows(part_path(settings.work, "people")) if row["reason"]}
    late |= {row["photo_id"]: NOT_CHOSEN for row in read_rows(part_path(settings.work, "chosen")) if row["rank"] < 0}
    late |= {row["photo_id"]: SAME_PICTURE for row in read_rows(part_path(settings.work, "duplicates"))}
    written = stage_rows(settings.work, "portraits", ("photo_id", "reason"))
    late |= {row["photo_id"]: row["reason"] for row in written if row["reason"]}
    for number in part_numbers(settings.work, "listing"):
        early: dict[str, str] = {}
        for stage in ("decoded", "measured"):
            rows = read_rows(part_path(settings.work, stage, number), ("photo_id", "reason"))
            early |= {row["photo_id"]: row["reason"] for row in rows if row["reason"]}
        for row in read_rows(part_path(settings.work, "listing", number), ("photo_id", "source")):
            reason = early.get(row["photo_id"]) or late.get(row["photo_id"])
            if reason:
                yield Skipped(row["source"], reason)


def twins(settings: Settings) -> dict[str, str]:
    """Source of every duplicate -> source of the photo that stayed."""
    twin_of = {row["photo_id"]: row["duplicate_of"] for row in read_rows(part_path(settings.work, "duplicates"))}
    wanted = {*twin_of, *twin_of.values()}
    listed = stage_rows(settings.work, "listing", ("photo_id", "source"))
    source_of = {row["photo_id"]: row["source"] for row in listed if row["photo_id"] in wanted}
    return {source_of[photo_id]: source_of[twin] for photo_id, twin in twin_of.items()}


def _remove_stale(settings: Settings, kept: list[Row]) -> None:
    """Removes portraits and shards of earlier runs with other settings."""
    wanted: set[Path] = {path for row in kept for path in portraits.files_of(settings.variface, row["file"])}
    people = {row["person"] for row in kept}
    if settings.variface.is_dir():
        for folder in settings.variface.iterdir():
            if folder.name not in people:
                shutil.rmtree(folder)
                continue
            for path in set(folder.iterdir()) - wanted:
                path.unlink()
    shards = {portraits.shard_path(settings, number) for number in part_numbers(settings.work, "portraits")}
    for path in set(settings.shards.glob("variface-*.tar")) - shards:
        path.unlink()
