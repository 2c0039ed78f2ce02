"""Takes people or photos out again, with every derivative, and keeps them out.

Removed are the photo and whatever was found to be the same picture: rows of every table (measurements, embeddings),
portrait, face prompt, landmark map, the shard's copy, listing and report. What stays is a hash that keeps the photo
from being listed again (``tombstones.py``). The originals are yours to delete; so is whatever was trained or cached.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import DynamicIDError
from ..files.atomic import atomic_write, remove_partials
from ..files.tables import read_rows, read_table, write_table
from . import portraits
from .curation import REMOVING_NAME, SETTINGS_NAME, Outcome, alone_in, finish
from .parts import part_numbers, part_path
from .removal_list import Tombstones
from .settings import Settings, from_json
from .stages import STAGES, fingerprint, is_part_done


def remove(out: Path, people: Sequence[str], photos: Sequence[str]) -> tuple[int, Outcome]:
    """Removes people (by folder name or given label) and photos (by id) from what ``curate`` wrote to ``out``.

    A removal that was cut off is finished by the next one, which may name nobody.

    Returns:
        How many photos were removed, and what is left.

    Raises:
        DynamicIDError: ``out`` was not written by ``curate`` or is in use, or there is no such person or photo.
    """
    path = out / "work" / SETTINGS_NAME
    try:
        settings = from_json(json.loads(path.read_text(encoding="utf-8")), out)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DynamicIDError("OUT", f"'{out}' was not written by 'curate'.", "Name its --out folder.") from error
    with alone_in(settings.work):
        return _remove(settings, people, photos)


def _remove(settings: Settings, people: Sequence[str], photos: Sequence[str]) -> tuple[int, Outcome]:
    remove_partials(settings.out)
    pending = settings.work / REMOVING_NAME
    ids, labels = _asked_for(settings, people, photos)
    ids |= _same_pictures(settings, ids)
    if pending.is_file():
        ids |= set(json.loads(pending.read_text(encoding="utf-8")))
    with atomic_write(pending) as partial:
        partial.write_text(json.dumps(sorted(ids)), encoding="utf-8")
    Tombstones(settings.work).add(ids, labels)
    done = [
        (stage, number)
        for stage in STAGES
        for number in part_numbers(settings.work, stage)
        if is_part_done(settings, stage, number)
    ]
    shards = _purge(settings, ids)
    for stage, number in done:
        record = part_path(settings.work, stage, number).with_suffix(".json")
        about = json.loads(record.read_text(encoding="utf-8"))
        about["made_from"] = fingerprint(settings, stage, number)
        with atomic_write(record) as partial:
            partial.write_text(json.dumps(about), encoding="utf-8")
    for number in shards:
        portraits.write_shard(settings, number, read_rows(part_path(settings.work, "portraits", number)))
    listed = sum(
        pq.ParquetFile(part_path(settings.work, "listing", number)).metadata.num_rows
        for number in part_numbers(settings.work, "listing")
    )
    outcome = finish(settings, listed)
    pending.unlink()
    return len(ids), outcome


def _asked_for(settings: Settings, people: Sequence[str], photos: Sequence[str]) -> tuple[set[str], set[str]]:
    """Ids of the photos, and labels to keep out."""
    wanted_people, ids = set(people), set()
    person_of = _person_of(settings)
    known_photos, known_people = set(), set()
    for number in part_numbers(settings.work, "listing"):
        columns = ("photo_id", "label")
        for row in read_rows(part_path(settings.work, "listing", number), columns):
            names = {row["label"], person_of.get(row["photo_id"], "")} - {""}
            known_photos.add(row["photo_id"])
            known_people |= names & wanted_people
            if names & wanted_people:
                ids.add(row["photo_id"])
    for name in people:
        if name not in known_people:
            raise DynamicIDError("--person", f"There is no person '{name}'.", "See the folders of variface.")
    for one in photos:
        if one not in known_photos:
            raise DynamicIDError("--photo", f"There is no photo '{one}'.", "See the column photo_id of photos.parquet.")
    return ids | set(photos), wanted_people


def _person_of(settings: Settings) -> dict[str, str]:
    path = part_path(settings.work, "people")
    return {row["photo_id"]: row["person"] for row in read_rows(path)} if path.is_file() else {}


def _same_pictures(settings: Settings, ids: set[str]) -> set[str]:
    """Photos that show the very picture of one of these, whichever of them stayed."""
    path = part_path(settings.work, "duplicates")
    original = {row["photo_id"]: row["duplicate_of"] for row in read_rows(path)} if path.is_file() else {}
    stayed = {original.get(one, one) for one in ids}
    return stayed | {one for one, other in original.items() if other in stayed}


def _purge(settings: Settings, ids: set[str]) -> set[int]:
    """Removes rows and files; returns the parts whose shard is to be written again. Stages last to first."""
    shards = set()
    for stage in ("portraits", "chosen", "people", "measured", "duplicates", "decoded", "listing"):
        for number in part_numbers(settings.work, stage):
            path = part_path(settings.work, stage, number)
            table = read_table(path)
            hit = [one in ids for one in table["photo_id"].to_pylist()]
            if stage == "portraits":
                for row in table.filter(pa.array(hit, type=pa.bool_())).to_pylist():
                    shards.add(number)
                    for file in portraits.files_of(settings.variface, row["file"]) if row["file"] else ():
                        file.unlink(missing_ok=True)
            if any(hit):
                write_table(path, table.filter(pa.array([not one for one in hit], type=pa.bool_())))
    return shards
