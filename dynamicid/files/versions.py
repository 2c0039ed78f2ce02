"""The stamp in caches, checkpoints and data sets: the number of their format, and the version of the pack."""

from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..errors import DynamicIDError

FORMAT, PACK = "format", "pack"


def stamp(number: int) -> dict[str, Any]:
    """Entries for a JSON object that is written in format ``number``."""
    return {FORMAT: number, PACK: __version__}


def check_stamp(where: str, content: Mapping[str, Any], newest: int) -> None:
    """A JSON object without a stamp is in format 1.

    Raises:
        DynamicIDError: It is in a later format than ``newest``; the message names both versions of the pack.
    """
    number = content.get(FORMAT, 1)
    if number > newest:
        found = f"It was written in format {number} by version {content.get(PACK)} of this pack."
        raise DynamicIDError(where, found, f"Use that version; {__version__} reads formats up to {newest}.")
