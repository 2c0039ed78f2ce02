"""What a motion for each picture of a batch costs: one UNet step of F pictures with F motions, against one motion.

    python benchmarks/motions.py [--size 512] [--motions 16] [--rounds 3]

Full-size SD1.5 with weights by rule, one person, positive and negative in one call. Writes
``benchmarks/motions.json``; ``benchmarks/report.py`` puts it on the page.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.run import Bench, summary  # noqa: E402
from scripts._bootstrap import print_line, relaunch_in_environment  # noqa: E402

RESULT = ROOT / "benchmarks" / "motions.json"
ONE, EACH = "one motion", "a motion each"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--motions", type=int, default=16, help="pictures of the batch")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds, after one that warms up")
    parser.add_argument("--here", action="store_true", help="use this Python as it is; make no environment")
    return parser.parse_args()


def main() -> None:
    """Measures and writes the JSON."""
    arguments = _arguments()
    if not arguments.here:
        relaunch_in_environment()
    bench = Bench()
    world, count = bench.world, arguments.motions
    join_frames = importlib.import_module("dynamicid.faces.frames").join_frames
    regions = world.regions([None] * count)
    people = {ONE: regions[0], EACH: replace(regions[0], face=join_frames([region.face for region in regions]))}
    steps, rows = {}, {}
    for name, person in people.items():
        steps[name] = world.patched_step((person,), arguments.size, count)
        peak = bench.peak_mebibytes(steps[name])
        rows[name] = {"peak_mib": peak, "held_mib": world.held_mebibytes()["identity"]}
        world.forget()
    times = summary(bench.interleaved(steps, arguments.rounds), ONE)
    result = {
        "size": arguments.size,
        "motions": count,
        "rounds": arguments.rounds,
        "threads": bench.torch.get_num_threads(),
        "comfyui": world.host_version,
        "variants": {name: {**rows[name], **times[name]} for name in steps},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for name, row in result["variants"].items():
        print_line(
            f"{name}: {row['seconds']:.1f} s, x {row['ratio']:.3f}, CPU time x {row['cpu_ratio']:.3f}, peak "
            f"{row['peak_mib']:.0f} MiB, held {row['held_mib']:.1f} MiB"
        )


if __name__ == "__main__":
    main()
