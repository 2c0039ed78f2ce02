"""The package of the registry, made by the registry's own command line (comfy-cli)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
_QUIET = {"DO_NOT_TRACK": "1", "COMFY_NO_UPDATE_CHECK": "1"}


class Packing:
    """comfy-cli in a copy of this working tree, with what git does not ignore."""

    def __init__(self, folder: Path) -> None:
        self.copy = folder / "copy"
        self.home = folder / "home"
        self.home.mkdir()
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (self.copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.copy / name)
        for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
            subprocess.run(command, cwd=self.copy, check=True)

    def run(self, *arguments: str) -> str:
        """What `comfy node ...` prints. It sends nothing: usage statistics and its search for updates are off."""
        # The user's own settings may allow usage statistics.
        own = {"HOME": str(self.home), "USERPROFILE": str(self.home), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", "comfy_cli", "--skip-prompt", "node", *arguments],
            cwd=self.copy, env={**os.environ, **_QUIET, **own}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def unpack(self, folder: Path) -> Path:
        """Packs; returns ``folder`` with the package's files."""
        self.run("pack")
        with ZipFile(self.copy / "node.zip") as file:
            file.extractall(folder)
        return folder
