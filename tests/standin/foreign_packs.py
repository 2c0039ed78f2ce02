"""Other packs as they are, where they lie beside the host or in its custom_nodes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any


def find_foreign_pack(host: Path | None, name: str, file: str) -> Path | None:
    """The folder ``name`` with ``file`` in it, beside the host or in its custom_nodes; None where it is not there."""
    places = [host.parent / name, host / "custom_nodes" / name] if host else []
    return next((place for place in places if (place / file).is_file()), None)


def load_foreign_pack(name: str, folder: Path, module: str | None = None) -> Any:
    """A pack under the name ``name``: all of it, or one module without running the pack's own ``__init__``."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        if module is None:
            spec.loader.exec_module(sys.modules[name])
    return sys.modules[name] if module is None else importlib.import_module(f"{name}.{module}")
