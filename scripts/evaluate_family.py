"""Measure the tiny models in `tiny_models/weights/`: `python scripts/evaluate_family.py`.

Writes `table.json`, `table.md` and `examples.png` into `tiny_models/measure/results`; `--help` lists the settings.
Pictures are kept in `.tiny_models/evaluation`: an interrupted evaluation goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from _bootstrap import REPOSITORY, relaunch_in_environment, run_command

GROUPS = ("portraits", "1", "2", "3")
"""The names in ``tiny_models.measure.benchmark.GROUPS``, which cannot be imported before the set-up."""


def main(arguments: list[str]) -> None:
    """Paints, reads and writes the tables."""
    command = argparse.ArgumentParser(description="Measure the tiny models on held-out people.")
    command.add_argument("--cases", type=int, default=68, help="cases of each group (68)")
    command.add_argument("--skip-cases", type=int, default=0, help="other cases: after so many of each group (0)")
    command.add_argument("--seeds", type=int, default=3, help="pictures of each case (3)")
    command.add_argument("--steps", type=int, default=16, help="DDIM steps (16)")
    command.add_argument("--layout-cases", type=int, default=16, help="cases of two and of three in the sweep (16)")
    command.add_argument(
        "--groups", nargs="+", choices=GROUPS, default=GROUPS, help="portraits, scenes of 1, 2, 3 (all)"
    )
    command.add_argument("--rows", nargs="+", default=(), help='rows by name, such as full, "no IMR" (all)')
    command.add_argument("--weights", type=Path, help="weight file of all networks (the one that training wrote)")
    command.add_argument("--no-imr", action="store_true", help="the weight file holds stage 1 only")
    command.add_argument("--out", type=Path, help="folder of the tables (tiny_models/measure/results)")
    chosen = command.parse_args(arguments)
    relaunch_in_environment()
    sys.path.insert(0, str(REPOSITORY))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from tiny_models.measure.benchmark import GROUPS as CASES
    from tiny_models.measure.evaluation import Extent
    from tiny_models.measure.run import Choices, evaluate

    paths = {name: value for name in ("weights", "out") if (value := getattr(chosen, name)) is not None}
    choices = Choices(
        tuple(CASES[name] for name in chosen.groups),
        tuple(chosen.rows),
        chosen.layout_cases,
        has_imr=not chosen.no_imr,
        **paths,
    )
    evaluate(Extent(chosen.cases, chosen.skip_cases, chosen.seeds, chosen.steps), choices)


if __name__ == "__main__":
    run_command(main)
