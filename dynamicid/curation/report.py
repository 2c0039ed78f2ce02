"""The report of a curation: one HTML file without external resources."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..faces.prompts import EMOTIONS
from ..files.atomic import write_text
from ..files.html import picture_url, render_template
from ..files.tables import Row, read_rows
from .choosing import pose_cell
from .parts import part_numbers, part_path, stage_rows
from .people import Grouping, read_embeddings, read_grouping
from .settings import Settings
from .stages import STAGES

MOST_PEOPLE_SHOWN = 24
PHOTOS_SHOWN = 12
THUMBNAIL = 72
BINS = 60
PHOTOS_READ = 20_000
"""Of this many photos embeddings are read for the histogram within and between people."""
_PHOTOS_COMPARED, _PAIRS_BETWEEN = 30, 40_000
POSES = [(pitch, yaw) for pitch in (1, 0, -1) for yaw in (-1, 0, 1)]
POSE_NAMES = ["up left", "up", "up right", "left", "front", "right", "down left", "down", "down right"]


def write_report(
    settings: Settings, kept: Sequence[Row], reasons: dict[str, int], shown: Sequence[str] | None = None
) -> Path:
    """Writes ``report.html``; returns its path.

    Args:
        settings: Of the curation.
        kept: Rows of the portraits.
        reasons: Why photos were rejected -> how many.
        shown: People whose photos it shows; None = the first MOST_PEOPLE_SHOWN by name.
    """
    path, names = settings.out / "report.html", sorted({row["person"] for row in kept})
    shown = names[:MOST_PEOPLE_SHOWN] if shown is None else shown
    within, between = similarities(settings)
    grouping = read_grouping(settings)
    page = render_template(
        Path(__file__).with_name("report.html.jinja"),
        counts=stage_counts(settings, len(kept)),
        reasons=sorted(reasons.items(), key=lambda item: (-item[1], item[0])),
        people=sheets(settings, kept, shown),
        people_count=len(names),
        poses=POSE_NAMES,
        histogram=histogram(within, between),
        spread=[(name, *_spread(values)) for name, values in (("within", within), ("between", between))],
        grouping=grouping,
        threshold_place=(grouping.threshold + 1) / 2 * BINS,
        merges=merges(grouping),
        labels=settings.labels,
        bins=BINS,
        throughput=throughput(settings),
        expressions_by=settings.emotion_model or "the landmarks, relative to the person's other photos",
        settings=settings.as_json(),
    )
    write_text(path, page)
    return path


def stage_counts(settings: Settings, kept: int) -> list[tuple[str, int]]:
    """Name and number of the photos left after each stage."""

    def rows(stage: str, column: str) -> list:
        return [row[column] for row in stage_rows(settings.work, stage, [column])]

    readable = rows("decoded", "reason")
    measured = stage_rows(settings.work, "measured", ("photo_id", "reason"))
    good = {row["photo_id"] for row in measured if not row["reason"]}
    return [
        ("listed", len(readable)),
        ("can be read", readable.count("")),
        ("one good face", len(good)),
        ("no duplicates", len(good.difference(rows("duplicates", "photo_id")))),
        ("of a person with enough photos", rows("people", "reason").count("")),
        ("chosen and written", kept),
    ]


def similarities(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of pairs of photos of one person, and of two people: a fixed random sample of each."""
    person_of = {row["photo_id"]: row["person"] for row in read_rows(part_path(settings.work, "people"))}
    ids, vectors = read_embeddings(settings, _sample(person_of))
    members: dict[str, list[int]] = defaultdict(list)
    for i, photo_id in enumerate(ids):
        members[person_of[photo_id]].append(i)
    within = [np.zeros(0, dtype=np.float32)]
    for group in members.values():
        sample = vectors[group[:_PHOTOS_COMPARED]]
        within.append((sample @ sample.T)[np.triu_indices(len(sample), 1)])
    random = np.random.default_rng(0)
    numbers = {person: number for number, person in enumerate(sorted(members))}
    people = np.array([numbers[person_of[photo_id]] for photo_id in ids], dtype=np.int64)
    pairs = random.integers(0, max(len(ids), 1), (2, _PAIRS_BETWEEN if len(ids) else 0))
    pairs = pairs[:, people[pairs[0]] != people[pairs[1]]] if len(ids) else pairs
    return np.concatenate(within), np.einsum("ij,ij->i", vectors[pairs[0]], vectors[pairs[1]])


def _sample(person_of: dict[str, str]) -> set[str] | None:
    """Photos of people drawn at random, about PHOTOS_READ of them; None = there are no more than these."""
    if len(person_of) <= PHOTOS_READ:
        return None
    counts = Counter(person_of.values())
    people, wanted, total = sorted(counts), set(), 0
    for i in np.random.default_rng(0).permutation(len(people)):
        wanted.add(people[i])
        total += counts[people[i]]
        if total >= PHOTOS_READ:
            break
    return {photo_id for photo_id, person in person_of.items() if person in wanted}


def merges(grouping: Grouping) -> list[tuple[float, float]]:
    """Place 0..BINS and height of each bin of the histogram of merges, scaled to a maximum of 1."""
    count, highest = len(grouping.histogram), max(grouping.histogram, default=0)
    return [(i * BINS / count, height / highest) for i, height in enumerate(grouping.histogram) if height]


def histogram(within: np.ndarray, between: np.ndarray) -> list[tuple[int, float, float]]:
    """Per bin of cosines -1..1: its index and its heights within and between people, each scaled to a maximum of 1."""
    heights = []
    for values in (within, between):
        counts = np.histogram(values, bins=BINS, range=(-1, 1))[0].astype(float)
        heights.append(counts / max(counts.max(), 1))
    return [(i, float(heights[0][i]), float(heights[1][i])) for i in range(BINS)]


def sheets(settings: Settings, kept: Sequence[Row], shown: Sequence[str]) -> list[Row]:
    """Of these people: counts of expression x pose, available and chosen, and thumbnails."""
    by_person: dict[str, list[Row]] = defaultdict(list)
    for row in kept:
        by_person[row["person"]].append(row)
    there, counts = _cells(settings, set(shown))
    result = []
    for person in shown:
        rows = sorted(by_person[person], key=lambda row: row["rank"])
        chosen = Counter((row["expression"], pose_cell(np.array(row["pose"]))) for row in rows)
        grid = [(word, [(chosen[word, cell], there[person][word, cell]) for cell in POSES]) for word in EMOTIONS]
        photos = [(_thumbnail(settings.variface / row["file"]), row["prompt"]) for row in rows[:PHOTOS_SHOWN]]
        result.append({
            "name": person, "grid": grid, "photos": photos, "chosen": len(rows), "there": counts[person],
            "covered": len(chosen), "possible": len(there[person]),
        })  # fmt: skip
    return result


def throughput(settings: Settings) -> list[Row]:
    """Per stage: photos, seconds of work, and peak memory of a process."""
    result = []
    for stage in STAGES:
        records = [
            json.loads(part_path(settings.work, stage, number).with_suffix(".json").read_text(encoding="utf-8"))
            for number in part_numbers(settings.work, stage)
        ]
        photos, seconds = sum(record["photos"] for record in records), sum(record["seconds"] for record in records)
        peak = max((record["peak_mb"] for record in records), default=0)
        rate = photos / seconds if seconds else 0.0
        result.append({"stage": stage, "photos": photos, "seconds": seconds, "rate": rate, "peak": peak})
    return result


def _cells(settings: Settings, people: set[str]) -> tuple[dict[str, Counter], Counter]:
    word_of = {
        row["photo_id"]: (row["person"], row["word"])
        for row in read_rows(part_path(settings.work, "chosen"), ("photo_id", "person", "word"))
        if row["person"] in people
    }
    there: dict[str, Counter] = defaultdict(Counter)
    counts: Counter = Counter()
    for row in stage_rows(settings.work, "measured", ("photo_id", "pose")):
        if row["photo_id"] in word_of:
            person, word = word_of[row["photo_id"]]
            there[person][word, pose_cell(np.array(row["pose"]))] += 1
            counts[person] += 1
    return there, counts


def _thumbnail(path: Path) -> str:
    """A JPEG as a data URL."""
    with Image.open(path) as picture:
        return picture_url(picture, THUMBNAIL)


def _spread(values: np.ndarray) -> tuple[int, str]:
    """Number of values, and their 5th, 50th and 95th percentile as text."""
    if not len(values):
        return 0, "no pairs"
    low, middle, high = np.percentile(values, [5, 50, 95])
    return len(values), f"5 %: {low:.2f}, median: {middle:.2f}, 95 %: {high:.2f}"
