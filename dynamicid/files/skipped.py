"""Data that cannot be used: skipped, counted and listed, never a crash."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .atomic import write_text


class BadSample(Exception):
    """One sample cannot be used; the text says why, in words that repeat from sample to sample."""


class Skipped(NamedTuple):
    """name: the sample's path in its data folder. reason: the text of its ``BadSample``."""

    name: str
    reason: str


def summary(skipped: Sequence[Skipped], most: int = 5) -> str:
    """ "3 skipped: 2 x no face (a.png, b.png); 1 x empty caption (c.png)", or "nothing skipped"."""
    return f"{len(skipped)} skipped: {by_reason(skipped, most)}" if skipped else "nothing skipped"


def by_reason(skipped: Sequence[Skipped], most: int = 5) -> str:
    """ "2 x no face (a.png, b.png); 1 x empty caption (c.png)", the most frequent reason first."""
    parts = []
    for reason, count in Counter(item.reason for item in skipped).most_common():
        names = [printable(item.name) for item in skipped if item.reason == reason]
        more = ", ..." if count > most else ""
        parts.append(f"{count} x {reason} ({', '.join(names[:most])}{more})")
    return "; ".join(parts)


def write_list(path: Path, skipped: Sequence[Skipped], instead: Mapping[str, str] | None = None) -> None:
    """One line a sample: its name, the reason, and what ``instead`` holds for the name, with tabs between them.

    Raises DynamicIDError as ``atomic_write``.
    """
    instead = instead or {}
    lines = ((printable(item.name), item.reason, printable(instead.get(item.name, ""))) for item in skipped)
    write_text(path, "".join("\t".join(filter(None, line)) + "\n" for line in lines))


def printable(name: str) -> str:
    """A file's name with line breaks, tabs and bytes that are no text written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in name
    )
