"""Score the tiny models as users score a pack: `python scripts/evaluate_family_in_comfyui.py`.

Paints its benchmark in a real ComfyUI with `python -m dynamicid evaluate`, whole and without one part each, and puts
the runs side by side: one page for portraits, one for scenes. Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _bootstrap import REPOSITORY, SetupError, relaunch_in_environment, run_command


def main(arguments: list[str]) -> None:
    """Starts a ComfyUI, runs the command for every variant, compares."""
    command = argparse.ArgumentParser(description="Score the tiny models in a real ComfyUI.")
    command.add_argument("--cases", type=int, default=24, help="cases of each group (24)")
    command.add_argument("--first-seed", type=int, default=0, help="another one paints other pictures (0)")
    command.add_argument("--out", type=Path, help="folder of the two pages (tiny_models/measure/results/in_comfyui)")
    command.add_argument("--work", type=Path, help="folder of pictures and scores (.tiny_models/in_comfyui)")
    options = command.parse_args(arguments)
    host = relaunch_in_environment()
    if host is None:
        raise SetupError("There is no ComfyUI. Set COMFYUI_PATH to its folder.")
    sys.path.insert(0, str(REPOSITORY))
    from demo.models import tiny_models
    from demo.server import Comfy, DemoError
    from tiny_models.measure.in_comfyui import score_in_comfyui
    from tiny_models.places import RESULTS, WORK

    work, out = options.work or WORK / "in_comfyui", options.out or RESULTS / "in_comfyui"
    try:
        with Comfy(host, tiny_models().folders, {}) as comfy:
            score_in_comfyui(comfy.address, options.cases, options.first_seed, work, out)
    except DemoError as error:
        raise SetupError(str(error)) from error


if __name__ == "__main__":
    run_command(main)
