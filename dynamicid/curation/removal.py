"""Removes people or photos, and everything computed from them, from a finished data set.

Duplicates of a photo are removed with it. Removed are their rows in every table (measurements and embeddings included),
portraits, face prompts, landmark maps, and copies in shards; the report is written anew. A hash remains, which keeps
the photo from being listed again (``listing.RemovalList``). Original photos, trained weights and caches are not
touched.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import DynamicIDError
from ..files.atomic import remove_partials, write_text
from ..files.tables import read_rows, read_table, write_table
from . import portraits
from .curation import REMOVING_NAME, Outcome, exclusive_lock, finish, open_output
from .listing import RemovalList, read_passed_over, write_passed_over
from .parts import part_numbers, part_path, stage_rows
from .people import INDEX_NAME
from .settings import Settings
from .stages import STAGES, fingerprint, is_part_done


def remove(out: Path, people: Sequence[str], photos: Sequence[str]) -> tuple[int, Outcome]:
    """Removes people (by folder name or given label) and photos (by id) from what ``curate`` wrote to ``out``.

    An interrupted removal is finished by the next one, which may name nothing.

    Returns:
        How many photos were removed, and what is left.

    Raises:
        DynamicIDError: ``out`` was not written by ``curate`` or is in use, or there is no such person or photo.
    """
    settings = open_output(out)
    with exclusive_lock(settings.work):
        return _remove(settings, people, photos)


def _remove(settings: Settings, people: Sequence[str], photos: Sequence[str]) -> tuple[int, Outcome]:
    remove_partials(settings.out)
    pending = settings.work / REMOVING_NAME
    ids, labels = _requested(settings, people, photos)
    ids |= _same_pictures(settings, ids)
    if pending.is_file():
        ids |= set(json.loads(pending.read_text(encoding="utf-8")))
    write_text(pending, json.dumps(sorted(ids)))
    RemovalList(settings.work).add(ids, labels)
    done = [
        (stage, number)
        for stage in STAGES
        for number in part_numbers(settings.work, stage)
        if is_part_done(settings, stage, number)
    ]
    # An interrupted run leaves it, with embeddings of these photos.
    shutil.rmtree(settings.work / INDEX_NAME, ignore_errors=True)
    shards = _purge(settings, ids)
    for stage, number in done:
        record = part_path(settings.work, stage, number).with_suffix(".json")
        about = json.loads(record.read_text(encoding="utf-8"))
        about["made_from"] = fingerprint(settings, stage, number)
        write_text(record, json.dumps(about))
    for number in shards:
        portraits.write_shard(settings, number, read_rows(part_path(settings.work, "portraits", number)))
    passed = [item for item in read_passed_over(settings.work) if not labels & set(item.name.split("/"))]
    write_passed_over(settings.work, passed)
    listed = sum(
        pq.ParquetFile(part_path(settings.work, "listing", number)).metadata.num_rows
        for number in part_numbers(settings.work, "listing")
    )
    outcome = finish(settings, listed)
    pending.unlink()
    return len(ids), outcome


def _requested(settings: Settings, people: Sequence[str], photos: Sequence[str]) -> tuple[set[str], set[str]]:
    """Ids of the photos to remove, and labels that must not be listed again."""
    wanted_people, ids = set(people), set()
    person_of = _person_of(settings)
    known_photos, known_people = set(), set()
    for row in stage_rows(settings.work, "listing", ("photo_id", "label")):
        names = {row["label"], person_of.get(row["photo_id"], "")} - {""}
        known_photos.add(row["photo_id"])
        known_people |= names & wanted_people
        if names & wanted_people:
            ids.add(row["photo_id"])
    for name in people:
        if name not in known_people:
            raise DynamicIDError("--person", f"There is no person '{name}'.", "See the folders of variface.")
    for photo_id in photos:
        if photo_id not in known_photos:
            remedy = "See the column photo_id of photos.parquet."
            raise DynamicIDError("--photo", f"There is no photo '{photo_id}'.", remedy)
    return ids | set(photos), wanted_people


def _person_of(settings: Settings) -> dict[str, str]:
    path = part_path(settings.work, "people")
    return {row["photo_id"]: row["person"] for row in read_rows(path)} if path.is_file() else {}


def _same_pictures(settings: Settings, ids: set[str]) -> set[str]:
    """These photos and all duplicates of them, whichever of a group was kept."""
    path = part_path(settings.work, "duplicates")
    original = {row["photo_id"]: row["duplicate_of"] for row in read_rows(path)} if path.is_file() else {}
    kept = {original.get(photo_id, photo_id) for photo_id in ids}
    return kept | {photo_id for photo_id, other in original.items() if other in kept}


def _purge(settings: Settings, ids: set[str]) -> set[int]:
    """Removes rows and files, last stage first; returns the parts whose shard must be written again."""
    shards = set()
    is_removed = pc.field("photo_id").isin(pa.array(sorted(ids), type=pa.string()))
    for stage in ("portraits", "chosen", "people", "duplicates", "measured", "decoded", "listing"):
        for number in part_numbers(settings.work, stage):
            path = part_path(settings.work, stage, number)
            table = read_table(path)
            removed = table.filter(is_removed)
            if stage == "portraits":
                for row in removed.to_pylist():
                    shards.add(number)
                    for file in portraits.files_of(settings.variface, row["file"]) if row["file"] else ():
                        file.unlink(missing_ok=True)
            if removed.num_rows:
                write_table(path, table.filter(~is_removed))
    return shards
