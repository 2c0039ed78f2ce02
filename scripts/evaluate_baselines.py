"""Train the baselines and measure them beside DynamicID: `python scripts/evaluate_baselines.py`.

Trains what is not in `.tiny_models/baselines/` yet (three runs a baseline, 4600 steps of 32 pictures; each can be
interrupted and goes on), paints with the tiny models, and writes `baselines.md` and `baselines.json` into
`tiny_models/measure/results`; `--help` lists the settings.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from _bootstrap import REPOSITORY, relaunch_in_environment, run_command

GROUPS, KINDS = ("portraits", "1", "2", "3"), ("faceid", "queries")
"""Names in the modules that cannot be imported before the set-up."""


def main(arguments: list[str]) -> None:
    """Trains, paints, reads and writes the page."""
    command = argparse.ArgumentParser(description="Measure baselines beside the tiny models on held-out people.")
    command.add_argument("--cases", type=int, default=68, help="cases of each group (68)")
    command.add_argument("--seeds", type=int, default=3, help="pictures of each case (3)")
    command.add_argument(
        "--groups", nargs="+", choices=GROUPS, default=GROUPS, help="portraits, scenes of 1, 2, 3 (all)"
    )
    command.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS, help="baselines (all)")
    command.add_argument(
        "--rows",
        nargs="+",
        help="DynamicID's rows by name (whole and without IMR, each without and with the expression in the caption)",
    )
    command.add_argument("--out", type=Path, help="folder of the page (tiny_models/measure/results)")
    chosen = command.parse_args(arguments)
    relaunch_in_environment()
    sys.path.insert(0, str(REPOSITORY))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from tiny_models.measure.benchmark import GROUPS as CASES
    from tiny_models.measure.comparison import compare_baselines
    from tiny_models.measure.evaluation import Extent

    options = {name: value for name in ("rows", "out") if (value := getattr(chosen, name)) is not None}
    groups = [CASES[name] for name in chosen.groups]
    compare_baselines(Extent(chosen.cases, seeds=chosen.seeds), groups, chosen.kinds, **options)


if __name__ == "__main__":
    run_command(main)
