"""Score the small family as users score a pack: `python scripts/evaluate_family_in_comfyui.py`.

Paints its benchmark in a real ComfyUI with `python -m dynamicid evaluate`, whole and without one part each, and puts
the runs side by side: one page for portraits, one for scenes. Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from _bootstrap import REPOSITORY, SetupError, relaunch_in_environment, say


def main(arguments: list[str]) -> None:
    """Starts a ComfyUI, runs the command for every variant, compares."""
    command = argparse.ArgumentParser(description="Score the small model family in a real ComfyUI.")
    command.add_argument("--cases", type=int, default=24, help="cases of each group (24)")
    command.add_argument("--first-seed", type=int, default=0, help="another one paints other pictures (0)")
    command.add_argument("--out", type=Path, help="folder of the two pages (drawn_family/in_comfyui)")
    command.add_argument("--work", type=Path, help="folder of pictures and scores (.family/in_comfyui)")
    options = command.parse_args(arguments)
    host = relaunch_in_environment()
    if host is None:
        raise SetupError("There is no ComfyUI. Set COMFYUI_PATH to its folder.")
    sys.path.insert(0, str(REPOSITORY))
    from scripts._demo_models import drawn_family
    from scripts._demo_server import Comfy
    from scripts.family.benchmark import PORTRAITS, SCENES
    from scripts.family.comfy_benchmark import write_benchmark
    from scripts.family.comfy_workflows import write_workflows
    from scripts.family.places import EMOTION, FACE_PACK, FAMILY, WORK
    from scripts.family.variants import BASE_ALONE, CHAINED

    work, out = options.work or WORK / "in_comfyui", options.out or FAMILY / "in_comfyui"
    out.mkdir(parents=True, exist_ok=True)
    workflows = write_workflows(work / "workflows")
    with Comfy(host, drawn_family().folders, {}) as comfy:
        for name, groups in {"portraits": (PORTRAITS,), "scenes": SCENES}.items():
            folder = work / name
            write_benchmark(folder, groups, options.cases)
            runs = []
            for variant, workflow in workflows.items():
                if variant == CHAINED.name and groups == (PORTRAITS,):
                    continue  # one person: the same as without the gate
                say(f"{name}: {variant}")
                runs.append(folder / variant.replace(" ", "_"))
                _dynamicid(
                    "evaluate", "run", "--server", comfy.address, "--workflow", workflow,
                    "--unpatched", workflows[BASE_ALONE], "--benchmark", folder / "benchmark.json",
                    "--photos", folder / "photos", "--face-pack", FACE_PACK, "--emotion-model", EMOTION,
                    "--first-seed", options.first_seed, "--out", runs[-1],
                )  # fmt: skip
            _dynamicid("evaluate", "compare", *runs, "--out", folder / "compared")
            shutil.copyfile(folder / "compared" / "compare.md", out / f"{name}.md")


def _dynamicid(*arguments: object) -> None:
    """The pack's command line; its errors end this command, too."""
    done = subprocess.run([sys.executable, "-m", "dynamicid", *map(str, arguments)], cwd=REPOSITORY, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted. Run the command again: it goes on where it stopped.")
