"""Write the nodes' English labels and tooltips from their schemas: `.venv/bin/python scripts/locales.py [--check]`.

With --check nothing is written; exit status 1 says that the file no longer matches the schemas. COMFYUI_PATH picks the
ComfyUI. Other languages are written by hand, with the same keys.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).absolute().parent.parent
LOCALES = REPOSITORY / "locales"
ENGLISH = LOCALES / "en" / "nodeDefs.json"


def node_definitions(nodes: Iterable[Any]) -> dict[str, Any]:
    """Labels and tooltips of all nodes in the form of ComfyUI's `nodeDefs.json`.

    Args:
        nodes: The node classes of the pack.

    Returns:
        Node id -> `display_name`, `description`, `inputs` by id and `outputs` by position, in the schema's order. An
        input's `name` is its id; where there is no tooltip, the key is left out.
    """
    schemas = [node.GET_SCHEMA() for node in nodes]
    return {
        schema.node_id: {
            "display_name": schema.display_name,
            "description": schema.description,
            "inputs": {entry.id: _labels(entry.display_name or entry.id, entry.tooltip) for entry in schema.inputs},
            "outputs": {
                str(position): _labels(entry.display_name, entry.tooltip)
                for position, entry in enumerate(schema.outputs)
            },
        }
        for schema in schemas
    }


def as_text(definitions: dict[str, Any]) -> str:
    """The definitions as they stand in a file."""
    return json.dumps(definitions, ensure_ascii=False, indent=2) + "\n"


def load_nodes(host: Path) -> list[Any]:
    """The node classes of the pack.

    Args:
        host: Folder of a ComfyUI.
    """
    from _pack import load_pack

    sys.path.insert(0, str(host))
    # First, as in the host's main.py: its nodes.py puts comfy/, which holds another `utils`, ahead on the path.
    importlib.import_module("utils")
    importlib.import_module("comfy.cli_args").args.cpu = True
    return load_pack()[1]


def _labels(name: str, tooltip: str | None) -> dict[str, str]:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


def main(arguments: list[str]) -> int:
    """Write the file, or with --check compare it; return the exit status."""
    from _bootstrap import find_host

    command = argparse.ArgumentParser(description="Writes locales/en/nodeDefs.json from the nodes' schemas.")
    command.add_argument(
        "--check", action="store_true", help="write nothing; exit status 1 where the file is not up to date"
    )
    check = command.parse_args(arguments).check
    host = find_host()
    if host is None:
        sys.exit("No ComfyUI was found. Set COMFYUI_PATH to the folder that holds ComfyUI's main.py.")
    text = as_text(node_definitions(load_nodes(host)))
    if not check:
        ENGLISH.parent.mkdir(parents=True, exist_ok=True)
        ENGLISH.write_text(text, encoding="utf-8", newline="\n")
        return 0
    if ENGLISH.is_file() and ENGLISH.read_text(encoding="utf-8") == text:
        return 0
    print(f"{ENGLISH} does not match the schemas. Run scripts/locales.py without --check, and translate what changed.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
