"""The small family through ``python -m dynamicid evaluate`` in a real ComfyUI, whole and without one part each."""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.models import tiny_models
from demo.server import Comfy
from scripts._bootstrap import REPOSITORY, print_line

from ..places import EMOTION, FACE_PACK
from .benchmark import PORTRAITS, SCENES, Group
from .comfy_benchmark import write_benchmark
from .comfy_workflows import write_workflows
from .variants import BASE_ALONE

PAGES: dict[str, tuple[Group, ...]] = {"portraits": (PORTRAITS,), "scenes": SCENES}


def score_in_comfyui(host: Path, cases: int, first_seed: int, work: Path, out: Path) -> None:
    """Paints and scores every variant, and compares them: one page for portraits, one for scenes.

    Args:
        host: ComfyUI.
        cases: Of each group.
        first_seed: How many of an item's seeds are left out.
        work: Gets pictures and scores; what is there is not painted again.
        out: Gets the pages.

    Raises:
        DemoError: ComfyUI does not start.
    """
    workflows = write_workflows(work / "workflows")
    out.mkdir(parents=True, exist_ok=True)
    with Comfy(host, tiny_models().folders, {}) as comfy:
        for name, groups in PAGES.items():
            folder = work / name
            write_benchmark(folder, groups, cases)
            painted = _paint(comfy.address, folder, workflows, first_seed)
            shutil.copyfile(_compare(folder, painted), out / f"{name}.md")


def _paint(address: str, folder: Path, workflows: Mapping[str, Path], first_seed: int) -> dict[str, Path]:
    """The folder of each variant's pictures."""
    painted = {}
    for variant, workflow in workflows.items():
        print_line(f"{folder.name}: {variant}")
        run = folder / "painted" / variant.replace(" ", "_")
        where = ("--server", address, "--workflow", workflow, "--first-seed", first_seed, "--out", run)
        _evaluate("run", *where, *_measured_with(folder))
        painted[variant] = run / "pictures"
    return painted


def _compare(folder: Path, painted: Mapping[str, Path]) -> Path:
    """Scores the variants, their backgrounds against the base model alone; the page that compares them."""
    runs = []
    for variant, pictures in painted.items():
        runs.append(folder / "scored" / variant.replace(" ", "_"))
        beside = ("--pictures", pictures, "--unpatched", painted[BASE_ALONE], "--out", runs[-1])
        _evaluate("folder", *beside, *_measured_with(folder))
    named = [part for variant in painted for part in ("--name", variant)]
    _evaluate("compare", *runs, *named, "--out", folder / "compared")
    return folder / "compared" / "compare.md"


def _measured_with(folder: Path) -> Sequence[object]:
    return (
        "--benchmark", folder / "benchmark.json", "--photos", folder / "photos",
        "--face-pack", FACE_PACK, "--emotion-model", EMOTION,
    )  # fmt: skip


def _evaluate(*arguments: object) -> None:
    """The pack's command; its errors end this one, too."""
    line = [sys.executable, "-m", "dynamicid", "evaluate", *map(str, arguments)]
    done = subprocess.run(line, cwd=REPOSITORY, check=False)
    if done.returncode:
        sys.exit(done.returncode)
