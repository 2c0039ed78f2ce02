"""The newest version of ComfyUI's page from the package registry, for tests of the canvas widgets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from ._bootstrap import REPOSITORY, SetupError

PACKAGE = "comfyui-frontend-package"
FOLDER = REPOSITORY / ".host" / "frontends"
REGISTRY_TIMEOUT_SECONDS = 60
INSTALL_TIMEOUT_SECONDS = 600


class Frontend(NamedTuple):
    """A version of the page, and the folder that ComfyUI's ``--front-end-root`` takes."""

    version: str
    root: Path


def newest_frontend() -> Frontend:
    """Ask the package registry for the newest frontend, and install it into ``FOLDER`` unless it is there already.

    Raises:
        SetupError: The registry does not answer, or pip cannot install the package.
    """
    report = json.loads(_pip(REGISTRY_TIMEOUT_SECONDS, "--dry-run", "--ignore-installed", "--report", "-"))
    version = report["install"][0]["metadata"]["version"]
    place = FOLDER / version
    if not place.is_dir():
        # Installed beside its place and moved there at the end, so that an interrupted run leaves no half of it.
        partial = FOLDER / f"{version}.partial"
        shutil.rmtree(FOLDER, ignore_errors=True)
        _pip(INSTALL_TIMEOUT_SECONDS, "--target", str(partial), version=version)
        partial.rename(place)
    return Frontend(version, place / PACKAGE.replace("-", "_") / "static")


def _pip(seconds: int, *options: str, version: str | None = None) -> str:
    """Run `pip install` for the package alone; return what it prints."""
    plain = ["--quiet", "--no-deps", "--no-input", "--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
    command = [sys.executable, "-m", "pip", "install", *plain, *options]
    command.append(PACKAGE if version is None else f"{PACKAGE}=={version}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise SetupError(f"{PACKAGE}: the package registry did not answer within {seconds} s.") from None
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
        raise SetupError(f"{PACKAGE}: pip cannot fetch it ({last.strip()[-200:]}).")
    return done.stdout
