"""Stage 3: photos grouped by person, by given labels or by ArcFace similarity.

Up to ``neighbours.EXACT_MOST`` photos are grouped by the driver. More are shared out as jobs: an index of all photos is
made, some of its lists at a time are searched and their photos grouped, and the driver merges these groups. It holds a
sum of vectors for each of them, 4 kB, but no photo's vector. Jobs that a killed run had finished are not run again.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..faces.similarity import SAME_PERSON
from ..files.atomic import atomic_write, write_text
from ..files.digests import digest, sha256_hex
from ..files.folders import is_portable_name
from ..files.tables import Row, read_table
from . import cluster, neighbours
from .grouping import group, group_neighbours, merge_groups
from .measuring import EMBEDDING_WIDTH
from .neighbours import Index
from .parts import part_numbers, part_path, stage_rows
from .settings import AUTO, Settings
from .threshold import REGION_PHOTOS, REGIONS, find_valley, merge_histogram, regions_histogram

SCHEMA = pa.schema({"photo_id": pa.string(), "person": pa.string(), "reason": pa.string()})
TOO_FEW = "too few photos of this person"
ABOUT_NAME, INDEX_NAME = "grouping.json", "index"
"""In ``work``; the index is removed once the people are found."""


@dataclass(frozen=True)
class Grouping:
    """How photos were grouped, as ``work/grouping.json`` keeps it.

    Attributes:
        threshold: Mean cosine above which groups were merged.
        origin: ``given``, the ``valley`` of the histogram, or the ``default`` where there was none.
        histogram: Photos by the similarity at which they merge (``threshold.merge_histogram``); empty if ``given``.
        lists: Number of lists of the index; 0 = all photos were compared with all.
        probes: Lists that were searched for a photo.
        recall: Share of the true nearest neighbours that were found, measured on a sample.
    """

    threshold: float
    origin: str
    histogram: tuple[float, ...] = ()
    lists: int = 0
    probes: int = 0
    recall: float = 1.0


def find_people(settings: Settings) -> list[Row]:
    """One row of SCHEMA per measured photo: its person, and a reason if that person has too few photos."""
    if settings.labels == "none":
        ids, groups, about = find_groups(settings)
        write_text(settings.work / ABOUT_NAME, json.dumps(asdict(about)) + "\n")
        first: dict[int, str] = {}
        for photo_id, number in zip(ids, groups, strict=True):
            first[number] = min(photo_id, first.get(number, photo_id))
        folders = {number: "person-" + _short(photo_id) for number, photo_id in first.items()}
        names = [folders[number] for number in groups]
    else:
        ids = [photo_id for _, part in read_ids(settings) for photo_id in part]
        listed = stage_rows(settings.work, "listing", ("photo_id", "label"))
        labels = {row["photo_id"]: row["label"] for row in listed}
        names = [folder_name(labels[photo_id]) for photo_id in ids]
    counts = Counter(names)
    rows = [
        {"photo_id": photo_id, "person": name, "reason": "" if counts[name] >= settings.fewest else TOO_FEW}
        for photo_id, name in sorted(zip(ids, names, strict=True))
    ]
    shutil.rmtree(settings.work / INDEX_NAME, ignore_errors=True)
    return rows


def find_groups(settings: Settings) -> tuple[list[str], list[int], Grouping]:
    """Ids of all photos that were measured and not rejected, the group number of each, and how they were found."""
    parts = list(read_ids(settings))
    if sum(len(ids) for _, ids in parts) > neighbours.EXACT_MOST:
        return _GroupingJobs(settings, parts).run()
    ids, vectors = read_embeddings(settings)
    about = choose_threshold(settings, lambda: regions_histogram(vectors))
    return ids, group(vectors, about.threshold).tolist(), about


def read_grouping(settings: Settings) -> Grouping:
    """How the people of a finished run were found; of labels, or of an earlier version's run, only the threshold."""
    try:
        content = json.loads((settings.work / ABOUT_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Grouping(SAME_PERSON if settings.threshold == AUTO else settings.threshold, "given")
    return Grouping(**{**content, "histogram": tuple(content["histogram"])})


def read_ids(settings: Settings) -> Iterator[tuple[int, list[str]]]:
    """Part number, and the ids of its photos that were neither rejected nor duplicates, in the order of the table."""
    duplicates = read_duplicates(settings)
    for number in part_numbers(settings.work, "measured"):
        yield number, _read_kept(settings, number, ["photo_id", "reason"], duplicates)["photo_id"].to_pylist()


def read_duplicates(settings: Settings) -> frozenset[str]:
    """Ids of the photos of which a twin stayed."""
    paths = (part_path(settings.work, "duplicates", part) for part in part_numbers(settings.work, "duplicates"))
    return frozenset(photo_id for path in paths for photo_id in read_table(path, ["photo_id"])["photo_id"].to_pylist())


def read_vectors(settings: Settings, number: int, duplicates: frozenset[str]) -> tuple[list[str], np.ndarray]:
    """Ids as ``read_ids`` gives them, and (n, 512) float32 unit vectors, of one part."""
    table = _read_kept(settings, number, ["photo_id", "reason", "embedding"], duplicates)
    flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return table["photo_id"].to_pylist(), flat.reshape(-1, EMBEDDING_WIDTH).astype(np.float32)


def _read_kept(settings: Settings, number: int, columns: Sequence[str], duplicates: frozenset[str]) -> pa.Table:
    """Columns of one part of ``measured``, of the photos that were neither rejected nor duplicates."""
    table = read_table(part_path(settings.work, "measured", number), columns)
    ids, reasons = table["photo_id"].to_pylist(), table["reason"].to_pylist()
    kept = [not reason and photo_id not in duplicates for photo_id, reason in zip(ids, reasons, strict=True)]
    return table.filter(pa.array(kept, type=pa.bool_()))


def read_embeddings(settings: Settings, wanted: set[str] | None = None) -> tuple[list[str], np.ndarray]:
    """Sorted ids and (n, 512) float32 unit vectors of the photos that were neither rejected nor duplicates.

    The memory is that of the result and of one part: the tables are read twice, and no vector is kept twice.

    Args:
        settings: Of the run.
        wanted: Only these photos; None = all.
    """
    found = [photo_id for _, part in read_ids(settings) for photo_id in part]
    ids = sorted(photo_id for photo_id in found if wanted is None or photo_id in wanted)
    position = {photo_id: i for i, photo_id in enumerate(ids)}
    vectors, duplicates = np.empty((len(ids), EMBEDDING_WIDTH), dtype=np.float32), read_duplicates(settings)
    for number in part_numbers(settings.work, "measured"):
        part_ids, part = read_vectors(settings, number, duplicates)
        kept = [i for i, photo_id in enumerate(part_ids) if photo_id in position]
        vectors[[position[part_ids[i]] for i in kept]] = part[kept]
    return ids, vectors


def choose_threshold(settings: Settings, histogram: Callable[[], np.ndarray]) -> Grouping:
    """The given threshold, or that of ``threshold.merge_histogram``; the histogram is made only where it is needed."""
    if settings.threshold != AUTO:
        return Grouping(settings.threshold, "given")
    heights = histogram()
    valley = find_valley(heights)
    threshold, origin = (SAME_PERSON, "default") if valley is None else (valley, "valley")
    return Grouping(threshold, origin, tuple(heights.tolist()))


class _GroupingJobs:
    """Finds the groups of very many photos by jobs; see ``neighbours``.

    Args:
        settings: Of the run.
        parts: What ``read_ids`` yields. The photos are numbered in this order.
    """

    def __init__(self, settings: Settings, parts: Sequence[tuple[int, list[str]]]) -> None:
        self._settings, self._parts = settings, parts
        self._ids = [photo_id for _, ids in parts for photo_id in ids]
        self._index = Index(_fresh_folder(settings, self._ids), len(self._ids))

    def run(self) -> tuple[list[str], list[int], Grouping]:
        """As ``find_groups``."""
        self._make_index()
        about = choose_threshold(self._settings, self._regions_histogram)
        probes, recall = self._index.recall()
        about = replace(about, lists=self._index.lists, probes=probes, recall=round(recall, 4))
        return self._ids, self._merge(self._group_lists(about), about.threshold).tolist(), about

    def _make_index(self) -> None:
        settings, index = self._settings, self._index
        numbers = [number for number, _ in self._parts]

        def train(_: Row) -> None:
            duplicates = read_duplicates(settings)
            index.train(lambda: (read_vectors(settings, number, duplicates)[1] for number in numbers))

        def store(job: Row) -> None:
            duplicates = read_duplicates(settings)
            vectors = np.concatenate([read_vectors(settings, number, duplicates)[1] for number in job["parts"]])
            index.store(job["number"], job["start"], vectors)

        jobs, start, parts, count = [], 0, [], 0
        for number, ids in self._parts:
            parts.append(number)
            count += len(ids)
            if count >= neighbours.STORE_PHOTOS or number == numbers[-1]:
                jobs.append({"number": len(jobs), "start": start, "parts": parts})
                start, parts, count = start + count, [], 0
        _run(train, [{"number": 0}], lambda _: index.centres_path)
        _run(store, jobs, lambda job: index.stored_path(job["number"]))

    def _regions_histogram(self) -> np.ndarray:
        index = self._index

        def work(job: Row) -> None:
            _save(index.folder / job["name"], histogram=merge_histogram(index.region(job["number"], REGION_PHOTOS)))

        jobs = [{"number": number, "name": f"region-{number}.npz"} for number in range(REGIONS)]
        _run(work, jobs, lambda job: index.folder / job["name"])
        return np.sum([np.load(index.folder / job["name"])["histogram"] for job in jobs], axis=0)

    def _group_lists(self, about: Grouping) -> list[Path]:
        """Files of the groups of all photos, some lists a file."""
        index = self._index

        def work(job: Row) -> None:
            numbers, vectors = index.vectors_of(job["first"], job["last"])
            similar, near = index.search(vectors, about.probes)
            order = np.argsort(numbers)
            place = np.minimum(np.searchsorted(numbers[order], near), len(numbers) - 1)
            is_inside = numbers[order][place] == near
            groups, sums, sizes = group_neighbours(
                vectors, similar, np.where(is_inside, order[place], -1), about.threshold
            )
            rows, columns = np.nonzero(~is_inside & (near >= 0) & (similar > about.threshold))
            outside = np.unique(np.stack([groups[rows], near[rows, columns]], axis=1), axis=0)
            _save(index.folder / job["name"], numbers=numbers, groups=groups, sums=sums, sizes=sizes, outside=outside)

        jobs, first, count = [], 0, 0
        for at, size in enumerate(index.sizes().tolist(), start=1):
            count += size
            if count >= neighbours.SEARCH_PHOTOS or (at == index.lists and count):
                name = f"groups-{about.threshold}-{len(jobs):05d}.npz"
                jobs.append({"first": first, "last": at, "name": name})
                first, count = at, 0
        _run(work, jobs, lambda job: index.folder / job["name"])
        return [index.folder / job["name"] for job in jobs]

    def _merge(self, files: Sequence[Path], threshold: float) -> np.ndarray:
        """(n,) group numbers of all photos."""
        group_of = np.zeros(len(self._ids), dtype=np.int64)
        sums, sizes, starts = [], [], [0]
        for file in files:
            part = np.load(file)
            group_of[part["numbers"]] = part["groups"] + starts[-1]
            sums.append(part["sums"])
            sizes.append(part["sizes"])
            starts.append(starts[-1] + len(part["sizes"]))
        pairs = [np.zeros((0, 2), dtype=np.int64)]
        for file, start in zip(files, starts, strict=False):
            outside = np.load(file)["outside"]
            pairs.append(np.unique(np.stack([outside[:, 0] + start, group_of[outside[:, 1]]], axis=1), axis=0))
        merged = merge_groups(np.concatenate(sums), np.concatenate(sizes), threshold, np.concatenate(pairs))
        return merged[group_of]


def _run(work: Callable[[Row], None], jobs: Sequence[Row], result_of: Callable[[Row], Path]) -> None:
    """Runs the jobs whose file or folder is not there."""

    def work_on(job: Row) -> Row:
        work(job)
        return {"done": True}

    for _ in cluster.run_parts(work_on, [job for job in jobs if not result_of(job).exists()]):
        pass


def _fresh_folder(settings: Settings, ids: Sequence[str]) -> Path:
    """The index's folder; that of an index of other photos is removed."""
    records = (
        json.loads(part_path(settings.work, "measured", number).with_suffix(".json").read_text(encoding="utf-8"))
        for number in part_numbers(settings.work, "measured")
    )
    made_from = digest([record["made_from"] for record in records], ids)
    folder = settings.work / INDEX_NAME / made_from[:16]
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _save(path: Path, **arrays: Any) -> None:
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def folder_name(label: str) -> str:
    """The folder of a label: the label itself if it is a plain word, else a hash. ``cache`` is reserved in VariFace."""
    is_word = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", label) and label.lower() != "cache"
    return label if is_word and is_portable_name(label) else "person-" + _short(label)


def _short(text: str) -> str:
    return sha256_hex(text)[:10]
