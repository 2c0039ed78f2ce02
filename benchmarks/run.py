"""Times one UNet step, patched against unpatched, in one process and interleaved; and encoding, editing and applying.

    python benchmarks/run.py --out benchmarks/results/cpu.json [--sizes 512 768] [--people 1 2 4 8] [--rounds 7]

Full-size SD1.5 with weights by rule. Prints a line a case, writes JSON; ``benchmarks/report.py`` makes table and plot.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts._bootstrap import find_host, print_line, relaunch_in_environment  # noqa: E402

NAIVE_PEOPLE = (2, 8)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "latest.json")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768])
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds; in each, every variant runs once")
    parser.add_argument("--steps-only", action="store_true", help="leave out encoding, editing and applying")
    parser.add_argument("--skip-naive", action="store_true", help="leave out the published algorithm")
    parser.add_argument("--here", action="store_true", help="use this Python as it is; make no environment")
    return parser.parse_args()


class Bench:
    """The full-size model in memory, and ways to run one step of it."""

    def __init__(self) -> None:
        from benchmarks.world import World

        self.world = World()
        self.torch = self.world.torch
        self.cuda = self.world.device.type == "cuda"

    def wait(self) -> None:
        """Until the device is done."""
        if self.cuda:
            self.torch.cuda.synchronize()

    def interleaved(self, variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[tuple[float, float]]]:
        """Wall seconds and this process's CPU seconds of every variant, one run of each a round, there and back."""
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        names = list(variants)
        for number in range(rounds):
            for name in reversed(names) if number % 2 else names:
                self.wait()
                start, work = time.perf_counter(), time.process_time()
                variants[name]()
                self.wait()
                seconds[name].append((time.perf_counter() - start, time.process_time() - work))
        return seconds

    def peak_mebibytes(self, step: Callable[[], Any]) -> float:
        """Highest memory during one run on top of what is held before: the GPU's, or this process's on the CPU."""
        gc.collect()
        if self.cuda:
            self.torch.cuda.synchronize()
            self.torch.cuda.reset_peak_memory_stats()
            held = self.torch.cuda.memory_allocated()
            step()
            self.torch.cuda.synchronize()
            return (self.torch.cuda.max_memory_allocated() - held) / 2**20
        reset = Path("/proc/self/clear_refs")
        if not reset.exists():
            return float("nan")
        held = _resident("VmRSS")
        reset.write_text("5")
        step()
        return _resident("VmHWM") - held


def _resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def summary(seconds: dict[str, list[tuple[float, float]]], baseline: str) -> dict[str, dict[str, float]]:
    """Median seconds, and the median over rounds of the ratio to the baseline of the same round, with its range.

    ``cpu_ratio`` is the same for the CPU seconds of this process, to which other programs on the machine add nothing.
    """
    result = {}
    for name, values in seconds.items():
        pairs = list(zip(values, seconds[baseline], strict=True))
        ratios = [wall / base_wall for (wall, _), (base_wall, _) in pairs]
        result[name] = {
            "seconds": statistics.median(wall for wall, _ in values),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "cpu_ratio": statistics.median(work / base_work for (_, work), (_, base_work) in pairs),
        }
    return result


def run_steps(bench: Bench, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Step times and peaks of all cases; the runs that warm up are those whose memory is measured."""
    for size in arguments.sizes:
        for people in arguments.people:
            variants = bench.world.variants(size, people, naive=not arguments.skip_naive and people in NAIVE_PEOPLE)
            peaks = {name: bench.peak_mebibytes(step) for name, step in variants.items()}
            times = summary(bench.interleaved(variants, arguments.rounds), "unpatched")
            for name, figures in times.items():
                figures["peak_mib"] = peaks[name]
                print_line(
                    f"{size} px, {people} people, {name}: {figures['seconds']:.3f} s, "
                    f"x {figures['ratio']:.3f} ({figures['ratio_min']:.3f} to {figures['ratio_max']:.3f}), "
                    f"CPU time x {figures['cpu_ratio']:.3f}, peak {figures['peak_mib']:.0f} MiB"
                )
            held = bench.world.held_mebibytes()
            bench.world.forget()
            yield {"size": size, "people": people, "rounds": arguments.rounds, "held_mib": held, "variants": times}


def main() -> None:
    """Runs everything; the JSON is written after every case and keeps the cases of earlier runs on this machine."""
    arguments = _arguments()
    if not arguments.here:
        relaunch_in_environment()
    bench = Bench()
    torch = bench.torch
    machine = {
        "device": torch.cuda.get_device_name() if bench.cuda else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "dtype": str(bench.world.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "comfyui": bench.world.host_version,
    }
    report: dict[str, Any] = {**machine, "steps": [], "once": {}}
    if arguments.out.exists():
        earlier = json.loads(arguments.out.read_text())
        if all(earlier[key] == value for key, value in machine.items()):
            report = earlier
    for case in run_steps(bench, arguments):
        others = [c for c in report["steps"] if (c["size"], c["people"]) != (case["size"], case["people"])]
        report["steps"] = sorted([*others, case], key=lambda c: (c["size"], c["people"]))
        _write(arguments.out, report)
    if not arguments.steps_only:
        for name, call in bench.world.one_off_jobs().items():
            call()
            seconds = report["once"][name] = statistics.median(
                wall for wall, _ in bench.interleaved({name: call}, 5)[name]
            )
            print_line(f"{name}: {seconds:.3f} s")
        _write(arguments.out, report)
    print_line(f"written: {arguments.out}")


def _write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    if find_host() is None:
        raise SystemExit("No ComfyUI found: set COMFYUI_PATH.")
    main()
