"""Finds the people in very many made embeddings, and the duplicates among as many made hashes: time and memory of the
driver; of people, recall and adjusted Rand index.

    python benchmarks/people_scale.py [--here] [--photos 10000 30000 100000 300000] [--workers N] [--grid]

An embedding is the direction of a person among 18 that people differ in, and a direction of the photo among 10 others;
the person's share varies from photo to photo. Of 1,000 people this gives an adjusted Rand index of 0.49 at a
threshold of 0.35 and 0.92 at 0.5; drawn photos give 0.54 and 0.88 (``curation_scale.py``). With ``--grid`` it is also
measured at fixed thresholds, for the largest number of photos up to 100,000. Of the hashes nine tenths are random and
a tenth are copies with up to 14 bits changed. Writes ``benchmarks/people_scale.json``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts._bootstrap import print_line, relaunch_in_environment  # noqa: E402

if TYPE_CHECKING:
    import numpy as np

    from dynamicid.curation.settings import Settings

RESULT = ROOT / "benchmarks" / "people_scale.json"
WIDTH, PERSON_WIDTH, PHOTO_WIDTH = 512, 18, 10
PERSON_SHARE, SHARE_SPREAD = 0.67, 0.14
PHOTOS_OF_EACH, PART = 100, 2048
GRID = (0.35, 0.5, 0.52, 0.54, 0.56, 0.58)


def made_embeddings(people: int, photos: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 512) float32 unit vectors in random order, and (n,) whose they are."""
    import numpy as np

    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(WIDTH, PERSON_WIDTH + PHOTO_WIDTH)))[0].T.astype(np.float32)
    truth = random.permutation(np.repeat(np.arange(people), photos))
    person = _unit(random.normal(size=(people, PERSON_WIDTH)))[truth]
    photo = _unit(random.normal(size=(len(truth), PHOTO_WIDTH)))
    share = np.clip(PERSON_SHARE + SHARE_SPREAD * random.normal(size=(len(truth), 1)), 0.2, 0.95)
    mixed = np.concatenate([np.sqrt(share) * person, np.sqrt(1 - share) * photo], axis=1).astype(np.float32)
    return _unit(mixed @ axes), truth


def _unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_measured(settings: Settings, vectors: np.ndarray) -> None:
    """Writes the parts of a stage ``measured`` with these embeddings."""
    import pyarrow as pa

    from dynamicid.curation.measuring import SCHEMA
    from dynamicid.curation.parts import part_path, write_record
    from dynamicid.files.tables import write_table

    for number, start in enumerate(range(0, len(vectors), PART)):
        part = vectors[start : start + PART]
        ids = [f"{start + i:016x}" for i in range(len(part))]
        embedding = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), WIDTH)
        table = pa.table({"photo_id": ids, "reason": [""] * len(ids), "embedding": embedding})
        table = table.cast(pa.schema([SCHEMA.field(name) for name in table.column_names]))
        path = part_path(settings.work, "measured", number)
        write_table(path, table)
        write_record(path, f"{len(vectors)}-{number}", len(part), 0.0)


def measure(settings: Settings, truth: np.ndarray, workers: int) -> dict[str, Any]:
    """Finds the people as the command does; the figures. To be called in a process of its own."""
    from sklearn.metrics import adjusted_rand_score

    from dynamicid.curation import cluster
    from dynamicid.curation.people import find_people, read_grouping

    with cluster.processes(workers, None):
        # What the libraries take is not the stage's.
        list(cluster.run_parts(lambda job: job, [{"number": number} for number in range(workers)]))
        with _usage() as usage:
            rows = find_people(settings)
    about = asdict(read_grouping(settings))
    index = adjusted_rand_score(truth, [row["person"] for row in rows])
    return {
        "photos": len(truth), **usage, "adjusted_rand_index": round(index, 4),
        **{name: about[name] for name in about if name != "histogram"},
    }  # fmt: skip


def made_hashes(photos: int, seed: int = 0) -> np.ndarray:
    """(photos, 32) uint8."""
    import numpy as np

    random = np.random.default_rng(seed)
    hashes = random.integers(0, 256, (photos, 32), dtype=np.uint8)
    changed = np.unpackbits(hashes[random.integers(0, photos, photos // 10)], axis=1)
    for bits in changed:
        bits[random.choice(256, random.integers(0, 15), replace=False)] ^= 1
    hashes[random.permutation(photos)[: len(changed)]] = np.packbits(changed, axis=1)
    return hashes


def measure_duplicates(folder: Path | None, photos: int) -> dict[str, Any]:
    """Finds the duplicates as the command does; the figures. To be called in a process of its own."""
    from dynamicid.curation.decoding import SCHEMA, find_duplicates
    from dynamicid.curation.parts import part_path
    from dynamicid.curation.settings import Settings
    from dynamicid.files.tables import write_rows

    hashes = made_hashes(photos)
    empty = {"reason": "", "width": 1, "height": 1, "sha256": ""}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        settings = Settings(out=Path(work), inputs=(), face_pack=Path(work))
        for number, start in enumerate(range(0, photos, PART)):
            part = hashes[start : start + PART]
            rows = [{**empty, "photo_id": f"{start + i:016x}", "phash": row.tobytes()} for i, row in enumerate(part)]
            write_rows(part_path(settings.work, "decoded", number), rows, SCHEMA)
        with _usage() as usage:
            found = len(find_duplicates(settings))
    return {"photos": photos, **usage, "found": found}


@contextmanager
def _usage() -> Iterator[dict[str, float]]:
    """What the block took, once it has ended: seconds, core-seconds, and the driver's peak of memory beyond before."""
    Path("/proc/self/clear_refs").write_text("5")
    memory, busy, began = _peak_mb(), _cpu_seconds(), time.monotonic()
    usage: dict[str, float] = {}
    yield usage
    usage["seconds"] = round(time.monotonic() - began, 1)
    usage["core_seconds"] = round(_cpu_seconds() - busy, 1)
    usage["driver_mb"] = round(_peak_mb() - memory)


def _peak_mb() -> float:
    """Peak memory of this process since ``clear_refs`` was written (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1e3


def _cpu_seconds() -> float:
    """Of this process and all below it."""
    import psutil

    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def run(options: argparse.Namespace, photos: int, thresholds: tuple[Any, ...]) -> list[dict[str, Any]]:
    """One row per threshold."""
    from dynamicid.curation.settings import Settings

    vectors, truth = made_embeddings(photos // PHOTOS_OF_EACH, PHOTOS_OF_EACH)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        settings = Settings(out=Path(folder), inputs=(), face_pack=Path(folder))
        write_measured(settings, vectors)
        del vectors
        rows = []
        for threshold in thresholds:
            rows.append(in_own_process(measure, replace(settings, threshold=threshold), truth, options.workers))
            print_line(json.dumps(rows[-1]))
        return rows


def in_own_process(job: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What ``job`` returns, in a process whose memory nothing else has touched."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
        return own.submit(job, *arguments).result()


def main() -> None:
    """Runs the benchmark and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="use this Python as it is; make no environment")
    parser.add_argument("--photos", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--grid", action="store_true", help="also fixed thresholds")
    parser.add_argument("--folder", type=Path, help="for temporary files")
    options = parser.parse_args()
    if not options.here:
        relaunch_in_environment()
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    kept["cores"], kept["workers"] = os.cpu_count(), options.workers
    kept["duplicates"] = [in_own_process(measure_duplicates, options.folder, photos) for photos in options.photos]
    kept["auto"] = []
    for photos in options.photos:
        kept["auto"] += run(options, photos, ("auto",))
        RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    if options.grid:
        photos = max(photos for photos in options.photos if photos <= 100_000)
        kept["grid"] = [
            {name: row[name] for name in ("photos", "threshold", "adjusted_rand_index")}
            for row in run(options, photos, GRID)
        ]
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
