"""Set this machine up and run all checks: ruff, pyright, oxlint, pytest. `python scripts/test.py [pytest's arguments]`.

COMFYUI_PATH picks the ComfyUI to test against. Without arguments pytest runs everything in two processes. Exit status 0
means that every check passed.
"""

from __future__ import annotations

import subprocess

from _bootstrap import REPOSITORY, ensure_environment, ensure_host, environment_variables, print_line, run_command

ALL_TESTS = ("--numprocesses=2",)
LINTERS = {"ruff": ("ruff", "check", "."), "pyright": ("pyright",), "oxlint": ("oxlint", "--deny-warnings", "web")}


def main(pytest_arguments: list[str]) -> int:
    """Run the linters, then pytest with `pytest_arguments`; return the exit status."""
    host = ensure_host()
    python = ensure_environment(host)
    if host is not None:
        print_line(f"ComfyUI: {host}")
    # pyright takes the Node of its own wheel, so that every machine runs the same one, and asks nobody for updates.
    variables = {
        **environment_variables(host),
        "PYRIGHT_PYTHON_GLOBAL_NODE": "0",
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
    }

    def run(program: str, *arguments: str) -> int:
        command = [str(python.parent / program), *arguments]
        return subprocess.run(command, cwd=REPOSITORY, env=variables, check=False).returncode

    failed = []
    for name, command in LINTERS.items():
        print_line(f"{name}:")
        if run(*command):
            failed.append(name)
    if failed:
        print_line(f"Failed: {', '.join(failed)}. The exit status will say so, whatever pytest finds.")
    # pytest comes last: its closing lines are the last ones printed.
    tests = run("pytest", *(pytest_arguments or ALL_TESTS))
    return tests or int(bool(failed))


if __name__ == "__main__":
    run_command(main)
