"""Train the tiny models in `tiny_models/weights/` from nothing: `python scripts/train_family.py [STEP ...]`.

Sets the machine up first. Every step leaves out what exists and continues where it stopped; delete
`tiny_models/weights/` and `.tiny_models/` to train everything again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from _bootstrap import REPOSITORY, print_line, relaunch_in_environment, run_command


def main(arguments: list[str]) -> None:
    """Runs the steps named on the command line, all without a name, in their order."""
    sys.path.insert(0, str(REPOSITORY))
    from tiny_models.train.steps import STEPS

    command = argparse.ArgumentParser(description="Train the tiny models from nothing, on two CPU cores.")
    command.add_argument("steps", nargs="*", metavar="STEP", help=f"one of: {', '.join(STEPS)} (default: all)")
    chosen = command.parse_args(arguments).steps or list(STEPS)
    unknown = [name for name in chosen if name not in STEPS]
    if unknown:
        command.error(f"there is no step '{unknown[0]}'; choose from {', '.join(STEPS)}")
    relaunch_in_environment()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in (name for name in STEPS if name in chosen):
        print_line(f"{name} ...")
        started = time.monotonic()
        STEPS[name]()
        print_line(f"{name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    run_command(main)
