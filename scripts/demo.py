"""Photos in, pictures out, in a real headless ComfyUI: `python scripts/demo.py [PHOTO ...]`.

Sets the machine up first (own virtual environment, a ComfyUI found or cloned); until that is done only the standard
library is used. COMFYUI_PATH picks the ComfyUI. Without the published weights it paints drawn people with the tiny
models of this repository, and without a ComfyUI it does so with diffusers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from _bootstrap import REPOSITORY, SetupError, relaunch_in_environment

SMALLEST_SIDE = 64
MOST_PEOPLE = 8


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        description="Paints one person, the same with five expressions in three poses, and several people in their "
        "places; all of it on one contact sheet.",
        epilog="Use only photos of people who agree to it.",
    )
    command.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        type=Path,
        help="one photo a person, up to 8; the largest face of each counts, of a single photo the three largest. They "
        "need the published weights. Default: a group photo that the insightface package brings; drawn people where "
        "the weights are missing.",
    )
    command.add_argument("--prompt", help="what to paint; the same for all pictures")
    command.add_argument(
        "--size", type=_side, help="width and height in pixels (default: 512; drawn people are half as large)"
    )
    command.add_argument("--steps", type=_positive, help="sampling steps (default: 30, drawn people: 20)")
    command.add_argument("--seed", type=int, default=7, help="of the noise (default: %(default)s)")
    command.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "demo", help="folder for the results")
    command.add_argument(
        "--models", type=Path, metavar="DIR", help="folder with checkpoints/, clip_vision/, dynamicid/ and insightface/"
    )
    return command


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return value


def _side(text: str) -> int:
    value = int(text)
    if value < SMALLEST_SIDE or value % 8:
        raise argparse.ArgumentTypeError(f"a multiple of 8 from {SMALLEST_SIDE} up is needed")
    return value


def main(arguments: list[str], set_up: Callable[[], Path | None] = relaunch_in_environment) -> None:
    """Check the arguments, set the machine up, then paint; ends the process with a plain text where that fails.

    Args:
        arguments: The command line's.
        set_up: Makes the environment and finds the host. The tests, whose environment stands, hand over `find_host`.
    """
    try:
        _main(arguments, set_up)
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("Interrupted. ComfyUI is stopped; run the command again to start over.", file=sys.stderr)
        sys.exit(130)


def _main(arguments: list[str], set_up: Callable[[], Path | None]) -> None:
    options = parser().parse_args(arguments)
    if len(options.photos) > MOST_PEOPLE:
        raise SetupError(f"PHOTO: {len(options.photos)} photos were given. Give {MOST_PEOPLE} at most.")
    for photo in options.photos:
        if not photo.is_file():
            raise SetupError(f"PHOTO: there is no file {photo}. Check the path.")
    if options.models is not None and not options.models.is_dir():
        raise SetupError(f"--models: there is no folder {options.models}. Check the path.")
    host = set_up()
    sys.path.insert(0, str(REPOSITORY))
    from demo.run import run

    run(options, host)


if __name__ == "__main__":
    main(sys.argv[1:])
