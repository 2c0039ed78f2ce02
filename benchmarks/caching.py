"""What ``cache saa`` takes for a photo, by part: two processes that read photos themselves, or by workers.

    python benchmarks/caching.py [--photos 2000] [--workers 0 1] [--network-ms 0 40]

Painted faces of 512 px as JPEG, stand-in networks of a few thousand numbers, face networks of InsightFace's interface.
``--network-ms`` other than 0 replaces the VAE by a wait of so long for a photo, as if an accelerator were at work.
Writes ``benchmarks/caching.json``; ``benchmarks/report.py`` puts it on the page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts._bootstrap import print_line, relaunch_in_environment  # noqa: E402

SIZE, PAINTED = 512, 64
DOWNSAMPLINGS = 3
"""Of the VAE, as in Stable Diffusion."""
RESULT = ROOT / "benchmarks" / "caching.json"
CONFIG = """
[base]
model = "base"
clip_vision = "vision"
face_pack = "pack"
[data]
folder = "photos"
cache = "cache"
size = {size}
shard_size = 100
workers = {workers}
[model]
[optimizer]
[run]
output = "out"
steps = 1
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="reading processes of each process")
    parser.add_argument(
        "--network-ms", type=float, nargs="+", default=[0, 40], help="a photo's wait instead of the VAE; 0: the VAE"
    )
    parser.add_argument("--work", type=Path, help="folder for photos and networks; a temporary one if not given")
    parser.add_argument("--inside", metavar="FILE.toml", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(work: Path, photos: int) -> None:
    """Photos with captions and stand-in networks, unless they are there."""
    import numpy as np
    from PIL import Image

    from tests.standin.onnx_pack import draw_test_faces, write_onnx_pack
    from tests.training.small_world import write_base, write_clip_vision

    if (work / "pack").is_dir():
        return
    write_base(work / "base", DOWNSAMPLINGS)
    write_clip_vision(work / "vision")
    (work / "photos").mkdir()
    random = np.random.default_rng(0)
    painted = []
    for i in range(PAINTED):
        x, y, height = random.uniform(40, 200), random.uniform(60, 180), random.uniform(160, 280)
        painted.append(draw_test_faces((SIZE, SIZE), [(x, y, x + 0.76 * height, y + height)], shades=[i / PAINTED / 2]))
    for i in range(photos):
        Image.fromarray(painted[i % PAINTED]).save(work / "photos" / f"{i:05d}.jpg", quality=95)
        (work / "photos" / f"{i:05d}.txt").write_text("a b c")
    write_onnx_pack(work / "pack")


def measure(work: Path, workers: int, network_ms: float) -> dict[str, Any]:
    """One cache: milliseconds a photo and shares of the first process's time, and seconds in all."""
    from tests.training.launching import ENVIRONMENT, LAUNCH

    config = work / f"workers-{workers}.toml"
    config.write_text(CONFIG.format(size=SIZE, workers=workers))
    shutil.rmtree(work / "cache", ignore_errors=True)
    command = [sys.executable, *LAUNCH.split(), __file__, "--inside", config, "--network-ms", network_ms]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    found = re.search(r"(\d+) ms per photo: (.*) \((.*) s\)", done.stdout)
    if done.returncode or found is None:
        raise SystemExit(f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    shares = {name: int(share) for share, name in re.findall(r"(\d+) % ([a-z ]+)", found[2])}
    return {
        "network_ms": network_ms, "workers": workers, "ms": int(found[1]), "seconds": float(found[3]), "shares": shares,
    }  # fmt: skip


def run(config: Path, network_ms: float) -> None:
    """One of the processes; the first one prints the summary and the seconds."""
    import torch

    from dynamicid.training import cache_saa
    from dynamicid.training.config import SAAConfig, load_config

    def wait(_: object, pictures: torch.Tensor) -> torch.Tensor:
        time.sleep(network_ms / 1000 * len(pictures))
        return torch.zeros(len(pictures), 2, 4, *(side // 2**DOWNSAMPLINGS for side in pictures.shape[-2:]))

    if network_ms:
        cache_saa.encode_pictures = wait
    began = time.monotonic()
    if summary := cache_saa.cache_saa(load_config(config, SAAConfig)):
        print_line(f"{summary} ({time.monotonic() - began:.1f} s)")


def main() -> None:
    """Measures and writes the JSON."""
    arguments = _arguments()
    if arguments.inside:
        run(arguments.inside, *arguments.network_ms)
        return
    relaunch_in_environment()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        prepare(work, arguments.photos)
        rows = []
        for network_ms in arguments.network_ms:
            for workers in arguments.workers:
                rows.append(measure(work, workers, network_ms))
                print_line(str(rows[-1]))
    settings = {"photos": arguments.photos, "processes": 2, "size": SIZE, "cores": os.cpu_count()}
    RESULT.write_text(json.dumps({**settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
