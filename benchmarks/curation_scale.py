"""Curates many drawn photos: photos per second and stage, memory over time, and the same run killed on its way.

    python benchmarks/curation_scale.py [--here] [--people 1000] [--photos 100] [--workers N] [--kills N] [--folder DIR]

Writes ``benchmarks/curation_scale.json``; ``benchmarks/report.py`` puts it on the page. With ``--kills`` the run is
killed by SIGKILL so many times, evenly over the face analysis, and restarted; its output is compared with the digest
that the last run without kills recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts._bootstrap import print_line, relaunch_in_environment  # noqa: E402

if TYPE_CHECKING:
    import psutil

    from dynamicid.curation.settings import Settings

SIZE = 128
INTERVAL = 15.0
"""Seconds between samples of the memory."""
OUTPUTS = ("variface/**/*", "shards/*", "photos.parquet", "skipped.txt")
"""Files that must not depend on interruptions; the report contains timings."""
FEW_PEOPLE = (25, 100)
THRESHOLDS = (0.35, *(round(0.44 + 0.02 * step, 2) for step in range(10)))
"""Fixed thresholds of ``agreements`` beside ``auto``: the one that is taken where there is no valley, and a grid."""
RESULT = ROOT / "benchmarks" / "curation_scale.json"
Sample = dict[str, float | str]


def draw(photos: Path, people: int, each: int) -> None:
    """Draws the people's folders unless they exist."""
    if not (photos / "annotations.jsonl").is_file():
        command = [sys.executable, "-m", "dynamicid", "synthetic", photos, "--kind", "variface"]
        command += ["--count", people, "--photos", each, "--size", SIZE]
        subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


def start(photos: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """Starts the command."""
    from tiny_models.places import FACE_PACK

    command = [sys.executable, "-m", "dynamicid", "curate", "run", photos, "--out", out, "--face-pack", FACE_PACK]
    command += ["--size", SIZE, "--workers", workers]
    return subprocess.Popen([str(part) for part in command], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


def watch(process: subprocess.Popen[bytes], out: Path, parts_before_kill: int | None) -> Iterator[Sample]:
    """Samples the memory until the run ends; kills it once so many parts are measured."""
    import psutil

    driver, began = psutil.Process(process.pid), time.monotonic()
    while process.poll() is None:
        time.sleep(INTERVAL)
        try:
            memory = _memory(driver)
        except psutil.NoSuchProcess:
            continue
        if memory["driver"]:
            yield {"second": round(time.monotonic() - began), "stage": _stage(out), **memory}
        if parts_before_kill is not None and _measured(out) >= parts_before_kill:
            os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _memory(driver: psutil.Process) -> dict[str, float]:
    """MB of the driver, the largest worker, and all processes with shared pages counted once."""
    import psutil

    family = [driver, *driver.children(recursive=True)]
    workers, everything = [0.0], 0.0
    for process in family:
        try:
            everything += process.memory_full_info().pss / 1e6
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
                workers.append(process.memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            continue
    sizes = {"driver": driver.memory_info().rss / 1e6, "worker": max(workers), "all": everything}
    return {name: round(size) for name, size in sizes.items()}


def _stage(out: Path) -> str:
    from dynamicid.curation.stages import STAGES

    begun = [name for name in STAGES if (out / "work" / name).is_dir()]
    return begun[-1] if begun else "listing"


def _measured(out: Path) -> int:
    return len(list((out / "work" / "measured").glob("part-*.json")))


def digest(out: Path) -> str:
    """Digest of the names and contents of OUTPUTS."""
    from dynamicid.files.digests import sha256_hex, sha256_of_files

    paths = sorted(path for pattern in OUTPUTS for path in out.glob(pattern) if path.is_file())
    entries = (f"{path.relative_to(out)}\n".encode() + bytes.fromhex(sha256_of_files(path)) for path in paths)
    return sha256_hex(b"".join(entries))


def drawn_people(out: Path) -> dict[str, str]:
    """Photo id -> the person that was drawn."""
    from dynamicid.curation.parts import part_numbers, part_path
    from dynamicid.files.tables import read_rows

    work = out / "work"
    numbers = part_numbers(work, "listing")
    listed = (row for number in numbers for row in read_rows(part_path(work, "listing", number)))
    return {row["photo_id"]: row["source"].split("/")[1] for row in listed}


def agreements(out: Path, workers: int) -> list[dict[str, Any]]:
    """Adjusted Rand index of the first few people and of all, by threshold; ``auto`` names what it took."""
    from sklearn.metrics import adjusted_rand_score

    from dynamicid.curation import cluster
    from dynamicid.curation.grouping import group
    from dynamicid.curation.parts import part_path
    from dynamicid.curation.people import INDEX_NAME, choose_threshold, find_groups, read_embeddings, read_grouping
    from dynamicid.curation.threshold import regions_histogram
    from dynamicid.files.tables import read_rows

    settings, drawn = settings_of(out), drawn_people(out)

    def score(ids: Sequence[str], groups: Sequence[Any]) -> float:
        return round(adjusted_rand_score([drawn[photo_id] for photo_id in ids], groups), 4)

    people, rows = sorted(set(drawn.values())), []
    for few in (few for few in FEW_PEOPLE if few < len(people)):
        chosen = set(people[:few])
        ids, vectors = read_embeddings(settings, {photo_id for photo_id, person in drawn.items() if person in chosen})
        auto = choose_threshold(settings, partial(regions_histogram, vectors)).threshold
        tried = {"auto": auto, **{str(value): value for value in THRESHOLDS}}
        scores = {name: score(ids, group(vectors, value).tolist()) for name, value in tried.items()}
        rows.append({"people": few, "auto": auto, "scores": scores})
    found = read_rows(part_path(settings.work, "people"))
    scores = {"auto": score([row["photo_id"] for row in found], [row["person"] for row in found])}
    with cluster.processes(workers, None):
        for value in THRESHOLDS:
            ids, groups, _ = find_groups(replace(settings, threshold=value))
            scores[str(value)] = score(ids, groups)
    shutil.rmtree(settings.work / INDEX_NAME, ignore_errors=True)
    return [*rows, {"people": len(people), "auto": read_grouping(settings).threshold, "scores": scores}]


def stages(out: Path) -> dict[str, dict[str, float]]:
    """Photos and seconds of work by stage, from the records of the run."""
    from dynamicid.curation.report import throughput

    rows = throughput(settings_of(out))
    return {row["stage"]: {"photos": row["photos"], "seconds": round(row["seconds"], 1)} for row in rows}


def settings_of(out: Path) -> Settings:
    """Settings of the run."""
    from dynamicid.curation.settings import from_json

    return from_json(json.loads((out / "work" / "settings.json").read_text(encoding="utf-8")), out)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Draws, curates and samples; returns the figures."""
    from dynamicid.curation.settings import Settings

    photos, out = folder / "photos", folder / f"out-{options.kills}-kills"
    draw(photos, options.people, options.photos)
    parts = options.people * options.photos // Settings.part_size
    samples: list[Sample] = []
    began = time.monotonic()
    for kill in [*range(1, options.kills + 1), None]:
        limit = None if kill is None else parts * kill // (options.kills + 1)
        process = start(photos, out, options.workers)
        samples += watch(process, out, limit)
    if process.returncode:
        raise SystemExit(f"The run ended with {process.returncode}.")
    row = {
        "cores": os.cpu_count(), "workers": options.workers, "photos": options.people * options.photos,
        "people": options.people, "minutes": round((time.monotonic() - began) / 60, 1), "stages": stages(out),
        "digest": digest(out), "samples": samples,
    }  # fmt: skip
    return row if options.kills else {**row, "agreements": agreements(out, options.workers)}


def main() -> None:
    """Runs the benchmark and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="use this Python as it is; make no environment")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--photos", type=int, default=100, help="of each")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps photos and output (default: a temporary folder)")
    options = parser.parse_args()
    if not options.here:
        relaunch_in_environment()
    with tempfile.TemporaryDirectory() as temporary:
        row = measure(options.folder or Path(temporary), options)
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    if options.kills:
        same = kept["run"]["digest"] == row["digest"]
        kept["killed"] = {"kills": options.kills, "minutes": row["minutes"], "same_output": same}
        print_line(f"{options.kills} kills: {'the same output' if same else 'ANOTHER output'}")
    else:
        kept = {"run": row}
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    print_line(json.dumps({name: value for name, value in row.items() if name != "samples"}, indent=1))


if __name__ == "__main__":
    main()
