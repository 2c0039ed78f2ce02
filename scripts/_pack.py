"""The pack loaded as ComfyUI loads it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_REPOSITORY = Path(__file__).absolute().parent.parent
_MODULE = "custom_nodes_dynamicid"


def load_pack() -> tuple[ModuleType, list[Any]]:
    """The pack under a name that is not the folder's, and its node classes. ComfyUI must be on the path."""
    spec = importlib.util.spec_from_file_location(
        _MODULE, _REPOSITORY / "__init__.py", submodule_search_locations=[str(_REPOSITORY)]
    )
    assert spec is not None
    assert spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = pack
    spec.loader.exec_module(pack)

    async def nodes() -> list[Any]:
        extension = await pack.comfy_entrypoint()
        return await extension.get_node_list()

    return pack, asyncio.run(nodes())
