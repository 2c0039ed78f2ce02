"""Score the tiny models as users score a pack: `python scripts/evaluate_family_in_comfyui.py`.

Paints its benchmark in a real ComfyUI with `python -m dynamicid evaluate`, whole and without one part each, and puts
the runs side by side: one page for portraits, one for scenes; with `--motions` instead, expression sheets and clips.
Interrupted, it goes on where it stopped.
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
    command.add_argument("--out", type=Path, help="folder of the pages (tiny_models/measure/results/in_comfyui)")
    command.add_argument("--work", type=Path, help="folder of pictures and scores (.tiny_models/in_comfyui)")
    command.add_argument("--motions", action="store_true", help="paint sheets and clips of --cases people instead")
    options = command.parse_args(arguments)
    host = relaunch_in_environment()
    if host is None:
        raise SetupError("There is no ComfyUI. Set COMFYUI_PATH to its folder.")
    sys.path.insert(0, str(REPOSITORY))
    from demo.models import tiny_models
    from demo.server import Comfy, DemoError
    from tiny_models.measure.in_comfyui import score_in_comfyui
    from tiny_models.measure.motions import measure_motions
    from tiny_models.places import EMOTION, RESULTS, WORK

    work, out = options.work or WORK / "in_comfyui", options.out or RESULTS / "in_comfyui"
    folders = tiny_models().folders
    if options.motions:
        # For the words of the motions that are read off frames.
        folders = {**folders, "dynamicid": [*folders["dynamicid"], EMOTION.parents[1]]}
    try:
        with Comfy(host, folders, {}) as comfy:
            if options.motions:
                measure_motions(comfy.address, options.cases, options.first_seed, work / "motions", out)
            else:
                score_in_comfyui(comfy.address, options.cases, options.first_seed, work, out)
    except DemoError as error:
        raise SetupError(str(error)) from error


if __name__ == "__main__":
    run_command(main)
