"""Set a fresh machine up: find or clone ComfyUI, make the repository's own virtual environment, go on inside it.

Standard library only: this module runs before anything is installed. Every step can be interrupted and run again.
"""

from __future__ import annotations

import collections
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).absolute().parent.parent
ENVIRONMENT = REPOSITORY / ".venv"

HOST_URL = "https://github.com/comfyanonymous/ComfyUI"
HOST_TAG = "v0.33.0"
# One folder a version: a clone made for an older pin is left alone and no longer used.
CLONED_HOST = REPOSITORY / ".host" / f"ComfyUI-{HOST_TAG}"
GITHUB_TIMEOUT_SECONDS = 20
CLONE_TIMEOUT_SECONDS = 900

OLDEST_PYTHON = (3, 10)
TORCH: tuple[str, ...] = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
REQUIREMENTS = REPOSITORY / "requirements.txt"
DEV_REQUIREMENTS = REPOSITORY / "requirements-dev.txt"
# Part of the tests' requirements by a line in them.
TRAINING_REQUIREMENTS = REPOSITORY / "requirements-training.txt"

_STAMP = ENVIRONMENT / "complete.sha256"
_PIP_PROGRESS = ("Downloading ", "Building wheel", "Installing collected packages")
_PIP_TAIL_LINES = 15
_LINE_WIDTH = 110


class SetupError(RuntimeError):
    """The machine cannot be set up; the text says what was found and what to do."""


def print_line(text: str) -> None:
    """Print one line at once, so that it stands in order with what subprocesses print."""
    print(text, flush=True)


def run_command(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Ends the process with what `main` makes of the command line; a plain text where the set-up fails, or at Ctrl-C.

    Args:
        main: A command that goes on where it stopped. Returns the exit status; None = 0.
    """
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted. Run the command again: it goes on where it stopped.")


# The host -----------------------------------------------------------------------------------------------------------


def is_host(folder: Path) -> bool:
    """Whether `folder` is a ComfyUI: it holds `main.py` and `comfy/`."""
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def find_host() -> Path | None:
    """Return the ComfyUI to use, or None where there is none; nothing is downloaded.

    Looked for in this order: the folder in COMFYUI_PATH; the ComfyUI whose `custom_nodes` holds this repository;
    `~/comfy/ComfyUI`, where comfy-cli installs it; the clone that `ensure_host` made.

    Raises:
        SetupError: COMFYUI_PATH is set but holds no ComfyUI.
    """
    named = os.environ.get("COMFYUI_PATH")
    if named:
        folder = Path(named).expanduser().absolute()
        if not is_host(folder):
            raise SetupError(
                f"COMFYUI_PATH: {folder} holds no ComfyUI (main.py and comfy/). "
                "Point it at the folder that holds main.py, or unset it."
            )
        return folder
    candidates = (REPOSITORY.parent.parent, Path.home() / "comfy" / "ComfyUI", CLONED_HOST)
    return next((folder for folder in candidates if is_host(folder)), None)


def ensure_host() -> Path | None:
    """Return the ComfyUI that `find_host` finds, else a pinned clone made now, else None with one line that says why.

    Raises:
        SetupError: COMFYUI_PATH is set but holds no ComfyUI.
    """
    host = find_host()
    if host is not None:
        return host
    reason = _clone_host()
    if reason is None:
        return CLONED_HOST
    print_line(f"No ComfyUI: {reason} What needs one is skipped; set COMFYUI_PATH to a ComfyUI folder to run it.")
    return None


def _clone_host() -> str | None:
    """Clone the pinned ComfyUI; return None, or the reason why it could not be done."""
    git = shutil.which("git")
    if git is None:
        return "none is installed here, and git is missing to clone one."
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    probe = [git, "ls-remote", "--exit-code", HOST_URL, f"refs/tags/{HOST_TAG}"]
    try:
        answers = subprocess.run(probe, env=quiet, capture_output=True, timeout=GITHUB_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"none is installed here, and GitHub did not answer within {GITHUB_TIMEOUT_SECONDS} s."
    if answers.returncode:
        return "none is installed here, and GitHub does not answer."
    print_line(f"Cloning ComfyUI {HOST_TAG} into {CLONED_HOST}")
    # Cloned beside its place and moved there whole, so that an interrupted clone is never taken for a host.
    partial = CLONED_HOST.with_name(f"{CLONED_HOST.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    clone = [git, "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth", "1", "--branch", HOST_TAG]
    try:
        cloned = subprocess.run(
            [*clone, HOST_URL, str(partial)], env=quiet, capture_output=True, text=True, timeout=CLONE_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"cloning it took longer than {CLONE_TIMEOUT_SECONDS} s."
    if cloned.returncode:
        return f"cloning it failed ({' '.join(cloned.stderr.split())[-200:]})."
    partial.rename(CLONED_HOST)
    return None


# The virtual environment --------------------------------------------------------------------------------------------


def environment_python() -> Path:
    """Return where the virtual environment's Python lies, whether or not it exists yet."""
    return ENVIRONMENT / "Scripts" / "python.exe" if os.name == "nt" else ENVIRONMENT / "bin" / "python"


def inside_environment() -> bool:
    """Whether this process runs in the repository's virtual environment."""
    return Path(sys.prefix).resolve() == ENVIRONMENT.resolve()


def ensure_environment(host: Path | None) -> Path:
    """Make `.venv` with torch, the host's, the pack's and the tests' requirements; return its Python.

    A finished environment is reused at once; it counts as finished while a stamp in it matches the requirement files,
    the host's requirements and the environment's Python version.

    Raises:
        SetupError: Python is too old, the environment cannot be made, or pip fails.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            f"Python: this is {sys.version.split()[0]}, and {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed. "
            "Start the command with a newer Python."
        )
    python = environment_python()
    if python.is_file() and _STAMP.is_file() and _STAMP.read_text(encoding="ascii") == _stamp(host):
        return python
    _STAMP.unlink(missing_ok=True)
    _make_environment(python)
    for title, arguments in _installations(host):
        print_line(f"Installing {title}")
        _pip_install(python, arguments)
    _STAMP.write_text(_stamp(host), encoding="ascii")
    print_line("The virtual environment is complete.")
    return python


def relaunch_in_environment() -> Path | None:
    """Set everything up and go on in the virtual environment; return the host once there.

    Called outside the environment, it runs this very command line again inside it and exits with that run's status.

    Raises:
        SetupError: as `find_host` and `ensure_environment`.
    """
    host = find_host() if inside_environment() else ensure_host()
    python = ensure_environment(host)
    if inside_environment():
        return host
    command, variables = [str(python), *sys.argv], environment_variables(host)
    if os.name != "nt":
        # In this process's place, so that Ctrl-C and other signals reach what runs, and it can end cleanly.
        sys.stdout.flush()
        os.execve(python, command, variables)
    raise SystemExit(subprocess.call(command, env=variables))


def environment_variables(host: Path | None) -> dict[str, str]:
    """Return this process's environment with COMFYUI_PATH naming `host`, or absent where there is no host."""
    variables = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    return variables if host is None else {**variables, "COMFYUI_PATH": str(host)}


def requirement_lines(file: Path) -> list[str]:
    """Return the requirements in `file`, without comments and blank lines."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _installations(host: Path | None) -> list[tuple[str, list[str]]]:
    """Return (title, pip arguments) of every installation, in order."""
    steps: list[tuple[str, list[str]]] = [("torch (several GB the first time; this is the long step)", list(TORCH))]
    if host is not None:
        steps.append((f"the requirements of {host}", ["-r", str(host / "requirements.txt")]))
    # One line at a time, as ComfyUI-Manager does it: the order in requirements.txt decides which onnxruntime stays.
    steps += [(line.split(";")[0].strip(), [line]) for line in requirement_lines(REQUIREMENTS)]
    steps.append(("the tools of the tests", ["-r", str(DEV_REQUIREMENTS)]))
    return steps


def _stamp(host: Path | None) -> str:
    """Return the SHA-256 of all that decides what the environment holds."""
    digest = hashlib.sha256(" ".join(TORCH).encode())
    configuration = (ENVIRONMENT / "pyvenv.cfg").read_text(encoding="utf-8")
    digest.update(" ".join(re.findall(r"^version.*$", configuration, re.MULTILINE)).encode())
    files = [REQUIREMENTS, DEV_REQUIREMENTS, TRAINING_REQUIREMENTS]
    if host is not None:
        files.append(host / "requirements.txt")
    for file in files:
        digest.update(b"\0" + file.read_bytes())
    return digest.hexdigest()


def _make_environment(python: Path) -> None:
    """Make `.venv`, or keep the one there if its pip works."""
    if python.is_file():
        probe = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False)
        if probe.returncode == 0:
            return
    print_line(f"Making the virtual environment {ENVIRONMENT} (about 6 GB once everything is installed)")
    try:
        venv.create(ENVIRONMENT, clear=True, with_pip=True, symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"Virtual environment: {ENVIRONMENT} cannot be made ({error}). "
            "Check that the folder is writable and that Python's venv and pip are installed "
            "(on Debian and Ubuntu: apt install python3-venv)."
        ) from error


def _pip_install(python: Path, arguments: Sequence[str]) -> None:
    """Run `pip install`, showing downloads and installations as plain lines."""
    plain = ("--disable-pip-version-check", "--no-input", "--progress-bar=off")
    tail: collections.deque[str] = collections.deque(maxlen=_PIP_TAIL_LINES)
    with subprocess.Popen(
        [str(python), "-m", "pip", "install", *plain, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in map(str.strip, process.stdout):
                tail.append(line)
                if line.startswith(_PIP_PROGRESS) and ".metadata" not in line:
                    print_line("  " + (line if len(line) <= _LINE_WIDTH else line[:_LINE_WIDTH] + " ..."))
        except KeyboardInterrupt:
            process.terminate()
            raise
    if process.returncode:
        raise SetupError(
            "\n".join(tail) + f"\npip: installing {' '.join(arguments)} failed; its last lines stand above. "
            "Correct what they name and run the command again: it goes on where it stopped."
        )
