"""The server that the pack runs in."""

from __future__ import annotations

import sys
from typing import Any


def running_server() -> Any:
    """The host's ``PromptServer``, or None outside of a server."""
    # Looked up, not imported: outside of a server its module has no place for its own imports.
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
