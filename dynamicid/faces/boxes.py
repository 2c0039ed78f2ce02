"""The places of several people as text: what the region editor writes and workflow files keep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..boxes import BoxXywhNorm
from ..errors import DynamicIDError
from .regions import MAX_PEOPLE, checked_box

_KEYS = ("x", "y", "width", "height")
_LONGEST_TEXT = 10_000


def parse_boxes(text: str) -> list[BoxXywhNorm | None]:
    """The boxes in the text of a region editor.

    Args:
        text: JSON list with one entry a person, in the order of the faces: [x, y, width, height] or an object with
            these keys, in shares of the picture, top left origin; null, or a width or height of 0, for a person
            without a box. Empty text is an empty list.

    Returns:
        Up to 8 boxes; None where the person shares equal vertical slices with the others like them.

    Raises:
        DynamicIDError: No such list, a value that is no number in 0..1, a box outside the picture, more than 8.
    """
    if len(text) > _LONGEST_TEXT:
        raise _refused(f"It is {len(text)} characters long.")
    if not text.strip():
        return []
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"It is no JSON ({error}).") from error
    if not isinstance(entries, list):
        raise _refused(f"It is {type(entries).__name__}, not a list.")
    if len(entries) > MAX_PEOPLE:
        raise _refused(f"It holds {len(entries)} boxes; at most {MAX_PEOPLE} people fit into one picture.")
    return [_box(entry, number) for number, entry in enumerate(entries, start=1)]


def _box(entry: Any, number: int) -> BoxXywhNorm | None:
    if entry is None:
        return None
    values = [entry.get(key) for key in _KEYS] if isinstance(entry, dict) else entry
    if (
        not isinstance(values, Sequence)
        or isinstance(values, str)
        or len(values) != len(_KEYS)
        or any(isinstance(value, bool) or not isinstance(value, int | float) for value in values)
    ):
        raise _refused(f"Box {number} is {json.dumps(entry)[:80]}.")
    try:
        return checked_box(*map(float, values))
    except (DynamicIDError, OverflowError) as error:
        raise _refused(f"Box {number}: {error}") from error


def _refused(found: str) -> DynamicIDError:
    return DynamicIDError(
        "boxes",
        found,
        "Draw the boxes on the node, or write a list such as [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]]: x, y, width and "
        "height of each person's place in shares of the picture.",
    )
