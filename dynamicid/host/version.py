"""Which ComfyUI the pack runs in, against the newest one that it was tested with."""

from __future__ import annotations

import logging
import re

from comfyui_version import __version__ as HOST_VERSION

NEWEST_TESTED = "0.33.0"

_logger = logging.getLogger(__name__)


def note_newer_host(version: str | None = None) -> None:
    """Logs one line where ComfyUI is newer than ``NEWEST_TESTED``; nothing is refused.

    Args:
        version: What to compare; None = the running host. One that does not begin with three numbers is not compared.
    """
    version = HOST_VERSION if version is None else version
    host, tested = _numbers(version), _numbers(NEWEST_TESTED)
    if host is not None and tested is not None and host > tested:
        _logger.info(
            "ComfyUI %s is newer than %s, the newest that this DynamicID was tested with.", version, NEWEST_TESTED
        )


def _numbers(version: str) -> tuple[int, ...] | None:
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return None if match is None else tuple(map(int, match.groups()))
